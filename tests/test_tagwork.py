"""From tags to seeds in the hints, without Qt: heat, live thresholds, and what a person painted stays."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from test_controller import run
from test_seeds import narrow  # noqa: F401  networks that train in a moment
from test_tagtool import FLAT, at

from napari_plugin.controller import Controller
from napari_plugin.events import Heat, Note, Seeds
from napari_plugin.layers import identity
from napari_plugin.results import find
from napari_plugin.run import Run
from napari_plugin.session import Wishes
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND
from wsseg.seeds import SeedConfig, seeds
from wsseg.steps import Step
from wsseg.thresholds import Thresholds

SIZE = (24, 32)


def noise(rng, square):
    """Noise, with a bright square if there is one; (values, truth)."""
    values, truth = rng.normal(0, 0.1, SIZE), np.zeros(SIZE, bool)
    if square:
        y, x = rng.integers(2, 14), rng.integers(2, 22)
        truth[y : y + 7, x : x + 7] = True
        values[truth] += 1.5
    return values, truth


def pictures(count=12) -> tuple[Controller, list[np.ndarray]]:
    """Every second picture has a square and is tagged so; the second is chosen."""
    viewer, rng = ViewerModel(), np.random.default_rng(0)
    controller = Controller(viewer.layers)
    truths = []
    for index in range(count):
        values, truth = noise(rng, index % 2)
        controller.choose_image(viewer.add_image(values, name=f"i{index}", scale=(2.0, 2.0)))
        (controller.tags.toggle_none, lambda view: controller.tags.toggle(1, view))[index % 2](FLAT)
        truths.append(truth)
    controller.choose_image(viewer.layers[1])
    return controller, truths


def volume(slices=24) -> tuple[Controller, np.ndarray]:
    """Slices 8 to 15 have a square; all but the last two are tagged, along the middle axis."""
    rng = np.random.default_rng(0)
    parts = [noise(rng, 8 <= index < 16) for index in range(slices)]
    data, truth = (np.stack(part, 1) for part in zip(*parts, strict=True))
    controller = Controller(ViewerModel().layers)
    image = ViewerModel().add_image(data, name="scan", scale=(3.0,) * 3, translate=(5.0,) * 3)
    controller.layers.append(image)
    controller.choose_image(image)
    tags = controller.tags
    for first, last, tag in ((0, 7, tags.toggle_none), (8, 15, None), (16, 21, tags.toggle_none)):
        view = at(first, displayed=(0, 2))
        tag(view) if tag else tags.toggle(1, view)
        tags.extend(at(last, displayed=(0, 2)))
    return controller, truth


def to_end(controller: Controller) -> np.ndarray:
    """The seeds on screen once all pieces are made."""
    view = controller.tags.view
    while view.go_on(0.01):
        pass
    assert not view.unfinished
    return find(controller.layers, controller.image, "seeds").data


def right(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Precision and recall of what is called class 1."""
    hit = ((found == 1) & truth).sum()
    return hit / (found == 1).sum(), hit / truth.sum()


