"""Undo across everything, as the controller has it: each state comes back, on disk too, and stays small."""

import numpy as np
import pytest
from napari.components import ViewerModel
from test_autosave import network_of, sessions, settle
from test_controller import mask_layer, run, scene

from napari_plugin.autosave import Autosave
from napari_plugin.controller import Controller
from napari_plugin.layers import KEY
from napari_plugin.restoring import put_back
from napari_plugin.taglayer import tags_of
from napari_plugin.timeline import BYTES, STEPS
from wsseg.drawing import Drawing, differences
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND
from wsseg.replay import replay


def drawing(controller: Controller) -> Drawing:
    """All that is marked now, copied."""
    hints = controller.read_hints()
    locked = controller.lock.map_of(controller.image)
    return Drawing(
        hints.shape,
        hints=controller.hints.data.copy(),
        locked=np.zeros(hints.shape, np.uint8) if locked is None else locked.copy(),
        clicks=hints.clicks,
        boxes=hints.boxes,
        tags=tags_of(controller.image),
        all_boxed=hints.all_boxed,
        classes=dict(controller.classes),
        colours=dict(controller.colours),
    )


def alike(one: Drawing, other: Drawing) -> bool:
    """Whether nothing differs."""
    return not list(differences(one, other))


def everything(ndim: int):
    """A scene with a layer of each kind, and all that can be done in it: name to action."""
    _, controller = scene(ndim)
    view = ([16.0] * ndim, [ndim - 2, ndim - 1])
    controller.new_clicks()
    controller.new_boxes()
    controller.boxes.set_depth(4)
    rng = np.random.default_rng(0)

    def box() -> None:
        corners = np.full((4, ndim), float(rng.integers(4, 9)))
        corners[:, -2:] = np.array([[2, 2], [2, 9], [7, 9], [7, 2]]) + rng.integers(0, 5)
        controller.boxes.layer.add_rectangles(corners)

    def move_box() -> None:
        layer = controller.boxes.layer
        layer.data = [one + 0.5 for one in layer.data]

    def move_click() -> None:
        controller.clicks.data = controller.clicks.data + 0.25

    def stroke() -> None:
        controller.hints.paint(tuple(rng.integers(0, 16, ndim)), int(rng.choice([0, 1, BACKGROUND])))

    def accept() -> None:
        found = np.zeros((16,) * ndim, np.uint8)
        found[(slice(*sorted(rng.choice(16, 2, replace=False))),) * ndim] = 1
        controller.lock.put_back(controller.image, found, controller.colours)

    names = iter(range(1000))
    return controller, {
        "stroke": stroke,
        "finish": lambda: controller.finish_slice([float(rng.integers(5, 35))] * ndim, view[1]),
        "click": lambda: controller.clicks.add(rng.uniform(0, 15, ndim)),
        "move click": move_click,
        "box": box,
        "move box": move_box,
        "tag": lambda: controller.tags.toggle(1, view),
        "accept": accept,
        "name": lambda: controller.rename_class(1, f"name {next(names)}"),
        "colour": lambda: controller.recolour_class(1, f"#{rng.integers(16**6):06X}"),
        "class": lambda: controller.add_class(),
        "boxed": lambda: controller.say_all_boxed(not controller.boxes.all_boxed),
    }


@pytest.mark.parametrize("ndim", [2, 3])
def test_forty_steps_and_more_back_and_forth_across_all_of_it_and_on_disk(tmp_path, ndim):
    controller, actions = everything(ndim)
    autosave = Autosave(controller, tmp_path / "sessions")
    order = list(actions) * 4
    np.random.default_rng(1).shuffle(order)
    states, said = [drawing(controller)], []
    for name in order:
        actions[name]()
        now = drawing(controller)
        if not alike(drawing(controller), states[-1]):
            states.append(now)
            said.append(controller.timeline.words()[0])
    assert len(states) > 40
    settle(autosave)
    (folder,) = sessions(tmp_path)
    for step, state in list(enumerate(states))[-2::-1]:
        assert controller.timeline.undo().words == said[step]
        assert alike(drawing(controller), state)
        if step % 16 == 0:
            settle(autosave)
            assert alike(replay(folder).drawing, state)
    with pytest.raises(InputError, match="nothing to undo"):
        controller.timeline.undo()
    for step, state in enumerate(states[1:], start=1):
        controller.timeline.redo()
        assert alike(drawing(controller), state)
        if step % 16 == 0:
            settle(autosave)
            assert alike(replay(folder).drawing, state)
    assert controller.timeline.size() < 2**20
    autosave.close()


def test_clicks_keep_their_class_and_colour():
    _, controller = scene(2)
    clicks = controller.new_clicks()
    clicks.add([2.0, 2.0])
    controller.select(BACKGROUND)
    clicks.add([5.0, 5.0])
    colours = clicks.face_color.copy()
    clicks.selected_data = {0, 1}
    clicks.remove_selected()
    assert controller.timeline.words()[0] == "deletion of 2 clicks"
    controller.timeline.undo()
    assert [click.class_id for click in controller.read_hints().clicks] == [1, 0]
    np.testing.assert_allclose(clicks.face_color, colours)
    assert controller.timeline.undo().words == "click"
    assert [click.class_id for click in controller.read_hints().clicks] == [1]


