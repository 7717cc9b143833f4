"""A simulated annotator: a dense truth -> the hints that a person would have given.

Times are rough, per thing marked, and measured on photographs: Bearman et al. 2016 (arXiv 1506.02106), where
1 s a class to look for, 2.4 s a click, 10.9 s a scribble and 79 s an outline add up to 22.1 s (clicks) and
239.7 s (full masks) an image, and Papadopoulos et al. 2017 (arXiv 1708.02750), 7 s a box.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from wsseg.boxes import moved
from wsseg.errors import InputError
from wsseg.formats.labels import count_values
from wsseg.hints import BACKGROUND, Box, Click, Tag
from wsseg.strokes import draw_strokes

KINDS = ("scribbles", "slices", "clicks", "boxes", "tags")
SECONDS = {"look": 1.0, "click": 2.4, "box": 7.0, "scribble": 10.9, "outline": 79.0}
"""A person's time for each: to look for a class in an image, and to mark an object once."""

_EVERY = 8  # slices, where nothing else is asked for
_SCRIBBLED = 5  # slices of a volume that are scribbled on
_FINE = 200_000  # voxels of an object's box, above which its depth is looked at on a coarser grid
_CRUMB = 0.01  # of its class's largest object: so small a piece is passed over by a person who clicks


@dataclass(frozen=True, eq=False)
class RobotHints:
    """The hints given on one image.

    Attributes:
        scribbles: Hint map uint8 (*S) of scribbles or finished slices, or None.
        clicks, boxes: In voxels of the truth.
        tags: None where not tagged.
        annotated_share: Share of the voxels that were given a class or background by hand; a box and a tag
            give none.
        seconds: Estimate of the time a person needs (see `SECONDS`).
    """

    scribbles: np.ndarray | None = None
    clicks: tuple[Click, ...] = ()
    boxes: tuple[Box, ...] = ()
    tags: frozenset[Tag] | None = None
    annotated_share: float = 0.0
    seconds: float = 0.0


def annotate(
    truth: np.ndarray,
    kind: str,
    *,
    rng: np.random.Generator,
    spacing: Sequence[float] | None = None,
    every: int | None = None,
    count: int | None = None,
    axis: int | Literal["orthogonal"] = 0,
    inside: bool = False,
    instances: bool = False,
    pixels: int = 100,
    jitter: float = 0.0,
) -> RobotHints:
    """Mark one image or volume as a person would.

    - "slices": slices of a volume are finished, a picture is finished whole; what is no object there is
      background. Every K-th slice from K//2 on (at least one), or `count` evenly spaced ones.
    - "scribbles": strokes in the objects and around them; in a volume on `count` slices with objects (5), on
      one more for each class that these miss, and on an empty one at either end; or on every K-th slice.
    - "clicks": one in each object, or in `count` of them with each class among these; and on background.
    - "boxes": one around each object, half-open.
    - "tags": the classes of the image or, with `every` or `count`, of these slices of a volume.

    An object is a connected piece of a class (corners connect) or, with `instances`, a value of the truth.

    Args:
        truth: Whole numbers (*S) ≥ 0, 0 = background.
        kind: One of `KINDS`.
        rng: Chance; the same state gives the same hints.
        spacing: Size of a voxel along each axis, for the depth inside of an object; None = 1.
        every: Each how many slices.
        count: How many slices, or objects to click.
        axis: Along which axis slices are counted; "orthogonal" marks such slices along each of the axes.
        inside: Slices and tags: only where along the axis there are objects.
        instances: The truth is an instance map; all objects are of class 1.
        pixels: Scribbles: about how many pixels a picture or slice.
        jitter: Boxes: how far each face may be off, as a share of the box's side.

    Raises:
        InputError: An argument does not fit, or the truth is no mask of classes 1…254.
    """
    check_options(kind, every=every, count=count, axis=axis, pixels=pixels, jitter=jitter)
    _check(truth, axis, instances)
    truth = truth.astype(np.uint8) if truth.dtype == bool else truth
    axes = range(truth.ndim) if axis == "orthogonal" else (int(axis),)
    classes = (truth != 0).astype(np.uint8) if instances else truth
    if kind == "clicks":
        return _clicks(classes, _objects(truth, instances), rng, spacing, count, clean=not instances)
    if kind == "boxes":
        return _boxes(truth.shape, _objects(truth, instances), rng, jitter)
    places: list[tuple[int, int] | None] = [None]  # a picture is its own only slice
    if truth.ndim == 3 and kind == "scribbles" and every is None:
        places = [(a, i) for a in axes for i in _told_slices(classes, a, count or _SCRIBBLED)]
    elif truth.ndim == 3 and not (kind == "tags" and every is None and count is None):
        places = [(a, i) for a in axes for i in slice_numbers(classes, a, every, count, inside)]
    if kind == "tags":
        return _tags(classes, places)
    return _painted(truth, classes, places, rng, instances, pixels if kind == "scribbles" else None)


