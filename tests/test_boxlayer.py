"""Shapes to boxes and back: voxels under a rectangle, numbers that stay, volumes, and what can't be used."""

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Shapes

from napari_plugin.boxlayer import make_boxes, tidy, to_boxes, to_shapes
from napari_plugin.boxtool import BoxTool
from napari_plugin.classtable import ClassTable
from napari_plugin.timeline import Timeline
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND, Box

# napari says so of every volume that is turned out of its planes
pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")

COLOURS = {1: "#56B4E9", 2: "#E69F00"}
CLASSES = {1: "cell", 2: "ring"}


def image(ndim: int) -> Image:
    """An anisotropic image that is moved, scaled and turned."""
    turn = 30.0 if ndim == 2 else (10.0, 20.0, 30.0)
    return Image(
        np.zeros((10, 20, 30)[-ndim:]),
        name="scan",
        scale=(3.0, 1.0, 0.5)[-ndim:],
        translate=(5.0, -2.0, 7.0)[-ndim:],
        rotate=turn,
    )


def rectangle(low, high, at=None, axis=0) -> np.ndarray:
    """The corners of a rectangle in a picture, or in slice `at` of a volume."""
    (a, b), (c, d) = low, high
    corners = np.array([[a, b], [a, d], [c, d], [c, b]], float)
    return corners if at is None else np.insert(corners, axis, at, axis=1)


def drawn(ndim: int) -> tuple[BoxTool, Any, Image]:
    """An empty layer that a tool follows."""
    layer_image = image(ndim)
    table = ClassTable()
    table.replace(CLASSES)
    tool = BoxTool(table, lambda: None, lambda change: None)
    layer = tool.new(layer_image)
    tool.choose(layer)
    return tool, layer, layer_image


def numbers(layer: Shapes) -> list[str]:
    return list(layer.features["box"])


@pytest.mark.parametrize("ndim", [2, 3])
def test_boxes_to_shapes_to_boxes(ndim):
    boxes = (
        Box((2, 3, 4)[-ndim:], (5, 9, 6)[-ndim:], 1, 7),
        Box((0, 0, 0)[-ndim:], (1, 20, 30)[-ndim:], 2, 3),  # as large as the image, in 3D one slice thick
    )
    scan = image(ndim)
    layer = make_boxes(scan, COLOURS, 1, boxes)
    assert to_boxes(layer, scan, CLASSES) == (boxes, [])
    np.testing.assert_allclose(layer.data_to_world([1] * ndim), scan.data_to_world([1] * ndim))
    assert numbers(layer) == (["7", "3"] if ndim == 2 else ["7", "7", "3"])
    np.testing.assert_allclose(layer.edge_color[-1][:3], np.array([0xE6, 0x9F, 0]) / 255)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_ends_of_a_box_lie_on_the_slices_of_any_axis(axis):
    box = Box((2, 3, 4), (5, 9, 6), 1, 1)
    corners, _ = to_shapes([box], axis)
    assert [set(end[:, axis]) for end in corners] == [{box.start[axis]}, {box.stop[axis] - 1}]
    scan = image(3)
    data, features = to_shapes([box], axis)
    layer = make_boxes(scan, COLOURS, 1)
    layer.add(data, shape_type="rectangle")
    layer.features = features
    assert to_boxes(layer, scan, CLASSES)[0] == (box,)


def test_the_voxels_under_a_rectangle():
    # voxel i covers i − 0.5 to i + 0.5; what is touched counts, and what lies beyond the image does not
    _, layer, scan = drawn(2)
    layer.add(rectangle((2.2, -4.0), (4.6, 3.4)), shape_type="rectangle")
    layer.add(rectangle((2.5, 3.5), (4.5, 9.5)), shape_type="rectangle")
    (first, second), _ = to_boxes(layer, scan, CLASSES)
    assert (first.start, first.stop) == ((2, 0), (6, 4))
    assert (second.start, second.stop) == ((3, 4), (5, 10))


def test_other_shapes_stand_for_their_bounding_box():
    _, layer, scan = drawn(2)
    layer.add(np.array([[5, 10], [10, 15], [15, 10], [10, 5]]), shape_type="polygon")
    layer.add(np.array([[10, 10], [4, 3]]), shape_type="ellipse")  # centre, radii
    boxes, problems = to_boxes(layer, scan, CLASSES)
    assert [(b.start, b.stop) for b in boxes] == [((5, 5), (16, 16)), ((6, 7), (15, 14))]
    assert not problems


