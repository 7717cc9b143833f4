"""The score on held-out slices follows the mask on show, whoever changes it, and nothing else."""

import numpy as np
import pytest
from test_heldtool import by_hand, finished, hold
from test_instanttool import _encoder, hasty, mask_of, preview, run  # noqa: F401

from napari_plugin.controller import Controller
from napari_plugin.maskhistory import run_change
from napari_plugin.results import find
from wsseg.hints import BACKGROUND


def network(controller: Controller, run: int, *, good: bool) -> None:
    """A run of a network that is right everywhere, or calls everything an object; undo takes it back."""
    image, tool = controller.image, controller.instant
    mask = np.ones(image.data.shape, np.uint8)
    if good:
        mask[:] = 0
        mask[(slice(6, 18),) * image.ndim] = 1
    controller.timeline.record(run_change(controller, image, "Segment"))
    tool.masks.put("network", image, lambda: controller._mask_of(image), (...,), mask)
    tool.end_of_run(image, run)


def scored(controller: Controller) -> bool:
    """Whether the words and the newest value are of the mask on show."""
    held = controller.held
    value = by_hand(mask_of(controller), held.map_of(controller.image), 1)
    told = held.told(controller.classes)
    return held.values[-1] == pytest.approx(value) and f" {value:.2f}." in told


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_score_is_that_of_the_mask_which_is_chosen(ndim):
    controller = finished(ndim, 8)
    tool, held = controller.instant, controller.held
    hold(controller, 8)
    tool.follow()
    answered = held.values[0]
    network(controller, 1, good=True)
    assert held.values == [answered, 1]
    assert scored(controller)
    tool.choose("instant")
    assert held.values == [1, answered]
    assert scored(controller)
    tool.choose("network")
    tool.choose("auto")
    assert held.values == [answered, 1]  # each mask once, however often it was looked at
    assert scored(controller)


@pytest.mark.parametrize("ndim", [2, 3])
def test_undo_and_redo_of_a_run_change_the_score_and_who_leads(ndim):
    controller = finished(ndim, 8)
    tool, held = controller.instant, controller.held
    hold(controller, 8)
    tool.follow()
    network(controller, 1, good=False)
    assert tool.masks.on() == "instant"
    network(controller, 2, good=True)
    assert tool.masks.on() == "network"
    controller.timeline.undo()
    assert tool.masks.on() == "instant"
    assert scored(controller)
    controller.timeline.redo()
    assert tool.masks.on() == "network"
    assert held.values[-1] == 1
    assert scored(controller)
    controller.timeline.undo()
    controller.timeline.undo()
    assert not tool.two()
    assert scored(controller)


def test_where_a_run_is_undone_and_there_is_no_other_mask_there_is_no_score():
    controller = finished(3, 8)
    tool, held = controller.instant, controller.held
    tool.drop()
    tool.masks._masks.clear()  # as if it had never answered
    hold(controller, 8)
    tool.follow()
    network(controller, 1, good=True)
    assert scored(controller)
    controller.timeline.undo()
    assert held.told(controller.classes) == ""
    assert held.values == []


@pytest.mark.parametrize("ndim", [2, 3])
def test_what_is_accepted_is_scored_no_longer_and_again_after_undo(ndim):
    controller = finished(ndim, 8)
    tool, held = controller.instant, controller.held
    hold(controller, 8)
    tool.follow()
    before = held.values[-1]
    point = controller.image.data_to_world((12,) * ndim)
    if ndim == 3:
        point = controller.image.data_to_world((8, 12, 12))
    controller.accept_object(point, [ndim - 2, ndim - 1])
    tool.follow()
    rest = np.where(controller.lock.map_of(controller.image) > 0, 0, held.map_of(controller.image))
    expected = by_hand(mask_of(controller), rest, 1) if (rest == 1).any() else None
    if expected is None:
        assert "No Dice" in held.told(controller.classes)
    else:
        assert held.values == [pytest.approx(expected)]
    controller.timeline.undo()
    tool.follow()
    assert held.values == [before]


@pytest.mark.parametrize("axis", [0, 1])
def test_nothing_is_scored_anew_because_another_slice_is_looked_at(axis):
    controller = finished(3, 8)
    tool, held = controller.instant, controller.held
    hold(controller, 8)
    tool.follow()
    layer = held.layer_of(controller.image)
    for at in range(6, 10):
        layer._slice_dims(dims(controller, axis, at))
        assert not held.is_new(controller.image)
    assert len(held.values) == 1


def dims(controller: Controller, axis: int, at: int):
    """What the viewer tells its layers when slice `at` along an axis is on screen."""
    from napari.components import Dims

    order = (axis, *(other for other in range(3) if other != axis))
    point = tuple(float(at) if other == axis else 0.0 for other in range(3))
    return Dims(ndim=3, ndisplay=2, order=order, range=((0, 24, 1),) * 3, point=point)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_deleted_mask_comes_back_with_the_next_answer_and_not_before(ndim):
    controller = finished(ndim, 8)
    tool = controller.instant
    hold(controller, 8)
    tool.follow()
    controller.layers.remove(find(controller.layers, controller.image, "mask"))
    hold(controller, 8)
    tool.follow()
    tool.end_of_run(controller.image)
    assert find(controller.layers, controller.image, "mask") is None
    controller.hints.data[(3,) * ndim] = BACKGROUND
    controller.hints.refresh()
    run(tool, tool.due())
    assert mask_of(controller).any()


@pytest.mark.parametrize("ndim", [2, 3])
def test_an_answer_on_an_image_that_was_removed_meanwhile_brings_no_layer(ndim):
    controller = finished(ndim, 8)
    tool = controller.instant
    hold(controller, 8)
    work, generation = tool.due(), tool.generation
    event = next(work)
    controller.layers.clear()
    tool.take(event, generation)
    tool.end(generation)
    assert len(controller.layers) == 0


@pytest.mark.parametrize("ndim", [2, 3])
def test_looking_at_the_image_with_an_encoder_is_no_answer(ndim):
    controller = finished(ndim, 8)
    tool, held = controller.instant, controller.held
    hold(controller, 8)
    run(tool, tool.due())
    values = held.values
    assert len(values) == 1
    controller.encoder.take(_encoder(ndim))
    tool.follow()
    run(tool, tool.due())
    assert held.values == values
    if ndim == 3:  # of a picture nothing is left to learn from
        run(tool, tool.due())  # it sees more, and answers anew
        assert len(held.values) == 2


def test_masks_that_alternate_during_a_run_have_a_value_each():
    controller = finished(3, 8)
    tool, held = controller.instant, controller.held
    hold(controller, 8)
    tool.follow()
    for good in (True, False, True, False):
        network(controller, 1, good=good)
        assert tool.masks.on() == ("network" if good else "instant")
        assert scored(controller)
    assert len(held.values) == 2


def test_a_rough_preview_is_scored_with_the_next_pulse_where_it_is_on_show():
    controller = finished(3, 8)
    tool, held = controller.instant, controller.held
    hold(controller, 8)
    tool.choose("network")
    preview(controller, 1, done=1)
    tool.follow()
    assert scored(controller)
    assert held.values[-1] == pytest.approx(2 * 144 / (576 + 144))