def slice_numbers(
    classes: np.ndarray, axis: int, every: int | None = None, count: int | None = None, inside: bool = False
) -> list[int]:
    """The slices to mark along an axis.

    Args:
        classes: Mask (*S).
        axis: Along which axis.
        every: Every K-th, from K//2 on, or the middle one where there is no such slice; 8 by default.
        count: Instead, k of them at the fractions (i + 0.5)/k; all where there are fewer.
        inside: Only between the first and the last slice with an object; with no object, over all slices.
    """
    start, stop = _extent(classes, axis) if inside else (0, classes.shape[axis])
    if count is not None:
        return sorted({start + int((i + 0.5) / count * (stop - start)) for i in range(count)})
    step = _EVERY if every is None else every
    return list(range(start + step // 2, stop, step)) or [(start + stop) // 2]


def _told_slices(classes: np.ndarray, axis: int, count: int) -> list[int]:
    """Slices to scribble on: evenly over the objects, with every class, and an empty one at either end."""
    others = tuple(a for a in range(classes.ndim) if a != axis)
    where = {k: np.flatnonzero((classes == k).any(axis=others)) for k in _values(classes)}
    if not where:
        return [classes.shape[axis] // 2]
    filled = np.unique(np.concatenate(list(where.values())))
    chosen = {int(filled[int((i + 0.5) / count * len(filled))]) for i in range(count)}
    for places in where.values():
        if not chosen & set(places.tolist()):
            chosen.add(int(places[len(places) // 2]))
    first, last, size = int(filled[0]), int(filled[-1]), classes.shape[axis]
    empty = ([first // 2] if first > 0 else []) + ([(last + size) // 2] if last < size - 1 else [])
    return sorted(chosen | set(empty))


def _extent(classes: np.ndarray, axis: int) -> tuple[int, int]:
    others = tuple(a for a in range(classes.ndim) if a != axis)
    filled = np.flatnonzero(classes.any(axis=others))
    return (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, classes.shape[axis])


@dataclass(frozen=True, eq=False)
class _Object:
    class_id: int
    window: tuple[slice, ...]
    mask: np.ndarray  # bool, of the window


def _objects(truth: np.ndarray, instances: bool) -> list[_Object]:
    """The objects of an image, by class and then in the order of their values or places."""
    ids = [1] if instances else _values(truth)
    found = []
    for k in ids:
        pieces = _by_rank(truth) if instances else _pieces(truth == k)
        for index, window in enumerate(ndimage.find_objects(pieces), 1):
            if window is not None:
                found.append(_Object(k, window, pieces[window] == index))
    return found


def _pieces(mask: np.ndarray) -> np.ndarray:
    return ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, mask.ndim))[0]


def _by_rank(labels: np.ndarray) -> np.ndarray:
    """Instance values replaced by 1, 2, 3 … so that a large value costs nothing."""
    return np.where(labels != 0, np.searchsorted(np.array(_values(labels)), labels) + 1, 0)


def _painted(
    truth: np.ndarray,
    classes: np.ndarray,
    places: Sequence[tuple[int, int] | None],
    rng: np.random.Generator,
    instances: bool,
    pixels: int | None,
) -> RobotHints:
    """Slices that are scribbled on with `pixels` pixels each or, without this number, finished."""
    hints = np.zeros(truth.shape, np.uint8)
    seconds = SECONDS["look"] * len(places) * max(1, len(_values(classes)))
    for place in places:
        window = _slice(truth.ndim, place)
        plane = classes[window]
        pieces = [_pieces(plane == k) for k in _values(plane)]
        if pixels is None:
            outlines = len(_values(truth[window])) if instances else sum(p.max() for p in pieces)
            hints[window] = np.where(plane, plane, BACKGROUND)
            seconds += SECONDS["outline"] * int(outlines)
            continue
        objects = _by_rank(truth[window]) if instances else _stacked(pieces, plane.shape)
        drawn, strokes = draw_strokes(plane, objects, rng=rng, pixels=pixels)
        # slices along other axes may cross; what stands there stays
        hints[window] = np.where(hints[window] == 0, drawn, hints[window])
        seconds += SECONDS["scribble"] * strokes
    share = np.count_nonzero(hints) / hints.size
    return RobotHints(scribbles=hints, annotated_share=share, seconds=seconds)


def _values(labels: np.ndarray) -> list[int]:
    return [value for value in count_values(labels) if value]


def _stacked(pieces: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Pieces of different classes numbered on in one map."""
    objects = np.zeros(shape, np.int64)
    for piece in pieces:
        objects = np.where(piece > 0, piece + objects.max(), objects)
    return objects


def _slice(ndim: int, place: tuple[int, int] | None) -> tuple[slice | int, ...]:
    return tuple(place[1] if place and a == place[0] else slice(None) for a in range(ndim))


def _clicks(
    classes: np.ndarray,
    objects: Sequence[_Object],
    rng: np.random.Generator,
    spacing: Sequence[float] | None,
    count: int | None,
    clean: bool,
) -> RobotHints:
    sizes = np.array([np.count_nonzero(found.mask) for found in objects])
    largest = {
        k: max(n for n, o in zip(sizes, objects, strict=True) if o.class_id == k) for k in _ids(objects)
    }
    order = [int(i) for i in rng.permutation(len(objects))]
    if clean:
        order = [i for i in order if sizes[i] >= _CRUMB * largest[objects[i].class_id]]
    firsts = {objects[i].class_id: i for i in reversed(order)}
    order = [*firsts.values(), *(i for i in order if i not in firsts.values())]
    clicks = []
    for index in order[:count]:
        found = objects[index]
        place = _inside(found.mask, spacing, rng) + [s.start for s in found.window]
        clicks.append(_click(place, found.class_id, rng))
    clicks += _background_clicks(classes, max(4, len(clicks) // 4), rng)
    looked = SECONDS["look"] * max(1, len(largest))
    return RobotHints(
        clicks=tuple(clicks),
        annotated_share=len(clicks) / classes.size,
        seconds=looked + SECONDS["click"] * len(clicks),
    )


def _inside(mask: np.ndarray, spacing: Sequence[float] | None, rng: np.random.Generator) -> np.ndarray:
    """A place in an object, by the square of its depth; a large object is looked at on a coarser grid."""
    step = max(1, round((mask.size / _FINE) ** (1 / mask.ndim)))
    coarse = mask[(slice(None, None, step),) * mask.ndim]
    if not coarse.any():
        step, coarse = 1, mask  # so thin that the grid misses it
    depth = ndimage.distance_transform_edt(np.pad(coarse, 1), sampling=spacing)
    return step * _drawn(depth[(slice(1, -1),) * mask.ndim] ** 2, rng)


def _background_clicks(classes: np.ndarray, count: int, rng: np.random.Generator) -> list[Click]:
    """Half of them near an object but not at its edge, where there is such a place, half anywhere."""
    outside = classes == 0
    if not outside.any():
        return []
    far = np.full(classes.shape, 2) if outside.all() else ndimage.distance_transform_cdt(outside)
    clear = outside & (far >= 2)
    anywhere = np.flatnonzero(clear if clear.any() else outside)
    near = anywhere[far.ravel()[anywhere] <= 8]
    chosen = [rng.choice(near if i % 2 == 0 and len(near) else anywhere) for i in range(count)]
    return [_click(np.array(np.unravel_index(int(i), classes.shape)), 0, rng) for i in chosen]


def _drawn(weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A place drawn in proportion to a weight (*S)."""
    total = np.cumsum(weight.ravel())
    place = int(np.searchsorted(total, rng.random() * total[-1], side="right"))
    return np.array(np.unravel_index(place, weight.shape))


def _click(place: np.ndarray, class_id: int, rng: np.random.Generator) -> Click:
    """A click somewhere in the voxel: nobody hits the middle."""
    return Click(tuple(round(float(p + rng.uniform(-0.4, 0.4)), 2) for p in place), class_id)


def _boxes(
    shape: tuple[int, ...], objects: Sequence[_Object], rng: np.random.Generator, jitter: float
) -> RobotHints:
    boxes = []
    for index, found in enumerate(objects, 1):
        start, stop = (tuple(getattr(span, face) for span in found.window) for face in ("start", "stop"))
        boxes.append(moved(Box(start, stop, found.class_id, index), shape, jitter, rng))
    looked = SECONDS["look"] * max(1, len(_ids(objects)))
    return RobotHints(boxes=tuple(boxes), seconds=looked + SECONDS["box"] * len(boxes))


def _tags(classes: np.ndarray, places: Sequence[tuple[int, int] | None]) -> RobotHints:
    tags = set()
    for place in places:
        ids = _values(classes[_slice(classes.ndim, place)])
        # an image without a class has no tags, a slice without one is tagged as class 0
        axis, index = place or (None, None)
        tags |= {Tag(k, axis, index) for k in (ids or ([0] if place else []))}
    looked = max(1, len(_values(classes)))
    return RobotHints(tags=frozenset(tags), seconds=SECONDS["look"] * looked * len(places))


def _ids(objects: Sequence[_Object]) -> set[int]:
    return {found.class_id for found in objects}


def _check(truth: np.ndarray, axis: int | str, instances: bool) -> None:
    """Whether this truth can be annotated so."""
    if truth.ndim not in (2, 3) or truth.dtype.kind not in "iub":
        raise InputError(f"A truth is whole numbers on 2 or 3 axes, not {truth.dtype} {truth.shape}.")
    low, high = int(truth.min(initial=0)), int(truth.max(initial=0))
    if low < 0 or (high > 254 and not instances):
        raise InputError(
            f"The truth holds the value {low if low < 0 else high}; classes are from 1 to 254, and a map of "
            "instances needs --instances."
        )
    if axis != "orthogonal" and axis not in range(truth.ndim):
        raise InputError(
            f"The truth has {truth.ndim} axes and no axis {axis}; 0 to {truth.ndim - 1} or “orthogonal” is "
            "right."
        )


def check_options(
    kind: str,
    *,
    every: int | None,
    count: int | None,
    axis: int | str,
    pixels: int,
    jitter: float,
) -> None:
    """Check what can be wrong with the options of `annotate` whatever the truth is.

    Raises:
        InputError: One is not right, or does not go with the kind.
    """
    if kind not in KINDS:
        raise InputError(f"There is no kind of hint “{kind}”; {', '.join(KINDS)} are right.")
    if axis not in ("orthogonal", 0, 1, 2):
        raise InputError(f"There is no axis {axis}; 0, 1, 2 or “orthogonal” is right.")
    if every is not None and count is not None:
        raise InputError("Every K-th slice and a count of slices exclude each other; give one of them.")
    if (every is not None and kind in ("clicks", "boxes")) or (count is not None and kind == "boxes"):
        raise InputError(f"{kind.capitalize()} know no slices and no count; leave every and count out.")
    for name, value in (("every", every), ("count", count), ("pixels", pixels)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; a whole number from 1 on is right.")
    if not 0 <= jitter < 0.5:
        raise InputError(f"jitter is {jitter}; a share of a box's side from 0 to below 0.5 is right.")
