"""An answer while one draws: trees on features that are there already, grown anew after every stroke.

A network takes minutes; a person who draws wants to see within a third of a second what a stroke has done. So
what is costly, the features, is computed once an image (`wsseg.features`), and only a head is fitted to the
painted voxels: extremely randomised trees (Geurts et al. 2006, "Extremely randomized trees"), which need a
fraction of the time of a random forest and are about as good here; docs/sparse.md has the rivals.

All classes weigh the same, however much is painted of each: how much a person paints says nothing about how
large a class is. Where two classes of the same size overlapped and 40 times as much was painted of one, it
got 68 % of the image, without weights 96 %. Deterministic: the same features, labels and seed give the same
answer, whatever was painted and taken back in between.
"""

import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier

from wsseg.features import Features, Region
from wsseg.steps import Step
from wsseg.weak import WeakLabels

TREES = 12  # 20 take longer and are no better
DEPTH = 12
MOST = 5000  # voxels of a class that are learnt from; finished slices hold far more, and many alike
FEW = 500  # and where another class has few, no more than this
TIMES = 5  # or than so many times as many: weights alone leave a bias where paint is very unequal
THIN = 8  # voxels along its longest axis that a thread answers at least
PIECE = 2**17  # voxels answered at once: half of 512², eight slices of 128²


