"""Jigsaw: tell in which order the tiles of an image were laid.

Noroozi & Favaro 2016, "Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles", section
3; in 3D Taleb et al. 2020, section 3.4. One encoder sees every tile alone. So that the answer is not given
away by borders that fit, there are gaps between tiles and each is cut at a random place of its cell; so
that it is not by brightness, each is changed and normalised on its own.
Differs from the papers in: the order is applied to the tiles' features, so that several orders of an image
cost one pass; orders by largest least distance (`far_permutations`); images of which so many tiles are flat
that two orders could look the same are left out.
"""

import math
from collections.abc import Sequence
from itertools import product
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pretrain.method import Method
from pretrain.parts import exact, mlp, pool, pooled, standardised
from pretrain.permutations import far_permutations, least_distance
from pretrain.views import cut_windows
from wsseg.augment import FLAT
from wsseg.unet import Encoder

TILE = 0.75  # side of a tile as a share of its cell's, as in the paper (64 of 85)
GAP = 8 / 7  # least side of a cell as a multiple of its tile's
PLAIN = 0.1  # a tile whose deviation is less than this share of the scan's shows nothing
LARGE = 96  # voxels; crops of volumes as large as this are cut into three along each axis


class Jigsaw(Method):
    """See the head of the file.

    Args: as of `Method`, and
        orders: P, size of the set of permutations.
        copies: Orders of each image a step.
    """

    SUMMARY = "puts shuffled tiles in order; where scans have parts with places of their own"
    advice = (
        "Jigsaw can't be solved where all tiles look alike (cells, textures): use --method mae or moco; in "
        "scans of a body use larger crops, or fewer orders."
    )
    CROP: ClassVar[dict[int, int]] = {2: 96, 3: 48}

    def __init__(
        self,
        encoder: Encoder,
        size: tuple[int, ...],
        spacing: tuple[float, ...],
        modality: str,
        steps: int,
        seed: int,
        *,
        orders: int = 100,
        copies: int = 4,
    ) -> None:
        super().__init__(encoder, size, spacing, modality, steps, seed)
        self.grid, self.tile = tiling(size, spacing, encoder.config.divisor)
        self.cell = tuple(n // g for n, g in zip(size, self.grid, strict=True))
        tiles = torch.Size(self.grid).numel()
        table = far_permutations(tiles, orders)
        self.orders, self.distance = torch.from_numpy(table), least_distance(table)
        self.copies = min(copies, len(table))
        self.code = mlp(pooled(encoder), 128, 128)
        self.head = mlp(128 * tiles, 256, len(table))

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch, see `Method`."""
        tiles, solvable = self.cut(images)  # (N, T, C, *tile)
        count, number = tiles.shape[:2]
        codes = self.code(pool(self.encoder(self.prepare(tiles.flatten(0, 1)))[-1])).view(count, number, -1)
        labels = self.draw(count).to(images.device)  # (copies, N)
        laid = self.orders.to(images.device)[labels]  # (copies, N, T)
        shuffled = codes[torch.arange(count, device=images.device).view(-1, 1), laid]
        scores = exact(self.head(shuffled.flatten(2).flatten(0, 1)))
        known = solvable.repeat(self.copies).to(scores)
        losses = F.cross_entropy(scores, labels.flatten(), reduction="none")
        total = known.sum().clamp_min(1)
        hit = (scores.argmax(1) == labels.flatten()) * known
        self.note(
            accuracy=hit.sum() / total,
            chance=1 / len(self.orders),
            solvable=solvable.float().mean(),
        )
        return (losses * known).sum() / total

    @torch.no_grad()
    def cut(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Tiles (N, T, C, *tile) in their order, each from a random place of its cell; bool (N,) solvable."""
        tiles = []
        for at in product(*[range(g) for g in self.grid]):
            cell = [slice(i * c, (i + 1) * c) for i, c in zip(at, self.cell, strict=True)]
            tiles.append(
                cut_windows(images[(slice(None), slice(None), *cell)], self.tile, self.views.generator)
            )
        stacked = torch.stack(tiles, 1)
        plain = stacked.flatten(3).std(3).amax(2) < PLAIN  # (N, T)
        return stacked, plain.sum(1) < self.distance

    @torch.no_grad()
    def prepare(self, tiles: Tensor) -> Tensor:
        """Tiles (M, C, *tile) changed and normalised, each on its own."""
        return standardised(self.views.recolour(tiles), range(2, tiles.ndim))

    def draw(self, count: int) -> Tensor:
        """Which orders of N images, int64 (copies, N), the copies of an image all different."""
        drawn = torch.rand(count, len(self.orders), generator=self.views.generator).argsort(1)
        return drawn[:, : self.copies].T


def tiling(
    size: Sequence[int], spacing: Sequence[float], divisor: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Cells along each axis, and the size of a tile in voxels.

    3×3 in a plane, 2×2×2 in a volume or 3×3×3 in a large one; slices that are far apart are not cut from
    each other, since parts of a cell's size, in millimetres, would hardly be different parts.

    Raises:
        ValueError: The crops are too small.
    """
    fine = [s <= FLAT * min(spacing) for s in spacing]
    large = all(n >= LARGE for n, f in zip(size, fine, strict=True) if f)
    for cells in (3, 2) if sum(fine) < 3 or large else (2,):
        grid = tuple(cells if f else 1 for f in fine)
        tile = []
        for n, g, d in zip(size, grid, divisor, strict=True):
            least = d if d == 1 else 2 * d  # two cells of the deepest level, or there is nothing to norm
            tile.append(max(int(n // g * TILE) // d * d, least))
        # without a gap borders fit; an axis that is not cut needs none
        least_cell = [math.ceil(t * GAP) if g > 1 else t for t, g in zip(tile, grid, strict=True)]
        if all(c <= n // g for c, n, g in zip(least_cell, size, grid, strict=True)):
            return grid, tuple(tile)
    needed = tuple(c * g for c, g in zip(least_cell, grid, strict=True))
    raise ValueError(f"crops of {tuple(size)} voxels are too small for a jigsaw: at least {needed}.")