def test_a_layer_on_another_grid_is_brought_to_the_image():
    scan = Image(np.zeros((20, 30)), name="scan", scale=(2, 0.5), translate=(10, 0))
    world = Shapes([rectangle((12, 2), (20, 6))], shape_type="rectangle")
    tidy(world, COLOURS, 2, 0)
    ((box,), _) = to_boxes(world, scan, CLASSES)
    # world 12 … 20 is voxel 1 … 5, world 2 … 6 is voxel 4 … 12, half a voxel more on each side
    assert (box.start, box.stop, box.class_id) == ((1, 4), (6, 13), 2)
    names = ("c", "y", "x")
    channels = Image(np.zeros((2, 20, 30)), axis_labels=names, scale=(1, 2, 0.5), translate=(0, 10, 0))
    ((again,), _) = to_boxes(world, channels, CLASSES)
    assert (again.start, again.stop) == (box.start, box.stop)


def test_numbers_stay_while_boxes_come_and_go():
    _, layer, scan = drawn(2)
    for at in (0, 5, 10):
        layer.add(rectangle((at, 0), (at + 3, 4)), shape_type="rectangle")
    assert numbers(layer) == ["1", "2", "3"]
    layer.remove([1])
    layer.add(rectangle((5, 5), (8, 9)), shape_type="rectangle")
    assert numbers(layer) == ["1", "3", "4"]
    layer.selected_data = {0}
    layer._copy_data()
    layer._paste_data()  # a copy is another box
    assert numbers(layer) == ["1", "3", "4", "5"]
    assert [box.id for box in to_boxes(layer, scan, CLASSES)[0]] == [1, 3, 4, 5]


def test_two_rectangles_on_two_slices_are_one_box_in_any_order_of_axes():
    for axis in range(3):
        tool, layer, scan = drawn(3)
        layer.add(rectangle((2, 2), (5, 6), at=7.0, axis=axis), shape_type="rectangle")
        assert tool.read(scan) == ()
        assert "Box 1 lies in slice 7 alone" in tool.told()
        layer.add(rectangle((6, 12), (9, 16), at=2.0, axis=axis), shape_type="rectangle")  # elsewhere
        layer.add(rectangle((3, 1), (4, 7), at=4.0, axis=axis), shape_type="rectangle")
        assert numbers(layer) == ["1", "2", "1"]
        (box,) = tool.read(scan)
        start, stop = [2, 1], [6, 8]
        start.insert(axis, 4)
        stop.insert(axis, 8)
        assert (box.start, box.stop) == (tuple(start), tuple(stop))
        layer.add(rectangle((2, 2), (5, 6), at=9.0, axis=axis), shape_type="rectangle")
        assert numbers(layer)[-1] == "3"  # the first has both of its ends


def test_a_copy_on_another_slice_is_the_other_end():
    viewer = ViewerModel()
    scan = viewer.add_layer(Image(np.zeros((10, 20, 30))))
    tool = BoxTool(ClassTable(), lambda: None, lambda change: None)
    layer = viewer.add_layer(tool.new(scan))
    tool.choose(layer)
    layer.add(rectangle((2, 2), (5, 6), at=3.0), shape_type="rectangle")
    viewer.dims.set_current_step(0, 3)
    layer.selected_data = {0}
    layer._copy_data()
    viewer.dims.set_current_step(0, 6)
    layer._paste_data()
    assert numbers(layer) == ["1", "1"]
    ((box,), _) = to_boxes(layer, scan, CLASSES)
    assert (box.start, box.stop) == ((3, 2, 2), (7, 6, 7))
    viewer.dims.set_current_step(0, 8)
    layer._paste_data()  # it has both of its ends
    assert numbers(layer) == ["1", "1", "2"]
    layer.remove([1])
    assert numbers(layer) == ["1", "2"]


def test_a_rectangle_with_a_depth_is_a_box_about_its_slice():
    tool, layer, scan = drawn(3)
    tool.set_depth(4)
    layer.add(rectangle((2, 2), (5, 6), at=5.0), shape_type="rectangle")
    tool.set_depth(3)
    layer.add(rectangle((2, 2), (5, 6), at=9.0), shape_type="rectangle")  # the last slice: clipped
    boxes, problems = to_boxes(layer, scan, CLASSES)
    assert [(b.start[0], b.stop[0]) for b in boxes] == [(4, 8), (8, 10)]
    assert not problems
    layer.mode = "select"
    layer.selected_data = {0}
    tool.set_depth(2)
    assert [b.stop[0] - b.start[0] for b in to_boxes(layer, scan, CLASSES)[0]] == [2, 2]


