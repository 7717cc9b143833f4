"""Random walker: from each unknown voxel, how likely is a walk that avoids edges to reach each class first?

Grady 2006, "Random Walks for Image Segmentation", section III: the probabilities of each class are harmonic,
0 = Σ_j w_ij (x_j − x_i) at every unknown voxel i and x = 1 or 0 at the known ones, with w_ij = exp(−β Δ²).
We differ in four ways. β is measured against the mean squared difference between neighbours, so that it
means the same for any contrast and noise. Voxels that lie further apart are tied less, 1/distance². A walk
may be lost on the way: at each voxel a share of it ends, in a prior where one is given (Grady 2005,
"Multilabel Random Walker Image Segmentation Using Prior Models", equation 7) and nowhere else, so that what
strokes can't reach stays unknown. And the equations are solved without a matrix, coarse to fine, so that
images of any size and 3D fit in memory.
"""

from collections.abc import Generator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from wsseg.steps import Step

BETA = 2.0  # times the mean squared difference between neighbours
WEAKEST = 1e-4  # no edge is a wall
TOLERANCE = 1e-3  # of the residual, relative to the right-hand side
ITERATIONS = 200  # at most, per scale; real images need fewer, noise without edges never ends
OFTEN = 25  # iterations from one chance to stop to the next
COARSEST = 32  # voxels along the longest axis at which coarse to fine begins


def random_walker(
    image: Tensor,
    seeds: Tensor,
    classes: int,
    *,
    spacing: Sequence[float],
    lost: float | Tensor = 0.0,
    prior: Tensor | None = None,
) -> Generator[Step, None, Tensor]:
    """Probability of each class at each voxel; between two steps it can be stopped.

    Args:
        image: float (C, *S), normalised; on any device.
        seeds: int64 (*S), class 0 … classes − 1 where known, −1 elsewhere.
        classes: K.
        spacing: Size of a voxel per axis.
        lost: γ, how much of a walk ends at each voxel, against a tie of 1 to a neighbour that looks the same;
            one number, or float (*S).
        prior: float (K, *S), where a lost walk ends; None = nowhere, and the sum over classes is then the
            share of walks that arrive.

    Returns:
        float32 (K, *S), 0 to 1.

    Raises:
        ValueError: No voxel is known.
    """
    if not bool((seeds >= 0).any()):
        raise ValueError("seeds: no voxel is known")
    ends = torch.zeros((classes, *seeds.shape), device=image.device) if prior is None else prior.float()
    gamma = torch.as_tensor(lost, dtype=torch.float32, device=image.device).expand(seeds.shape)
    return (yield from _walk(image.float(), seeds, ends, list(map(float, spacing)), gamma))


def _walk(
    image: Tensor, seeds: Tensor, ends: Tensor, spacing: list[float], lost: Tensor
) -> Generator[Step, None, Tensor]:
    """Coarse to fine: the answer at half the resolution, enlarged, is the first guess."""
    size, start = seeds.shape, ends
    if max(size) > COARSEST:
        step = halving(size)
        wider = [s * t for s, t in zip(spacing, step, strict=True)]
        smaller = (halve(image, step), halve_seeds(seeds, len(ends), step), halve(ends, step))
        coarse = yield from _walk(*smaller, wider, coarser(halve(lost[None], step)[0], spacing, wider))
        start = enlarge(coarse, size)
    return (yield from _solve(image, seeds, ends, spacing, lost, start))


def coarser(lost: Tensor, spacing: Sequence[float], wider: Sequence[float]) -> Tensor:
    """γ for wider voxels: a tie weakens with the square of the distance, so γ grows with it."""
    return lost * (min(wider) / min(spacing)) ** 2


def halving(size: Sequence[int]) -> tuple[int, ...]:
    """By what each axis shrinks when a volume is halved: 2, or 1 for an axis that is short already."""
    return tuple(2 if n > 8 else 1 for n in size)


