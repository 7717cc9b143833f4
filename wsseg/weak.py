"""Hints become weak labels: one target and one weight a voxel, whatever the kind of hint.

"Unknown" has one form: weight 0 (Çiçek et al. 2016, section 2.2). There is no ignore value.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wsseg.hints import BACKGROUND, Click, Hints

CLICK_RADIUS = 1.5  # a click is taken to hold for the voxels within this many voxels of the finest axis


@dataclass(frozen=True, eq=False)
class WeakLabels:
    """What is known of an image.

    Attributes:
        target: int64 (*S), class of each voxel, 0 = background; meaningless where `weight` is 0.
        weight: float32 (*S), ≥ 0; 0 = unknown.
    """

    target: np.ndarray
    weight: np.ndarray

    def __post_init__(self) -> None:
        if self.target.shape != self.weight.shape:
            raise ValueError(f"target {self.target.shape} and weight {self.weight.shape} differ in shape")
        if self.weight.min(initial=0) < 0:
            raise ValueError("weights must be ≥ 0")

    @property
    def known(self) -> np.ndarray:
        """bool (*S): where something is known."""
        return self.weight > 0

    def share(self) -> float:
        """The share of voxels that are known, 0 to 1."""
        return float(np.count_nonzero(self.weight)) / max(self.weight.size, 1)

    def counts(self) -> dict[int, int]:
        """How many voxels are known of each class that has any, background included."""
        found = np.bincount(self.target[self.known].ravel())
        return {int(k): int(found[k]) for k in np.flatnonzero(found)}


def weak_labels(hints: Hints, *, spacing: Sequence[float] | None = None) -> WeakLabels:
    """Turn the dense and painted hints of one image into weak labels.

    Where kinds disagree the more certain one wins: mask, then scribbles and slices, then clicks. Boxes and
    tags say nothing about a single voxel; they become labels through recipes of their own. Where the hints
    say `unknown` nothing counts.

    Args:
        hints: What was marked.
        spacing: Size of a voxel per axis; makes the small ball around a click round in the world.
    """
    target = np.zeros(hints.shape, np.int64)
    weight = np.zeros(hints.shape, np.float32)
    for click in hints.clicks:
        ball = _ball(click, hints.shape, spacing or (1.0,) * len(hints.shape))
        target[ball] = click.class_id
        weight[ball] = 1
    if hints.scribbles is not None:
        painted = hints.scribbles > 0
        target[painted] = np.where(hints.scribbles == BACKGROUND, 0, hints.scribbles)[painted]
        weight[painted] = 1
    if hints.mask is not None:
        target[:] = hints.mask
        weight[:] = 1
    if hints.unknown is not None:
        weight[hints.unknown] = 0
    return WeakLabels(target, weight)


def over(lower: WeakLabels, upper: WeakLabels) -> WeakLabels:
    """Labels of two sources: where the upper one says something it counts, elsewhere the lower one does."""
    return WeakLabels(
        np.where(upper.known, upper.target, lower.target),
        np.where(upper.known, upper.weight, lower.weight).astype(np.float32),
    )


def _ball(click: Click, shape: tuple[int, ...], spacing: Sequence[float]) -> tuple[np.ndarray, ...]:
    """Index arrays of the voxels of the image that a click holds for; always its own voxel."""
    finest = min(spacing)
    reach = [int(CLICK_RADIUS * finest / s) for s in spacing]
    centre = [round(p) for p in click.position]
    axes = [np.arange(max(c - r, 0), min(c + r + 1, n)) for c, r, n in zip(centre, reach, shape, strict=True)]
    grid = np.meshgrid(*axes, indexing="ij")
    distance = sum(((g - c) * s / finest) ** 2 for g, c, s in zip(grid, centre, spacing, strict=True))
    inside = distance <= CLICK_RADIUS**2
    return tuple(g[inside] for g in grid)