def test_from_tags_of_pictures_to_seeds_in_the_hints():
    controller, truths = pictures()
    active = controller.layers.selection.active
    events = run(controller, controller.find_heat(steps=40))
    stages = [event.stage for event in events if isinstance(event, Step)]
    assert list(dict.fromkeys(stages)) == ["load", "read", "classify", "check", "heat"]
    assert isinstance(events[-1], Heat)
    assert len(controller.losses) == 40
    assert controller.run is None
    view = controller.tags.view
    assert view.verdict()[0].startswith("Class 1 (class 1): AUC 1.00")
    assert view.verdict()[0].endswith("on 4 of 12 images held back.")
    assert controller.layers.selection.active is active
    names = [layer.name for layer in controller.layers]
    assert names[1:4] == ["i1", "i1 heat", "i1 seeds"]
    heat = find(controller.layers, controller.image, "heat")
    np.testing.assert_allclose(heat.data_to_world([3, 3]), controller.image.data_to_world([3, 3]))
    assert heat.data[truths[1]].mean() > heat.data[~truths[1]].mean() + 1
    found = to_end(controller)
    precision, recall = right(found, truths[1])
    assert precision > 0.6
    assert recall > 0.3
    assert not found[truths[1]].max() == BACKGROUND

    controller.choose_image(controller.layers["i2"])  # it has none, so all of it is background
    assert (to_end(controller) == BACKGROUND).all()
    assert find(controller.layers, controller.image, "heat").contrast_limits == heat.contrast_limits

    controller.choose_image(controller.layers["i1"])
    hints = controller.new_hints()
    hints.data[0, :5], hints.data[20, 3] = 1, BACKGROUND
    before = hints.data.copy()
    events = run(controller, controller.use_seeds())
    sharp = next(event.seeds for event in events if isinstance(event, Seeds))
    np.testing.assert_array_equal(hints.data, np.where(before > 0, before, sharp))
    assert right(sharp, truths[1])[0] > 0.7
    assert "Ctrl+Z takes them back" in controller.message
    assert not find(controller.layers, controller.image, "seeds").visible
    assert view.in_hints(controller.image, hints)
    hints.undo()
    np.testing.assert_array_equal(hints.data, before)
    assert not view.in_hints(controller.image, hints)
    hints.redo()
    hints.paint([12, 12], BACKGROUND)  # a seed that is wrong is corrected with one scribble
    work = controller.segment(steps=1)
    assert controller.run.given.scribbles[12, 12] == BACKGROUND
    assert not [event for event in run(controller, work) if isinstance(event, Note)]
    assert controller.model.config.objects is None  # seeds are no strokes


def test_slices_of_a_volume_are_bags_and_only_tagged_ones_get_seeds():
    controller, truth = volume()
    events = run(controller, controller.find_heat(steps=30))
    heat = [event for event in events if isinstance(event, Step) and event.stage == "heat"]
    assert (heat[-1].index, heat[-1].total) == (24, 24)
    assert "slices of the same volumes held back" in controller.tags.view.verdict()[0]
    found = to_end(controller)
    assert not found[:, 22:].any()
    assert (found[:, :8] == BACKGROUND).all()
    precision, recall = right(found, truth)
    assert precision > 0.7
    assert recall > 0.3
    layer = find(controller.layers, controller.image, "seeds")
    np.testing.assert_allclose(layer.data_to_world([1] * 3), controller.image.data_to_world([1] * 3))
    events = run(controller, controller.use_seeds())  # there is no hints layer yet
    steps = [event for event in events if isinstance(event, Step) and event.stage == "seeds"]
    assert (steps[-1].index, steps[-1].total) == (22, 22)
    assert right(controller.hints.data, truth)[0] > 0.7
    assert not controller.hints.data[:, 22:].any()


@pytest.fixture
def heated():
    """Pictures with made-up heat: the picture itself, five-fold."""
    controller, _ = pictures(6)
    view = controller.tags.view
    job = controller.tags.heat_job(None, None)
    heat = {name: 5 * np.asarray(image.data, np.float32) for name, image in job.images.items()}
    quality = {
        "auc": {"1": 1.0},
        "accuracy": {"1": 1.0},
        "constant": {"1": 0.5},
        "held_back": "2 of 6 images",
    }
    config = SimpleNamespace(quality={**quality, "meaningless": []}, classes={1: "class 1"})
    thresholds = {1: Thresholds(1.0, 5.0)}
    found = SimpleNamespace(model=SimpleNamespace(config=config), heat=heat, thresholds=thresholds)
    view.take(job.bags, found, controller.image)
    return controller, job, found


def test_thresholds_show_their_seeds_without_the_network(heated):
    controller, _, found = heated
    view = controller.tags.view
    own = found.heat[identity(controller.image)]
    for lower, upper in ((1.0, 5.0), (0.2, 6.0), (3.0, 3.0)):
        view.cut(lower, upper)
        wanted = np.where(own[0] > upper, 1, np.where(own[0] <= lower, BACKGROUND, 0))
        np.testing.assert_array_equal(to_end(controller), wanted)
        plain = seeds(own, own, [1], {1: Thresholds(lower, upper)}, SeedConfig(smooth=0), spacing=(1.0, 1.0))
        np.testing.assert_array_equal(plain, wanted)
    assert view.chosen() == Thresholds(1.0, 5.0)  # those of the data are kept
    assert view.ranges[1] == (
        min(h.min() for h in found.heat.values()),
        max(h.max() for h in found.heat.values()),
    )
    view.cut(7.0, 2.0)  # a handle can't pass the other
    assert view.thresholds[1] == Thresholds(2.0, 2.0)


