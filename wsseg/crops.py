"""Boxes cut out of an image and brought to one grid, so that boxes of any size are worked on in one batch.

On the grid every box has the same place and size. What is told relative to a box (an ellipse, the width of
a kernel) is then the same for all, and cost follows the number of boxes, not the size of the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from wsseg.hints import Box

SIDES = {2: (32, 64), 3: (16, 32)}  # grid cells a side of the box: for small boxes, for large ones
LARGE = 1.5  # a box whose mean side is longer than this many of the small grid's is a large one
MARGIN = 0.25  # of the box on each side of it


@dataclass(frozen=True, eq=False)
class Crops:
    """Boxes of one image on one grid G of (1 + 2·MARGIN) times the side of a box.

    Attributes:
        boxes: N of them.
        side: Grid cells along a side of each box.
        guide: float32 (N, C, *G), intensities in standard deviations of each crop.
        valid: bool (N, *G), cells inside the image.
        others: bool (N, *G), cells that lie in another box too.
        rivals: float32 (N, *G), 1 − r² of the nearest of the other boxes' ellipses, 0 outside of them.
    """

    boxes: tuple[Box, ...]
    side: int
    guide: Tensor
    valid: Tensor
    others: Tensor
    rivals: Tensor

    @cached_property
    def inside(self) -> Tensor:
        """bool (*G): the cells of the box itself."""
        return radius(self.side, self.guide.ndim - 2, power=np.inf) < 1

    def to_box(self, index: int, values: Tensor) -> np.ndarray:
        """Values (*G) of a box back on the voxels of the box, float32."""
        return from_grid(values, self.boxes[index], self.side)


def from_grid(values: Tensor, box: Box, side: int) -> np.ndarray:
    """Values (*G) of a grid with `side` cells along a side of the box on the voxels of the box, float32."""
    for axis, (start, stop) in enumerate(zip(box.start, box.stop, strict=True)):
        length = stop - start
        places = ((np.arange(length) + 0.5) / length + MARGIN) * side - 0.5
        values = _along(values, axis, _weights(places, side / length, values.shape[axis]))
    return values.numpy()


def side_of(box: Box) -> int:
    """The grid that suits a box, by the geometric mean of its sides."""
    sides = np.subtract(box.stop, box.start)
    small, large = SIDES[len(sides)]
    return large if np.exp(np.log(sides).mean()) > LARGE * small else small


def cut_boxes(image: np.ndarray, boxes: Sequence[Box], side: int, neighbours: Sequence[Box]) -> Crops:
    """Cut boxes out of an image.

    Args:
        image: float (C, *S).
        boxes: Those to cut.
        side: Grid cells along a side of a box.
        neighbours: All boxes of the image; cells that lie in another one are marked.
    """
    shape = image.shape[1:]
    guides = torch.stack([resample(image, box, side) for box in boxes])
    places = [[_places(box, axis, side) for axis in range(len(shape))] for box in boxes]
    valid = [_all_axes([(at > -1) & (at < n) for at, n in zip(p, shape, strict=True)]) for p in places]
    near = _near(places, neighbours)
    rivals = [_rivals(*three) for three in zip(boxes, places, near, strict=True)]
    nearness = _stack([near for _, near in rivals])
    others = _stack([covered for covered, _ in rivals])
    return Crops(tuple(boxes), side, _standardised(guides), _stack(valid), others, nearness)


def resample(values: np.ndarray, box: Box, side: int) -> Tensor:
    """(C, *S) -> (C, *G): linear where the grid is finer than the image, averaging where it is coarser."""
    windows, weights = [], []
    for axis, (start, stop) in enumerate(zip(box.start, box.stop, strict=True)):
        step, length = (stop - start) / side, values.shape[axis + 1]
        places = _places(box, axis, side)
        low = int(np.clip(np.floor(places[0] - step - 1), 0, length - 1))
        high = int(np.clip(np.ceil(places[-1] + step + 2), low + 1, length))
        windows.append(slice(low, high))
        weights.append(_weights(places - low, step, high - low))
    crop = torch.from_numpy(np.ascontiguousarray(values[(slice(None), *windows)], np.float32))
    for axis, weight in enumerate(weights):
        crop = _along(crop, axis + 1, weight)
    return crop


def radius(side: int, dims: int, *, power: float = 2.0) -> Tensor:
    """(*G): distance from the box's centre, 1 where the inscribed ellipse (power 2) or the box (inf) ends."""
    margin = round(MARGIN * side)
    line = np.abs((np.arange(side + 2 * margin) + 0.5 - margin) / side * 2 - 1)
    grid = np.stack(np.meshgrid(*[line] * dims, indexing="ij"))
    return torch.from_numpy(np.linalg.norm(grid, power, axis=0).astype(np.float32))


