"""Where finished slices say that an object ends: background that nobody annotated, but the slices imply.

When people finish slices inside an object only, a network never sees what lies beyond its ends and fills it
with foreground. But the slices themselves tell where it ends, in three ways:

- From three on, the foreground's area falls from slice to slice. A parabola through the areas (exact for an
  ellipsoid) reaches zero where the object is over; slices beyond that, and a safety margin further out, are
  background.
- Two fit any parabola, but say what lies beside the object: its surface seldom runs flatter than 45° to the
  axis, so that d mm from a slice there is background where it is more than d mm to the slice's foreground;
  and where it lies along the slices, being long in them, its ends are seldom deeper than one and a half times
  half of its thickness. (Round slices may cross a long object.) That is wrong for a plate on edge, which a
  third slice would show.
- Slices along all three axes show the ends along each other's. A single one may run along the object, where
  45° is wrong, so what lies beside it must be said along two axes; and the object seldom reaches further than
  a third of the length that they show.

Implied background weighs less than what a person said. Ours; docs/sparse.md has its worth.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from wsseg.weak import WeakLabels

WEIGHT = 0.5  # implied background counts half of what a person said
SAFETY = 0.1  # of the object's length, added at both ends
SLICES = 3  # fewer slices fit any parabola
DEPTH = 1.5  # of an end, in half thicknesses of the outermost slice's foreground
LONG = 3.0  # discs of its thickness in a slice's foreground, beyond which the object lies along the slice
REACH = 0.3  # of the length that crossing slices show: what the object may have beyond it, at both ends
STRAY = 0.02  # more of a slice's foreground than this further aside than 45° says there are other objects


def imply_background(labels: WeakLabels, spacing: Sequence[float]) -> WeakLabels:
    """Add background that finished slices imply; unchanged where they imply none.

    Nothing is implied along an axis where one of them is empty (the person has shown the background already)
    or where the foreground touches the sides of the slices (then it may leave through the ends too), where
    the area of three or more does not fall towards the ends (a shaft), or where two, or those of three axes,
    do not lie within each other's 45° (there are more objects than they show).

    Args:
        labels: 3D weak labels; 2D ones come back unchanged.
        spacing: Size of a voxel per axis.
    """
    if labels.target.ndim != 3 or labels.known.all():
        return labels
    implied = np.zeros(labels.target.shape, bool)
    for axis in range(3):
        along = np.moveaxis(implied, axis, 0)
        if len(beyond := empty_slices(labels, axis)):
            along[beyond] = True
        else:
            along |= beside(labels, axis, spacing)
    implied |= crossing(labels, spacing)
    implied &= ~labels.known
    weight = np.where(implied, np.float32(WEIGHT), labels.weight)
    return replace(labels, target=np.where(implied, 0, labels.target), weight=weight)


def shows_no_end(labels: WeakLabels, spacing: Sequence[float]) -> bool:
    """Whether slices are finished inside an object only and nothing tells where it ends, along some axis.

    A network that is trained on such labels alone fills what lies beyond (docs/sparse.md, every 16th slice);
    two slices say something of what lies beside, but not enough. Args: as of `imply_background`.
    """
    if labels.target.ndim != 3 or labels.known.all() or crossing(labels, spacing).any():
        return False
    for axis in range(3):
        finished, foreground = _finished(labels, axis)
        inside = len(finished) and foreground.any((1, 2)).all()
        if inside and not len(empty_slices(labels, axis)):
            return True
    return False


def empty_slices(labels: WeakLabels, axis: int) -> np.ndarray:
    """Indices along `axis` that lie beyond the object's ends, as in `imply_background`."""
    finished, foreground = _finished(labels, axis)
    none = np.zeros(0, np.int64)
    if len(finished) < SLICES:
        return none
    areas = foreground.sum((1, 2))
    if areas.min() == 0 or _touches_sides(foreground):
        return none
    curve = np.polyfit(finished, areas, 2)
    roots = np.roots(curve)
    if curve[0] >= 0 or np.iscomplex(roots).any():
        return none
    first, last = sorted(roots.real)
    margin = SAFETY * (last - first)
    index = np.arange(labels.target.shape[axis])
    return index[(index < first - margin) | (index > last + margin)]