def test_a_drag_of_a_click_is_one_step():
    _, controller = scene(2)
    clicks = controller.new_clicks()
    clicks.add([2.0, 2.0])
    clicks.events.data(value=clicks.data, action="changing", data_indices=(0,), vertex_indices=((),))
    with clicks.events.data.blocker():
        for x in (3.0, 4.0, 5.0):
            clicks._move([0], (2.0, x))
    clicks.events.data(value=clicks.data, action="changed", data_indices=(0,), vertex_indices=((),))
    moved = clicks.data.copy()
    assert controller.timeline.undo().words == "change of clicks"
    np.testing.assert_array_equal(clicks.data, [[2, 2]])
    controller.timeline.redo()
    np.testing.assert_array_equal(clicks.data, moved)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_run_is_undone_with_its_model_and_strokes_made_meanwhile_come_first(tmp_path, ndim):
    _, controller = scene(ndim)
    autosave = Autosave(controller, tmp_path / "sessions")
    run(controller, controller.segment(steps=2))
    first, model, losses = mask_layer(controller).data.copy(), controller.model, controller.losses
    work = controller.segment(steps=6)
    next(work)
    controller.hints.paint((3,) * ndim, 1)
    painted = controller.hints.data.copy()
    controller.timeline.undo()
    with pytest.raises(InputError, match="Press Stop first"):
        controller.timeline.undo()
    controller.timeline.redo()
    run(controller, work)
    second = mask_layer(controller).data.copy()
    second_model = controller.model
    assert controller.timeline.undo().words == "stroke of class 1"
    assert controller.timeline.undo().words == "Segment"
    np.testing.assert_array_equal(mask_layer(controller).data, first)
    assert controller.model is model
    assert controller.losses is losses
    settle(autosave)
    (folder,) = sessions(tmp_path)
    np.testing.assert_array_equal(replay(folder).drawing.mask, network_of(controller))
    controller.timeline.undo()
    assert not mask_layer(controller).data.any()
    assert controller.model is None
    settle(autosave)
    assert not replay(folder).drawing.mask.any()
    for _ in range(3):
        controller.timeline.redo()
    np.testing.assert_array_equal(mask_layer(controller).data, second)
    np.testing.assert_array_equal(controller.hints.data, painted)
    assert controller.model is second_model
    settle(autosave)
    autosave.close()
    np.testing.assert_array_equal(replay(folder).drawing.mask, network_of(controller))


def test_a_run_that_comes_to_nothing_is_no_step():
    _, controller = scene(2)
    controller.hints.paint((3, 3), 1)
    controller.segment(steps=2)
    assert controller.timeline.words()[0] == "Segment"
    controller.drop()
    assert controller.timeline.words()[0] == "stroke of class 1"


def test_forget_model_and_apply_are_undone():
    viewer, controller = scene(2)
    run(controller, controller.segment(steps=2))
    model = controller.model
    controller.forget_model()
    controller.timeline.undo()
    assert controller.model is model
    mask = mask_layer(controller)
    masks = controller.instant.masks
    masks.put("network", controller.image, lambda: mask, (...,), np.ones((16, 16), np.uint8))
    run(controller, controller.apply())
    assert controller.timeline.undo().words == "Apply model"
    assert (mask_layer(controller).data[controller.hints.data == 0] == 1).all()  # paint stays
    assert mask_layer(controller) is mask
    assert mask.metadata[KEY]["maker"] == "network"
    assert len(viewer.layers) == 3


def test_each_image_has_its_own_row_and_a_restored_session_begins_anew(tmp_path):
    viewer, controller = scene(2)
    first = controller.image
    controller.hints.paint((3, 3), 1)
    controller.choose_image(viewer.add_image(np.ones((16, 16)), name="other"))
    assert controller.timeline.words() == ("", "")
    controller.new_hints().paint((3, 3), 1)
    controller.choose_image(first)
    assert controller.timeline.words() == ("stroke of class 1", "")
    other = ViewerModel()
    later = Controller(other.layers)
    later.choose_image(other.add_image(np.zeros((16, 16))))
    later.rename_class(1, "cell")
    put_back(later, drawing(controller))
    assert later.timeline.words() == ("", "")


def test_a_hundred_slices_of_a_large_volume_stay_within_the_bound():
    """Finished slices of 256 × 256 over noise, the most that one key can change."""
    viewer = ViewerModel()
    controller = Controller(viewer.layers)
    controller.choose_image(viewer.add_image(np.zeros((STEPS, 256, 256), np.uint8), name="large"))
    hints = controller.new_hints()
    noise = np.random.default_rng(0).integers(0, 2, (256, 256), np.uint8)
    hints.data[:] = noise
    hints.refresh()
    for z in range(STEPS):
        controller.finish_slice([z, 0, 0], [1, 2])
    assert controller.timeline.size() < BYTES / 10
    for _ in range(STEPS):
        controller.timeline.undo()
    assert (hints.data == noise).all()
