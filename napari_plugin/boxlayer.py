"""Boxes drawn in a Shapes layer: shapes to boxes and back. Knows no Qt.

A box is the bounding box of the shapes that carry its number; any kind of shape will do, turned ones too.
On an image one shape makes a box. In a volume a rectangle lies in one slice, and the box reaches through as
many slices as its "depth" says, or to a second rectangle on another slice, drawn next or pasted there.

Features of a shape: "box" its number as text, empty while it is new; "class" its class; "depth" in slices, 0
where two rectangles say it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_plugin.layers import KEY, identity, to_image, to_world, transforms_of
from wsseg.colours import class_colour
from wsseg.errors import InputError
from wsseg.hints import Box

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer
    from napari.layers import Shapes

FLAT = 1e-3  # voxels; napari keeps vertices as float32, and transforms add noise of their own
WIDTH = 1 / 250  # of a line, in the longest side of the image


@dataclass(frozen=True)
class _Shape:
    """One shape on the voxels of the image: half-open intervals, and the axis it is flat along, if any."""

    start: tuple[int, ...]
    stop: tuple[int, ...]
    flat: int | None
    depth: int
    class_name: str

    def may_pair(self, other: "_Shape") -> bool:
        """Whether both can be the two ends of one box in a volume: on two slices, neither with a depth."""
        same = self.flat is not None and self.flat == other.flat and not (self.depth or other.depth)
        return same and self.start[self.flat or 0] != other.start[self.flat or 0]

    def overlaps(self, other: "_Shape") -> bool:
        """Whether they do in the plane they lie in."""
        axes = [axis for axis in range(len(self.start)) if axis != self.flat]
        return all(max(self.start[a], other.start[a]) < min(self.stop[a], other.stop[a]) for a in axes)


def make_boxes(
    image: "ImageLayer", colours: Mapping[int, str], class_id: int, boxes: Sequence[Box] = ()
) -> "Shapes":
    """A Shapes layer on an image's grid with these boxes in it, ready for more of a class."""
    from napari.layers import Shapes

    own = to_image(image)
    data, features = to_shapes(boxes)
    layer = Shapes(
        data or None,
        ndim=own.ndim,
        features=features,
        metadata={KEY: {"role": "boxes", "of": identity(image)}},
        **look(f"{image.name} boxes", own.shape),
        **transforms_of(image),
    )
    tidy(layer, colours, class_id, 0)
    return layer


def look(name: str, shape: Sequence[int]) -> dict[str, Any]:
    """How a layer of boxes looks: lines only, each box with its number."""
    return {
        "name": name,
        "shape_type": "rectangle",
        "face_color": "transparent",
        "edge_width": max(1.0, round(WIDTH * max(shape), 1)),
        "opacity": 1.0,
        "text": {"string": "{box}", "size": 8, "anchor": "upper_left", "color": "white"},
    }


