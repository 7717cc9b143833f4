"""Undo goes back into a session that was restored: each state comes back that was there, and goes again."""

import numpy as np
import pytest
from napari.components import ViewerModel
from test_autosave import sessions, settle
from test_undo import alike, drawing, everything

from napari_plugin.autosave import Autosave
from napari_plugin.controller import Controller
from napari_plugin.recall import Steps, recall
from napari_plugin.restoring import put_back
from napari_plugin.timeline import STEPS
from wsseg.colours import class_colour
from wsseg.drawing import Drawing
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND
from wsseg.journal import Entry, Journal


def reopened(controller, tmp_path):
    """The same image in another window, its session restored."""
    viewer = ViewerModel()
    image = controller.image
    later = Controller(viewer.layers)
    later.choose_image(viewer.add_image(image.data, name=image.name, scale=image.scale))
    again = Autosave(later, tmp_path / "sessions")
    again.restore(again.found())
    return later, again


@pytest.mark.parametrize("ndim", [2, 3])
def test_after_a_crash_each_step_is_undone_and_done_again(tmp_path, ndim):
    controller, actions = everything(ndim)
    autosave = Autosave(controller, tmp_path / "sessions")
    steps = {
        "objects": lambda: controller.set("objects", "alike"),
        "steps": lambda: controller.set("steps", 70),
    }
    order = [*actions, *steps] * 3
    np.random.default_rng(1).shuffle(order)
    actions["stroke"]()
    settle(autosave)
    states = [drawing(controller)]
    for name in order:
        {**actions, **steps}[name]()
        settle(autosave)
        now = drawing(controller)
        now.settings = controller.settings.told()
        if not alike(now, states[-1]):
            states.append(now)
    assert len(states) > 30
    for _ in range(3):
        controller.timeline.undo()
        settle(autosave)

    later, again = reopened(controller, tmp_path)

    def is_as(state):
        now = drawing(later)
        now.settings = later.settings.told()
        return alike(now, state)

    assert is_as(states[-4])
    for state in states[-3:]:
        later.timeline.redo()
        assert is_as(state)
    with pytest.raises(InputError, match="nothing to redo"):
        later.timeline.redo()
    for state in states[-2::-1]:
        later.timeline.undo()
        assert is_as(state)
    settle(again)
    assert alike(recall(sessions(tmp_path)[-1], 1)[0], states[0])
    for _ in states[1:]:
        later.timeline.redo()
    assert is_as(states[-1])
    autosave.close()
    again.close()


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_slice_held_out_before_the_crash_is_given_back_by_one_undo(tmp_path, ndim):
    controller, actions = everything(ndim)
    autosave = Autosave(controller, tmp_path / "sessions")
    actions["finish"]()
    controller.hints.paint((2,) * ndim, 1)
    settle(autosave)
    whole = controller.hints.data.copy()
    point = [0.0] * ndim
    point[0] = float(np.argwhere(whole.any(tuple(range(1, ndim))))[0, 0] * 2) if ndim == 3 else 0.0
    controller.hold_out(point, [ndim - 2, ndim - 1])
    settle(autosave)
    held = controller.held.map_of(controller.image).copy()
    assert held.any()

    later, again = reopened(controller, tmp_path)
    assert later.timeline.words()[0] == "slice held out"
    later.timeline.undo()
    assert not later.held.map_of(later.image).any()
    np.testing.assert_array_equal(later.hints.data, whole)
    later.timeline.redo()
    np.testing.assert_array_equal(later.held.map_of(later.image), held)
    for one in (autosave, again):
        one.close()


def test_words_say_what_each_step_was(tmp_path):
    controller, actions = everything(2)
    autosave = Autosave(controller, tmp_path / "sessions")
    controller.hints.paint((2, 2), 1)
    settle(autosave)
    said = []
    for act in (
        lambda: controller.hints.paint((3, 3), BACKGROUND),
        lambda: controller.hints.paint((3, 3), 0),
        actions["click"],
        actions["box"],
        actions["boxed"],
    ):
        act()
        settle(autosave)
        said.append(controller.timeline.words()[0])
    later, again = reopened(controller, tmp_path)
    assert said == [later.timeline.undo().words for _ in said][::-1]
    for one in (autosave, again):
        one.close()


def journal_of(folder, *maps):
    """A session of a map of hints that was as these, one after the other."""
    journal = Journal(folder, {"image": "i", "shape": [2, 2]})
    for moment, values in enumerate(maps):
        journal.append("hints", {"start": [0, 0]}, np.full((2, 2), values, np.uint8), moment=float(moment))
    journal.close()


def test_what_was_taken_back_is_no_step_of_its_own(tmp_path):
    for name, maps, past, future in (
        ("plain", (1, 2, 3), 3, 0),
        ("undone", (1, 2, 3, 2, 1), 1, 2),
        ("again", (1, 2, 3, 2, 1, 2), 2, 1),
        ("other", (1, 2, 3, 2, 1, 4), 2, 0),
    ):
        journal_of(tmp_path / name, *maps)
        found, steps, taken_back = recall(tmp_path / name, STEPS)
        assert (len(steps), len(taken_back)) == (past, future)
        assert (found.hints == maps[-1]).all()
    assert len(recall(tmp_path / "plain", 2)[1]) == 2


def test_changes_of_one_moment_are_one_step_and_masks_are_none():
    steps, drawing = Steps(9), Drawing((2, 2))
    block = np.ones((2, 2), np.uint8)
    for moment, kind, values, changed in (
        (1.0, "hints", {"start": [0, 0]}, block),
        (1.0, "settings", {"steps": 7}, None),
        (2.0, "mask", {"start": [0, 0]}, block),
        (3.0, "settings", {}, None),
    ):
        entry = Entry(moment, kind, values, changed)
        steps.add(entry, drawing)
        drawing.apply(entry)
    steps.end()
    assert [[part.kind for part in step] for step in steps.past] == [["hints", "settings"], ["settings"]]
    assert steps.past[1][0].before == ({"steps": 7},)


def test_a_class_without_a_colour_gets_the_usual_one_back(tmp_path):
    controller, _ = everything(2)
    drawing = Drawing(controller.image.data.shape, classes={1: "nucleus"}, colours={1: "#000000"})
    steps = Steps(9)
    for moment, name in enumerate(("cell", "nucleus")):
        entry = Entry(float(moment), "classes", {"names": {"1": name}, "colours": {}})
        steps.add(entry, drawing if moment else Drawing(drawing.shape))
        drawing = Drawing(drawing.shape, classes={1: name})
    steps.end()
    put_back(controller, drawing, list(steps.past))
    controller.timeline.undo()
    assert controller.classes == {1: "cell"}
    assert controller.colours == {1: class_colour(1)}
