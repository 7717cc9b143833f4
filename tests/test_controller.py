"""The plugin's state without Qt or a viewer: order of buttons, where results go, errors as sentences."""

import json
import time

import nibabel
import numpy as np
import pytest
from napari.components import ViewerModel

from napari_plugin.controller import Controller
from napari_plugin.layers import KEY, belongs
from napari_plugin.reader import read_file
from napari_plugin.results import find_or_make
from napari_plugin.session import Job, Note, Preview, Wishes, apply_model, segment
from wsseg.colours import class_colour
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND, Hints
from wsseg.images import Image
from wsseg.propagate import TOLD
from wsseg.steps import Step


def scene(ndim: int) -> tuple[ViewerModel, Controller]:
    """A bright square or cube in noise, chosen, with hints inside and outside of it."""
    rng = np.random.default_rng(0)
    data = rng.normal(0, 0.1, (16,) * ndim)
    data[(slice(4, 12),) * ndim] += 2
    viewer = ViewerModel()
    image = viewer.add_image(data, name="square", scale=(2.0,) * ndim, translate=(5.0,) * ndim)
    controller = Controller(viewer.layers)
    controller.choose_image(image)
    hints = controller.new_hints()
    hints.data[(slice(6, 10), 8, 8)[-ndim:]] = 1
    hints.data[(slice(0, 16), 1, 1)[-ndim:]] = BACKGROUND
    return viewer, controller


def run(controller: Controller, work) -> list:
    """What the widget's worker does, without a thread."""
    events, generation = [], controller.generation
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            controller.keep(end.value, generation)
            break
        events.append(event)
        controller.take(event, generation)
    controller.end(generation)
    return events


def mask_layer(controller: Controller):
    return next(layer for layer in controller.layers if belongs(layer, controller.image, "mask"))


@pytest.mark.parametrize("ndim", [2, 3])
def test_segment_gives_a_mask_on_the_image_and_a_second_press_goes_on(ndim):
    viewer, controller = scene(ndim)
    events = run(controller, controller.segment(steps=3))
    assert [e.index for e in events if isinstance(e, Step) and e.stage == "train"] == [1, 2, 3]
    mask = mask_layer(controller)
    assert mask.data.shape == (16,) * ndim
    assert mask.editable
    np.testing.assert_allclose(mask.data_to_world([3] * ndim), controller.image.data_to_world([3] * ndim))
    assert [layer.name for layer in viewer.layers] == ["square", "square mask", "square hints"]
    assert viewer.layers.selection.active is controller.hints
    assert len(controller.losses) == 3
    first = controller.model
    assert first is not None
    assert first.config.classes == {1: "class 1"}
    run(controller, controller.segment(steps=2))
    assert controller.model is not first
    assert mask_layer(controller) is mask
    assert controller.run is None


def test_enough_steps_find_the_square():
    _, controller = scene(2)
    controller.hints.data[4:12, 4:12] = 1
    controller.hints.data[:, :3] = BACKGROUND
    run(controller, controller.segment(steps=40))
    mask, truth = mask_layer(controller).data == 1, np.zeros((16, 16), bool)
    truth[4:12, 4:12] = True
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.8


def test_a_mask_leaves_the_undo_of_strokes_alone():
    _, controller = scene(2)
    before = controller.hints.data.copy()
    controller.hints.paint([2, 12], 1)
    after = controller.hints.data.copy()
    run(controller, controller.segment(steps=1))
    controller.hints.undo()
    np.testing.assert_array_equal(controller.hints.data, before)
    controller.hints.redo()
    np.testing.assert_array_equal(controller.hints.data, after)


def test_what_a_dropped_run_still_sends_changes_nothing():
    _, controller = scene(2)
    work = controller.segment(steps=2)
    generation = controller.generation
    events = list(work)
    controller.drop()
    for event in events:
        controller.take(event, generation)
    controller.keep(events[-1].model, generation)
    assert controller.model is None
    assert not any(belongs(layer, controller.image, "mask") for layer in controller.layers)


