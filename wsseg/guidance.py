"""Where the next hint helps most: slices of a volume, or windows of a picture, the best first.

The rule "doubt" takes what a person would look for: where the mask is in doubt, far from what is marked, and
in what looks like much of the rest. Doubt is one minus the margin between the two likeliest classes (Scheffer
et al. 2001, "Active hidden Markov models for information extraction"); that the doubtful should also stand
for the rest is Settles and Craven 2008 ("An analysis of active learning strategies for sequence labeling
tasks", section 3.4, information density) and, for segmentation, Yang et al. 2017 ("Suggestive annotation",
arXiv 1706.04737). We differ: slices and windows of one image in place of whole images, and doubt counts voxel
by voxel, times how far it is from the nearest mark.

Published evidence is mixed (arXiv 2412.08081: for a budget of slices active choice was no better than random
or fixed intervals), so both are rules of the same form here; docs/sparse.md has the measurement.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from typing import Literal, get_args

import numpy as np
from scipy import ndimage

from wsseg.features import Features, Region

Rule = Literal["doubt", "intervals", "random"]
WINDOWS = 8  # along the shorter side of a picture, each overlapping half of the next
LEAST = 16  # pixels that a window has at least, where the picture has them
CELLS = 16  # across a slice; 8 times as many across a picture
NEAR = 1.0  # voxels from a mark, where doubt counts half


@dataclass(frozen=True, eq=False)
class Situation:
    """How far the work on one image is.

    Attributes:
        known: bool (*S), what is marked.
        spacing: Size of a voxel per axis.
        doubt: (*S), 0 sure to 1 in doubt, see `doubt_of`; None = nothing is predicted yet.
        features: Of the image, to tell what looks alike; None = all looks alike.

    Raises:
        ValueError: They are of different shapes, or there are not two or three axes.
    """

    known: np.ndarray
    spacing: tuple[float, ...]
    doubt: np.ndarray | None = None
    features: Features | None = None

    def __post_init__(self) -> None:
        shape = self.known.shape
        if len(shape) not in (2, 3) or len(self.spacing) != len(shape):
            raise ValueError(f"known {shape} and spacing {self.spacing}: two or three axes of both are right")
        for name, other in (("doubt", self.doubt), ("features", self.features)):
            if other is not None and other.shape != shape:
                raise ValueError(f"{name} {other.shape} and known {shape} differ in shape")


@dataclass(frozen=True)
class Suggestion:
    """A place to mark next.

    Attributes:
        region: The slice, or the window.
        axis: The slice's; None of a window.
        score: To compare with others of the same rule.
        doubt: Its mean doubt, 0 to 1; marked voxels have none.
        distance: Mean distance of its voxels to the nearest mark, in the unit of the spacing; infinite where
            nothing is marked.
        likeness: How much the others look like it, 0 to 1.
    """

    region: Region
    axis: int | None
    score: float
    doubt: float
    distance: float
    likeness: float

    @property
    def index(self) -> int | None:
        """Of the slice; None of a window."""
        return None if self.axis is None else self.region[self.axis].start

    @property
    def centre(self) -> tuple[int, ...]:
        """The voxel in the middle."""
        return tuple((part.start + part.stop) // 2 for part in self.region)


def doubt_of(probabilities: np.ndarray) -> np.ndarray:
    """One minus the margin between the two likeliest classes.

    Args:
        probabilities: (K, *S), adding up to 1 over K.

    Returns:
        float32 (*S), 0 sure to 1 in doubt; 0 where there is one class only.
    """
    if len(probabilities) < 2:
        return np.zeros(probabilities.shape[1:], np.float32)
    first, second = np.maximum(*probabilities[:2]), np.minimum(*probabilities[:2])
    for other in probabilities[2:]:  # far sooner than np.partition along the first axis
        second = np.maximum(second, np.minimum(first, other))
        first = np.maximum(first, other)
    return (1 - (first - second)).astype(np.float32)


def suggest(
    now: Situation,
    rule: Rule = "doubt",
    *,
    axes: Sequence[int] | None = None,
    count: int = 1,
    seed: int = 0,
) -> list[Suggestion]:
    """Where the next hints help most.

    Each place is chosen as if those before it were marked already, so that a list names no neighbours. Where
    nothing is in doubt, "doubt" goes by intervals.

    Args:
        now: How far the work is.
        rule: "doubt"; "intervals", the middle of the widest gap, as somebody would who spreads slices evenly;
            or "random".
        axes: Along which slices of a volume lie, None = any. A picture has windows instead.
        count: How many are wanted.
        seed: Of the rule "random".

    Returns:
        The best first; fewer where all else is fully marked.

    Raises:
        ValueError: There is no such rule, or no such axis.
    """
    if rule not in get_args(Rule):
        raise ValueError(f"rule {rule!r}: one of {', '.join(get_args(Rule))} is right")
    ndim = now.known.ndim
    wanted: list[int | None] = [None] if ndim == 2 else list(range(3) if axes is None else axes)
    if ndim == 3 and not set(wanted) <= {0, 1, 2}:
        raise ValueError(f"axes {tuple(wanted)}: a volume has the axes 0, 1 and 2")
    views = [_View(now, axis) for axis in wanted]
    rng = np.random.default_rng((seed, 0x5166))
    found: list[Suggestion] = []
    while len(found) < count and (places := [place for view in views for place in view.places()]):
        scores = np.array([place.score for place in places])
        if rule == "random":
            scores = rng.random(len(places))
        elif rule == "intervals" or not scores.any():
            scores = np.array([_gap(place, now) for place in places])
        best = int(scores.argmax())
        found.append(replace(places[best], score=float(scores[best])))
        for view in views:
            view.mark(places[best].region)
    return found


def likeness(features: Features, regions: Sequence[Region]) -> np.ndarray:
    """How much the other places look like each, on average.

    A place is described by the means of its features, standardised over the places; two of them are alike by
    a Gaussian of the distance between these, as wide as the mean distance.

    Args:
        features: Of the image.
        regions: The places (N).

    Returns:
        (N), above 0 to 1.
    """
    described = np.stack([_description(features, region) for region in regions])  # (N, F)
    described = (described - described.mean(0)) / np.maximum(described.std(0), 1e-6)
    square = np.square(described).sum(1)
    apart = np.maximum(square[:, None] + square - 2 * described @ described.T, 0)  # (N, N)
    return np.exp(-apart / max(apart.mean(), 1e-6)).mean(1)


def _description(features: Features, region: Region) -> np.ndarray:
    """The mean of every feature over the places of its grid that a region touches: (F)."""
    means = []
    for level in features.levels:
        cut = [slice(r.start // s, -(-r.stop // s)) for r, s in zip(region, level.step, strict=True)]
        values = level.values[(slice(None), *cut)].reshape(len(level.values), -1)
        means.append(values.mean(1, dtype=np.float32))
    return np.concatenate(means)


class _View:
    """An image cut along one axis, or a picture cut into windows.

    Looked at in cells, means of voxels within a slice, so that distances in a volume cost next to nothing.

    Args:
        now: How far the work is.
        axis: Along which slices lie, None = windows.
    """

    def __init__(self, now: Situation, axis: int | None) -> None:
        self.now, self.axis = now, axis
        cells = CELLS if axis is not None else 8 * CELLS
        shape = now.known.shape
        self.step = [1 if a == axis else -(-n // cells) for a, n in enumerate(shape)]
        count = [-(-n // s) for n, s in zip(shape, self.step, strict=True)]
        self.cuts = _slices(count, axis) if axis is not None else _windows(count, self.step)
        self.regions = [
            tuple(
                slice(c.start * s, min(c.stop * s, n)) for c, s, n in zip(cut, self.step, shape, strict=True)
            )
            for cut in self.cuts
        ]
        self.marked = _cells(now.known, self.step)  # the share of each cell
        self.doubt = np.zeros_like(self.marked)
        if now.doubt is not None:
            self.doubt = _cells(np.where(now.known, 0, now.doubt), self.step)
        alike = None if now.features is None else likeness(now.features, self.regions)
        self.likeness = np.ones(len(self.cuts)) if alike is None else alike

    def mark(self, region: Region) -> None:
        """Take all of a place for marked."""
        covers = [
            _covered(part, s, n) for part, s, n in zip(region, self.step, self.now.known.shape, strict=True)
        ]
        free = 1 - reduce(np.multiply.outer, covers)
        self.marked, self.doubt = 1 - (1 - self.marked) * free, self.doubt * free

    def places(self) -> list[Suggestion]:
        """All that is not fully marked, with its worth by the rule "doubt"."""
        spacing, marked, doubt = np.multiply(self.step, self.now.spacing), self.marked, self.doubt
        away = np.full(marked.shape, np.inf)
        if marked.any():
            away = ndimage.distance_transform_edt(marked == 0, spacing)
        near = NEAR * min(self.now.spacing)
        far = 1 - near / (away + near)  # 0 at a mark, 1 where there is none
        found = []
        for cut, region, alike in zip(self.cuts, self.regions, self.likeness, strict=True):
            if marked[cut].min() < 1:
                score = float((doubt[cut] * far[cut]).mean() * alike)
                distance = float(away[cut].mean())
                found.append(
                    Suggestion(region, self.axis, score, float(doubt[cut].mean()), distance, float(alike))
                )
        return found


def _slices(count: Sequence[int], axis: int) -> list[Region]:
    """All slices along an axis, in cells."""
    whole = [slice(0, n) for n in count]
    return [(*whole[:axis], slice(i, i + 1), *whole[axis + 1 :]) for i in range(count[axis])]


def _windows(count: Sequence[int], step: Sequence[int]) -> list[Region]:
    """Square windows in cells, each overlapping half of the next; the last end where the picture does."""
    ranges = []
    for n, s in zip(count, step, strict=True):
        side = min(n, max(-(-LEAST // s), min(count) // WINDOWS))
        starts = [*range(0, n - side, max(1, side // 2)), n - side]
        ranges.append([slice(start, start + side) for start in starts])
    return list(product(*ranges))


def _covered(part: slice, step: int, size: int) -> np.ndarray:
    """Which share of each cell along an axis a part of it covers."""
    start = np.arange(0, size, step)
    stop = np.minimum(start + step, size)
    return np.maximum(np.minimum(stop, part.stop) - np.maximum(start, part.start), 0) / (stop - start)


def _cells(values: np.ndarray, step: Sequence[int]) -> np.ndarray:
    """Means of blocks, float32; the last one of an axis may be smaller."""
    out: np.ndarray = values.astype(np.float32)
    for axis, s in enumerate(step):
        if s > 1:
            starts = np.arange(0, out.shape[axis], s)
            sizes = np.diff([*starts, out.shape[axis]]).astype(np.float32)
            out = np.add.reduceat(out, starts, axis) / sizes.reshape(-1, *[1] * (out.ndim - 1 - axis))
    return out


def _gap(place: Suggestion, now: Situation) -> float:
    """How wide the gap is that a place lies in: as far as the nearest mark, or twice as far as the border.

    So a first slice lies in the middle, and in the end those at the ends lie half a gap from the border.
    """
    shape = now.known.shape
    to_border = [
        min(part.start + part.stop, 2 * n - part.start - part.stop) * s
        for part, n, s in zip(place.region, shape, now.spacing, strict=True)
        if part.stop - part.start < n
    ]
    return min([place.distance, *to_border])
