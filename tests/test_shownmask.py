"""On show is what the maker said, and over it what is marked now: what is taken back leaves nothing."""

import numpy as np
import pytest
from test_autosave import settle
from test_instanttool import hasty, mask_of, paint, preview, ready, run, scene  # noqa: F401
from test_maskbrush import answered, place

from napari_plugin.autosave import Autosave
from napari_plugin.layers import identity
from napari_plugin.maskhistory import run_change
from napari_plugin.results import find
from wsseg.hints import BACKGROUND
from wsseg.replay import replay


def taught(ndim: int, says: int = 0):
    """A scene with an answer, and a network on show that says the same everywhere."""
    viewer, controller, layer = answered(ndim)
    controller.instant.learns(controller.read_hints())
    preview(controller, says, done=9)
    assert controller.instant.masks.on() == "network"
    return viewer, controller, layer


def answer(controller) -> None:
    """The next answer, where one is due."""
    controller.instant.follow()
    if (work := controller.instant.due()) is not None:
        run(controller.instant, work)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_correction_that_was_undone_does_not_come_back(ndim):
    _, controller, layer = taught(ndim)
    at, before = place(ndim), layer.data.copy()
    layer.paint(at, 1)
    answer(controller)
    assert layer.data[at] == 1
    controller.timeline.undo()
    assert layer.data[at] == 0
    answer(controller)
    np.testing.assert_array_equal(layer.data, before)
    layer.paint(at, 1)
    controller.timeline.undo()  # before anybody asked for an answer
    controller.hints.paint((2,) * ndim, BACKGROUND)
    answer(controller)
    np.testing.assert_array_equal(layer.data, before)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_reject_that_was_undone_is_undone_for_good(ndim):
    _, controller, layer = taught(ndim)
    mask = np.zeros((24,) * ndim, np.uint8)
    mask[(slice(6, 18),) * ndim] = 1
    mask[(slice(20, 23),) * ndim] = 1
    controller.instant.masks.put("network", controller.image, lambda: layer, (...,), mask)
    before = layer.data.copy()
    controller.reject_object((21,) * ndim, [ndim - 2, ndim - 1])
    answer(controller)
    assert not layer.data[(slice(20, 23),) * ndim].any()
    controller.timeline.undo()
    for _ in range(2):
        np.testing.assert_array_equal(layer.data, before)
        answer(controller)


@pytest.mark.parametrize("role", ["mask", "locked"])
def test_a_stroke_undone_before_the_next_pulse_is_not_written_after_it(role):
    _, controller, layer = answered(2)
    controller.instant.turn(False)
    layer = layer if role == "mask" else controller.region_to_accept([0, 1])
    controller.instant.follow()
    layer.brush_size = 1
    before = layer.data.copy()
    layer.paint((2, 20), 1)
    controller.timeline.undo()
    controller.instant.follow()
    np.testing.assert_array_equal(layer.data, before)


@pytest.mark.parametrize("answers", [False, True])
def test_undo_of_two_voxels_changes_two_voxels_whatever_came_meanwhile(answers):
    _, controller, layer = answered(2)
    tool = controller.instant
    tool.turn(answers)
    tool.learns(controller.read_hints())
    preview(controller, 0, done=2)
    with layer.block_history():
        layer.paint((3, 3), BACKGROUND)
        layer.paint((20, 20), BACKGROUND)
    tool.follow()
    tool.learns(controller.read_hints())
    tool.choose("network")
    preview(controller, 1, done=9)  # the network has learnt since: all is class 1
    shown = layer.data.copy()
    controller.timeline.undo()
    changed = np.argwhere(layer.data != shown)
    np.testing.assert_array_equal(changed, [[3, 3], [20, 20]])


@pytest.mark.parametrize("ndim", [2, 3])
def test_strokes_stay_in_a_mask_that_no_answer_was_there_to_compare_with(ndim):
    _, controller = scene(ndim)
    preview(controller, 0, done=9)  # as Apply model does
    tool = controller.instant
    run(tool, tool.due())
    paint(controller)
    answer(controller)
    assert tool.masks.on() == "network"
    np.testing.assert_array_equal(mask_of(controller) == 1, controller.hints.data == 1)