def beside(labels: WeakLabels, axis: int, spacing: Sequence[float]) -> np.ndarray:
    """What lies beside and beyond the foreground of two finished slices, as in `imply_background`.

    Between the two both must say so, before the first and behind the last that one.

    Returns:
        bool, `axis` first.
    """
    finished, foreground = _finished(labels, axis)
    out = np.zeros(np.moveaxis(labels.target, axis, 0).shape, bool)
    if len(finished) != 2 or not foreground.any((1, 2)).all() or _touches_sides(foreground):
        return out
    away = _away(foreground, axis, spacing)
    gap = float(finished[1] - finished[0]) * spacing[axis]
    if max((away[0][foreground[1]] > gap).mean(), (away[1][foreground[0]] > gap).mean()) > STRAY:
        return out
    out = _aside(away, finished, axis, spacing, len(out))
    depth = [_depth(one, axis, spacing) for one in foreground]
    index = np.arange(len(out))
    out[(finished[0] - index > depth[0]) | (index - finished[1] > depth[1])] = True
    return out


def crossing(labels: WeakLabels, spacing: Sequence[float]) -> np.ndarray:
    """What lies beside and beyond the foreground of slices along all three axes, as in `imply_background`.

    Two axes are too few: on 60 hippocampi, one slice along each of two of them calls up to 34 % of the object
    background, along all three 1.3 %.

    Returns:
        bool (*S).
    """
    out = np.zeros(labels.target.shape, bool)
    axes = [_finished(labels, axis) for axis in range(3)]
    for finished, foreground in axes:
        if not len(finished) or not foreground.any((1, 2)).all() or _touches_sides(foreground):
            return out
    said = np.zeros(out.shape, np.uint8)
    for axis, (finished, foreground) in enumerate(axes):
        along = np.moveaxis(said, axis, 0)
        along += _aside(_away(foreground, axis, spacing), finished, axis, spacing, len(along))
    marked = labels.known & (labels.target > 0)
    if (said[marked] > 1).mean() > STRAY:
        return out
    out = said > 1
    for axis in range(3):
        free = np.moveaxis(out, axis, 0)
        shown = np.flatnonzero(marked.any(tuple(a for a in range(3) if a != axis)))
        reach = REACH * (shown[-1] + 1 - shown[0])
        index = np.arange(len(free))
        free[(index < shown[0] - reach) | (index > shown[-1] + reach)] = True
    return out


def _depth(foreground: np.ndarray, axis: int, spacing: Sequence[float]) -> float:
    """How many slices an end seldom goes beyond this foreground (*plane); no bound where that is round."""
    grid = [s for a, s in enumerate(spacing) if a != axis]
    half = ndimage.distance_transform_edt(foreground, grid).max()
    discs = foreground.sum() * np.prod(grid) / (np.pi * half**2)
    return DEPTH * half / spacing[axis] if discs > LONG else np.inf


def _away(foreground: np.ndarray, axis: int, spacing: Sequence[float]) -> np.ndarray:
    """Distance to the foreground of each slice (N, *plane) within it."""
    grid = [s for a, s in enumerate(spacing) if a != axis]
    return np.stack([ndimage.distance_transform_edt(~one, grid) for one in foreground])


def _aside(
    away: np.ndarray, finished: np.ndarray, axis: int, spacing: Sequence[float], size: int
) -> np.ndarray:
    """Where 45° leave no room for what finished slices show: between two both must say so, else the nearest.

    Returns:
        bool (`size`, *plane).
    """
    out = np.ones((size, *away.shape[1:]), bool)
    for index in range(size):
        before = int(np.searchsorted(finished, index, "right")) - 1
        after = int(np.searchsorted(finished, index))
        for one in {max(before, 0), min(after, len(finished) - 1)}:
            out[index] &= away[one] > abs(index - finished[one]) * spacing[axis] + min(spacing)
    return out


def _finished(labels: WeakLabels, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices (N) of the slices along `axis` that are known throughout, and their foreground (N, *plane)."""
    finished = np.flatnonzero(labels.known.all(tuple(a for a in range(3) if a != axis)))
    return finished, np.moveaxis(labels.target, axis, 0)[finished] > 0


def _touches_sides(foreground: np.ndarray) -> bool:
    return bool(foreground[:, [0, -1]].any() or foreground[:, :, [0, -1]].any())