def to_shapes(boxes: Sequence[Box], axis: int = 0) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Corners (in data coordinates) and features of boxes.

    On an image a rectangle each; in a volume one on the first slice along `axis` and one on the last.
    """
    data, numbers, depths = [], [], []
    for box in boxes:
        low, high = np.array(box.start) - 0.5, np.array(box.stop) - 0.5
        plane = [a for a in range(len(low)) if len(low) == 2 or a != axis]
        ends = [box.start[axis], box.stop[axis] - 1] if len(low) == 3 else [0]
        for end in sorted(set(ends)):
            corners = np.full((4, len(low)), float(end))
            corners[:, plane[0]] = np.array([low, low, high, high])[:, plane[0]]
            corners[:, plane[1]] = np.array([low, high, high, low])[:, plane[1]]
            data.append(corners)
            numbers.append(box)
            depths.append(int(len(low) == 3 and len(set(ends)) == 1))
    return data, _columns([str(box.id) for box in numbers], [str(box.class_id) for box in numbers], depths)


def _columns(numbers: Sequence[str], classes: Sequence[str], depths: Sequence[int]) -> dict[str, np.ndarray]:
    return {
        "box": np.array(numbers, object),
        "class": np.array(classes, object),
        "depth": np.array(depths, int),
    }


def tidy(layer: "Shapes", colours: Mapping[int, str], class_id: int, depth: int) -> None:
    """Number new shapes, pair rectangles of volumes, colour all by class; what comes next has this class.

    A box keeps its number while others come and go. Nothing is written that is so already, for each write is
    an event that leads here again.
    """
    from napari.utils.colormaps.standardize_color import transform_color

    told = layer.features
    count = len(layer.data)
    numbers = [str(v) for v in told["box"]] if "box" in told else [""] * count
    classes = [str(v) for v in told["class"]] if "class" in told else [str(class_id)] * count
    depths = [int(v) for v in told["depth"]] if "depth" in told else [depth] * count
    fresh = numbered(numbers, [_shape(*three) for three in _raw(layer, classes, depths)])
    if fresh != numbers or not {"box", "class", "depth"} <= set(told):
        layer.features = told.assign(**_columns(fresh, classes, depths))
    before = {name: layer.feature_defaults[name].iloc[0] for name in layer.features}
    defaults = {**before, "box": "", "class": str(class_id), "depth": depth}
    if defaults != before:
        layer.feature_defaults = defaults
    # without the block a box just drawn, which is selected still, would change its colour as well
    with layer.block_update_properties():
        layer.current_edge_color = colours.get(class_id, class_colour(class_id))
    if count:
        paint = transform_color([colours.get(int(k) if k.isdigit() else 0, "white") for k in classes])
        if not np.allclose(paint, layer.edge_color):
            layer.edge_color = paint


def numbered(numbers: Sequence[str], shapes: Sequence[_Shape]) -> list[str]:
    """The number of each shape: its own where it has one, that of its partner, or the next after the largest.

    A copy has the number of what it was copied from. It keeps it only as the second end of a box in a volume.
    """
    highest = max((int(n) for n in numbers if n.isdigit()), default=0)
    members: dict[str, list[_Shape]] = {}
    result = list(numbers)
    new = []
    for index, (number, shape) in enumerate(zip(numbers, shapes, strict=True)):
        group = members.get(number, [])
        if number.isdigit() and (not group or (len(group) == 1 and group[0].may_pair(shape))):
            members.setdefault(number, []).append(shape)
        else:
            new.append(index)
    for index in new:
        shape = shapes[index]
        partner = next(
            (
                number
                for number, group in reversed(members.items())
                if len(group) == 1
                and group[0].may_pair(shape)
                and group[0].overlaps(shape)
                and group[0].class_name == shape.class_name
            ),
            None,
        )
        if partner is None:
            highest += 1
            partner = str(highest)
        members.setdefault(partner, []).append(shape)
        result[index] = partner
    return result


def to_boxes(
    layer: "Shapes", image: "ImageLayer", classes: Mapping[int, str]
) -> tuple[tuple[Box, ...], list[str]]:
    """The boxes as they are now, clipped to the image, and a sentence for each that can't be used.

    Raises:
        InputError: The layer has other axes than the image, or a shape names an unknown class.
    """
    own = to_image(image)
    if layer.ndim != own.ndim:
        raise InputError(
            f"{layer.name}: has {layer.ndim} axes, {image.name} has {own.ndim}; make boxes with “New” beside "
            "Boxes."
        )
    ids = {**{str(k): k for k in classes}, **{name: k for k, name in classes.items()}}
    told = layer.features
    change = _to_grid(layer, image)
    groups: dict[str, list[_Shape]] = {}
    for number, shape in zip(
        told["box"],
        (_shape(*three) for three in _raw(layer, told["class"], told["depth"], change)),
        strict=True,
    ):
        if str(number):  # else it is being drawn: it gets its number when the mouse is let go
            groups.setdefault(str(number), []).append(shape)
    boxes, problems = [], []
    for number, shapes in groups.items():
        class_id = ids.get(shapes[0].class_name)
        if class_id is None:
            raise InputError(
                f"{layer.name}: box {number} has the class “{shapes[0].class_name}”; an id or name of the "
                "table is right."
            )
        start, stop = _span(shapes)
        if problem := _problem(shapes, start, stop, own.shape):
            problems.append(f"Box {number} {problem}")
            continue
        low = tuple(max(0, a) for a in start)
        high = tuple(min(b, n) for b, n in zip(stop, own.shape, strict=True))
        boxes.append(Box(low, high, class_id, int(number)))
    return tuple(boxes), problems


def _problem(
    shapes: Sequence[_Shape], start: Sequence[int], stop: Sequence[int], shape: Sequence[int]
) -> str | None:
    """What is wrong with a box, as the end of a sentence."""
    if any(b - a < 1 for one in shapes for a, b in zip(one.start, one.stop, strict=True)):
        return "has no area; draw it larger, or delete it."
    first = shapes[0]
    if len(shapes) == 1 and first.flat is not None and not first.depth and shape[first.flat] > 1:
        return (
            f"lies in slice {first.start[first.flat]} alone: draw its other end on another slice, or give it "
            "a depth."
        )
    if any(a >= n or b <= 0 for a, b, n in zip(start, stop, shape, strict=True)):
        return "lies outside of the image; move or delete it."
    return None


def _span(shapes: Sequence[_Shape]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The bounding box of shapes."""
    starts, stops = [one.start for one in shapes], [one.stop for one in shapes]
    start, stop = (
        [min(axis) for axis in zip(*starts, strict=True)],
        [max(a) for a in zip(*stops, strict=True)],
    )
    first = shapes[0]
    if first.flat is not None and first.depth:
        start[first.flat] -= (first.depth - 1) // 2
        stop[first.flat] = start[first.flat] + first.depth
    return tuple(start), tuple(stop)


def _raw(
    layer: "Shapes", classes: Sequence[str], depths: Sequence[int], change: np.ndarray | None = None
) -> list[tuple[np.ndarray, int, str]]:
    """Vertices on the image's grid, depth and class of each shape."""
    corners = [np.asarray(one, float) for one in layer.data]
    if change is not None:
        corners = [one @ change[:-1, :-1].T + change[:-1, -1] for one in corners]
    return [(one, int(d), str(k)) for one, d, k in zip(corners, depths, classes, strict=True)]


def _shape(corners: np.ndarray, depth: int, class_name: str) -> _Shape:
    """The voxels under a shape; a voxel's centre has whole numbers, its faces lie half a voxel away.

    As at every door, starts are rounded down and stops up, and what is flat is a slice of one voxel in a
    volume, empty in a picture.
    """
    low, high = corners.min(0) + 0.5, corners.max(0) + 0.5
    start, stop = np.floor(low + FLAT).astype(int), np.ceil(high - FLAT).astype(int)
    thin = np.flatnonzero(high - low < FLAT)
    flat = int(thin[0]) if len(low) == 3 and len(thin) == 1 else None
    if flat is not None:
        stop[flat] = start[flat] + 1
    else:
        stop[thin] = start[thin]
    return _Shape(tuple(start.tolist()), tuple(stop.tolist()), flat, depth, class_name)


def _to_grid(layer: "Shapes", image: "ImageLayer") -> np.ndarray | None:
    """From the layer's data coordinates to the image's; None where they are the same."""
    world = to_world(image)[-layer.ndim - 1 :, -layer.ndim - 1 :]
    change = np.linalg.inv(world) @ to_world(layer)
    return None if np.allclose(change, np.eye(len(change)), atol=1e-6) else change
