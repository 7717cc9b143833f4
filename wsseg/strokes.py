"""A hand that scribbles in a plane: short curved strokes in objects and in the background around them.

After looking at real ones (MedScribble, Wong et al. 2023, arXiv 2312.07381): people draw along an object,
round inside of it or to and fro, round it from outside at some distance, and wander through what is far
away. They hardly ever leave the object (0.4 % of the pixels on organs), and where they do it is at the end
of a stroke.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.graph import route_through_array
from skimage.measure import find_contours

from wsseg.hints import BACKGROUND

SLIP_RATE = 0.04
"""Share of the strokes that run over the border at their end."""

_SHORTEST = 12  # pixels; people draw no shorter strokes where there is room
_FILLED = 0.3  # share of an object that is marked at most; people do not paint it full
_STAMPS = {
    1: np.array([(0, 0)]),
    2: np.array([(0, 0), (0, 1), (1, 0), (1, 1)]),
    3: np.array([(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)]),
}


@dataclass(frozen=True)
class _Room:
    """Where a stroke may go: `depth` (H, W) is the distance to the border of the room, 0 outside."""

    depth: np.ndarray
    offset: tuple[int, int] = (0, 0)
    open: bool = False  # the background: no middle to go along

    @property
    def deepest(self) -> float:
        return float(self.depth.max(initial=0))


def draw_strokes(
    classes: np.ndarray, objects: np.ndarray, *, rng: np.random.Generator, pixels: int = 100
) -> tuple[np.ndarray, int]:
    """Scribble on a picture or on a slice.

    Every class that is there gets a stroke. Half of the pixels go to the objects, evenly over the classes,
    the rest to the background, near the objects and far from them.

    Args:
        classes: Mask (H, W), 0 = background.
        objects: Which object a pixel belongs to, (H, W), 0 = none; an object lies in one class.
        rng: The hand's chance.
        pixels: About how many pixels to mark.

    Returns:
        Hint map uint8 (H, W), and the number of strokes.
    """
    hints = np.zeros(classes.shape, np.uint8)
    present = [int(k) for k in np.unique(classes) if k]
    outside = classes == 0
    share = 0.5 if outside.any() else 1.0
    width = int(rng.integers(2, 4))
    strokes = 0
    for k in present:
        rooms = _rooms(classes == k, objects, rng)
        strokes += _fill(hints, rooms, k, share * pixels / len(present), width, rng)
    if outside.any():
        strokes += _background(hints, objects, outside, pixels / 2, width, rng)
    return hints, strokes


def _rooms(of_class: np.ndarray, objects: np.ndarray, rng: np.random.Generator) -> list[_Room]:
    """A room an object of one class, larger objects rather first."""
    found = []
    inside = np.where(of_class, objects, 0)
    for index, window in enumerate(ndimage.find_objects(inside), 1):
        if window is None:
            continue
        mask = np.pad(inside[window] == index, 1)
        depth = ndimage.distance_transform_edt(mask)
        found.append(_Room(depth[1:-1, 1:-1], (window[0].start, window[1].start)))
    sizes = np.sqrt([np.count_nonzero(room.depth) for room in found])
    order = rng.choice(len(found), len(found), replace=False, p=sizes / sizes.sum())
    return [found[i] for i in order]


def _fill(
    hints: np.ndarray, rooms: list[_Room], value: int, budget: float, width: int, rng: np.random.Generator
) -> int:
    """Stroke after stroke through the rooms until the budget is used or nothing new can be drawn."""
    area = sum(np.count_nonzero(room.depth) for room in rooms)
    left, strokes = max(1.0, min(budget, _FILLED * area)), 0
    length = max(_SHORTEST, budget / min(len(rooms), 4))
    for room in rooms * 3:
        if left < 1 or (strokes and left < _SHORTEST / 3):
            break
        drawn = _stroke(hints, room, value, min(length, left), width, rng)
        left -= drawn
        strokes += drawn > 0
    return strokes


def _background(
    hints: np.ndarray,
    objects: np.ndarray,
    outside: np.ndarray,
    budget: float,
    width: int,
    rng: np.random.Generator,
) -> int:
    """Strokes round some of the objects and, from what is left, through the open."""
    if outside.all():
        room = _Room(np.full(outside.shape, float(max(outside.shape))), open=True)
        return _fill(hints, [room], BACKGROUND, budget, width, rng)
    depth = ndimage.distance_transform_edt(outside)
    strokes, left = 0, budget
    ids = np.unique(objects[objects > 0])
    windows = ndimage.find_objects(objects)
    for index in rng.permutation(ids)[: max(1, round(budget / 2 / _SHORTEST))]:
        gap = float(rng.uniform(2.0, 4.0 + 0.15 * max(s.stop - s.start for s in windows[index - 1])))
        path = _round(depth, windows[index - 1], gap, rng)
        if path is not None:
            drawn = _paint(hints, path, outside, BACKGROUND, budget / 2, width, rng)
            strokes, left = strokes + (drawn > 0), left - drawn
        if left <= budget / 2:
            break
    return strokes + _fill(hints, [_Room(depth, open=True)], BACKGROUND, left, width, rng)


def _stroke(
    hints: np.ndarray, room: _Room, value: int, length: float, width: int, rng: np.random.Generator
) -> int:
    """One stroke inside of a room; gives how many pixels are new."""
    if room.deepest < 2 * width / 3:
        width = 1
    start = _deep_place(room, rng)
    style = 1.0 if room.open else rng.random()
    reach = max(4.0, 1.2 * length / width)
    path = None
    if style < 0.55:
        path = _along(room.depth, start, reach, rng)
    elif style < 0.8 and room.deepest > 3:
        path = _inner_round(room.depth, start, reach, rng)
    if path is None:
        path = _wander(room.depth, start, reach, rng)
    target = np.zeros(hints.shape, bool)
    rows, columns = (slice(o, o + n) for o, n in zip(room.offset, room.depth.shape, strict=True))
    target[rows, columns] = room.depth > 0
    return _paint(hints, path + room.offset, target, value, length, width, rng)


def _deep_place(room: _Room, rng: np.random.Generator) -> np.ndarray:
    """A pixel well inside, the deeper the likelier, up to a depth that needs no more care."""
    weight = np.where(room.depth >= min(0.4 * room.deepest, 12), np.minimum(room.depth, 30), 0).ravel()
    place = np.searchsorted(np.cumsum(weight), rng.random() * weight.sum(), side="right")
    return np.array(np.unravel_index(min(int(place), weight.size - 1), room.depth.shape), float)


def _along(depth: np.ndarray, start: np.ndarray, reach: float, rng: np.random.Generator) -> np.ndarray | None:
    """Along the middle to a far place within reach, or None where there is no way."""
    low = np.maximum(0, start - reach).astype(int)
    high = (start + reach).astype(int) + 1
    near = depth[low[0] : high[0], low[1] : high[1]]
    places = np.argwhere(near >= min(0.35 * near.max(), 10))
    if len(places) < 2:
        return None
    tried = places[rng.choice(len(places), min(6, len(places)), replace=False)]
    begin = (start - low).astype(int)
    end = tried[np.argmax(np.linalg.norm(tried - begin, axis=1))]
    cost = np.where(near > 0, 1 / np.maximum(near, 0.5) ** 1.5, -1)
    try:
        route, _ = route_through_array(cost, tuple(begin), tuple(end), fully_connected=True, geometric=True)
    except ValueError:  # the two lie in parts of the room that only meet outside of the window
        return None
    return np.array(route, float) + low


def _inner_round(
    depth: np.ndarray, start: np.ndarray, reach: float, rng: np.random.Generator
) -> np.ndarray | None:
    """A part of a round at one distance from the border."""
    low = np.maximum(0, start - 2 * reach).astype(int)
    high = (start + 2 * reach).astype(int) + 1
    near = depth[low[0] : high[0], low[1] : high[1]]
    path = _contour(near, float(rng.uniform(0.35, 0.7)) * min(float(near.max()), 25.0), rng)
    return None if path is None else path + low


def _round(
    depth: np.ndarray, window: tuple[slice, ...], gap: float, rng: np.random.Generator
) -> np.ndarray | None:
    """A part of a round outside of an object, `gap` pixels from whatever is nearest."""
    low = np.maximum(0, [int(s.start - gap - 3) for s in window])
    high = [int(s.stop + gap + 4) for s in window]
    path = _contour(depth[low[0] : high[0], low[1] : high[1]], gap, rng)
    return None if path is None else path + low


def _contour(depth: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray | None:
    """A level line, begun at a random place and gone along in a random direction."""
    if min(depth.shape) < 2:
        return None
    lines = [line for line in find_contours(depth, level) if len(line) >= 6]
    if not lines:
        return None
    sizes = np.array([len(line) for line in lines], float)
    line = lines[int(rng.choice(len(lines), p=sizes / sizes.sum()))]
    begin = int(rng.integers(len(line)))
    closed = bool(np.allclose(line[0], line[-1]))
    line = np.roll(line[:-1], -begin, axis=0) if closed else line[min(begin, len(line) // 2) :]
    return line if rng.random() < 0.5 else line[::-1]


def _wander(depth: np.ndarray, start: np.ndarray, reach: float, rng: np.random.Generator) -> np.ndarray:
    """A smooth walk that turns away from the border of the room and of the picture."""
    margin = min(1.5, 0.5 * float(depth.max()))
    place, heading, turn = start, float(rng.uniform(0, 2 * np.pi)), 0.0
    path = [place]
    bend = min(0.15, 3 / reach)  # the longer the stroke, the wider its turns
    for _ in range(int(reach)):
        turn = 0.9 * turn + 0.44 * bend * float(rng.normal())  # so that turns have a deviation of `bend`
        heading += turn
        for extra in (0, 0.4, -0.4, 0.9, -0.9, 1.5, -1.5):
            step = place + np.array([np.sin(heading + extra), np.cos(heading + extra)])
            index = tuple(np.rint(step).astype(int))
            inside = all(0 <= i < n for i, n in zip(index, depth.shape, strict=True))
            if inside and depth[index] > margin:
                heading += extra
                place = step
                path.append(place)
                break
        else:
            break
    return np.array(path)


def _paint(
    hints: np.ndarray,
    path: np.ndarray,
    target: np.ndarray,
    value: int,
    length: float,
    width: int,
    rng: np.random.Generator,
) -> int:
    """Draw a path with an unsteady hand; stops after `length` pixels and gives how many are new."""
    path = _unsteady(path, rng)
    slips = rng.random() < SLIP_RATE
    if slips and len(path) > 4:
        ahead = path[-1] - path[-5]
        ahead /= max(float(np.linalg.norm(ahead)), 1e-6)
        path = np.concatenate([path, path[-1] + ahead * np.arange(0.5, 3.5, 0.5)[:, None]])
    places = np.rint(path[:, None] + _STAMPS[width] - (width == 2) / 2).astype(int).reshape(-1, 2)
    inside = ((places >= 0) & (places < hints.shape)).all(1)
    places = places[inside]
    free = hints[tuple(places.T)] == 0
    if not slips:
        free &= target[tuple(places.T)]
    flat = np.ravel_multi_index(tuple(places[free].T), hints.shape)
    _, first = np.unique(flat, return_index=True)
    chosen = flat[np.sort(first)][: max(1, round(length))]
    hints.ravel()[chosen] = value
    return len(chosen)


def _unsteady(path: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Smooth a path, let it sway by a pixel or less over many pixels, and sample it twice a pixel."""
    if len(path) < 3:
        return path
    sigma = min(8.0, max(1.5, len(path) / 15))
    smooth = ndimage.gaussian_filter1d(path, sigma, axis=0, mode="nearest")
    sway = ndimage.gaussian_filter1d(rng.normal(size=path.shape), 5, axis=0, mode="nearest")
    smooth = smooth + 2.0 * sway
    gone = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(smooth, axis=0), axis=1))])
    at = np.arange(0, gone[-1], 0.5)
    return np.stack([np.interp(at, gone, smooth[:, axis]) for axis in range(2)], 1)