def test_boxes_carry_the_chosen_class_and_its_colour():
    tool, layer, scan = drawn(2)
    layer.mode = "add_rectangle"
    layer.add(rectangle((2, 2), (5, 6)), shape_type="rectangle")
    layer.selected_data = {0}  # as napari leaves a box that has just been drawn
    tool.select(2)
    layer.add(rectangle((8, 2), (12, 6)), shape_type="rectangle")
    assert list(layer.features["class"]) == ["1", "2"]
    expected = [[0x56, 0xB4, 0xE9], [0xE6, 0x9F, 0]]
    np.testing.assert_allclose(layer.edge_color[:, :3], np.array(expected) / 255)
    tool.select(BACKGROUND)  # a box of background makes no sense: the class stays
    assert tool.class_id == 2
    layer.mode = "select"
    layer.selected_data = {0}
    tool.select(2)
    assert [box.class_id for box in to_boxes(layer, scan, CLASSES)[0]] == [2, 2]
    assert tool.uses(2)
    assert not tool.uses(1)


def test_what_can_not_be_used_is_told_and_the_rest_goes_on():
    tool, layer, scan = drawn(2)
    layer.add(rectangle((2, 2), (2, 6)), shape_type="rectangle")
    layer.add(rectangle((50, 2), (60, 6)), shape_type="rectangle")
    layer.add(rectangle((-9, 2), (-0.5, 6)), shape_type="rectangle")
    layer.add(rectangle((3, 2), (6, 6)), shape_type="rectangle")
    assert [box.id for box in tool.read(scan)] == [4]
    assert [p.split(";")[0] for p in tool.problems] == [
        "Box 1 has no area",
        "Box 2 lies outside of the image",
        "Box 3 lies outside of the image",
    ]
    layer.add(rectangle((2, 2), (2, 6)), shape_type="rectangle")
    tool.read(scan)
    assert tool.told().endswith("And 1 more.")


def test_layers_that_make_no_sense_are_refused():
    flat = Shapes([rectangle((2, 2), (5, 6))], shape_type="rectangle", name="flat")
    tidy(flat, COLOURS, 1, 0)
    with pytest.raises(InputError, match="flat: has 2 axes, scan has 3"):
        to_boxes(flat, image(3), CLASSES)
    cats = Shapes([rectangle((2, 2), (5, 6))], shape_type="rectangle", features={"class": ["cat"]})
    tidy(cats, COLOURS, 1, 0)
    with pytest.raises(InputError, match="the class “cat”"):
        to_boxes(cats, image(2), CLASSES)


@pytest.mark.parametrize("ndim", [2, 3])
def test_undo_and_redo_of_all_that_is_done_to_boxes(ndim):
    tool, layer, scan = drawn(ndim)
    changes = []
    tool._changed = lambda: changes.append(1)
    timeline = Timeline([layer], lambda: None, lambda: None)
    tool.history._record = timeline.record
    words = []
    ends = [None] if ndim == 2 else [2.0, 5.0]
    states = [tool.read(scan)]

    def done() -> None:
        states.append(tool.read(scan))
        words.append(timeline.words()[0])

    for end in ends:
        layer.add(rectangle((2, 2), (5, 6), at=end), shape_type="rectangle")
        done()
    tool.select(2)
    for end in ends:
        layer.add(rectangle((8, 2), (12, 6), at=end), shape_type="rectangle")
        done()
    layer.data = [corners + 1.0 for corners in layer.data]
    done()
    layer.mode = "select"
    layer.selected_data = {0}
    tool.select(2)
    done()
    layer.remove(list(range(len(ends))))
    done()
    assert [box.id for box in states[-1]] == [2]
    before = len(changes)
    for state, word in zip(states[-2::-1], words[::-1], strict=True):
        assert timeline.undo().words == word
        assert tool.read(scan) == state
    assert layer.nshapes == 0
    assert len(changes) > before  # so that the result follows
    second = ["box 2"] if ndim == 2 else ["box 2", "other end of box 2"]
    first = ["box 1"] if ndim == 2 else ["box 1", "other end of box 1"]
    assert words == [*first, *second, "change of 2 boxes", "change of box 1", "deletion of box 1"]
    with pytest.raises(InputError, match="nothing to undo"):
        timeline.undo()
    for state in states[1:]:
        timeline.redo()
        assert tool.read(scan) == state
    timeline.undo()
    layer.add(rectangle((3, 9), (5, 12), at=ends[0]), shape_type="rectangle")
    after = tool.read(scan)
    with pytest.raises(InputError, match="nothing to redo"):
        timeline.redo()  # something else was done since
    assert tool.read(scan) == after
    assert len(set(layer.edge_width)) == 1


def test_a_box_that_is_being_drawn_is_no_box_yet():
    tool, layer, scan = drawn(2)
    layer.add(rectangle((2, 2), (5, 6)), shape_type="rectangle")
    before = tool.read(scan)
    with layer.events.data.blocker(), layer.events.features.blocker():  # as between press and release
        layer.add(rectangle((8, 8), (9, 9)), shape_type="rectangle")
    assert list(layer.features["box"]) == ["1", ""]
    assert tool.read(scan) == before
    tool.tidy()
    assert [box.id for box in tool.read(scan)] == [1, 2]
