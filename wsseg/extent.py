"""Where finished slices say that an object ends: background that nobody annotated, but the slices imply.

When people finish slices inside an object only, a network never sees what lies beyond its ends and fills it
with foreground. But the slices themselves tell where it ends, in two ways:

- From three on, the foreground's area falls from slice to slice. A parabola through the areas (exact for an
  ellipsoid) reaches zero where the object is over; slices beyond that, and a safety margin further out, are
  background.
- Two fit any parabola, but say what lies beside the object: its surface seldom runs flatter than 45° to the
  axis, so that d mm from a slice there is background where it is more than d mm to the slice's foreground;
  and its ends are seldom deeper than one and a half times half of its thickness. That is wrong for a shaft,
  which a third slice would show.

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
STRAY = 0.02  # more of a slice's foreground than this further aside than 45° says there are other objects


def imply_background(labels: WeakLabels, spacing: Sequence[float]) -> WeakLabels:
    """Add background that finished slices imply; unchanged where they imply none.

    Nothing is implied along an axis where one of them is empty (the person has shown the background already)
    or where the foreground touches the sides of the slices (then it may leave through the ends too), where
    the area of three or more does not fall towards the ends (a shaft), or where two do not lie within each
    other's 45° (there are more objects than they show).

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
    implied &= ~labels.known
    weight = np.where(implied, np.float32(WEIGHT), labels.weight)
    return replace(labels, target=np.where(implied, 0, labels.target), weight=weight)


def shows_no_end(labels: WeakLabels) -> bool:
    """Whether slices are finished inside an object only and nothing tells where it ends, along some axis.

    A network that is trained on such labels alone fills what lies beyond (docs/sparse.md, every 16th slice);
    two slices say something of what lies beside, but not enough.
    """
    if labels.target.ndim != 3 or labels.known.all():
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
    grid = [s for a, s in enumerate(spacing) if a != axis]
    away = np.stack([ndimage.distance_transform_edt(~one, grid) for one in foreground])
    gap = float(finished[1] - finished[0]) * spacing[axis]
    if max((away[0][foreground[1]] > gap).mean(), (away[1][foreground[0]] > gap).mean()) > STRAY:
        return out
    depth = [DEPTH * ndimage.distance_transform_edt(one, grid).max() for one in foreground]
    for index in range(len(out)):
        along = abs(index - finished) * spacing[axis]
        aside = away > along[:, None, None] + min(spacing)
        if finished[0] < index < finished[1]:
            out[index] = aside.all(0)
        else:
            end = 0 if index <= finished[0] else 1
            out[index] = True if along[end] > depth[end] else aside[end]
    return out


def _finished(labels: WeakLabels, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices (N) of the slices along `axis` that are known throughout, and their foreground (N, *plane)."""
    finished = np.flatnonzero(labels.known.all(tuple(a for a in range(3) if a != axis)))
    return finished, np.moveaxis(labels.target, axis, 0)[finished] > 0


def _touches_sides(foreground: np.ndarray) -> bool:
    return bool(foreground[:, [0, -1]].any() or foreground[:, :, [0, -1]].any())
