"""Paint on the mask changes it at once and is a hint from then on; what was accepted stays."""

import numpy as np
import pytest
from test_instanttool import hasty, mask_of, paint, preview, ready, run, scene  # noqa: F401

from napari_plugin.follow import Follow
from napari_plugin.results import find
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND

WRONG = (20, 20)  # a place that is background, and is taken for it


def answered(ndim: int, **extra):
    """A scene with strokes and an answer to them; the brush is one voxel."""
    viewer, controller = ready(ndim, **extra)
    paint(controller)
    run(controller.instant, controller.instant.due())
    controller.instant.follow()
    layer = find(controller.layers, controller.image, "mask")
    layer.brush_size = 1
    return viewer, controller, layer


def place(ndim: int) -> tuple[int, ...]:
    return (12,) * (ndim - 2) + WRONG


@pytest.mark.parametrize("way", ["paint", "fill", "setitem"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_paint_on_the_mask_is_a_hint_and_stays(ndim, way):
    _, controller, layer = answered(ndim, scale=(2.0,) * ndim)
    at = place(ndim)
    assert layer.data[at] == 0
    before, hints = layer.data.copy(), controller.hints.data.copy()
    if way == "paint":
        layer.paint(at, 1)
    elif way == "fill":
        layer.fill(at, 1)  # napari tells of it before it writes it
    else:
        layer.data_setitem(tuple(np.array([p]) for p in at), 1)
    controller.instant.follow()
    changed = layer.data != before
    assert changed[at]
    assert (layer.data[changed] == 1).all()
    np.testing.assert_array_equal(controller.hints.data == 1, (hints == 1) | changed)
    np.testing.assert_array_equal(controller.hints.data[~changed], hints[~changed])
    if way != "paint":
        return
    run(controller.instant, controller.instant.due())
    assert mask_of(controller)[at] == 1
    preview(controller, 0, done=9)  # a network that finds nothing, and is on show
    assert controller.instant.masks.on() == "network"
    assert mask_of(controller)[at] == 1
    painted = controller.hints.data
    np.testing.assert_array_equal(mask_of(controller) == 1, painted == 1)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("value", [0, BACKGROUND])
def test_what_is_erased_or_painted_as_background_is_a_hint_of_background(ndim, value):
    _, controller, layer = answered(ndim)
    at = tuple(np.argwhere((layer.data == 1) & (controller.hints.data == 0))[0])
    layer.paint(at, value)
    controller.instant.follow()
    assert layer.data[at] == 0
    assert controller.hints.data[at] == BACKGROUND


@pytest.mark.parametrize("ndim", [2, 3])
def test_undo_and_redo_are_those_of_all_strokes(ndim):
    _, controller, layer = answered(ndim)
    at = place(ndim)
    before, hints = layer.data.copy(), controller.hints.data.copy()
    with layer.block_history():  # as the mouse does it
        layer.paint(at, 1)
        layer.paint((*at[:-1], at[-1] + 1), 1)
    controller.instant.follow()
    assert controller.timeline.words()[0] == "paint on the mask"
    after, painted = layer.data.copy(), controller.hints.data.copy()
    controller.timeline.undo()
    np.testing.assert_array_equal(layer.data, before)
    np.testing.assert_array_equal(controller.hints.data, hints)
    controller.timeline.redo()
    np.testing.assert_array_equal(layer.data, after)
    np.testing.assert_array_equal(controller.hints.data, painted)


@pytest.mark.parametrize("ndim", [2, 3])
def test_what_was_accepted_stays(ndim):
    _, controller, layer = answered(ndim)
    controller.accept_object((12,) * ndim, [ndim - 2, ndim - 1])
    before, hints = layer.data.copy(), controller.hints.data.copy()
    layer.paint((12,) * ndim, 0)
    controller.instant.follow()
    np.testing.assert_array_equal(layer.data, before)
    np.testing.assert_array_equal(controller.hints.data, hints)
    assert "accepted already" in controller.message
    layer.brush_size = 3
    at = (*(12,) * (ndim - 2), 1, 1)  # far from it, and beside nothing
    layer.paint(at, 1)
    controller.instant.follow()
    assert layer.data[at] == 1


@pytest.mark.parametrize("ndim", [2, 3])
def test_paint_on_the_mask_has_no_score_and_paint_on_the_hints_has(ndim):
    _, controller, layer = answered(ndim)
    tool, at = controller.instant, place(ndim)
    count = len(tool.agreement.values)
    layer.brush_size = 3
    layer.paint(at, 1)  # all that napari tells of it was wrong
    tool.follow()
    run(tool, tool.due())
    assert tool.agreement.values[count:] == []
    controller.hints.paint((2,) * ndim, 1)
    run(tool, tool.due())
    assert tool.agreement.values[count:] == [0.0]
    layer.paint((*at[:-1], at[-1] - 6), 1)
    controller.hints.paint((12,) * (ndim - 1) + (11,), 1)
    tool.follow()
    if (work := tool.due()) is not None:
        run(tool, work)
    assert tool.agreement.values[count + 1 :] in ([], [1.0])  # of the stroke on the hints alone


def test_without_answers_paint_stays_in_what_a_network_says():
    _, controller, layer = answered(2)
    controller.instant.turn(False)
    layer.paint(WRONG, 1)
    controller.instant.follow()
    preview(controller, 0, done=9)
    assert mask_of(controller)[WRONG] == 1


def test_the_first_stroke_can_be_on_the_mask():
    viewer, controller = scene(2)
    preview(controller, 1, done=9)
    viewer.layers.remove(controller.hints)
    controller.hints = None
    controller.instant.follow()
    layer = find(controller.layers, controller.image, "mask")
    layer.selected_label = 1
    layer.paint(WRONG, 0)
    controller.instant.follow()
    assert controller.hints.data[WRONG] == BACKGROUND
    assert viewer.layers.selection.active is layer


def test_the_brush_has_the_class_at_work_and_tells_which_was_picked():
    _, controller, layer = answered(2)
    controller.add_class()
    assert layer.selected_label == controller.selected == 2
    layer.selected_label = 1
    assert controller.selected == controller.hints.selected_label == 1
    layer.selected_label = 99  # napari's own numbers go on; it is no class
    assert controller.selected == 1


def test_the_mask_of_another_image_is_left_as_it_is():
    viewer, controller, layer = answered(2)
    other = viewer.add_image(controller.image.data.copy(), name="other")
    first = controller.image
    controller.choose_image(other)
    before = layer.data.copy()
    layer.paint(WRONG, 1)
    controller.instant.follow()
    np.testing.assert_array_equal(layer.data, before)
    assert "of another image" in controller.message
    follow = Follow(viewer.layers, controller, controller.choose_image, lambda: False)
    viewer.layers.selection.active = other
    viewer.layers.selection.active = layer  # the panel goes to the image whose mask is chosen
    assert controller.image == first
    del follow  # napari holds its listeners weakly


def square(layer, low: int, high: int, label: int) -> tuple[slice, ...]:
    """A polygon in the middle slice, with napari's own tool; gives the voxels that it covers."""
    before, middle = np.asarray(layer.data).copy(), (12,) * (layer.ndim - 2)
    layer.data[...] = 0  # what it covers is told by the tool alone
    layer.events.paint.block()
    corners = [(low, low), (low, high), (high, high), (high, low)]
    layer.paint_polygon([(*middle, *corner) for corner in corners], label or 1)
    covered = layer.data != 0
    layer.data[...] = before
    layer.events.paint.unblock()
    layer.paint_polygon([(*middle, *corner) for corner in corners], label)
    return covered


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_region_is_accepted_by_drawing_around_it_and_taken_back_by_erasing(ndim):
    _, controller, mask = answered(ndim)
    layer = controller.region_to_accept([ndim - 2, ndim - 1])
    controller.instant.follow()
    covered = square(layer, 4, 13, 1)
    controller.instant.follow()
    expected = np.where(covered, np.where(mask.data == 0, BACKGROUND, mask.data), 0)
    np.testing.assert_array_equal(layer.data, expected)
    assert set(np.unique(expected)) == {0, 1, BACKGROUND}
    assert f"{covered.sum():,} voxels are locked" in controller.message
    hints = controller.read_hints()
    np.testing.assert_array_equal(hints.scribbles[covered], expected[covered])
    preview(controller, 0, done=9)  # a network that finds nothing
    np.testing.assert_array_equal(mask_of(controller)[covered] == 1, expected[covered] == 1)
    back = square(layer, 4, 6, 0)
    controller.instant.follow()
    np.testing.assert_array_equal(layer.data, np.where(back, 0, expected))
    assert f"{back.sum():,} voxels are no longer" in controller.message
    assert controller.timeline.words()[0] == "taking back a region"
    controller.timeline.undo()
    np.testing.assert_array_equal(layer.data, expected)
    controller.timeline.undo()
    assert not layer.data.any()


def test_what_is_accepted_twice_stays_as_it_was_first():
    _, controller, mask = answered(2)
    controller.accept_object((12, 12), [0, 1])
    layer = controller.region_to_accept([0, 1])
    first = layer.data.copy()
    controller.instant.follow()
    mask.data[...] = 0
    square(layer, 4, 13, 1)
    controller.instant.follow()
    np.testing.assert_array_equal(layer.data[first > 0], first[first > 0])


def test_without_a_mask_there_is_nothing_to_accept():
    viewer, controller = scene(2)
    with pytest.raises(InputError, match="no mask"):
        controller.region_to_accept([0, 1])
    preview(controller, 1, done=9)
    layer = controller.region_to_accept([0, 1])
    controller.instant.follow()
    viewer.layers.remove(find(viewer.layers, controller.image, "mask"))
    square(layer, 4, 8, 1)
    controller.instant.follow()
    assert not layer.data.any()
    assert "no mask" in controller.message


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_region_is_all_background(ndim):
    _, controller, _ = answered(ndim)
    controller.hints.data[...] = 0
    layer = controller.region_of_background()
    assert layer is controller.hints
    assert layer.selected_label == controller.selected == BACKGROUND
    covered = square(layer, 2, 9, BACKGROUND)
    np.testing.assert_array_equal(layer.data, np.where(covered, BACKGROUND, 0))
    assert controller.timeline.words()[0] == "stroke of background"
