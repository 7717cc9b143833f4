"""Held-out slices: nothing learns from them, masks are scored on them, and they come and go like paint."""

import numpy as np
import pytest
from napari.components import ViewerModel
from test_instanttool import hasty, mask_of, paint, preview, ready, run  # noqa: F401

from napari_plugin.controller import Controller
from napari_plugin.heldtool import mean_of
from napari_plugin.layers import slice_on_screen
from napari_plugin.restoring import put_back
from napari_plugin.results import find
from wsseg.drawing import Drawing, differences
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND, Click, Hints, leave_out
from wsseg.journal import Entry
from wsseg.weak import weak_labels


def finished(ndim: int, at: int, **extra) -> Controller:
    """A scene with strokes, an answer, and slice `at` along the first axis finished, or a picture."""
    _, controller = ready(ndim, **extra)
    paint(controller)
    run(controller.instant, controller.instant.due())
    truth = np.full(controller.hints.data.shape, BACKGROUND, np.uint8)
    truth[(slice(6, 18),) * ndim] = 1
    where = at if ndim == 3 else ...
    controller.hints.data[where] = truth[where]
    return controller


def hold(controller: Controller, at: int) -> None:
    """The key, while slice `at` is on screen."""
    ndim = controller.image.ndim
    controller.hold_out(controller.image.data_to_world((at,) * ndim), [ndim - 2, ndim - 1])


def by_hand(mask: np.ndarray, held: np.ndarray, k: int) -> float:
    """Dice of one class, voxel by voxel."""
    both = found = true = 0
    for place in np.ndindex(*held.shape):
        if held[place]:
            found += mask[place] == k
            true += held[place] == k
            both += mask[place] == k and held[place] == k
    return 2 * both / (found + true)


@pytest.mark.parametrize("ndim", [2, 3])
def test_its_paint_moves_out_of_the_hints_and_comes_back(ndim):
    controller = finished(ndim, 8, scale=(2.0,) * ndim, translate=(5.0,) * ndim)
    before = controller.hints.data.copy()
    hold(controller, 8)
    where = 8 if ndim == 3 else ...
    held = controller.held.map_of(controller.image)
    np.testing.assert_array_equal(held[where], before[where])
    assert not controller.hints.data[where].any()
    assert np.count_nonzero(held) == before[where].size
    assert "Held out" in controller.message
    layer = controller.held.layer_of(controller.image)
    assert not layer.editable
    assert tuple(layer.scale) == (2.0,) * ndim
    known = weak_labels(controller.read_hints()).known
    assert not known[where].any()
    controller.hints.data[(9, 9, 9)[:ndim] if ndim == 2 else (8, 9, 9)] = (
        BACKGROUND  # painted since: it stays
    )
    hold(controller, 8)
    assert "Given back" in controller.message
    assert not controller.held.map_of(controller.image).any()
    before[(9, 9) if ndim == 2 else (8, 9, 9)] = BACKGROUND
    np.testing.assert_array_equal(controller.hints.data, before)


def test_nothing_said_there_teaches_whatever_is_drawn_since():
    controller = finished(3, 8)
    hold(controller, 8)
    controller.hints.data[8, 2:5, 2:5] = 1
    controller.hints.data[9, 2:5, 2:5] = 1
    controller.new_clicks().add([8, 12, 12])
    controller.clicks.add([9, 12, 12])
    hints = controller.read_hints()
    assert not hints.scribbles[8].any()
    assert (hints.scribbles[9, 2:5, 2:5] == 1).all()
    assert [click.position for click in hints.clicks] == [(9, 12, 12)]
    assert controller.hints.data[8].any()  # it is still there to be seen


def test_hints_are_left_out_where_something_is_held_and_nowhere_else():
    scribbles = np.array([[1, 2, 0, 255]], np.uint8)
    held = np.array([[0, 1, 255, 255]], np.uint8)
    hints = Hints((1, 4), scribbles, clicks=(Click((0, 0.4), 1), Click((0, 0.6), 2)))
    left = leave_out(hints, held)
    np.testing.assert_array_equal(left.scribbles, [[1, 0, 0, 0]])
    assert left.clicks == (Click((0, 0.4), 1),)
    np.testing.assert_array_equal(hints.scribbles, [[1, 2, 0, 255]])
    assert not weak_labels(left).known[held > 0].any()
    assert leave_out(hints, None) is hints
    assert leave_out(hints, held * 0) is hints


