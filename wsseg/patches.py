"""Training patches drawn where the hints are, and the tiles that cover an image for prediction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wsseg.images import Image
from wsseg.normalise import Statistics
from wsseg.weak import WeakLabels

PLACES = 20_000  # labelled places remembered per image and class; more would not make draws more varied


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with what is known of it, ready to draw patches from.

    Attributes:
        image: Read lazily, patch by patch.
        labels: Target holds network outputs (0 = background, 1… in the order of the class ids).
        statistics: How to normalise it.
        name: For messages.
        maps: int32 (M, *S) that travel with each patch, for a term of the loss that needs more than labels;
            the first is the network output of an object that is somewhere there, or 0. None = no maps.
        boxed: Whether boxes are among what the labels come from; then they are not strokes to be spread.
    """

    image: Image
    labels: WeakLabels
    statistics: Statistics
    name: str = "image"
    maps: np.ndarray | None = None
    boxed: bool = False


def plan_patch(sizes: Sequence[Sequence[int]], divisor: Sequence[int], budget: int) -> tuple[int, ...]:
    """The patch size: the typical image rounded up to the divisor, its longest axes cut to a budget.

    Args:
        sizes: Spatial size of every image.
        divisor: The patch is a multiple of this.
        budget: Most voxels in a patch.
    """
    size = [int(np.ceil(n / d)) * d for n, d in zip(np.median(sizes, axis=0), divisor, strict=True)]
    while np.prod(size) > budget:
        longest = max(range(len(size)), key=lambda axis: size[axis] if size[axis] > divisor[axis] else 0)
        if size[longest] <= divisor[longest]:
            break
        size[longest] -= divisor[longest]
    return tuple(size)


class Patches(NamedTuple):
    """A batch of patches of size P.

    Attributes:
        images: float32 (N, C, *P).
        target: int64 (N, *P).
        weight: float32 (N, *P).
        maps: int32 (N, K, *P).
    """

    images: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    maps: np.ndarray


class PatchSampler:
    """Draws batches of patches; draw number `index` depends on the seed and the number alone.

    Args:
        samples: Images with labels, each with at least one known voxel.
        size: Patch size, voxels.
        seed: Of the run.
    """

    def __init__(self, samples: Sequence[Sample], size: Sequence[int], *, seed: int) -> None:
        self.samples, self.size, self.seed = list(samples), tuple(size), seed
        self._places = [_places(sample) for sample in self.samples]

    def draw(self, index: int, count: int) -> Patches:
        """Draw a batch; beyond an image's border the image repeats its outermost voxels, all else is 0."""
        rng = np.random.default_rng((self.seed, index))
        parts = [self._patch(rng) for _ in range(count)]
        return Patches(*(np.stack(part) for part in zip(*parts, strict=True)))

    def _patch(self, rng: np.random.Generator) -> Patches:
        which = int(rng.integers(len(self.samples)))
        sample, places = self.samples[which], self._places[which]
        shape = sample.labels.target.shape
        of_class = places[rng.integers(len(places))]
        place = np.unravel_index(of_class[rng.integers(len(of_class))], shape)
        start = []
        for n, p, at in zip(shape, self.size, place, strict=True):
            low, high = min(0, n - p), max(0, n - p)  # inside the image; a small image anywhere in the patch
            free = int(at) - int(rng.integers(p)) if n > p else int(rng.integers(low, high + 1))
            start.append(int(np.clip(free, low, high)))
        return cut(sample, start, self.size)


def _places(sample: Sample) -> list[np.ndarray]:
    """Flat indices of voxels to draw patches from, thinned evenly to `PLACES`.

    One array a class that is known somewhere, and one where the maps speak of an object.
    """
    known = np.flatnonzero(sample.labels.weight)
    classes = sample.labels.target.ravel()[known]
    groups = [known[classes == k] for k in np.unique(classes)]
    if sample.maps is not None and sample.maps[0].any():
        groups.append(np.flatnonzero(sample.maps[0]))
    return [group[:: max(1, len(group) // PLACES)] for group in groups]


def cut(sample: Sample, start: Sequence[int], size: Sequence[int]) -> Patches:
    """One patch at `start` (may be negative or reach beyond the image), without the axis of the batch."""
    shape = sample.labels.target.shape
    image = read_padded(sample.image, sample.statistics, start, size)
    inside, margins = _clip(start, size, shape)
    target = np.pad(sample.labels.target[inside], margins)
    weight = np.pad(sample.labels.weight[inside], margins)
    maps = np.zeros((0, *size), np.int32)
    if sample.maps is not None:
        maps = np.pad(sample.maps[(slice(None), *inside)], [(0, 0), *margins])
    return Patches(image, target, weight, maps)


def read_padded(
    image: Image, statistics: Statistics, start: Sequence[int], size: Sequence[int]
) -> np.ndarray:
    """Read and normalise a region (C, *size); beyond the border the outermost voxels are repeated."""
    inside, margins = _clip(start, size, image.shape)
    values = statistics.apply(np.asarray(image.data[(slice(None), *inside)]))
    return np.pad(values, [(0, 0), *margins], mode="edge") if np.any(margins) else values


def _clip(
    start: Sequence[int], size: Sequence[int], shape: Sequence[int]
) -> tuple[tuple[slice, ...], list[tuple[int, int]]]:
    """The part of a region inside the image, and how much is missing on both sides of each axis."""
    inside, margins = [], []
    for s, p, n in zip(start, size, shape, strict=True):
        low, high = max(s, 0), min(s + p, n)
        inside.append(slice(low, high))
        margins.append((low - s, s + p - high))
    return tuple(inside), margins


def tile_starts(length: int, tile: int, overlap: float) -> list[int]:
    """Where tiles begin along one axis: evenly spread, touching both ends, overlapping by at least `overlap`.

    An image smaller than the tile gets one tile, centred on it (its start is then negative).
    """
    if length <= tile:
        return [-((tile - length) // 2)]
    count = int(np.ceil((length - tile) / max(1, int(tile * (1 - overlap))))) + 1
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def gaussian_window(size: Sequence[int]) -> np.ndarray:
    """Weights of a tile: a Gaussian of σ = size/8 about its centre (Isensee et al. 2021), never 0."""
    window = np.ones(tuple(size), np.float32)
    for axis, n in enumerate(size):
        line = np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / max(n / 8, 0.5)) ** 2)
        window *= line.reshape([-1 if a == axis else 1 for a in range(len(size))]).astype(np.float32)
    return np.maximum(window, 1e-4)


def blocks(shape: Sequence[int], budget: int) -> Iterator[tuple[slice, ...]]:
    """Cut an image into equal blocks of at most `budget` voxels, halving the longest axis again and again."""
    parts = [1] * len(shape)
    while np.prod([-(-n // p) for n, p in zip(shape, parts, strict=True)]) > budget:
        longest = max(range(len(shape)), key=lambda axis: shape[axis] / parts[axis])
        parts[longest] += 1
    edges = [[round(i * n / p) for i in range(p + 1)] for n, p in zip(shape, parts, strict=True)]
    for index in np.ndindex(*parts):
        yield tuple(slice(e[i], e[i + 1]) for e, i in zip(edges, index, strict=True))


def slabs(shape: Sequence[int], budget: int) -> Iterator[slice]:
    """Cut the first axis into pieces of at most `budget` voxels, or of one layer where a layer is larger."""
    layers = max(1, budget // max(1, int(np.prod(shape[1:]))))
    for start in range(0, shape[0], layers):
        yield slice(start, min(start + layers, shape[0]))