def test_new_strokes_reach_a_running_training_when_the_hand_rests(monkeypatch):
    monkeypatch.setattr("napari_plugin.marks.SETTLED", 0.0)
    _, controller = scene(2)
    work = controller.segment(steps=3)
    next(work)
    wishes = controller.run.wishes
    controller.tick((0, 0), (0, 1))
    assert not wishes.hints  # nothing was painted
    controller.hints.paint([2, 12], 1)
    controller.tick((0, 0), (0, 1))
    assert len(wishes.hints) == 1
    np.testing.assert_array_equal(wishes.hints[0].scribbles, controller.hints.data)
    controller.hints.undo()  # says only set_data, and must be seen all the same
    controller.tick((0, 0), (0, 1))
    np.testing.assert_array_equal(wishes.hints[0].scribbles, controller.hints.data)
    notes = [event.text for event in work if isinstance(event, Note)]
    assert notes == [TOLD["marked"]]
    assert not wishes.hints


@pytest.mark.parametrize("ndim", [2, 3])
def test_where_every_object_is_marked_the_mask_is_there_before_any_training(ndim):
    _, controller = scene(ndim)
    work = controller.segment(steps=2, objects="marked")
    events = []
    while not any(isinstance(event, Preview) for event in events):
        events.append(next(work))
    assert not any(isinstance(event, Step) and event.stage == "train" for event in events)
    square = np.zeros((16,) * ndim, np.uint8)
    square[(slice(4, 12),) * ndim] = 1
    np.testing.assert_array_equal(events[-1].mask, square)
    run(controller, work)
    np.testing.assert_array_equal(mask_layer(controller).data, square)


@pytest.mark.parametrize("ndim", [2, 3])
def test_strokes_that_are_examples_are_kept_in_the_mask_and_off_leaves_the_network_alone(ndim):
    _, controller = scene(ndim)
    hints = controller.hints.data
    said = np.where(hints == BACKGROUND, 0, hints)[hints > 0]
    run(controller, controller.segment(steps=1, objects="alike"))
    assert controller.model.config.objects == "alike"
    np.testing.assert_array_equal(mask_layer(controller).data[hints > 0], said)
    controller.forget_model()
    run(controller, controller.segment(steps=1, objects="off"))
    assert controller.model.config.objects is None
    own = mask_layer(controller).data.copy()
    run(controller, controller.apply())
    np.testing.assert_array_equal(mask_layer(controller).data, own)


def test_hints_that_are_all_erased_in_a_run_are_told_and_the_run_goes_on():
    _, controller = scene(2)
    work = controller.segment(steps=4)
    controller.run.wishes.hints.append(Hints((16, 16), np.zeros((16, 16), np.uint8)))
    notes = [event.text for event in run(controller, work) if isinstance(event, Note)]
    assert len(notes) == 2
    assert "nothing is marked" in notes[1]
    assert len(controller.losses) == 4


def test_classes_and_colours_reach_all_layers():
    _, controller = scene(2)
    controller.rename_class(1, "coin")
    second = controller.add_class()
    assert (second, controller.selected, controller.hints.selected_label) == (2, 2, 2)
    run(controller, controller.segment(steps=1))
    assert "class 2" in controller.message  # it is not marked and was left out
    assert controller.model.config.classes == {1: "coin"}
    controller.recolour_class(1, "#FF0000")
    for layer in (controller.hints, mask_layer(controller)):
        np.testing.assert_allclose(layer.colormap.map(1), (1, 0, 0, 1))
        np.testing.assert_allclose(layer.colormap.map(0), (0, 0, 0, 0))
    assert controller.hints.metadata[KEY]["classes"] == {1: "coin", 2: "class 2"}
    controller.select(controller.next_class())
    assert controller.selected == BACKGROUND
    controller.select(controller.next_class())
    assert controller.selected == 1
    controller.remove_class(2)
    assert controller.classes == {1: "coin"}
    with pytest.raises(InputError, match="still painted"):
        controller.remove_class(1)
    with pytest.raises(InputError, match="no other class"):
        controller.rename_class(controller.add_class(), "coin")


