"""Masks of the boxes of one image while a person draws: only what changed is computed again.

The same parts as in `wsseg.rounds`, for one image in memory: the first labels of the method `auto`, and, once
a network is trained on them, its word. What is painted in a box is certain, and its mask follows that.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np

from wsseg.boxes import THRESHOLD, Segment, around, least_fills, place_of, reset, segment, settle
from wsseg.crops import MARGIN, side_of
from wsseg.hints import BACKGROUND, Box, Hints
from wsseg.recipes import ALONE, METHODS, View, certainty, evidence_of, fallback_of, fit_image
from wsseg.weak import weak_labels

AT_ONCE = {2: 16, 3: 4}  # boxes between two looks at Stop
SURE = 20.0  # score of what is painted
AUTO = METHODS["auto"]


@dataclass(frozen=True, eq=False)
class Found:
    """What was found in one box.

    Attributes:
        key: Of all that it was computed from; where that is the same, it need not be computed again.
        probability: Of the object, float32, the box's shape.
        certainty: See `wsseg.recipes.certainty`, 0 to 1.
    """

    key: bytes
    probability: np.ndarray
    certainty: float


def spoken(hints: Hints, spacing: Sequence[float]) -> np.ndarray | None:
    """A hint map, uint8 (*S), of what was said of single voxels, paint and clicks; None if nothing was."""
    if not hints.name_voxels():
        return None
    labels = weak_labels(hints, spacing=spacing)
    said = np.where(labels.target == 0, BACKGROUND, labels.target)
    return np.where(labels.known, said, 0).astype(np.uint8)


def find_masks(
    view: View, said: np.ndarray | None, before: Mapping[int, Found]
) -> Iterator[tuple[dict[int, Found], int]]:
    """Find what lies in each box, from the image alone, a few boxes at a time.

    Args:
        view: The image and all of its boxes.
        said: What was painted, see `spoken`.
        before: Box id to what was found earlier; a box whose surroundings have not changed is not done again.

    Yields:
        Box id to what is known so far, and how many boxes are still to be done.
    """
    keys = _keys(view, said)
    found = {k: one for k, one in before.items() if k in keys and one.key == keys[k]}
    left = sorted((box for box in view.boxes if box.id not in found), key=side_of)
    yield dict(found), len(left)
    evidence = {} if said is None else {k: _word(said, k) for k in {box.class_id for box in left}}
    size = AT_ONCE[view.values.ndim - 1]
    while left:
        some, left = left[:size], left[size:]
        fits = fit_image(view, ALONE, evidence=evidence or None, which=some)
        for box, probability in zip(some, fits, strict=True):
            probability = _obeying(probability, box, said)
            found[box.id] = Found(keys[box.id], probability, _certainty(box, probability))
        yield dict(found), len(left)


def refine_masks(
    view: View,
    said: np.ndarray | None,
    before: Mapping[int, Found],
    probabilities: np.ndarray,
    class_ids: Sequence[int],
) -> dict[int, Found]:
    """Take a network's word where that makes a mask more certain, as the method `auto` does between rounds.

    Args:
        view: The image and all of its boxes.
        said: What was painted.
        before: What was found in each box so far.
        probabilities: float32 (K, *S) of the network, background first.
        class_ids: Of its outputs, 0 first.
    """
    evidence = evidence_of(probabilities, class_ids)
    if said is not None:
        evidence = {k: np.where(said == 0, scores, _word(said, k)) for k, scores in evidence.items()}
    assert AUTO.between is not None
    found = dict(before)
    for box, probability in zip(view.boxes, fit_image(view, AUTO.between, evidence=evidence), strict=True):
        probability = _obeying(probability, box, said)
        sure = _certainty(box, probability)
        if sure > before[box.id].certainty:
            found[box.id] = replace(before[box.id], probability=probability, certainty=sure)
    return found


def to_segments(boxes: Sequence[Box], found: Mapping[int, Found], said: np.ndarray | None) -> list[Segment]:
    """The masks of the boxes in which something was found, by the rules of `wsseg.boxes`."""
    done = [box for box in boxes if box.id in found]
    masks = settle([found[box.id].probability for box in done], done)
    fills: dict[int, list[float]] = {}
    for one in masks:
        fills.setdefault(one.box.class_id, []).append(one.fill)
    least = least_fills(fills)
    return [one if _painted(one.box, said) else _kept(one, least) for one in masks]


def _kept(one: Segment, least: Mapping[int, float]) -> Segment:
    fallback = fallback_of(AUTO, one.box)
    assert fallback is not None
    return reset(one, least, fallback)


def _painted(box: Box, said: np.ndarray | None) -> bool:
    """Whether a person spoke of voxels of this box; then no rule knows better."""
    return said is not None and bool(said[place_of(box)].any())


def _word(said: np.ndarray, class_id: int) -> np.ndarray:
    """What is painted as scores of a class; int8, for a volume's sake."""
    return np.where(said == 0, 0, np.where(said == class_id, SURE, -SURE)).astype(np.int8)


def _obeying(probability: np.ndarray, box: Box, said: np.ndarray | None) -> np.ndarray:
    """The probability, with painted voxels as they are painted."""
    if said is None:
        return probability
    here = said[place_of(box)]
    return np.where(here == 0, probability, here == box.class_id).astype(np.float32)


def _certainty(box: Box, probability: np.ndarray) -> float:
    return certainty(box, probability, segment(box, probability > THRESHOLD))


def _keys(view: View, said: np.ndarray | None) -> dict[int, bytes]:
    """For each box a short code for it, the boxes that reach into its crop, and what is painted there."""
    starts = np.array([box.start for box in view.boxes])
    stops = np.array([box.stop for box in view.boxes])
    keys = {}
    for index, box in enumerate(view.boxes):
        place, _ = around(box, view.values.shape[1:], MARGIN, least=2)
        low, high = [p.start - 2 for p in place], [p.stop + 2 for p in place]
        near = ((starts < high) & (stops > low)).all(1) & (np.arange(len(starts)) != index)
        rivals = np.unique(np.hstack([starts[near], stops[near]]), axis=0)  # in an order of their own
        code = blake2b(np.array([*box.start, *box.stop, box.class_id]).tobytes() + rivals.tobytes())
        if said is not None:
            code.update(said[place].tobytes() if said[place].any() else b"")
        keys[box.id] = code.digest()
    return keys
