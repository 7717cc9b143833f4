"""Rotation: tell by which right angles an image was turned.

Gidaris et al. 2018, "Unsupervised Representation Learning by Predicting Image Rotations", section 3; in 3D
Taleb et al. 2020, "3D Self-Supervised Methods for Medical Imaging", section 3.3.
Differs from the papers in: all turns that spacing allows (24 of a volume with equal spacing where Taleb has
10, 8 where one axis is coarser: other turns would be told by the look of the voxels), two turns an image and
step instead of four. Turned by moving voxels, never by interpolation, whose traces would give the answer
away, and not mirrored: an image upside down is the mirror image of one turned by 180°.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product
from math import lcm
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from pretrain.method import Method, Setting
from pretrain.parts import exact, mlp, pooled, project
from pretrain.views import cut_windows, view_size
from wsseg.unet import Encoder

ALIKE = 1.2  # axes whose spacings differ by more are never turned into each other


@dataclass(frozen=True)
class Turn:
    """New axis i is old axis order[i], reversed where mirrored[i]; never a mirror image as a whole."""

    order: tuple[int, ...]
    mirrored: tuple[bool, ...]

    def apply(self, images: Tensor) -> Tensor:
        """Turn (N, C, *S)."""
        moved = images.permute(0, 1, *[a + 2 for a in self.order])
        return moved.flip([a + 2 for a, m in enumerate(self.mirrored) if m])

    def undo(self, images: Tensor) -> Tensor:
        """Turn (N, C, *S) back."""
        back = images.flip([a + 2 for a, m in enumerate(self.mirrored) if m])
        return back.permute(0, 1, *[self.order.index(a) + 2 for a in range(len(self.order))])


def turns(spacing: Sequence[float], kind: Literal["all", "axes", "plane"] = "all") -> tuple[Turn, ...]:
    """The turns by right angles that do not show in the voxels' shape; the first leaves all as it is.

    Args:
        spacing: Size of a voxel per axis.
        kind: "all" of them (24, 8 or 4 in 3D; 4 or 2 in 2D), in 3D those about one of the "axes" (10 with
            equal spacing), or those in the "plane" of the two finer axes (4).
    """
    dims = len(spacing)
    across = max(range(dims), key=lambda axis: spacing[axis])
    found = []
    for order in permutations(range(dims)):
        if any(
            spacing[a] > ALIKE * spacing[b] or spacing[b] > ALIKE * spacing[a] for a, b in enumerate(order)
        ):
            continue
        for mirrored in product((False, True), repeat=dims):
            if (_odd(order) + sum(mirrored)) % 2:  # a mirror image
                continue
            still = [order[a] == a and not mirrored[a] for a in range(dims)]
            if dims == 2 or kind == "all" or (any(still) if kind == "axes" else still[across]):
                found.append(Turn(order, mirrored))
    return tuple(found)


def _odd(order: Sequence[int]) -> int:
    return sum(a > b for i, a in enumerate(order) for b in order[i + 1 :]) % 2


class Rotation(Method):
    """See the head of the file.

    Args: as of `Method`, and
        kind: Which turns, see `turns`.
        copies: Different turns of each image a step.
    """

    SUMMARY = "tells by which right angles a crop was turned; only where scans have an up and a down"
    advice = (
        "Rotation can't be told where images look the same from all sides (cells, tissue, most electron "
        "microscopy): use --method mae or moco; in scans of a body use larger crops."
    )

    def __init__(
        self,
        encoder: Encoder,
        setting: Setting,
        *,
        kind: Literal["all", "axes", "plane"] = "all",
        copies: int = 2,
    ) -> None:
        super().__init__(encoder, setting)
        self.turns = turns(setting.spacing, kind)
        self.copies = min(copies, len(self.turns))
        self.size = _turnable(setting.size, encoder.config.divisor, self.turns)
        self.head = mlp(pooled(encoder), 256, len(self.turns))

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch, see `Method`."""
        turned, labels = self.draw(images)
        scores = exact(project(self.encoder, self.head, self.views.recolour(turned)))
        loss = F.cross_entropy(scores, labels)
        hit = (scores.argmax(1) == labels).float().mean()
        self.note(accuracy=hit, chance=1 / len(self.turns))
        return loss

    @torch.no_grad()
    def draw(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Turned windows (copies·N, C, *size) of the crops and which turn it was, int64 (copies·N,)."""
        generator = self.views.generator
        windows = cut_windows(images, self.size, generator)
        order = torch.rand(len(images), len(self.turns), generator=generator).argsort(1)
        labels = order[:, : self.copies].T.flatten()
        turned = torch.cat([windows] * self.copies)
        for label in labels.unique().tolist():
            which = (labels == label).nonzero().flatten().to(images.device)
            turned[which] = self.turns[label].apply(turned[which])
        return turned, labels.to(images.device)


def _turnable(size: Sequence[int], divisor: Sequence[int], turns: Sequence[Turn]) -> tuple[int, ...]:
    """A window that keeps its shape under every turn and that the encoder takes.

    Raises:
        ValueError: The crops are too small for one.
    """
    window = view_size(size, divisor)
    result = []
    for axis in range(len(size)):
        partners = {turn.order[axis] for turn in turns}
        least, step = min(window[a] for a in partners), lcm(*[divisor[a] for a in partners])
        if least < step:
            raise ValueError(
                f"crops of {tuple(size)} voxels are too small to be turned: at least {step} on axis {axis}."
            )
        result.append(least // step * step)
    return tuple(result)