def test_a_label_that_was_painted_without_a_class_gets_one():
    _, controller = scene(2)
    controller.hints.data[8, 2] = 5
    controller.segment(steps=1)
    assert controller.classes == {1: "class 1", 5: "class 5"}
    assert controller.colours[5] == class_colour(5)


def test_clicks_alone_are_enough():
    _, controller = scene(2)
    controller.hints.data[:] = 0
    clicks = controller.new_clicks()
    clicks.add([8, 8])
    controller.select(BACKGROUND)
    clicks.add([1, 1])
    work = controller.segment(steps=1)
    assert [click.class_id for click in controller.run.given.clicks] == [1, 0]
    run(controller, work)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda c: c.choose_image(None), "Choose an image"),
        (lambda c: c.choose_hints(None), "Nothing is marked yet"),
        (lambda c: c.hints.data.fill(0), "Nothing is marked yet"),
        (lambda c: c.hints.data.fill(BACKGROUND), "Only background"),
    ],
)
def test_segment_says_what_is_missing(spoil, words):
    _, controller = scene(2)
    spoil(controller)
    with pytest.raises(InputError, match=words):
        controller.segment()
    assert controller.run is None


@pytest.mark.parametrize("action", ["apply", "save_model", "save"])
def test_what_needs_a_model_or_a_mask_says_so(action, tmp_path):
    _, controller = scene(2)
    arguments = {"apply": [], "save_model": [tmp_path / "x"], "save": ["mask", tmp_path / "x.tif"]}[action]
    with pytest.raises(InputError, match="There is no"):
        getattr(controller, action)(*arguments)


@pytest.mark.parametrize("ndim", [2, 3])
def test_training_leaves_a_core_to_the_window_while_somebody_draws(ndim, monkeypatch):
    _, controller = scene(ndim)
    taken: list[str] = []
    monkeypatch.setattr("napari_plugin.session.take_cores", taken.append)
    work, now = controller.segment(steps=6, objects="off"), time.monotonic()
    monkeypatch.setattr("napari_plugin.session.HAND", 1000.0)
    while not taken:
        next(work)
    assert taken == ["networks"]  # nobody has told that the hand moves
    controller.touched = now
    controller.tick((0.0,) * ndim, (ndim - 2, ndim - 1))
    while len(taken) < 3:
        next(work)
    assert taken[1:] == ["answers", "answers"]
    controller.touched = now - 2000.0
    controller.tick((0.0,) * ndim, (ndim - 2, ndim - 1))
    while len(taken) < 4:
        next(work)
    assert taken[3] == "networks"
    controller.touched = now
    controller.tick((0.0,) * ndim, (ndim - 2, ndim - 1))
    for _ in work:
        pass
    assert taken[4:] == ["answers", "answers", "networks"]  # to predict, nothing is left out


def test_errors_in_the_work_are_sentences():
    constant, hints = Image(np.ones((1, 8, 8)), (1.0, 1.0)), np.zeros((8, 8), np.uint8)
    hints[2], hints[5] = 1, BACKGROUND
    with pytest.raises(InputError, match="constant"):
        list(segment(Job(constant, Hints((8, 8), hints), {1: "a"}, "flat", steps=1), Wishes()))
    hints[5] = 0
    noise = Image(np.random.default_rng(0).random((1, 8, 8)), (1.0, 1.0))
    with pytest.raises(InputError, match="Only a is marked"):
        list(segment(Job(noise, Hints((8, 8), hints), {1: "a"}, "noise", steps=1), Wishes()))


def test_a_model_of_other_dimensions_is_refused_and_can_be_forgotten():
    _, flat = scene(2)
    run(flat, flat.segment(steps=1))
    _, solid = scene(3)
    solid.model = flat.model
    with pytest.raises(InputError, match="2D images with 1 channels"):
        solid.segment()
    solid.forget_model()
    solid.segment()


