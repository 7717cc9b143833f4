"""Tiles of a crop: cut with gaps and jitter, each changed and normalised on its own."""

import math
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from pretrain.parts import standardised
from pretrain.views import Views, cut_windows
from wsseg.augment import FLAT

TILE = 0.75  # side of a tile as a share of its cell's (64 of 85 in Noroozi & Favaro 2016)
GAP = 8 / 7  # least side of a cell as a multiple of its tile's
PLAIN = 0.1  # a tile whose deviation is less than this share of the scan's shows nothing
LARGE = 96  # voxels; crops of volumes as large as this are cut into three along each axis


def tiling(
    size: Sequence[int], spacing: Sequence[float], divisor: Sequence[int], *, least: int = 2
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Cells along each axis, and the size of a tile in voxels.

    3×3 in a plane, 2×2×2 in a volume or 3×3×3 in a large one; slices that are far apart are not cut from
    each other, since parts of a cell's size, in millimetres, would hardly be different parts.

    Args:
        size: Of the crops, voxels.
        spacing: Size of a voxel per axis.
        divisor: Of the encoder; a tile's size is a multiple.
        least: Fewest cells along an axis that is cut.

    Raises:
        ValueError: The crops are too small.
    """
    fine = [s <= FLAT * min(spacing) for s in spacing]
    large = all(n >= LARGE for n, f in zip(size, fine, strict=True) if f)
    choices = (3, 2) if sum(fine) < 3 or large else (2,)
    for cells in [c for c in choices if c >= least] or [least]:
        grid = tuple(cells if f else 1 for f in fine)
        tile = []
        for n, g, d in zip(size, grid, divisor, strict=True):
            smallest = d if d == 1 else 2 * d  # two cells of the deepest level, or there is nothing to norm
            tile.append(max(int(n // g * TILE) // d * d, smallest))
        # without a gap borders fit; an axis that is not cut needs none
        least_cell = [math.ceil(t * GAP) if g > 1 else t for t, g in zip(tile, grid, strict=True)]
        if all(c <= n // g for c, n, g in zip(least_cell, size, grid, strict=True)):
            return grid, tuple(tile)
    needed = tuple(c * g for c, g in zip(least_cell, grid, strict=True))
    raise ValueError(f"crops of {tuple(size)} voxels are too small to be cut into tiles: at least {needed}.")


@torch.no_grad()
def cut_tiles(images: Tensor, grid: Sequence[int], size: Sequence[int], generator: torch.Generator) -> Tensor:
    """Tiles (N, T, C, *size) of (N, C, *S), in order, each from a random place of its cell."""
    cell = [n // g for n, g in zip(images.shape[2:], grid, strict=True)]
    tiles = []
    for at in product(*[range(g) for g in grid]):
        part = [slice(i * c, (i + 1) * c) for i, c in zip(at, cell, strict=True)]
        tiles.append(cut_windows(images[(slice(None), slice(None), *part)], size, generator))
    return torch.stack(tiles, 1)


def plain(tiles: Tensor) -> Tensor:
    """Which tiles (N, T, C, *size) of normalised crops show nothing, bool (N, T)."""
    return tiles.flatten(3).std(3).amax(2) < PLAIN


@torch.no_grad()
def prepare(tiles: Tensor, views: Views) -> Tensor:
    """Tiles (M, C, *size) changed and normalised, each on its own."""
    return standardised(views.recolour(tiles), range(2, tiles.ndim))
