"""Terms of the loss that know of boxes: projection and affinity (BoxInst), tightness (Kervadec et al. 2020).

The papers sum over rows and columns of upright boxes. Here patches are turned and stretched before they are
seen, so each voxel carries the numbers of the lines that it lies on, one line an axis of its box; the maps
travel with the patch, and a sum over a line is a sum over equal numbers, wherever they have gone to. The same
code for rectangles and cuboids.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsseg.boxes import place_of, shape_of, volume
from wsseg.hints import Box

DILATION = 2  # voxels between neighbours that are compared (BoxInst, section 3.3)
WARM = 0.3  # share of the run over which the affinity grows to its full weight
BARRIER = 5.0  # steepness t of the log barrier


def line_maps(shape: Sequence[int], boxes: Sequence[Box], outputs: Mapping[int, int]) -> np.ndarray:
    """What each voxel needs to know of the box that it lies in; of several, the smallest.

    Args:
        shape: Of the image, d axes.
        boxes: Of the image.
        outputs: Class id to network output.

    Returns:
        int32 (1 + d, *shape): the output of the box's class, then for each axis the number of the line across
        the box at this place of the axis; numbers are unique in the image. 0 outside of all boxes.
    """
    maps = np.zeros((1 + len(shape), *shape), np.int32)
    used = 0
    for box in sorted(boxes, key=lambda box: -volume(box)):
        place, sides = place_of(box), shape_of(box)
        maps[0][place] = outputs[box.class_id]
        for axis, length in enumerate(sides):
            line = np.arange(used + 1, used + length + 1, dtype=np.int32)
            maps[1 + axis][place] = line.reshape([-1 if a == axis else 1 for a in range(len(sides))])
            used += length
    return maps


def projection_loss(chance: Tensor, lines: Tensor) -> Tensor:
    """Every line across a box meets its object: 1 − Dice of the largest chance on each line and 1.

    BoxInst (Tian et al. 2021, section 3.2). Differs in: one Dice over all lines of a batch; that nothing is
    outside of the boxes is left to the labels; lines that the patch cuts off are left out.

    Args:
        chance: (N, *S) of the class of the voxel's box.
        lines: int64 (N, d, *S), 0 = none.
    """
    largest, _ = _over_lines(chance, lines)
    if not len(largest):
        return chance.sum() * 0
    return 1 - 2 * largest.sum() / (largest.square().sum() + len(largest))


def tightness_loss(chance: Tensor, lines: Tensor) -> Tensor:
    """Every line across a box holds at least a voxel of its object, by an extended log barrier.

    Kervadec et al. 2020, section 3.2, bands of one voxel; ψ(1 − Σ) with fixed t, mean over lines.

    Args: as in `projection_loss`.
    """
    _, total = _over_lines(chance, lines)
    return barrier(1 - total).mean() if len(total) else chance.sum() * 0


def barrier(z: Tensor, t: float = BARRIER) -> Tensor:
    """−log(−z)/t for z ≤ −1/t² and its tangent beyond: small where z ≤ 0 holds, growing where it does not."""
    edge = 1 / t**2
    inner = -(-z.clamp_max(-edge)).log() / t
    return inner + t * (z + edge).clamp_min(0)


def affinity_loss(chance: Tensor, images: Tensor, inside: Tensor) -> Tensor:
    """Neighbours of like colour belong together: −log P(same) over pairs, at least one of them in a box.

    BoxInst, section 3.3. Differs in: like is what differs less than pairs of the same image do on average, so
    that no unit of colour is needed.

    Args:
        chance: (N, *S) of the class of the voxel's box.
        images: (N, C, *S).
        inside: bool (N, *S), voxels in boxes.
    """
    dims = images.ndim - 2
    chance = chance.clamp(1e-4, 1 - 1e-4)
    total, count = chance.sum() * 0, torch.zeros((), device=chance.device)
    for offset in _half(dims):
        here, there = _pair(offset, chance.shape[1:])
        one, other = chance[here], chance[there]
        away = (images[here] - images[there]).square().sum(1).sqrt()
        usual = away.flatten(1).mean(1).view(-1, *[1] * dims)
        counts = (away < usual) & (inside[here] | inside[there])
        same = one * other + (1 - one) * (1 - other)
        total = total - (same.log() * counts).sum()
        count = count + counts.sum()
    return total / count.clamp_min(1)


TERMS: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "projection": lambda chance, images, lines: projection_loss(chance, lines),
    "tightness": lambda chance, images, lines: tightness_loss(chance, lines),
    "affinity": lambda chance, images, lines: affinity_loss(chance, images, lines[:, 0] > 0),
}


class BoxTerms:
    """The sum of some terms, as a trainer wants it (`wsseg.train.Term`).

    Args:
        names: Of `TERMS`. The affinity is at first nothing and grows, as in BoxInst.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def __call__(self, scores: Tensor, images: Tensor, maps: Tensor, progress: float) -> Tensor:
        output, lines = maps[:, 0], maps[:, 1:]
        each = scores.softmax(1)
        chance = each.gather(1, output.unsqueeze(1)).squeeze(1)
        chance = torch.where(output > 0, chance, 1 - each[:, 0])
        total = scores.new_zeros(())
        for name in self.names:
            weight = min(1.0, progress / WARM) if name == "affinity" else 1.0
            total = total + weight * TERMS[name](chance, images, lines)
        return total


def _over_lines(chance: Tensor, lines: Tensor) -> tuple[Tensor, Tensor]:
    """The largest value and the sum of each whole line of a batch, two (L,)."""
    each = torch.arange(len(lines), device=lines.device).view(-1, *[1] * (lines.ndim - 1))
    numbers = lines + each * (lines.amax() + 1)  # lines of different patches are different lines
    border = torch.ones_like(lines[:, :1], dtype=torch.bool)
    middle: Any = (..., *[slice(1, -1)] * (lines.ndim - 2))
    border[middle] = False  # a line that ends on the border may go on beyond
    cut = torch.unique(numbers[border.expand_as(lines)])
    on = (lines > 0) & ~torch.isin(numbers, cut)
    values = chance.unsqueeze(1).expand(lines.shape)[on]
    found, index = torch.unique(numbers[on], return_inverse=True)
    empty = values.new_zeros(len(found))
    return empty.scatter_reduce(0, index, values, "amax"), empty.scatter_add(0, index, values)


def _half(dims: int) -> list[tuple[int, ...]]:
    """Each pair of neighbours once: 4 offsets in 2D, 13 in 3D."""
    return [tuple(DILATION * o for o in at) for at in product((-1, 0, 1), repeat=dims) if at > (0,) * dims]


def _pair(offset: Sequence[int], size: Sequence[int]) -> tuple[Any, Any]:
    """The places of voxels and of their neighbours, in an array whose last axes are spatial."""
    here = [slice(max(0, -o), n - max(0, o)) for o, n in zip(offset, size, strict=True)]
    there = [slice(max(0, o), n - max(0, -o)) for o, n in zip(offset, size, strict=True)]
    return (..., *here), (..., *there)