def test_the_score_is_the_dice_over_all_that_is_held_but_not_over_what_was_accepted():
    controller = finished(3, 8)
    controller.add_class(2)
    controller.hints.data[8, 20:, 20:] = 2
    hold(controller, 8)
    controller.hints.data[15, 3:9, 3:20] = 1
    hold(controller, 15)
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 3, controller.image.data.shape).astype(np.uint8)
    held = controller.held.map_of(controller.image)
    found = controller.held.dice(controller.image, mask)
    assert found == {k: pytest.approx(by_hand(mask, held, k)) for k in (1, 2)}
    assert mean_of(found) == pytest.approx((found[1] + found[2]) / 2)
    assert mean_of({}) == 0
    accepted = np.zeros_like(held)
    accepted[8, :12] = 1
    controller.lock.put_back(controller.image, accepted, controller.colours)
    later = controller.held.dice(controller.image, mask)
    assert later[1] == pytest.approx(by_hand(mask, np.where(accepted > 0, 0, held), 1))


def test_each_answer_adds_a_point_and_a_mask_that_grows_replaces_its_own():
    controller = finished(3, 8)
    tool, held = controller.instant, controller.held
    hold(controller, 8)
    tool.follow()  # the pulse of the window: the mask that is there is scored
    assert len(held.values) == 1
    assert held.values[0] == pytest.approx(by_hand(mask_of(controller), held.map_of(controller.image), 1))
    assert "Dice on what is held out" in held.told(controller.classes)
    run(tool, tool.due())  # without the slice
    assert len(held.values) == 2
    assert held.values[1] == pytest.approx(by_hand(mask_of(controller), held.map_of(controller.image), 1))
    tool.follow()
    assert len(held.values) == 2
    controller.hints.data[3, 3, 3] = BACKGROUND
    controller.hints.refresh()
    run(tool, tool.due())
    assert len(held.values) == 3
    hold(controller, 8)
    tool.follow()
    assert held.values == []
    assert held.told(controller.classes) == ""
    assert not held.is_new(controller.image)  # looked at


def test_a_deleted_layer_leaves_no_score_and_background_alone_has_none():
    controller = finished(3, 8)
    hold(controller, 8)
    controller.instant.follow()
    assert controller.held.values
    controller.layers.remove(controller.held.layer_of(controller.image))
    controller.instant.follow()
    assert controller.held.values == []
    assert controller.held.told(controller.classes) == ""
    controller.hints.data[3] = BACKGROUND
    hold(controller, 3)
    controller.instant.follow()
    assert controller.held.values == []
    assert "background" in controller.held.told(controller.classes)


def test_the_mask_leads_that_is_better_on_what_is_held_out():
    controller = finished(3, 8)
    tool = controller.instant
    hold(controller, 8)
    tool.follow()
    assert tool.masks.on() == "instant"
    preview(controller, 1, done=9)  # a settled network that calls everything an object
    assert tool.masks.on() == "instant"
    assert not mask_of(controller)[8].all()
    good = np.zeros(controller.image.data.shape, np.uint8)
    good[6:18, 6:18, 6:18] = 1
    tool.masks.put("network", controller.image, lambda: controller._mask_of(controller.image), (...,), good)
    tool.end_of_run(controller.image, 1)
    assert tool.masks.on() == "network"
    assert controller.held.values[-1] == 1
    painted = controller.hints.data
    np.testing.assert_array_equal(mask_of(controller)[painted == 0], good[painted == 0])


def test_without_held_out_slices_the_network_leads_as_before():
    controller = finished(3, 8)
    preview(controller, 1, done=9)
    assert controller.instant.masks.on() == "network"