def test_strokes_stay_in_a_mask_that_came_back_by_undo_of_a_run():
    _, controller, layer = taught(2)
    controller.timeline.record(run_change(controller, controller.image, "Segment"))
    controller.instant.learns(controller.read_hints())
    preview(controller, 1, done=9)
    controller.timeline.undo()
    controller.hints.brush_size = 1
    controller.hints.paint((2, 20), 1)
    answer(controller)
    assert layer.data[2, 20] == 1


@pytest.mark.parametrize("seeded", [False, True])
def test_a_correction_stays_where_seeds_are_used_and_while_features_are_computed(seeded):
    _, controller = scene(2)
    if seeded:
        seeds = np.zeros((24, 24), np.uint8)
        seeds[12, 12] = seeds[5, 5] = 1
        controller.tags.view.painted[identity(controller.image)] = seeds
        controller.hints.data[5, 5] = 1
    preview(controller, 0, done=9)
    controller.instant.due()  # features are under way
    controller.instant.follow()
    layer = find(controller.layers, controller.image, "mask")
    layer.brush_size = 1
    layer.paint((2, 20), 1)
    preview(controller, 0, done=9)
    assert layer.data[2, 20] == 1
    assert layer.data[5, 5] == 0  # a seed is a guess


def test_what_is_locked_is_on_disk_as_it_counts(tmp_path):
    _, controller, _ = answered(2)
    autosave = Autosave(controller, tmp_path)
    layer = controller.region_to_accept([0, 1])
    controller.instant.follow()
    settle(autosave)
    layer.brush_size = 1
    layer.paint((2, 20), 1)  # the mask says background there
    settle(autosave)  # its timer comes first
    assert replay(autosave.folder()).drawing.locked[2, 20] == BACKGROUND
    autosave.close()


@pytest.mark.parametrize("shape", [(20, 20), (24, 24, 3)])
def test_hints_of_another_shape_are_refused_in_words(shape):
    viewer, controller, layer = answered(2)
    before = layer.data.copy()
    own = viewer.add_labels(np.zeros(shape, np.uint8), name="mine")
    controller.choose_hints(own)
    layer.brush_size = 5
    layer.paint((2, 19), 1)
    controller.instant.follow()
    assert "mine" in controller.message
    assert not own.data.any()
    answer_only = before.copy()
    answer_only[(layer.data != before)] = layer.data[layer.data != before]
    assert (layer.data[:6, 14:] == answer_only[:6, 14:]).all()
    assert layer.data[2, 19] == 0


def test_a_mask_of_an_image_that_was_never_at_work_takes_no_paint():
    viewer, controller, _ = answered(2)
    other = viewer.add_image(controller.image.data.copy(), name="other")
    layer = controller._mask_of(other)
    controller.instant.follow()
    layer.paint((3, 3), 1)
    controller.instant.follow()
    assert not layer.data.any()
    assert "of another image" in controller.message


@pytest.mark.parametrize("ndim", [2, 3])
def test_what_another_plugin_puts_into_the_layer_is_the_mask_from_then_on(ndim):
    _, controller, layer = taught(ndim)
    new = np.ones((24,) * ndim, np.uint8)
    layer.data = new
    controller.instant.follow()
    controller.hints.brush_size = 1
    controller.hints.paint((2,) * ndim, BACKGROUND)
    controller.instant.follow()
    expected = np.where(controller.hints.data == BACKGROUND, 0, 1)
    np.testing.assert_array_equal(layer.data, expected)
    controller.instant.masks.show(controller.image, lambda: layer)
    np.testing.assert_array_equal(controller.instant.masks.mask(controller.image, "network"), 1)


def test_a_held_arrow_of_the_steps_is_one_undo():
    _, controller = scene(2)
    for x in range(20):
        controller.hints.paint((3, x), 1)
    for steps in range(100, 10_100, 100):
        controller.set("steps", steps)
    assert controller.timeline.undo().words == "training steps"
    assert controller.settings.steps == 0
    for _ in range(20):
        assert controller.timeline.undo().words == "stroke of class 1"
    controller.set("steps", 5)
    assert controller.timeline.words() == ("training steps", "")
