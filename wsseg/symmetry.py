"""Which mirror images and turns are harmless, seen from the hints.

Mirroring a hippocampus along its length turns anterior into posterior: a network trained on such patches
learns to guess. So an axis may be mirrored only where no class is told apart by side or direction.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from wsseg.weak import WeakLabels

APART = 0.5  # classes whose centres differ by more than this many standard deviations lie in a direction
AGREE = 0.8  # share of images that must show the same direction
SIDE = 0.15  # a class this far from the image's centre, as a share of the image, lies on a side
SAME_SPACING = 0.05


def flip_axes(labels: Sequence[WeakLabels], classes: int) -> tuple[int, ...]:
    """The axes along which mirroring is harmless.

    An axis is refused where two classes lie apart in the same direction in most images, or where a class lies
    on the same side of the image in most of at least three images (one picture alone has everything on some
    side, which says nothing).

    Args:
        labels: Weak labels of every image, network outputs as targets.
        classes: Number of network outputs, background included.
    """
    where = [_places(label, classes) for label in labels]
    dims = labels[0].target.ndim
    return tuple(
        axis
        for axis in range(dims)
        if not _ordered(where, axis, classes) and not _sided(where, axis, classes)
    )


def turn_planes(
    axes: Sequence[int], spacing: Sequence[float], size: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """Pairs of axes that may be turned into each other: both may be mirrored, spacing and patch are equal."""
    return tuple(
        (a, b)
        for a, b in combinations(axes, 2)
        if abs(spacing[a] / spacing[b] - 1) <= SAME_SPACING and size[a] == size[b]
    )


def _places(label: WeakLabels, classes: int) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Class -> centre and spread of its known voxels per axis, as shares of the image from its centre."""
    found = {}
    size = np.array(label.target.shape, float)
    for k in range(1, classes):
        where = np.argwhere(label.known & (label.target == k))
        if len(where):
            relative = (where + 0.5) / size - 0.5
            found[k] = (relative.mean(0), relative.std(0))
    return found


def _ordered(where: Sequence[dict], axis: int, classes: int) -> bool:
    for a, b in combinations(range(1, classes), 2):
        steps = [
            (w[b][0][axis] - w[a][0][axis]) / max(w[a][1][axis], w[b][1][axis], 1e-3)
            for w in where
            if a in w and b in w
        ]
        if steps and _agree([s for s in steps if abs(s) > APART], len(steps)):
            return True
    return False


def _sided(where: Sequence[dict], axis: int, classes: int) -> bool:
    for k in range(1, classes):
        offsets = [w[k][0][axis] for w in where if k in w]
        if len(offsets) >= 3 and _agree([o for o in offsets if abs(o) > SIDE], len(offsets)):
            return True
    return False


def _agree(clear: Sequence[float], total: int) -> bool:
    positive = sum(value > 0 for value in clear)
    return max(positive, len(clear) - positive) >= AGREE * total