@pytest.mark.parametrize("ndim", [2, 3])
def test_one_undo_takes_both_layers_back(ndim):
    controller = finished(ndim, 8)
    before = controller.hints.data.copy()
    hold(controller, 8)
    held = controller.held.map_of(controller.image).copy()
    assert controller.timeline.words()[0] == "slice held out, or given back"
    controller.timeline.undo()
    np.testing.assert_array_equal(controller.hints.data, before)
    assert not controller.held.map_of(controller.image).any()
    assert controller.held.is_new(controller.image)  # the score is made anew
    controller.timeline.redo()
    np.testing.assert_array_equal(controller.held.map_of(controller.image), held)


@pytest.mark.parametrize("ndim", [2, 3])
def test_it_is_journalled_and_comes_back(ndim):
    controller = finished(ndim, 8)
    hold(controller, 8)
    held = controller.held.map_of(controller.image)
    now, played = Drawing(held.shape, held=held), Drawing(held.shape)
    assert played.is_empty()
    assert not now.is_empty()
    (change,) = differences(played, now)
    assert change[0] == "held"
    played.apply(Entry(0.0, *change))
    np.testing.assert_array_equal(played.held, held)
    assert played.to_hints().is_empty()  # nothing to learn from
    viewer = ViewerModel()
    later = Controller(viewer.layers)
    later.choose_image(viewer.add_image(np.zeros(held.shape), name="square"))
    put_back(later, played)
    np.testing.assert_array_equal(later.held.map_of(later.image), held)


def test_what_cannot_be_is_said():
    _, controller = ready(3)
    with pytest.raises(InputError, match="Nothing is painted"):
        hold(controller, 8)
    controller.hints.data[8, :4] = 1
    with pytest.raises(InputError, match="leave the 3D view"):
        controller.hold_out((8, 8, 8), [0, 1, 2])
    hold(controller, 8)
    assert f"{20 * 24:,} voxels of it are unpainted" in controller.message
    controller.add_class(2)
    with pytest.raises(InputError, match="held-out slice"):
        controller.remove_class(1)
    controller.choose_hints(None)
    with pytest.raises(InputError, match="Nothing is painted"):
        hold(controller, 9)


def test_a_model_that_has_seen_the_slice_is_said_to_have():
    controller = finished(3, 8)
    controller.model = object()
    hold(controller, 8)
    assert "has seen it" in controller.message
    hold(controller, 8)
    assert "has seen it" not in controller.message


def test_a_first_run_has_seen_it_before_it_shows_anything():
    controller = finished(3, 8)
    controller.segment(2)
    assert controller.model is None
    hold(controller, 8)
    assert "has seen it" in controller.message
    controller.drop()
    hold(controller, 8)
    hold(controller, 8)
    assert "has seen it" not in controller.message


@pytest.mark.parametrize("ndim", [2, 3])
def test_what_is_held_out_while_its_outlines_are_hidden_counts_all_the_same(ndim):
    controller = finished(ndim, 8)
    held, mask = controller.held, np.ones(controller.image.data.shape, np.uint8)
    hold(controller, 8)
    controller.instant.follow()
    once = held.dice(controller.image, mask)
    held.layer_of(controller.image).visible = False
    hold(controller, 8)
    assert held.is_new(controller.image)
    assert held.dice(controller.image, mask) == {}
    controller.instant.follow()
    assert held.told(controller.classes) == ""
    controller.timeline.undo()
    assert held.dice(controller.image, mask) == once
    controller.timeline.redo()
    assert held.dice(controller.image, mask) == {}
    controller.timeline.undo()
    if ndim == 3:
        controller.hints.data[15, 3:9, 3:20] = 1
        hold(controller, 15)
        found = held.dice(controller.image, mask)
        assert found == {1: pytest.approx(by_hand(mask, held.map_of(controller.image), 1))}
        assert found != once


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_layer_that_another_controller_made_is_followed_as_well(ndim):
    controller = finished(ndim, 8)
    hold(controller, 8)
    later = Controller(controller.layers)
    later.choose_image(controller.image)
    mask = np.ones(later.image.data.shape, np.uint8)
    assert later.held.dice(later.image, mask) == controller.held.dice(controller.image, mask)
    hold(later, 8)
    assert later.held.is_new(later.image)
    assert later.held.dice(later.image, mask) == {}
    later.timeline.undo()
    assert later.held.dice(later.image, mask) == {
        1: pytest.approx(by_hand(mask, later.held.map_of(later.image), 1))
    }
    later.held.put_back(later.image, np.zeros_like(mask), later.colours)
    assert later.held.dice(later.image, mask) == {}


