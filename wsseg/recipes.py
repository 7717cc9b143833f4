"""The methods of `wsseg refine`: how boxes become first labels, and what is done between rounds of training.

Khoreva et al. 2017, section 3. A recipe names its parts; the parts are in `wsseg.boxes` and `wsseg.boxfit`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsseg.boxes import (
    CORE,
    THRESHOLD,
    Segment,
    agreed,
    core,
    ellipse,
    filled,
    moved,
    segment,
    settle,
    shape_of,
    shared,
    unknown,
    voted,
)
from wsseg.boxfit import FitConfig, Solver, fit_boxes
from wsseg.crops import SIDES, Crops, cut_boxes, from_grid, radius, resample, side_of
from wsseg.hints import Box

First = Literal["unknown", "filled", "core", "ellipse", "field", "colour", "votes", "agreement"]
BATCH = {2: 64, 3: 16}  # boxes worked on at once
RUNS = 20  # of GrabCut+^i; the paper's 150 cost seven times as much and change little
JITTER = 0.05  # of a side: how far GrabCut+^i moves each face of a box
ALONE = FitConfig()  # without a network
ELLIPSE = FitConfig(shape=8.0, colour=0.0)  # the ellipse, sharpened along edges
NETWORK = FitConfig(shape=0.0, colour=0.0)  # a network's word, sharpened along edges
TOGETHER = FitConfig(network=0.6)  # a network's word, colours and ellipse


@dataclass(frozen=True)
class Recipe:
    """One method.

    Attributes:
        first: Labels before any training.
        between: What makes a network's word into labels; None = its word as it is.
        fallback: What a box is reset to that is filled too little.
        rounds: Of training, by default.
        surer: Whether a mask is replaced only by a more certain one, so that rounds do not wear it down.
        terms: Of the loss, beside the labels; see `wsseg.boxterms`.
    """

    first: First
    between: FitConfig | None = NETWORK
    fallback: Literal["filled", "unknown", "ellipse", "none"] = "filled"
    rounds: int = 3
    surer: bool = False
    terms: tuple[str, ...] = ()


METHODS: Mapping[str, Recipe] = {
    "auto": Recipe("colour", TOGETHER, "ellipse", rounds=2, surer=True),
    "box": Recipe("filled"),  # Box
    "box-inner": Recipe("core", fallback="unknown"),  # Box^i
    "naive": Recipe("filled", None, "none"),  # degrades: for comparison
    "ellipse": Recipe("ellipse", fallback="ellipse"),
    "grabcut": Recipe("colour", fallback="ellipse", rounds=1),
    "grabcut-inner": Recipe("votes", rounds=1),  # GrabCut+^i
    "agreement": Recipe("agreement", rounds=1),  # for MCG ∩ GrabCut+
    "boxinst": Recipe("unknown", fallback="none", rounds=1, terms=("projection", "affinity")),  # no labels
}


@dataclass(frozen=True, eq=False)
class View:
    """What is seen of one image.

    Attributes:
        values: float32 (C, *S) or a reader indexed like it.
        boxes: Of its objects.
        shapes: Class id to a profile on the small grid, where one was learned (`wsseg.boxshape`); the ellipse
            stands for the others.
    """

    values: Any
    boxes: Sequence[Box]
    shapes: Mapping[int, Tensor] = field(default_factory=dict)


def fit_image(
    view: View,
    config: FitConfig,
    *,
    evidence: Mapping[int, np.ndarray] | None = None,
    which: Sequence[Box] | None = None,
) -> list[np.ndarray]:
    """The probability of the object in each box of an image, float32, the box's shape.

    Args:
        view: The image.
        config: Weights of the terms.
        evidence: Class id to scores log p/(1 − p), say of a network, (*S).
        which: The boxes to do, of the view's; None = all. The others count as neighbours all the same.
    """
    found: dict[int, np.ndarray] = {}
    wanted = view.boxes if which is None else which
    for crops in _batches(view, wanted):
        scores = None
        if evidence is not None:
            parts = [resample(evidence[box.class_id][None], box, crops.side)[0] for box in crops.boxes]
            scores = torch.stack(parts)
        probability = fit_boxes(crops, config, evidence=scores, profile=_profiles(crops, view.shapes))
        for index, box in enumerate(crops.boxes):
            found[box.id] = crops.to_box(index, probability[index])
    return [found[box.id] for box in wanted]


def _profiles(crops: Crops, shapes: Mapping[int, Tensor]) -> Tensor | None:
    """(N, *G): where the object is likely in each box; None where that is the ellipse everywhere."""
    if not any(box.class_id in shapes for box in crops.boxes):
        return None
    size = crops.guide.shape[2:]
    ellipse_ = 1 - radius(crops.side, len(size)).square()
    mode = "bilinear" if len(size) == 2 else "trilinear"
    large = {k: F.interpolate(one[None, None], size, mode=mode)[0, 0] for k, one in shapes.items()}
    return torch.stack([large.get(box.class_id, ellipse_) for box in crops.boxes])


def _batches(view: View, which: Sequence[Box]) -> Iterator[Crops]:
    """Boxes cut out in batches of one grid each, one batch in memory at a time."""
    for side in sorted({side_of(box) for box in which}):
        same = [box for box in which if side_of(box) == side]
        size = BATCH[view.values.ndim - 1]
        for start in range(0, len(same), size):
            yield cut_boxes(view.values, same[start : start + size], side, view.boxes)


def first_segments(
    view: View, first: First, *, share: float = CORE, seed: int = 0, solver: Solver = "local"
) -> tuple[list[Segment], list[np.ndarray]]:
    """Labels of the boxes of an image before any training.

    Args:
        view: The image.
        first: Which rule.
        share: Of the box that is the object at first, for "core".
        seed: Of the moved boxes, for "votes".
        solver: Of the field.

    Returns:
        What is said of each box, and the probabilities that it is made from, float32, the box's shape.
    """
    boxes = view.boxes
    shapes = {"unknown": unknown, "filled": filled, "ellipse": ellipse, "core": lambda box: core(box, share)}
    if first in shapes:
        segments = [shapes[first](box) for box in boxes]
        return segments, [one.mask.astype(np.float32) for one in segments]
    if first == "votes":
        return _votes(view, seed, solver)
    if first == "field":
        found = fit_image(view, replace(ELLIPSE, solver=solver))
        return settle(found, boxes), found
    found = fit_image(view, replace(ALONE, solver=solver))
    by_colour = settle(found, boxes)
    if first == "colour":
        return by_colour, found
    by_field = settle(fit_image(view, replace(ELLIPSE, solver=solver)), boxes)
    by_shape = [ellipse(box) for box in boxes]
    return [agreed(three) for three in zip(by_shape, by_field, by_colour, strict=True)], found


def fallback_of(recipe: Recipe, box: Box, shapes: Mapping[int, Tensor] | None = None) -> Segment | None:
    """What a box is reset to, or None where it is not; a learned shape stands for the ellipse."""
    if recipe.fallback == "ellipse" and shapes and box.class_id in shapes:
        return segment(box, from_grid(shapes[box.class_id], box, SIDES[len(box.start)][0]) > 0)
    kinds = {"filled": filled, "unknown": unknown, "ellipse": ellipse}
    return kinds[recipe.fallback](box) if recipe.fallback != "none" else None


def _votes(view: View, seed: int, solver: Solver) -> tuple[list[Segment], list[np.ndarray]]:
    """GrabCut+^i: the colour fit again and again in boxes whose faces are moved a little."""
    rng = np.random.default_rng(seed)
    shape = view.values.shape[1:]
    votes: list[list[np.ndarray]] = [[] for _ in view.boxes]
    for _ in range(RUNS):
        others = [moved(box, shape, JITTER, rng) for box in view.boxes]
        fits = fit_image(replace(view, boxes=others), replace(ALONE, solver=solver))
        for index, (box, other, found) in enumerate(zip(view.boxes, others, fits, strict=True)):
            vote = np.zeros(shape_of(box), bool)
            here, there = shared(box, other)
            vote[here] = found[there] > THRESHOLD
            votes[index].append(vote)
    stacked = [np.stack(of_box) for of_box in votes]
    segments = [voted(box, of_box) for box, of_box in zip(view.boxes, stacked, strict=True)]
    return segments, [of_box.mean(0, dtype=np.float32) for of_box in stacked]


def evidence_of(probabilities: np.ndarray, class_ids: Sequence[int]) -> dict[int, np.ndarray]:
    """Class id to log p/(1 − p) of a network's probabilities (K, *S), background first."""
    return {k: _logit(probabilities[output]) for output, k in enumerate(class_ids) if k}


def _logit(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, 1e-4, 1 - 1e-4)
    return np.log(p / (1 - p)).astype(np.float32)


def sharpness(probability: np.ndarray) -> float:
    """How little a mask depends on the threshold, 0 to 1: the area above 0.7 by that above 0.3."""
    wide = int((probability > 0.3).sum())
    return float((probability > 0.7).sum() / wide) if wide else 0.0


def certainty(box: Box, probability: np.ndarray, one: Segment) -> float:
    """How sure a mask is, 0 to 1: how sharp it is, times how well it fits its box.

    The latter is the overlap (IoU) of the box with the tight box around the mask, for a box was drawn around
    the object and not somewhere in it.
    """
    if not one.mask.any():
        return 0.0
    extents = []
    for axis in range(one.mask.ndim):
        line = np.flatnonzero(one.mask.any(tuple(a for a in range(one.mask.ndim) if a != axis)))
        extents.append((line[-1] - line[0] + 1) / one.mask.shape[axis])
    return sharpness(probability) * float(np.prod(extents))
