"""Answers while one draws, without Qt: what is due when, what counts, which mask is on show."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel

import napari_plugin.instanttool
import wsseg.instant
import wsseg.propagate
import wsseg.trust
from napari_plugin.controller import Controller
from napari_plugin.events import Opened, Preview
from napari_plugin.layers import KEY
from napari_plugin.results import find
from wsseg.encoder import SavedEncoder
from wsseg.hints import BACKGROUND
from wsseg.steps import Step
from wsseg.unet import Encoder, plan_encoder


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """Nobody waits for a hand to rest."""
    monkeypatch.setattr(napari_plugin.instanttool, "PAUSE", 0.0)


def scene(ndim: int, **extra) -> tuple[ViewerModel, Controller]:
    """A bright square or cube in noise, chosen, with an empty layer of hints."""
    rng = np.random.default_rng(0)
    data = rng.normal(0, 0.1, (24,) * ndim)
    data[(slice(6, 18),) * ndim] += 2
    viewer = ViewerModel()
    image = viewer.add_image(data, name="square", **extra)
    controller = Controller(viewer.layers)
    controller.choose_image(image)
    controller.new_hints()
    controller.instant.follow()
    return viewer, controller


def paint(controller: Controller) -> None:
    """Strokes through the middle along each axis, out into the background, by napari's own brush."""
    hints = controller.hints
    hints.brush_size = 1
    for axis in range(hints.ndim):
        for at in range(24):
            place = tuple(at if a == axis else 12 for a in range(hints.ndim))
            hints.paint(place, 1 if 7 <= at < 17 else BACKGROUND)


def run(tool, work, *, stop_after: int | None = None) -> list:
    """What the panel's worker does, without a thread."""
    events, generation = [], tool.generation
    while stop_after is None or len(events) < stop_after:
        try:
            events.append(next(work))
        except StopIteration as end:
            tool.keep(end.value, generation)
            break
        tool.take(events[-1], generation)
    tool.end(generation)
    return events


def ready(ndim: int, **extra) -> tuple[ViewerModel, Controller]:
    """The same when features are there."""
    viewer, controller = scene(ndim, **extra)
    run(controller.instant, controller.instant.due())
    return viewer, controller


def mask_of(controller: Controller) -> np.ndarray:
    return find(controller.layers, controller.image, "mask").data


def unpainted(controller: Controller) -> np.ndarray:
    """What the mask says where nothing is painted: paint stays in every mask."""
    return mask_of(controller)[controller.hints.data == 0]


def dice(mask: np.ndarray) -> float:
    truth = np.zeros(mask.shape, bool)
    truth[(slice(6, 18),) * mask.ndim] = True
    return 2 * ((mask == 1) & truth).sum() / ((mask == 1).sum() + truth.sum())


def preview(controller: Controller, value: int, objects=None, done: int = 1, doubt=None) -> None:
    """What a network that says the same everywhere sends after so many of 9 steps."""
    whole = tuple(slice(0, n) for n in controller.image.data.shape)
    model = SimpleNamespace(config=SimpleNamespace(objects=objects))
    mask = np.full(controller.image.data.shape, value, np.uint8)
    event = Preview(whole, mask, model, doubt)
    controller.instant.show_network(controller.image, event, Step("train", done, 9))


@pytest.mark.parametrize("ndim", [2, 3])
def test_features_once_then_an_answer_to_a_stroke_and_to_undo(ndim):
    _, controller = scene(ndim, scale=(2.0,) * ndim)
    tool = controller.instant
    assert tool.on
    work = tool.due()
    assert "Getting ready" in tool.told()
    assert tool.due() is None  # they are under way
    run(tool, work)
    assert tool.due() is None  # nothing is painted yet
    paint(controller)
    run(tool, tool.due())
    assert dice(mask_of(controller)) > 0.5
    assert tool.due() is None  # answered
    before = mask_of(controller).copy()
    np.testing.assert_array_equal(
        before[controller.hints.data > 0] == 1, controller.hints.data[controller.hints.data > 0] == 1
    )
    controller.hints.refresh()  # as when another slice is looked at
    assert tool.due() is None
    for _ in range(24 * ndim):
        controller.hints.undo()
    run(tool, tool.due())
    assert not mask_of(controller).any()
    controller.hints.redo()
    assert tool.due() is not None
    assert (
        controller.layers.selection.active is controller.hints or controller.layers.selection.active is None
    )


def test_a_third_of_the_training_is_more_than_a_rough_preview():
    _, controller = ready(2)
    tool = controller.instant
    paint(controller)
    run(tool, tool.due())
    answer = mask_of(controller).copy()
    preview(controller, 1, done=2)
    assert np.array_equal(mask_of(controller), answer)
    preview(controller, 1, done=3)
    assert (unpainted(controller) == 1).all()