@pytest.mark.parametrize("ndim", [2, 3])
def test_without_a_layer_of_hints_a_slice_is_given_back_to_a_new_one(ndim):
    controller = finished(ndim, 8)
    hold(controller, 8)
    held = controller.held.map_of(controller.image).copy()
    controller.layers.remove(controller.hints)
    controller.choose_hints(None)
    hold(controller, 8)
    assert "Given back" in controller.message
    np.testing.assert_array_equal(controller.hints.data, held)
    assert controller.hints in controller.layers
    assert not controller.held.map_of(controller.image).any()


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda shape: np.full(shape, 300, np.uint16), "holds the label 300"),
        (lambda shape: np.full(shape, -1, np.int16), "holds the label -1"),
        (lambda shape: np.ones([n + 1 for n in shape], np.uint8), "has shape"),
    ],
)
@pytest.mark.parametrize("ndim", [2, 3])
def test_what_is_no_hint_map_is_neither_held_out_nor_lost(ndim, made, words):
    controller = finished(ndim, 8)
    values = made(controller.image.data.shape)
    layer = type(controller.hints)(values.copy(), name="of my own")
    controller.layers.append(layer)
    controller.choose_hints(layer)
    with pytest.raises(InputError, match=f"of my own: {words}"):
        hold(controller, 8)
    np.testing.assert_array_equal(layer.data, values)
    assert controller.held.layer_of(controller.image) is None


def test_a_slice_is_not_given_back_to_a_layer_that_cannot_hold_its_labels():
    controller = finished(3, 8)
    hold(controller, 8)
    held = controller.held.map_of(controller.image).copy()
    layer = type(controller.hints)(np.zeros(held.shape, np.int8), name="of signs")
    controller.layers.append(layer)
    controller.choose_hints(layer)
    with pytest.raises(InputError, match="can't hold the label 255"):
        hold(controller, 8)
    np.testing.assert_array_equal(controller.held.map_of(controller.image), held)
    assert not layer.data.any()


def test_clicks_beside_a_held_out_slice_teach_nothing_in_it():
    controller = finished(3, 8)
    hold(controller, 8)
    controller.hints.data[:] = 0
    controller.new_clicks()
    for z in (7, 9):
        controller.clicks.add([z, 12, 12])
    known = weak_labels(controller.read_hints()).known
    assert known[7, 12, 12]
    assert known[9, 11, 12]
    assert not known[8].any()
    hold(controller, 8)  # given back: all of it is known
    assert weak_labels(controller.read_hints()).known[8].all()


def test_the_next_place_is_none_that_is_held_out():
    controller = finished(3, 8)
    tool = controller.guide
    tool.choice = "intervals"
    for at in range(6, 18):
        controller.hints.data[at] = BACKGROUND
        hold(controller, at)
    work = tool.ask([1, 2])
    while True:
        try:
            next(work)
        except StopIteration as end:
            places = end.value
            break
    assert places
    assert not set(range(6, 18)) & {place.index for place in places}


def test_the_slice_on_screen_is_that_of_the_point_kept_inside():
    viewer = ViewerModel()
    labels = viewer.add_labels(np.zeros((5, 6, 7), np.uint8), scale=(2, 1, 1), translate=(10, 0, 0))
    assert slice_on_screen(labels, (14, 0, 0), [1, 2]) == (slice(2, 3), slice(0, 6), slice(0, 7))
    assert slice_on_screen(labels, (99, 3, 0), [0, 2]) == (slice(0, 5), slice(3, 4), slice(0, 7))
    assert slice_on_screen(labels, (-99, 0, 0), [1, 2])[0] == slice(0, 1)
    with pytest.raises(InputError, match="3D view"):
        slice_on_screen(labels, (0, 0, 0), [0, 1, 2])
    assert find(viewer.layers, None, "held") is None