def halve(values: Tensor, step: Sequence[int]) -> Tensor:
    """Block means of (C, *S); a rest at the far side is a smaller block."""
    pool = F.avg_pool2d if len(step) == 2 else F.avg_pool3d
    return pool(values[None], tuple(step), ceil_mode=True)[0]


def enlarge(values: Tensor, size: Sequence[int]) -> Tensor:
    """(C, *S) at another size, by linear interpolation."""
    mode = "bilinear" if len(size) == 2 else "trilinear"
    return F.interpolate(values[None], size=tuple(size), mode=mode)[0]


def halve_seeds(seeds: Tensor, classes: int, step: Sequence[int]) -> Tensor:
    """The commonest known class of each block; −1 where nothing is known in it."""
    votes = torch.stack([(seeds == k).float() for k in range(classes)])
    most, which = halve(votes, step).max(0)
    return which.where(most > 0, -1)


def _solve(
    image: Tensor, seeds: Tensor, ends: Tensor, spacing: list[float], lost: Tensor, start: Tensor
) -> Generator[Step, None, Tensor]:
    """(L + γ) x = γ·ends at the unknown voxels, by conjugate gradients, all classes at once.

    Preconditioned by the diagonal (Shewchuk 1994, section B3).
    """
    ties = _ties(image, spacing)
    known = seeds >= 0
    free = (~known).float()
    x = start.where(~known, torch.stack([(seeds == k).float() for k in range(len(ends))]))
    diagonal = _diagonal(ties, seeds.shape) + lost + 1e-12
    over, shape = tuple(range(1, x.ndim)), (-1, *[1] * seeds.ndim)
    pull = lost * ends
    residual = (pull - _push(x, ties, lost)) * free
    scale = (pull - _push(x * known, ties, lost)).mul(free).square().sum(over).sqrt().clamp_min(1e-12)
    step = residual / diagonal
    direction, product = step.clone(), (residual * step).sum(over)
    for done in range(ITERATIONS):
        if done % OFTEN == OFTEN - 1:
            yield Step("walk", done + 1, ITERATIONS)
        if bool((residual.square().sum(over).sqrt() <= TOLERANCE * scale).all()):
            break
        pushed = _push(direction, ties, lost) * free
        length = product / (direction * pushed).sum(over).clamp_min(1e-30)
        x += length.view(shape) * direction
        residual -= length.view(shape) * pushed
        step = residual / diagonal
        newer = (residual * step).sum(over)
        direction = step + (newer / product.clamp_min(1e-30)).view(shape) * direction
        product = newer
    return x.clamp(0, 1)


def _ties(image: Tensor, spacing: list[float]) -> list[Tensor]:
    """w between neighbours along each axis: (*S) with one less along that axis; 1 = they look the same."""
    finest = min(spacing)
    squared = [image.diff(dim=axis + 1).square().mean(0) for axis in range(image.ndim - 1)]
    mean = sum(float(s.sum()) for s in squared) / max(sum(s.numel() for s in squared), 1)
    scale = BETA / max(mean, 1e-12)
    return [
        ((-scale * s).exp() + WEAKEST) * (finest / size) ** 2
        for s, size in zip(squared, spacing, strict=True)
    ]


def _diagonal(ties: list[Tensor], size: Sequence[int]) -> Tensor:
    diagonal = torch.zeros(tuple(size), device=ties[0].device)
    for axis, tie in enumerate(ties):
        diagonal.narrow(axis, 0, size[axis] - 1).add_(tie)
        diagonal.narrow(axis, 1, size[axis] - 1).add_(tie)
    return diagonal


def _push(x: Tensor, ties: list[Tensor], lost: Tensor) -> Tensor:
    """(L + γ) x for (K, *S): Σ_j w_ij (x_i − x_j) + γ x_i."""
    out = lost * x
    for axis, tie in enumerate(ties, 1):
        flow = tie * x.diff(dim=axis)
        out.narrow(axis, 0, x.shape[axis] - 1).sub_(flow)
        out.narrow(axis, 1, x.shape[axis] - 1).add_(flow)
    return out
