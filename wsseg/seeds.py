"""Heat becomes seeds: sure voxels of the classes, sure background, the rest unknown; as a hint map.

Two passes that must agree (Ahn, Cho & Kwak 2019, IRN, "cam_to_ir_label" of their code): one that is strict
about the class and one that is strict about background, each sharpened by a CRF. A voxel is a class where the
first says so, background where both do. Differs from IRN in: heat keeps its scale, and the two levels are
thresholds shared over the dataset instead of shares of each image's hottest voxel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from wsseg.crf import Kernel, LocalField, dense_mean_field
from wsseg.hints import BACKGROUND
from wsseg.patches import blocks
from wsseg.thresholds import Thresholds, within_size

ITERATIONS = 5
BLOCK = 2**18  # voxels that the field is solved on at once
STEEP = 4.0  # score, log p/(1 − p), that one distance between the two thresholds is worth


@dataclass(frozen=True)
class SeedConfig:
    """How heat becomes seeds.

    Attributes:
        smooth: Weight of the pairwise term; 0 = thresholds alone.
        reach: Its standard deviation of distance, voxels of the finest axis.
        contrast: Its standard deviation of intensity, in standard deviations of the image.
        solver: "local", a window around each voxel, in torch; "dense", the whole image, by pydensecrf2.
        size: Smallest and largest share of the image that a class that is there takes, or None.
    """

    smooth: float = 4.0
    reach: float = 3.0
    contrast: float = 0.25
    solver: str = "local"
    size: tuple[float, float] | None = None


def seeds(
    heat: np.ndarray,
    image: np.ndarray,
    present: Sequence[int],
    thresholds: Mapping[int, Thresholds | None],
    config: SeedConfig,
    *,
    spacing: Sequence[float],
) -> np.ndarray:
    """The hint map of one image or slice.

    Args:
        heat: float32 (K, *S), class maps in the order of `thresholds`.
        image: float32 (C, *S), normalised.
        present: Ids of the classes that are in it; others can't appear (tag suppression).
        thresholds: Of each class, by id; None for one whose maps mean nothing.
        config: How.
        spacing: Size of a voxel per axis.

    Returns:
        uint8 (*S): 0 = unknown, k = class k, 255 = background. An image without any class is all background.
    """
    size = heat.shape[1:]
    if not present:
        return np.full(size, BACKGROUND, np.uint8)
    result = np.zeros(size, np.uint8)
    rows = [(row, k) for row, k in enumerate(thresholds) if k in present and thresholds[k] is not None]
    if not rows:
        return result
    maps = heat[[row for row, _ in rows]]
    own = [_own(one, thresholds[k], config) for one, (_, k) in zip(maps, rows, strict=True)]
    strict = _labels(maps, image, [t.upper for t in own], own, config, spacing)
    if len(rows) == len(present):  # else something that nobody can point at may be anywhere
        loose = _labels(maps, image, [t.lower for t in own], own, config, spacing)
        result[(strict == 0) & (loose == 0)] = BACKGROUND
    for label, (_, k) in enumerate(rows, 1):
        result[strict == label] = k
    return result


def _own(heat: np.ndarray, thresholds: Thresholds | None, config: SeedConfig) -> Thresholds:
    assert thresholds is not None
    return thresholds if config.size is None else within_size(heat, thresholds, *config.size)


def _labels(
    maps: np.ndarray,
    image: np.ndarray,
    levels: Sequence[float],
    own: Sequence[Thresholds],
    config: SeedConfig,
    spacing: Sequence[float],
) -> np.ndarray:
    """(*S): 0, or 1 + the class whose heat is furthest above its level, after the field."""
    steps = [STEEP / max(t.upper - t.lower, 1e-6) for t in own]
    parts = zip(maps, levels, steps, strict=True)
    scores = np.stack([np.zeros_like(maps[0]), *[np.clip((h - t) * s, -8, 8) for h, t, s in parts]])
    if config.smooth:
        scores = solve_field(scores, image, config, spacing=spacing)
    return scores.argmax(0)


def solve_field(
    scores: np.ndarray, image: np.ndarray, config: SeedConfig, *, spacing: Sequence[float]
) -> np.ndarray:
    """Scores sharpened along the edges of an image, by blocks where it is large.

    Args:
        scores: float (K, *S), logarithms of probabilities, up to a constant.
        image: float (C, *S), normalised.
        config: Of the field.
        spacing: Size of a voxel per axis.

    Returns:
        float32 (K, *S) probabilities.
    """
    kernels = kernels_of(config, spacing)
    if config.solver == "dense":
        return dense_mean_field(scores.astype(np.float32), image, kernels, iterations=ITERATIONS)
    result = np.empty(scores.shape, np.float32)
    radii = zip(*(kernel.radius for kernel in kernels), strict=True)
    reach = [(ITERATIONS + 1) * max(both) for both in radii]  # one more for the weights of the outermost
    for block in blocks(scores.shape[1:], BLOCK):
        wide = tuple(
            slice(max(0, b.start - r), min(n, b.stop + r))
            for b, r, n in zip(block, reach, scores.shape[1:], strict=True)
        )
        inner = tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(block, wide, strict=True))
        guide = torch.from_numpy(np.ascontiguousarray(image[(slice(None), *wide)], np.float32))[None]
        part = torch.from_numpy(np.ascontiguousarray(scores[(slice(None), *wide)], np.float32))[None]
        found = LocalField(guide, kernels).solve(part, iterations=ITERATIONS)[0].numpy()
        result[(slice(None), *block)] = found[(slice(None), *inner)]
    return result


def kernels_of(config: SeedConfig, spacing: Sequence[float]) -> list[Kernel]:
    """Pairwise terms in voxels: one that stops at edges, one that only smooths a little."""
    finest = min(spacing)
    dims = len(spacing)
    reach = tuple(max(0.3, config.reach * finest / s) for s in spacing)
    radius = tuple(round((1.7 if dims == 2 else 1.0) * r) for r in reach)
    near = tuple(int(s < 1.6 * finest) for s in spacing)
    return [
        Kernel(config.smooth, reach, config.contrast, radius),
        Kernel(config.smooth / 4, (1.0,) * dims, None, near),
    ]


def merge(seed_map: np.ndarray, painted: np.ndarray | None) -> np.ndarray:
    """A hint map of seeds with what a person painted over it."""
    return seed_map if painted is None else np.where(painted > 0, painted, seed_map).astype(np.uint8)
