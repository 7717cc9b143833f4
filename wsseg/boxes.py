"""What boxes say of voxels, and the rules between rounds: pure functions on the voxels of a box.

Khoreva et al. 2017 ("Simple Does It"), sections 3.1 and 3.2. The same code for rectangles and cuboids.
Differs in: what is reset goes back to any segment, not only to the filled box; the least fill is learned for
classes whose objects are thin; boxes of different classes may share voxels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wsseg.hints import Box
from wsseg.weak import WeakLabels

LEAST_FILL = 0.5  # an object fills at least so much of its box, or its box is reset (section 3.1, rule 2)
THIN = 0.6  # of the median fill of its class, where that is less
THRESHOLD = 0.4  # probability from which a voxel is the object; below half, for a box is drawn to be filled
CORE = 0.2  # share of a box's area (volume) that is taken for the object in Box^i


@dataclass(frozen=True, eq=False)
class Segment:
    """What is said of the voxels of one box.

    Attributes:
        box: The box.
        mask: bool, the box's shape: the object.
        known: bool, the same shape: where `mask` is to be believed.
    """

    box: Box
    mask: np.ndarray
    known: np.ndarray

    @property
    def fill(self) -> float:
        """The share of the box that the object fills, 0 to 1."""
        return float(self.mask.mean())


def shape_of(box: Box) -> tuple[int, ...]:
    """Voxels along each side."""
    return tuple(b - a for a, b in zip(box.start, box.stop, strict=True))


def place_of(box: Box) -> tuple[slice, ...]:
    """Where the box is in an array of the image's shape."""
    return interval_place((box.start, box.stop))


def interval_place(interval: tuple[tuple[int, ...], tuple[int, ...]]) -> tuple[slice, ...]:
    """Where (start, stop) is in an array."""
    return tuple(slice(a, b) for a, b in zip(*interval, strict=True))