@dataclass(frozen=True, eq=False)
class Head:
    """What was learnt from the painted voxels of one image.

    Attributes:
        trees: Fitted to rows of features; its classes are network outputs.
        classes: K, background among them.
    """

    trees: ExtraTreesClassifier
    classes: int

    def probabilities(self, features: Features, where: Region) -> np.ndarray:
        """How likely each class is at every voxel of a part of the image.

        Args:
            features: Of the image that the head was fitted to.
            where: Start and stop along each axis.

        Returns:
            float32 (K, *part); 0 for a class that nobody has painted.
        """
        along, parts = _shares(where, os.cpu_count() or 1)
        with ThreadPoolExecutor(len(parts)) as pool:
            found = list(pool.map(lambda part: self._of(features, part), parts))
        return np.concatenate(found, along + 1)

    def sparse(self, features: Features, every: Sequence[int]) -> Generator[Step, None, np.ndarray]:
        """The same for one voxel of each block of so many along each axis: float32 (K, *G), slab by slab."""
        grid = [middles(n, step) for n, step in zip(features.shape, every, strict=True)]
        size = [len(line) for line in grid]
        thick = max(1, PIECE // int(np.prod(size[1:])))
        slabs = []
        for start in range(0, size[0], thick):
            stop = min(start + thick, size[0])
            if max(every) == 1:
                where = (slice(start, stop), *(slice(0, n) for n in size[1:]))
                slabs.append(self.probabilities(features, where))
            else:
                places = np.stack(np.meshgrid(grid[0][start:stop], *grid[1:], indexing="ij"), -1)
                said = self.at(features, places.reshape(-1, len(grid)))
                slabs.append(said.reshape(-1, *places.shape[:-1]))
            yield Step("answer", stop, size[0])
        return np.concatenate(slabs, 1)

    def at(self, features: Features, places: np.ndarray) -> np.ndarray:
        """The same for single voxels, places (N, axes): float32 (K, N)."""
        return self._says(features.at(places))

    def _of(self, features: Features, where: Region) -> np.ndarray:
        """The same for the share of one thread."""
        values = features.region(where)  # (F, *part)
        return self._says(values.reshape(len(values), -1).T).reshape(-1, *values.shape[1:])

    def _says(self, features: np.ndarray) -> np.ndarray:
        """Rows of features (N, F) -> float32 (K, N)."""
        rows = np.ascontiguousarray(features)
        # not the forest's own predict_proba: it adds trees up in the order in which threads end, and warns
        # where it is called from a thread
        trees = self.trees.estimators_
        total: np.ndarray = sum(tree.predict_proba(rows, check_input=False) for tree in trees)
        out = np.zeros((self.classes, len(rows)), np.float32)
        out[self.trees.classes_] = (total / len(trees)).T
        return out


def fit_head(features: Features, labels: WeakLabels, classes: int, *, seed: int = 0) -> Head:
    """Fit a head to what is painted, in some tens of milliseconds.

    Args:
        features: Of the image.
        labels: What is known of it.
        classes: K, background among them; at least one must be painted.
        seed: Of the run.

    Raises:
        ValueError: Nothing is painted, or the labels are of another shape than the image.
    """
    if labels.target.shape != features.shape:
        raise ValueError(f"labels {labels.target.shape} and image {features.shape} differ in shape")
    places, target, weight = _painted(labels, classes, np.random.default_rng((seed, 0x1257)))
    trees = ExtraTreesClassifier(TREES, max_depth=DEPTH, random_state=seed)
    return Head(trees.fit(features.at(places), target, weight), classes)


def middles(size: int, step: int) -> np.ndarray:
    """Where the middle of each block of `step` voxels lies on an axis, int (⌈size/step⌉).

    An even block has two voxels beside its middle: they are taken in turn, or all would be shifted one way.
    """
    start = np.arange(0, size, step)
    turn = np.arange(len(start)) % 2 if step % 2 == 0 else 0
    return np.minimum(start + step // 2 - turn, size - 1)


@dataclass
class Focus:
    """What is looked at; may be changed while answers are given.

    Attributes:
        region: Start and stop along each axis, one voxel along the axis that a slice is seen from.
    """

    region: Region


def answer(
    features: Features, head: Head, labels: WeakLabels, focus: Focus
) -> Generator[tuple[Region, np.ndarray], None, None]:
    """The classes of all voxels, piece by piece: what is looked at first, then what is nearest to it.

    Painted voxels keep their class. It can be stopped between two pieces, and a change of `focus` changes
    what comes next.

    Args:
        features: Of the image.
        head: Fitted on them.
        labels: What the head was fitted to.
        focus: What is looked at.

    Yields:
        A place, and how likely each class is there, float32 (K, *place).
    """
    left = list(_pieces(features.shape, focus.region))
    while left:
        nearest = min(range(len(left)), key=lambda index: _gap(left[index], focus.region))
        where = left.pop(nearest)
        chances = head.probabilities(features, where)
        known = labels.weight[where] > 0
        chances[:, known] = np.eye(len(chances), dtype=np.float32)[labels.target[where][known]].T
        yield where, chances


def _painted(
    labels: WeakLabels, classes: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places (N, axes) to learn from, their classes (N) and weights (N), which add up to 1 for each class."""
    where = np.flatnonzero(labels.weight)
    target, weight = labels.target.ravel()[where], labels.weight.ravel()[where].astype(np.float64)
    found = [of_class for k in range(classes) if len(of_class := np.flatnonzero(target == k))]
    if not found:
        raise ValueError("labels: nothing is painted")
    most = min(MOST, max(FEW, TIMES * min(map(len, found))))
    for index, of_class in enumerate(found):
        if len(of_class) > most:
            found[index] = of_class = np.sort(rng.choice(of_class, most, replace=False))
        weight[of_class] /= weight[of_class].sum()
    order = np.concatenate(found)
    return np.stack(np.unravel_index(where[order], labels.target.shape), 1), target[order], weight[order]


def _pieces(shape: Sequence[int], seen: Region) -> Iterator[Region]:
    """Cut an image into pieces of at most about `PIECE` voxels: slabs of slices as they are looked at."""
    size = list(shape)
    for axis in sorted(range(len(shape)), key=lambda axis: seen[axis].stop - seen[axis].start):
        size[axis] = max(1, min(size[axis], PIECE * size[axis] // int(np.prod(size))))
    ranges = [[slice(i, min(i + s, n)) for i in range(0, n, s)] for s, n in zip(size, shape, strict=True)]
    yield from product(*ranges)


def _shares(where: Region, threads: int) -> tuple[int, list[Region]]:
    """Cut a part of an image along its longest axis, a share a thread; the axis, and the shares."""
    axis = max(range(len(where)), key=lambda axis: where[axis].stop - where[axis].start)
    start, stop = where[axis].start, where[axis].stop
    edges = np.linspace(start, stop, max(1, min(threads, (stop - start) // THIN)) + 1).astype(int)
    shares = [(*where[:axis], slice(int(a), int(b)), *where[axis + 1 :]) for a, b in pairwise(edges)]
    return axis, shares


def _gap(piece: Region, seen: Region) -> tuple[int, float]:
    """How far a piece lies from what is seen: between their faces, then between their centres."""
    faces = max(max(p.start - s.stop + 1, s.start - p.stop + 1, 0) for p, s in zip(piece, seen, strict=True))
    centres = sum((p.start + p.stop - s.start - s.stop) ** 2 for p, s in zip(piece, seen, strict=True))
    return faces, centres