def test_a_grey_image_will_do_for_a_model_of_colour():
    viewer, controller = scene(2)
    grey = controller.image
    colour = viewer.add_image(np.stack([grey.data] * 3, -1), rgb=True, name="colour", scale=(2, 2))
    controller.choose_image(colour)
    controller.new_hints().data[...] = next(x for x in viewer.layers if belongs(x, grey, "hints")).data
    run(controller, controller.segment(steps=2))
    assert controller.model.config.rgb
    controller.choose_image(grey)
    run(controller, controller.apply())
    run(controller, controller.segment(steps=1))
    assert mask_layer(controller).data.shape == grey.data.shape


@pytest.mark.parametrize("ndim", [2, 3])
def test_model_saved_opened_and_applied_gives_the_same_mask(ndim, tmp_path):
    _, controller = scene(ndim)
    controller.rename_class(1, "coin")
    run(controller, controller.segment(steps=3))
    run(controller, controller.apply())  # the model's own word, without the strokes'
    controller.save_model(tmp_path / "model")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["classes"] == {"1": "coin"}
    _, other = scene(ndim)
    run(other, other.open_model(tmp_path / "model"))
    assert other.classes == {1: "coin"}
    run(other, other.apply())
    np.testing.assert_array_equal(mask_layer(other).data, mask_layer(controller).data)


def nifti(folder, transpose=False):
    """A NIfTI with an oblique affine, opened by the plugin or as another reader would show it."""
    rng = np.random.default_rng(1)
    affine = np.array([[0.9, 0.1, 0, 3], [-0.1, 1.9, 0.2, -7], [0, 0.1, 3, 11], [0, 0, 0, 1]])
    path = folder / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(rng.random((8, 9, 10), np.float32), affine), path)
    data, options, _ = read_file(str(path))[0]
    viewer = ViewerModel()
    image = viewer.add_image(data, **options)
    if transpose:
        image.data = data.T
    controller = Controller(viewer.layers)
    controller.choose_image(image)
    return path, controller


def test_saved_mask_has_the_geometry_of_the_file(tmp_path):
    path, controller = nifti(tmp_path)
    mask = find_or_make(controller.layers, controller.image, "mask", {}, None)
    mask.data[2:5, 3, 4:8] = 1
    assert controller.place_for("mask") == tmp_path / "scan_mask.nii.gz"
    run(controller, controller.save("mask", controller.place_for("mask")))
    saved, original = nibabel.load(tmp_path / "scan_mask.nii.gz"), nibabel.load(path)
    np.testing.assert_array_equal(saved.affine, original.affine)
    np.testing.assert_array_equal(np.asarray(saved.dataobj), mask.data)


def test_a_nifti_shown_in_another_order_is_not_saved_out_of_place(tmp_path):
    _, controller = nifti(tmp_path, transpose=True)
    find_or_make(controller.layers, controller.image, "mask", {}, None)
    with pytest.raises(InputError, match="another order of axes"):
        run(controller, controller.save("mask", tmp_path / "mask.nii.gz"))
    assert not (tmp_path / "mask.nii.gz").exists()


def test_the_slice_on_screen_comes_first_where_the_image_is_big():
    _, controller = scene(3)
    run(controller, controller.segment(steps=1))
    model = controller.model
    data = np.random.default_rng(0).random((1, 64, 48, 48))
    focus = (slice(30, 31), slice(0, 48), slice(0, 48))
    events = list(apply_model(model, Image(data, (1.0,) * 3), "big", Wishes(focus)))
    pieces = [event for event in events if isinstance(event, Preview)]
    assert pieces[0].region == focus
    assert pieces[0].mask.shape == (1, 48, 48)
    covered = np.zeros((64, 48, 48), bool)
    for piece in pieces[1:]:
        assert not covered[piece.region].any()
        covered[piece.region] = True
    assert covered.all()


def test_hints_come_back_with_their_image():
    viewer, controller = scene(2)
    hints = controller.hints
    controller.rename_class(1, "coin")
    other = Controller(viewer.layers)
    other.choose_image(viewer.layers["square"])
    assert other.hints is hints
    assert other.classes == {1: "coin"}
    other.choose_image(viewer.add_image(np.zeros((4, 4))))
    assert other.hints is None