def test_clicks_and_finished_slices_count():
    _, controller = ready(3)
    tool = controller.instant
    controller.new_clicks()
    controller.clicks.add((12, 12, 12))
    run(tool, tool.due())
    assert not mask_of(controller).any()  # one class alone tells nothing
    controller.finish_slice((2, 0, 0), (1, 2))
    run(tool, tool.due())
    mask = mask_of(controller)
    assert mask[12, 12, 12] == 1
    assert not mask[2].any()
    assert 0 < (mask == 1).mean() < 0.9
    controller.clicks.feature_defaults = {"class": "0"}
    controller.clicks.add((20, 2, 2))
    assert tool.due() is not None


@pytest.fixture
def slice_by_slice(monkeypatch):
    """As in a large volume with many objects: the head alone answers, 24 slices, one by one."""
    monkeypatch.setattr(wsseg.trust, "LEADS", 0.0)
    monkeypatch.setattr(wsseg.instant, "PIECE", 24 * 24)
    monkeypatch.setattr(wsseg.propagate, "VOXELS", 24**3 // 2)


@pytest.mark.usefixtures("slice_by_slice")
def test_a_stroke_asks_anew_and_what_the_older_answer_sends_is_dropped():
    _, controller = ready(3)
    tool = controller.instant
    paint(controller)
    old, old_generation = tool.due(), tool.generation
    assert len(run(tool, old, stop_after=2)) == 2
    controller.hints.paint((20, 20, 20), BACKGROUND)
    new = tool.due()
    assert tool.generation > old_generation
    before = mask_of(controller).copy()
    late = next(old)
    tool.take(late, old_generation)
    tool.keep("features of something else", old_generation)
    tool.fail("no luck", old_generation)
    np.testing.assert_array_equal(mask_of(controller), before)
    assert tool.on
    old.close()  # between two pieces
    assert len(run(tool, new)) == 24
    assert dice(mask_of(controller)) > 0.5


@pytest.mark.usefixtures("slice_by_slice")
def test_the_slice_on_screen_comes_first():
    _, controller = ready(3)
    tool = controller.instant
    paint(controller)
    tool.look_at((15, 0, 0), (1, 2))
    work = tool.due()
    assert next(work).region[0] == slice(15, 16)
    tool.look_at((3, 0, 0), (1, 2))  # the user moves on meanwhile
    assert next(work).region[0] == slice(3, 4)


@pytest.mark.usefixtures("slice_by_slice")
def test_only_what_is_on_screen_is_drawn_anew(monkeypatch):
    _, controller = ready(3)
    tool = controller.instant
    paint(controller)
    tool.look_at((12, 0, 0), (1, 2))
    work = tool.due()
    run(tool, work, stop_after=1)
    drawn = []
    layer = find(controller.layers, controller.image, "mask")
    monkeypatch.setattr(type(layer), "refresh", lambda self, *_, **__: drawn.append(self))
    run(tool, work)
    assert not drawn
    tool.look_at((12, 0, 0), (0, 1, 2))  # in 3D all of it is
    controller.hints.paint((20, 20, 20), BACKGROUND)
    drawn.clear()
    run(tool, tool.due())
    assert sum(one is layer for one in drawn) == 24


def test_it_waits_until_the_hand_rests(monkeypatch):
    _, controller = ready(2)
    paint(controller)
    monkeypatch.setattr(napari_plugin.instanttool, "PAUSE", 100.0)
    assert controller.instant.due() is None
    monkeypatch.setattr(napari_plugin.instanttool, "PAUSE", 0.0)
    assert controller.instant.due() is not None


def test_who_looks_on_hides_no_change_from_a_running_training(monkeypatch):
    monkeypatch.setattr("napari_plugin.marks.SETTLED", 0.0)
    _, controller = ready(2)
    paint(controller)
    assert controller.instant.due() is not None
    assert controller.rests()


def test_large_images_are_off_by_themselves_and_say_what_they_would_cost(monkeypatch):
    monkeypatch.setattr(napari_plugin.instanttool, "LIMIT", 1000)
    _, controller = scene(3)
    tool = controller.instant
    assert not tool.on
    assert tool.due() is None
    tool.turn(True)
    assert tool.due() is not None
    big = np.broadcast_to(np.zeros((), np.float32), (4000, 4000, 100))
    controller.choose_image(controller.layers[0].__class__(big, name="big"))
    tool.follow()
    assert "21.5 GB" in tool.words()


def test_turned_off_it_sends_nothing_more_and_turned_on_it_answers_what_was_drawn_meanwhile():
    _, controller = ready(2)
    tool = controller.instant
    paint(controller)
    work, generation = tool.due(), tool.generation
    event = next(work)
    tool.turn(False)
    tool.take(event, generation)
    assert find(controller.layers, controller.image, "mask") is None
    assert tool.due() is None
    tool.turn(True)
    run(tool, tool.due())
    assert dice(mask_of(controller)) > 0.5


def test_the_network_takes_over_when_it_is_done_and_the_user_chooses():
    _, controller = ready(2)
    tool = controller.instant
    paint(controller)
    run(tool, tool.due())
    own = mask_of(controller).copy()
    preview(controller, 1)
    np.testing.assert_array_equal(mask_of(controller), own)  # a rough preview beside an answer
    assert tool.two()
    tool.choose("network")
    assert (unpainted(controller) == 1).all()
    tool.choose("auto")
    np.testing.assert_array_equal(mask_of(controller), own)
    assert "looks alike" in tool.told()
    tool.end_of_run(controller.image)
    assert (unpainted(controller) == 1).all()
    assert "network" in tool.told()
    controller.hints.paint((3, 3), BACKGROUND)
    run(tool, tool.due())
    assert (unpainted(controller) == 1).all()  # in the one that is not on show
    tool.choose("instant")
    assert dice(mask_of(controller)) > 0.5


def test_what_strokes_reach_is_shown_at_once_where_every_object_is_marked():
    _, controller = ready(2)
    paint(controller)
    run(controller.instant, controller.instant.due())
    preview(controller, 1, objects="marked")
    assert (unpainted(controller) == 1).all()


def test_the_networks_previews_are_shown_where_there_is_no_answer():
    _, controller = scene(2)
    preview(controller, 1)
    assert (unpainted(controller) == 1).all()
    assert not controller.instant.two()


def test_coming_back_to_an_image_the_networks_mask_is_still_the_networks():
    viewer, controller = ready(2)
    image = controller.image
    preview(controller, 1)
    controller.instant.end_of_run(image)
    other = viewer.add_image(np.random.default_rng(1).normal(size=(24, 24)), name="other")
    controller.choose_image(other)
    controller.instant.follow()
    controller.new_hints()
    run(controller.instant, controller.instant.due())
    paint(controller)
    run(controller.instant, controller.instant.due())
    assert find(viewer.layers, other, "mask").metadata[KEY]["maker"] == "instant"
    controller.choose_image(image)
    controller.instant.follow()
    run(controller.instant, controller.instant.due())
    paint(controller)
    run(controller.instant, controller.instant.due())
    assert (unpainted(controller) == 1).all()
    controller.instant.choose("instant")
    assert dice(mask_of(controller)) > 0.5


def test_a_mask_that_was_deleted_comes_back():
    viewer, controller = ready(2)
    tool = controller.instant
    paint(controller)
    run(tool, tool.due())
    viewer.layers.remove(find(viewer.layers, controller.image, "mask"))
    controller.hints.paint((3, 3), BACKGROUND)
    run(tool, tool.due())
    assert dice(mask_of(controller)) > 0.5
    controller.hints.paint((3, 4), BACKGROUND)
    run(tool, tool.due())
    assert dice(mask_of(controller)) > 0.5


def test_a_constant_image_is_told_and_no_answer_tried_again():
    viewer = ViewerModel()
    controller = Controller(viewer.layers)
    controller.choose_image(viewer.add_image(np.zeros((8, 8)), name="flat"))
    controller.new_hints()
    tool = controller.instant
    tool.follow()
    work = tool.due()
    with pytest.raises(Exception, match="flat is constant") as error:
        run(tool, work)
    tool.fail(str(error.value), tool.generation)
    assert "flat is constant" in tool.told()
    assert tool.due() is None


def _encoder(dims: int) -> Opened:
    config = plan_encoder(channels_in=1, spacing=(1.0,) * dims, size=(24,) * dims, channels=(4, 6))
    return Opened(SavedEncoder(Encoder(config)), Path("scans-mae"))


@pytest.mark.parametrize("ndim", [2, 3])
def test_what_a_pretrained_encoder_sees_counts_from_when_it_is_chosen_until_it_is_dropped(ndim):
    _, controller = ready(ndim)
    tool = controller.instant
    paint(controller)
    run(tool, tool.due())
    plain, needed = tool._looked.features, tool._needed
    tool.on = True
    controller.encoder.take(_encoder(ndim))
    tool.follow()
    assert tool._needed > needed
    run(tool, tool.due())  # features anew
    seen = tool._looked.features
    assert seen.count == plain.count + 6
    np.testing.assert_array_equal(seen.levels[0].values, plain.levels[0].values)
    run(tool, tool.due())  # and an answer to what was painted before
    assert dice(mask_of(controller)) > 0.5
    controller.drop_encoder()
    tool.follow()
    run(tool, tool.due())
    assert tool._looked.features.count == plain.count


def test_an_encoder_for_other_images_is_told_and_stops_answers():
    _, controller = scene(3)
    controller.encoder.take(_encoder(2))
    controller.instant.follow()
    assert controller.instant.due() is None
    assert "scans-mae learned from 2D images" in controller.instant.told()
    assert not controller.instant.on