def test_a_large_image_is_done_piece_by_piece_what_is_on_screen_first(heated, monkeypatch):
    controller, job, found = heated
    view = controller.tags.view
    monkeypatch.setattr("napari_plugin.seedview.PIECE", 100)
    view.cut(1.0, 5.0)
    count = len(view._left)
    assert count >= 8
    assert view.go_on(0.0)
    assert len(view._left) == count - 1
    whole = to_end(controller).copy()
    monkeypatch.setattr("napari_plugin.seedview.PIECE", 10**6)
    view.cut(1.0, 5.0)
    np.testing.assert_array_equal(to_end(controller), whole)
    tagged, _ = volume()
    job = tagged.tags.heat_job(None, None)
    found.heat = {name: np.asarray(image.data, np.float32) for name, image in job.images.items()}
    tagged.tags.view.take(job.bags, found, tagged.image)
    tagged.tags.view.cut(1.0, 5.0, at=13)
    assert tagged.tags.view._left[0][0] == (slice(0, 24), slice(13, 14), slice(0, 32))


def test_another_class_shows_its_heat_and_a_layer_that_is_gone_comes_back(heated):
    controller, job, found = heated
    view = controller.tags.view
    controller.select(BACKGROUND)  # it has no heat
    assert view.class_id == 1
    controller.layers.remove(find(controller.layers, controller.image, "seeds"))
    controller.layers.remove(find(controller.layers, controller.image, "heat"))
    controller.choose_image(controller.image)
    assert find(controller.layers, controller.image, "heat") is not None
    controller.recolour_class(1, "#FF0000")
    layer = find(controller.layers, controller.image, "seeds")
    np.testing.assert_allclose(layer.colormap.map(1), (1, 0, 0, 1))
    controller.toggle_mask()
    assert not layer.visible
    found.thresholds = {1: None}
    found.model.config.quality["meaningless"] = [1]
    view.take(job.bags, found, controller.image)
    assert find(controller.layers, controller.image, "heat") is None
    assert find(controller.layers, controller.image, "seeds") is None
    assert view.verdict()[0].endswith("on 2 of 6 images held back; its maps mean nothing.")
    with pytest.raises(InputError, match="no seeds of this image yet"):
        controller.use_seeds()


def test_tags_that_are_chance_show_no_seeds():
    viewer, rng = ViewerModel(), np.random.default_rng(0)
    controller = Controller(viewer.layers)
    for index in range(24):
        controller.choose_image(viewer.add_image(rng.normal(size=SIZE), name=f"i{index}"))
        (controller.tags.toggle_none, lambda view: controller.tags.toggle(1, view))[index % 2](FLAT)
    run(controller, controller.find_heat(steps=3))
    (verdict,) = controller.tags.view.verdict()
    assert verdict.endswith("its maps mean nothing.")
    assert [layer for layer in controller.layers if layer.name.endswith(("heat", "seeds"))] == []
    assert controller.tags.view.image is None


def test_hints_of_another_shape_are_told(heated):
    controller = heated[0]
    controller.hints = Labels(np.zeros((4, 4), np.uint8), name="small")
    with pytest.raises(InputError, match=r"small: has shape \(4, 4\), the image \(24, 32\)"):
        controller.use_seeds()


def test_the_line_of_the_run_tells_what_is_learned_and_how_long_that_takes(monkeypatch):
    run_ = Run(None, Wishes())
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    for index in range(1, 6):
        run_.take(Step("classify", index, 30, 0.5))
    assert run_.words().startswith("Learning the tags: step 5 of 30, ")
    assert len(run_.losses) == 5
    run_.take(Step("check", 1, 4))
    assert run_.words() == "Checking on what was held back …"
    run_.take(Step("classify", 1, 30, 0.5))  # a wider view begins anew
    assert run_.words() == "Learning the tags: step 1 of 30"
    run_.take(Step("heat", 3, 12))
    assert run_.words() == "Heat maps: 3 of 12"
    assert run_.share() == 0.25