def shared(one: Box, other: Box) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The voxels that two boxes share, as places in an array of each."""
    low, high = np.maximum(one.start, other.start), np.minimum(one.stop, other.stop)
    here, there = (
        tuple(slice(a, b) for a, b in zip(low - box.start, high - box.start, strict=True))
        for box in (one, other)
    )
    return here, there


def around(
    box: Box, shape: Sequence[int], share: float, *, least: int = 1
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """A box with surroundings of a share of its sides (`least` voxels or more), clipped to the image.

    Returns:
        Where that is in the image, and where the box is in that.
    """
    margin = [max(least, round(share * n)) for n in shape_of(box)]
    low = [max(0, a - m) for a, m in zip(box.start, margin, strict=True)]
    high = [min(n, b + m) for b, m, n in zip(box.stop, margin, shape, strict=True)]
    inside = (slice(a - c, b - c) for a, b, c in zip(box.start, box.stop, low, strict=True))
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True)), tuple(inside)


def moved(box: Box, shape: Sequence[int], share: float, rng: np.random.Generator) -> Box:
    """The box with each face off by up to a share of its side, as a hand draws it; within the image."""
    start, stop = [], []
    for a, b, n in zip(box.start, box.stop, shape, strict=True):
        off = np.rint(rng.uniform(-share, share, 2) * (b - a)).astype(int)
        start.append(int(np.clip(a + off[0], 0, n - 1)))
        stop.append(int(np.clip(b + off[1], start[-1] + 1, n)))
    return replace(box, start=tuple(start), stop=tuple(stop))


def segment(box: Box, mask: np.ndarray) -> Segment:
    """A mask (box's shape) of which all is known."""
    return Segment(box, mask, np.ones_like(mask, bool))


def filled(box: Box) -> Segment:
    """The whole box is the object: the first labels of Box."""
    return segment(box, np.ones(shape_of(box), bool))


def unknown(box: Box) -> Segment:
    """Nothing in the box is known: what a reset restores where an ignore ring is used."""
    return Segment(box, np.zeros(shape_of(box), bool), np.zeros(shape_of(box), bool))


def ellipse(box: Box) -> Segment:
    """The inscribed ellipse (ellipsoid) is the object."""
    return segment(box, _distance(box, 2) <= 1)


def core(box: Box, share: float = CORE) -> Segment:
    """The middle `share` of the area (volume) is the object, the rest unknown: the first labels of Box^i."""
    middle = _distance(box, np.inf) <= share ** (1 / len(box.start))
    return Segment(box, middle, middle)


def voted(box: Box, votes: np.ndarray, *, object_: float = 0.7, rest: float = 0.2) -> Segment:
    """Object where at least a share `object_` of runs says so, not where at most `rest` do, else unknown.

    GrabCut+^i, section 3.2. `votes`: (runs, *box's shape), bool.
    """
    share = votes.mean(0)
    return Segment(box, share >= object_, (share >= object_) | (share <= rest))


def agreed(segments: Sequence[Segment]) -> Segment:
    """What all segments of a box say alike; unknown elsewhere. A stand-in for MCG ∩ GrabCut+."""
    masks = np.stack([one.mask for one in segments])
    every, known = masks.min(0), np.stack([one.known for one in segments]).min(0)
    return Segment(segments[0].box, every, known & (every | ~masks.max(0)))


def least_fills(fills: Mapping[int, Sequence[float]]) -> dict[int, float]:
    """How little of a box an object of each class may fill before it is taken for a failure.

    Half of the box (section 3.1), or less for a class whose objects typically fill little: thin or branched.

    Args:
        fills: Class id to the shares (0 to 1) that masks of it fill.
    """
    return {k: min(LEAST_FILL, THIN * float(np.median(values))) for k, values in fills.items()}


def reset(one: Segment, least: Mapping[int, float], fallback: Segment) -> Segment:
    """Rule 2: `fallback` instead of a segment that fills too little of its box."""
    return fallback if one.fill < least.get(one.box.class_id, LEAST_FILL) else one


def settle(
    probabilities: Sequence[np.ndarray], boxes: Sequence[Box], threshold: float = THRESHOLD
) -> list[Segment]:
    """Masks of the boxes of one image; a voxel that boxes of one class share goes to the surest of them.

    Where they are equally sure, the smaller box is in front. Boxes of different classes keep what they have:
    a ring may lie around a disc.

    Args:
        probabilities: Of each box, its shape.
        boxes: Of one image.
        threshold: The object is where the probability is above it.
    """
    masks = [probability > threshold for probability in probabilities]
    for i, j in _overlapping(boxes):
        if boxes[i].class_id != boxes[j].class_id:
            continue
        here, there = shared(boxes[i], boxes[j])
        mine, yours = probabilities[i][here], probabilities[j][there]
        first = (mine > yours) | ((mine == yours) & (volume(boxes[i]) <= volume(boxes[j])))
        both = masks[i][here] & masks[j][there]
        masks[j][there] &= ~(both & first)
        masks[i][here] &= ~(both & ~first)
    return [segment(box, mask) for box, mask in zip(boxes, masks, strict=True)]


def render(
    shape: Sequence[int],
    segments: Sequence[Segment],
    outputs: Mapping[int, int],
    *,
    all_boxed: bool = True,
) -> WeakLabels:
    """Labels of an image; small boxes in front of large ones.

    Args:
        shape: Of the image.
        segments: Of its boxes.
        outputs: Class id to network output.
        all_boxed: Rule 1, outside of all boxes is background; else nothing is known there.
    """
    target, weight = np.zeros(tuple(shape), np.int64), np.full(tuple(shape), all_boxed, np.float32)
    for one in segments:
        weight[place_of(one.box)] = 1
    for one in sorted(segments, key=lambda one: -volume(one.box)):
        place = place_of(one.box)
        weight[place][~one.known] = 0
        said = one.mask & one.known
        target[place][said] = outputs[one.box.class_id]
        weight[place][said] = 1
    return WeakLabels(target, weight)


def render_objects(shape: Sequence[int], segments: Sequence[Segment]) -> np.ndarray:
    """int32 (*S): the objects of an image, 1, 2, … in the order of the segments; small boxes in front."""
    objects = np.zeros(tuple(shape), np.int32)
    for number, one in sorted(enumerate(segments, 1), key=lambda pair: -volume(pair[1].box)):
        objects[place_of(one.box)][one.mask] = number
    return objects


def _distance(box: Box, power: float) -> Any:
    """Distance from the centre, 1 at the middle of each face, the box's shape."""
    lines = [np.abs((np.arange(n) + 0.5) / n * 2 - 1) for n in shape_of(box)]
    return np.linalg.norm(np.stack(np.meshgrid(*lines, indexing="ij")), power, axis=0)


def volume(box: Box) -> int:
    """Voxels in a box."""
    return int(np.prod(shape_of(box)))


def _overlapping(boxes: Sequence[Box]) -> list[tuple[int, int]]:
    """Pairs of boxes that share voxels, found by a sweep along the first axis."""
    order = sorted(range(len(boxes)), key=lambda i: boxes[i].start)
    pairs: list[tuple[int, int]] = []
    for position, i in enumerate(order):
        for j in order[position + 1 :]:
            if boxes[j].start[0] >= boxes[i].stop[0]:
                break
            spans = zip(boxes[i].start, boxes[i].stop, boxes[j].start, boxes[j].stop, strict=True)
            if all(max(a, c) < min(b, d) for a, b, c, d in spans):
                pairs.append((i, j))
    return pairs
