"""Where finished slices say that an object ends: background that nobody annotated, but the slices imply.

When people finish slices inside an object only, a network never sees what lies beyond its ends and fills it
with foreground. But the slices themselves tell where it ends: the foreground's area falls from slice to
slice. A parabola through the areas (exact for an ellipsoid) reaches zero where the object is over; slices
beyond that, and a safety margin further out, become weak background. Ours; docs/sparse.md has its worth.
"""

from dataclasses import replace

import numpy as np

from wsseg.weak import WeakLabels

WEIGHT = 0.5  # implied background counts half of what a person said
SAFETY = 0.1  # of the object's length, added at both ends
SLICES = 3  # fewer slices fit any parabola


def imply_background(labels: WeakLabels) -> WeakLabels:
    """Add background beyond the ends that finished slices imply; unchanged where they imply none.

    Nothing is implied along an axis where fewer than three slices are finished, where one of them is empty
    (the person has shown the background already), where the foreground touches the sides of the slices
    (then it may leave through the ends too), or where its area does not fall towards the ends (a shaft).

    Args:
        labels: 3D weak labels; 2D ones come back unchanged.
    """
    if labels.target.ndim != 3 or labels.known.all():
        return labels
    implied = np.zeros(labels.target.shape, bool)
    for axis in range(3):
        np.moveaxis(implied, axis, 0)[empty_slices(labels, axis)] = True
    implied &= ~labels.known
    weight = np.where(implied, np.float32(WEIGHT), labels.weight)
    return replace(labels, target=np.where(implied, 0, labels.target), weight=weight)


def shows_no_end(labels: WeakLabels) -> bool:
    """Whether slices are finished inside an object only and nothing tells where it ends, along some axis.

    A network that is trained on such labels alone fills what lies beyond (docs/sparse.md, every 16th slice).
    """
    if labels.target.ndim != 3 or labels.known.all():
        return False
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        finished = labels.known.all(others)
        full = ((labels.target > 0) & labels.known).any(others)
        if finished.any() and full[finished].all() and not len(empty_slices(labels, axis)):
            return True
    return False


def empty_slices(labels: WeakLabels, axis: int) -> np.ndarray:
    """Indices along `axis` that lie beyond the object's ends, as in `imply_background`."""
    others = tuple(a for a in range(3) if a != axis)
    finished = np.flatnonzero(labels.known.all(others))
    none = np.zeros(0, np.int64)
    if len(finished) < SLICES:
        return none
    foreground = np.take(labels.target, finished, axis) > 0
    areas = foreground.sum(others)
    if areas.min() == 0 or _touches_sides(foreground, axis):
        return none
    curve = np.polyfit(finished, areas, 2)
    roots = np.roots(curve)
    if curve[0] >= 0 or np.iscomplex(roots).any():
        return none
    first, last = sorted(roots.real)
    margin = SAFETY * (last - first)
    index = np.arange(labels.target.shape[axis])
    return index[(index < first - margin) | (index > last + margin)]


def _touches_sides(foreground: np.ndarray, axis: int) -> bool:
    for side in range(3):
        if side != axis and (foreground.take(0, side).any() or foreground.take(-1, side).any()):
            return True
    return False
