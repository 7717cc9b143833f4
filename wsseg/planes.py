"""Which planes of a volume tell most about it, and how a plane is turned for the screen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_NEAR_BEST = 0.75  # a slice with this share of the fullest slice's objects is as good to look at


@dataclass(frozen=True)
class Plane:
    """A cut through an image.

    Attributes:
        axis: The spatial axis it is perpendicular to; None where the image is itself a plane.
        index: Where along that axis.
        hint_index: The place nearest to `index` that has hints; `index` itself where it has, or none has.
    """

    axis: int | None
    index: int
    hint_index: int


def choose_planes(hints: np.ndarray, labels: np.ndarray) -> list[Plane]:
    """One plane an axis, where the objects are; along the axis of finished slices far from all of them.

    So the result is shown where nobody annotated, and the other two planes show the slices as lines.

    Args:
        hints: Hint map (*S).
        labels: Mask (*S), 0 background, that tells where the objects are.

    Returns:
        For a volume three planes, the last axis first; for a picture a single one.
    """
    if hints.ndim == 2:
        return [Plane(None, 0, 0)]
    return [_choose(axis, hints, labels) for axis in reversed(range(hints.ndim))]


def _choose(axis: int, hints: np.ndarray, labels: np.ndarray) -> Plane:
    others = tuple(a for a in range(hints.ndim) if a != axis)
    marked = np.count_nonzero(hints, axis=others)
    finished = marked >= hints.size / hints.shape[axis] / 2
    fullness = _fullness(axis, labels)
    sparse = finished.any() and finished.mean() <= 0.5 and fullness[~finished].any()
    if not fullness.any():
        fullness = 1.0 - np.abs(np.linspace(-1, 1, len(fullness)))  # nothing to see: the middle

    good = fullness >= _NEAR_BEST * fullness[~finished].max() if sparse else fullness == fullness.max()
    candidates = np.flatnonzero(good & ~finished if sparse else good)
    if sparse:
        gaps = np.abs(candidates[:, None] - np.flatnonzero(finished)).min(1)
        candidates = candidates[gaps == gaps.max()]
    index = int(candidates[np.argmax(fullness[candidates])])

    places = np.flatnonzero(marked)
    nearest = int(places[np.argmin(np.abs(places - index))]) if len(places) and not marked[index] else index
    return Plane(axis, index, nearest)


def _fullness(axis: int, labels: np.ndarray) -> np.ndarray:
    """How full of objects each slice is; every class counts the same, however small it is."""
    others = tuple(a for a in range(labels.ndim) if a != axis)
    total = np.zeros(labels.shape[axis])
    for class_id in np.setdiff1d(labels, [0]):
        area = np.count_nonzero(labels == class_id, axis=others)
        total += area / area.max()
    return total


def cut(array: np.ndarray, plane: Plane, axes: str, *, at_hints: bool = False) -> np.ndarray:
    """Cut a plane out of `array` (..., *S) and turn it as people look at it: rows run down the screen.

    x goes to the right where the plane has it, z is upright. Arrays stored x first (NIfTI) show y and z
    upwards, as radiologists do; the others y downwards, as pictures do.

    Args:
        array: Any array whose last axes are the spatial ones.
        plane: Where to cut.
        axes: The name of each spatial axis as stored: "xyz", "zyx", "yx" or "xy".
        at_hints: Cut at `plane.hint_index` instead of `plane.index`.

    Returns:
        The plane (..., rows, columns).
    """
    if plane.axis is not None:
        index = plane.hint_index if at_hints else plane.index
        array = np.take(array, index, axis=plane.axis - len(axes))
    names = [name for axis, name in enumerate(axes) if axis != plane.axis]
    if "zyx".index(names[0]) > "zyx".index(names[1]):
        array = array.swapaxes(-1, -2)
    return array[..., ::-1, :] if axes[0] == "x" else array


def extent(shape: Sequence[int], spacing: Sequence[float], plane: Plane, axes: str) -> tuple[float, float]:
    """Height and width of a plane as `cut` turns it, in the unit of `spacing`."""
    sizes = {n: shape[a] * spacing[a] for a, n in enumerate(axes) if a != plane.axis}
    height, width = (sizes[name] for name in "zyx" if name in sizes)
    return height, width
