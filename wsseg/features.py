"""What a voxel looks like from near and far: smoothed intensity, edges and ridges at several scales.

The usual features of pixel classification (Arganda-Carreras et al. 2017, Trainable Weka Segmentation; Berg et
al. 2019, ilastik): `wsseg.filters` at scales that double. Scales are lengths, in units of the finest voxel
axis, so that thick slices are smoothed less than thin ones.

We differ in how they are kept: an image smoothed by σ says nothing new between every σ-th voxel, so a scale
is computed and kept on a grid that is σ voxels wide, and looked up by linear interpolation. All scales of a
volume then need little more memory than the finest one, not five times as much (docs/sparse.md).
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from wsseg.filters import REACH, describe, smooth
from wsseg.images import Image
from wsseg.normalise import Statistics
from wsseg.steps import Step

SCALES = 5  # σ = 1, 2, 4, 8, 16 of the finest voxel axis
BLOCK = 2**20  # voxels computed at once
KEPT = np.float16  # half the memory of float32, and no worse (docs/sparse.md)

Region = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Level:
    """Features on one grid.

    Attributes:
        step: Voxels of the image from one place of the grid to the next, per axis.
        values: float16 (F, *G).
    """

    step: tuple[int, ...]
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class Features:
    """The features of one image: F numbers a voxel.

    Attributes:
        shape: Of the image, *S.
        levels: Fine to coarse.
    """

    shape: tuple[int, ...]
    levels: tuple[Level, ...]

    @property
    def count(self) -> int:
        """Number of features F of a voxel."""
        return sum(len(level.values) for level in self.levels)

    @property
    def nbytes(self) -> int:
        """Memory they take."""
        return sum(level.values.nbytes for level in self.levels)

    def region(self, where: Region) -> np.ndarray:
        """The features of every voxel of a part of the image, float32 (F, *part)."""
        return np.concatenate([_enlarged(level, where) for level in self.levels])

    def at(self, places: np.ndarray) -> np.ndarray:
        """The features of single voxels, float32 (N, F).

        Args:
            places: Whole numbers (N, axes).
        """
        return np.concatenate([_looked_up(level, places) for level in self.levels]).T


def memory_needed(image: Image) -> int:
    """Bytes that the features of an image take."""
    places = [_kinds(image.ndim, index) * np.prod(size) for index, (size, _) in enumerate(_grids(image))]
    return int(sum(places)) * image.channels * np.dtype(KEPT).itemsize


def feature_steps(image: Image, statistics: Statistics) -> Generator[Step, None, Features]:
    """Compute the features of an image block by block, one Step a block.

    Needs the memory of the result and of the image smoothed on the second grid; the image itself is read
    block by block.

    Args:
        image: (C, *S), any size; read lazily.
        statistics: How to normalise it.
    """
    plan = _grids(image)
    total = sum(sum(1 for _ in _blocks(size)) for size, _ in plan)
    done, levels, base = 0, [], None
    for index, (size, step) in enumerate(plan):
        further = plan[index + 1] if index + 1 < len(plan) else None
        # in places of this grid: σ of this scale, and how much is to be smoothed for the next
        sigma = 2.0**index * min(image.spacing) / np.multiply(image.spacing, step)
        more = sigma * np.sqrt(3)
        values = np.zeros((_kinds(image.ndim, index) * image.channels, *size), KEPT)
        coarser = None if further is None else np.zeros((image.channels, *further[0]), np.float32)
        border = np.ceil(REACH * (more + (sigma if index == 0 else 0))).astype(int) + 2
        for block in _blocks(size):
            wide, inner = _with_border(block, size, border)
            if base is None:
                raw = statistics.apply(np.asarray(image.data[(slice(None), *wide)]))
                smoothed = smooth(raw, sigma)
                found = np.concatenate([raw[(slice(None), *inner)], describe(smoothed, sigma, inner)])
            else:
                smoothed = base[(slice(None), *wide)]
                found = describe(smoothed, sigma, inner)
            values[(slice(None), *block)] = found
            if further is not None and coarser is not None:
                ratio = [b // a for a, b in zip(step, further[1], strict=True)]
                _keep_every(smooth(smoothed, more), wide, block, ratio, coarser)
            done += 1
            yield Step("features", done, total)
        levels.append(Level(step, values))
        base = coarser
    return Features(image.shape, tuple(levels))


def _kinds(ndim: int, index: int) -> int:
    """Features of a channel on one grid; the finest has the intensity itself beside what filters give."""
    return 2 + ndim + (index == 0)


def _grids(image: Image) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Size and step of the grid of each scale: steps double where a voxel stays no wider than σ."""
    finest, plan = min(image.spacing), []
    for index in range(SCALES):
        step = tuple(
            max(1, int(2 ** np.floor(np.log2(finest * 2**index / s * (1 + 1e-6))))) for s in image.spacing
        )
        plan.append((tuple(-(-n // t) for n, t in zip(image.shape, step, strict=True)), step))
    return plan


def _blocks(size: Sequence[int]) -> Iterator[Region]:
    """Pieces of about `BLOCK` voxels that cover a grid."""
    side = max(16, int(BLOCK ** (1 / len(size))))
    ranges = [[slice(i, min(i + side, n)) for i in range(0, n, side)] for n in size]
    yield from product(*ranges)


def _with_border(block: Region, size: Sequence[int], border: np.ndarray) -> tuple[Region, Region]:
    """A block with its surroundings as far as there are some, and where it lies in that."""
    wide = tuple(
        slice(max(0, b.start - int(r)), min(n, b.stop + int(r)))
        for b, n, r in zip(block, size, border, strict=True)
    )
    inner = tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(block, wide, strict=True))
    return wide, inner


def _keep_every(
    smoothed: np.ndarray, wide: Region, block: Region, step: Sequence[int], into: np.ndarray
) -> None:
    """Copy the places of a block that lie on the next grid."""
    there, here = [slice(None)], [slice(None)]
    for w, b, s in zip(wide, block, step, strict=True):
        start, stop = -(-b.start // s), -(-b.stop // s)
        there.append(slice(start, stop))
        here.append(slice(start * s - w.start, (stop - 1) * s - w.start + 1, s))
    into[tuple(there)] = smoothed[tuple(here)]


def _between(positions: np.ndarray, step: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The places of a grid before and after voxels along an axis, and how far towards the second they lie."""
    before = positions // step
    return (
        np.minimum(before, size - 1),
        np.minimum(before + 1, size - 1),
        ((positions % step) / step).astype(np.float32),
    )


def _enlarged(level: Level, where: Region) -> np.ndarray:
    """Linear interpolation of a part of a grid, axis by axis, the ones that shrink most first.

    The others in their order, so that a voxel's features are the same in whatever part it is asked for.
    """
    values = level.values
    sizes = values.shape[1:]
    parts = [w.indices(10**9)[:2] for w in where]
    # what is not needed is cut off before anything is computed
    cut = [
        slice(a // s, min(n, (b - 1) // s + 1 + (s > 1)))
        for (a, b), s, n in zip(parts, level.step, sizes, strict=True)
    ]
    values = values[(slice(None), *cut)].astype(np.float32)
    order = sorted(
        range(len(sizes)),
        key=lambda axis: min(1.0, (parts[axis][1] - parts[axis][0]) / values.shape[axis + 1]),
    )
    for axis in order:
        (a, b), s = parts[axis], level.step[axis]
        if s == 1:
            continue
        low, high, share = _between(np.arange(a, b), s, sizes[axis])
        low, high = low - cut[axis].start, high - cut[axis].start
        share = share.reshape(-1, *[1] * (values.ndim - 2 - axis))
        first = values.take(low, axis + 1)
        values = first + share * (values.take(high, axis + 1) - first)
    return values


def _looked_up(level: Level, places: np.ndarray) -> np.ndarray:
    """Linear interpolation at single voxels: (F, N)."""
    sizes = level.values.shape[1:]
    corners = [
        _between(places[:, axis], s, n) for axis, (s, n) in enumerate(zip(level.step, sizes, strict=True))
    ]
    out = np.zeros((len(level.values), len(places)), np.float32)
    for which in product((0, 1), repeat=len(sizes)):
        corner = [c[w] for c, w in zip(corners, which, strict=True)]
        share = np.prod([c[2] if w else 1 - c[2] for c, w in zip(corners, which, strict=True)], axis=0)
        if share.any():
            # flat, for speed: one look-up in place of one an axis
            flat = np.ravel_multi_index(corner, sizes)
            out += share * level.values.reshape(len(out), -1)[:, flat]
    return out