def _places(box: Box, axis: int, side: int) -> np.ndarray:
    """Where the grid's cells lie along an axis of the image, in voxels."""
    margin = round(MARGIN * side)
    start, stop = box.start[axis], box.stop[axis]
    return start + (np.arange(-margin, side + margin) + 0.5) / side * (stop - start) - 0.5


def _weights(places: np.ndarray, step: float, length: int) -> Tensor:
    """(places, length): shares of the voxels along an axis, a triangle as wide as needed against aliasing."""
    places = np.clip(places, 0, length - 1)
    weights = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(length)) / max(1.0, step))
    return torch.from_numpy((weights / weights.sum(1, keepdims=True)).astype(np.float32))


def _along(values: Tensor, axis: int, weights: Tensor) -> Tensor:
    return torch.tensordot(values, weights, ([axis], [1])).movedim(-1, axis)


def _all_axes(lines: Sequence[np.ndarray]) -> np.ndarray:
    return np.logical_and.reduce(np.meshgrid(*lines, indexing="ij"))


def _near(places: Sequence[Sequence[np.ndarray]], neighbours: Sequence[Box]) -> list[list[Box]]:
    """For each crop the boxes that may reach into it; an image may hold thousands."""
    if not neighbours:
        return [[] for _ in places]
    starts = np.array([box.start for box in neighbours])
    stops = np.array([box.stop for box in neighbours])
    result = []
    for axes in places:
        low, high = np.transpose([at[[0, -1]] for at in axes])
        reach = ((starts < high + 1) & (stops > low)).all(1)
        result.append([neighbours[int(i)] for i in np.flatnonzero(reach)])
    return result


def _rivals(
    box: Box, places: Sequence[np.ndarray], neighbours: Sequence[Box]
) -> tuple[np.ndarray, np.ndarray]:
    """Where other boxes are, and how near to the middle of one: 1 − r² of its ellipse, 0 outside of all."""
    size = [len(at) for at in places]
    covered, near = np.zeros(size, bool), np.zeros(size, np.float32)
    for other in neighbours:
        if other.id == box.id:
            continue
        # distance from the other box's centre along each axis, 1 at its faces
        spans = zip(places, other.start, other.stop, strict=True)
        lines = [np.abs((at - (a + b - 1) / 2) / ((b - a) / 2)) for at, a, b in spans]
        if all((line < 1).any() for line in lines):
            covered |= _all_axes([line < 1 for line in lines])
            squares = sum(np.meshgrid(*[line**2 for line in lines], indexing="ij", sparse=True))
            near = np.maximum(near, 1 - squares)
    return covered, near.astype(np.float32)


def _stack(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))


def _standardised(guides: Tensor) -> Tensor:
    """Each crop by its own mean and deviation, all channels alike, so that grey stays grey."""
    axes = tuple(range(1, guides.ndim))
    mean = guides.mean(axes, keepdim=True)
    return (guides - mean) / (guides - mean).square().mean(axes, keepdim=True).sqrt().clamp_min(1e-6)
