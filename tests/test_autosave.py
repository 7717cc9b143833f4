"""What is marked is on disk a moment later, and comes back."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from test_controller import mask_layer, run, scene

from napari_plugin.autosave import Autosave, about_image, newest_session, sessions_folder
from napari_plugin.controller import Controller
from napari_plugin.layers import KEY
from napari_plugin.taglayer import tags_of
from wsseg.drawing import Drawing, differences
from wsseg.hints import BACKGROUND
from wsseg.journal import Journal, read_journal
from wsseg.model import load_model
from wsseg.replay import replay


def network_of(controller):
    """What the network said, without the paint that the layer shows."""
    return controller.instant.masks.network_of(controller.image, mask_layer(controller))


def settle(autosave):
    """As the widget's timer does it, until all is written."""
    for _ in range(500):
        autosave.pulse()
        if not autosave.busy():
            autosave.pulse()
            if not autosave.busy():
                return
        time.sleep(0.01)
    raise AssertionError("the writer does not come to an end")


def sessions(tmp_path):
    return sorted((tmp_path / "sessions").glob("*")) if (tmp_path / "sessions").is_dir() else []


@pytest.fixture
def working(tmp_path):
    """Makes a scene that is saved: ndim -> (viewer, controller, autosave)."""
    made = []

    def make(ndim):
        viewer, controller = scene(ndim)
        controller.hints.refresh()
        controller.mark_changed()
        made.append(Autosave(controller, tmp_path / "sessions"))
        return viewer, controller, made[-1]

    yield make
    for autosave in made:
        autosave.close()


@pytest.mark.parametrize("ndim", [2, 3])
def test_strokes_and_their_undo_are_on_disk(tmp_path, working, ndim):
    _, controller, autosave = working(ndim)
    settle(autosave)
    (folder,) = sessions(tmp_path)
    assert np.array_equal(replay(folder).drawing.hints, controller.hints.data)
    before = controller.hints.data.copy()
    controller.hints.brush_size = 3
    controller.hints.paint((5,) * ndim, 1)
    settle(autosave)
    assert not np.array_equal(controller.hints.data, before)
    assert np.array_equal(replay(folder).drawing.hints, controller.hints.data)
    controller.hints.undo()
    settle(autosave)
    assert np.array_equal(replay(folder).drawing.hints, before)
    kinds = [entry.kind for entry in read_journal(folder)[1]]
    assert kinds == ["classes", "hints", "hints", "hints"]
    blocks = [entry.block for entry in read_journal(folder)[1] if entry.kind == "hints"]
    assert blocks[1].size < before.size / 4  # the stroke, not the map


def test_a_model_that_was_undone_or_forgotten_is_not_saved(tmp_path, working):
    _, controller, autosave = working(2)
    run(controller, controller.segment(steps=2))
    settle(autosave)
    (folder,) = sessions(tmp_path)
    first = controller.model
    assert load_model(folder / "model").config.classes == first.config.classes
    controller.timeline.undo()
    assert controller.model is None
    settle(autosave)
    assert not (folder / "model").exists()
    controller.timeline.redo()
    assert controller.model is first
    settle(autosave)
    assert (folder / "model").is_dir()
    controller._begin(controller.image)  # while something runs, the newest that was finished stays
    settle(autosave)
    assert (folder / "model").is_dir()
    controller.end(controller.generation)
    controller.forget_model()
    settle(autosave)
    assert not (folder / "model").exists()
    assert np.array_equal(replay(folder).drawing.hints, controller.hints.data)  # all else stays


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_long_run_is_saved_meanwhile(tmp_path, working, ndim, monkeypatch):
    _, controller, autosave = working(ndim)
    settle(autosave)
    (folder,) = sessions(tmp_path)
    generation, masks = controller.generation + 1, []
    for event in controller.segment(steps=4):
        controller.take(event, generation)
        settle(autosave)
        if controller.model is not None and not masks:
            assert not (folder / "model").exists()  # not at each preview
            monkeypatch.setattr("napari_plugin.autosave.MEANWHILE", 0.0)
            autosave.pulse()
            while autosave.busy():
                time.sleep(0.01)
            masks.append(network_of(controller).copy())
            assert controller.run is not None
            assert np.array_equal(replay(folder).drawing.mask, masks[0])
            saved = load_model(folder / "model").net.state_dict()
            shown = controller.model.net.state_dict()
            assert all(np.array_equal(saved[name], shown[name]) for name in shown)
            monkeypatch.setattr("napari_plugin.autosave.MEANWHILE", 30.0)
    assert masks
    controller.end(generation)


@pytest.mark.parametrize("ndim", [2, 3])
def test_everything_comes_back(tmp_path, working, ndim):
    viewer, controller, autosave = working(ndim)
    controller.rename_class(1, "cell")
    controller.add_class()
    controller.recolour_class(2, "#123456")
    controller.new_clicks()
    controller.select(2)
    controller.clicks.add((3.0,) * ndim)
    controller.new_boxes()
    controller.boxes.set_depth(4)
    corners = np.full((4, ndim), 6.0)
    corners[:, -2:] = [[2, 2], [2, 9], [7, 9], [7, 2]]
    controller.boxes.layer.add_rectangles(corners)
    controller.say_all_boxed(True)
    controller.tags.toggle(1, ([0.0] * ndim, [ndim - 2, ndim - 1]))
    run(controller, controller.segment(steps=2))
    accepted = np.zeros(controller.image.data.shape, np.uint8)
    accepted[2:5], accepted[5] = 1, BACKGROUND
    controller.lock.put_back(controller.image, accepted, controller.colours)
    settle(autosave)
    autosave.close()
    (folder,) = sessions(tmp_path)
    expected = replay(folder).drawing
    assert expected.classes == {1: "cell", 2: "class 2"}
    assert [click.class_id for click in expected.clicks] == [2]
    assert len(expected.boxes) == 1
    assert expected.tags is not None
    assert expected.tags == tags_of(controller.image)
    assert np.array_equal(expected.mask, network_of(controller))
    assert load_model(folder / "model").config.classes

    other = ViewerModel()
    image = other.add_image(viewer.layers["square"].data, name="square", scale=(2.0,) * ndim)
    later = Controller(other.layers)
    later.choose_image(image)
    again = Autosave(later, tmp_path / "sessions")
    assert again.found() == folder
    again.restore(folder)
    assert again.found() is None
    assert later.read_hints().same(controller.read_hints())
    assert np.array_equal(later.lock.map_of(image), accepted)
    assert later.colours == controller.colours
    assert tags_of(image) == expected.tags
    assert np.array_equal(mask_layer(later).data, mask_layer(controller).data)
    later.hints.paint((1,) * ndim, BACKGROUND)
    settle(again)
    again.close()
    assert len(sessions(tmp_path)) == 2
    newest = newest_session(tmp_path / "sessions", image)
    assert newest != folder
    now = Drawing(expected.shape)
    now.hints = later.hints.data.copy()
    assert np.array_equal(replay(newest).drawing.hints, now.hints)
    assert replay(newest).drawing.boxes == expected.boxes
    assert not list(differences(replay(folder).drawing, expected))  # the old one is as it was
    third = Autosave(later, tmp_path / "sessions")
    assert third.found() == newest
    later.hints.paint((2,) * ndim, 1)
    settle(third)
    assert third.found() == newest  # who has begun to draw may still want it
    drawn, before = later.hints, later.hints.data.copy()
    third.restore(newest)
    assert np.array_equal(later.hints.data, now.hints)
    assert np.array_equal(drawn.data, before)  # a layer of its own
    assert drawn in other.layers
    settle(third)
    assert third.found() is None
    third.close()
    assert np.array_equal(replay(newest_session(tmp_path / "sessions", image)).drawing.hints, now.hints)
    assert len(sessions(tmp_path)) == 3
    fourth = Autosave(later, tmp_path / "sessions")
    assert fourth.found() is not None
    fourth.dismiss()
    assert fourth.found() is None
    fourth.close()


def test_a_killed_window_loses_nothing(tmp_path):
    code = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from test_autosave import settle\n"
        "from test_controller import scene\n"
        "from napari_plugin.autosave import Autosave\n"
        "viewer, controller = scene(2)\n"
        "autosave = Autosave(controller, Path(sys.argv[1]))\n"
        "for place in range(1, 6):\n"
        "    controller.hints.paint((place, place), 1)\n"
        "    settle(autosave)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    place = tmp_path / "sessions"
    command = [sys.executable, "-c", code, str(place), str(Path(__file__).parent)]
    done = subprocess.run(command, check=False, env={**os.environ, "QT_QPA_PLATFORM": "offscreen"})
    assert done.returncode == -9
    _, controller = scene(2)
    found = replay(newest_session(place, controller.image)).drawing
    for stroke in range(1, 6):
        controller.hints.paint((stroke, stroke), 1)
    assert np.array_equal(found.hints, controller.hints.data)


def test_looking_around_writes_nothing(tmp_path):
    viewer, controller = ViewerModel(), None
    image = viewer.add_image(np.zeros((8, 8)))
    controller = Controller(viewer.layers)
    controller.choose_image(image)
    controller.new_hints()
    autosave = Autosave(controller, tmp_path / "sessions")
    controller.rename_class(1, "cell")
    settle(autosave)
    autosave.close()
    assert not sessions(tmp_path)


def test_each_image_has_a_session_of_its_own(tmp_path, working):
    viewer, controller, autosave = working(2)
    settle(autosave)
    first = controller.image
    second = viewer.add_image(np.ones((16, 16)), name="square")
    controller.choose_image(second)
    controller.new_hints().paint((2, 2), 1)
    settle(autosave)
    assert len(sessions(tmp_path)) == 2
    own = {newest_session(tmp_path / "sessions", image) for image in (first, second)}
    assert len(own) == 2
    assert about_image(first)["values"] != about_image(second)["values"]
    controller.choose_image(first)
    controller.hints.paint((3, 3), 1)
    settle(autosave)
    assert len(sessions(tmp_path)) == 2


def test_the_session_of_a_moved_image_is_found(tmp_path):
    from napari.layers import Image

    def layer(path, shape=(8, 8), value=0.0):
        return Image(np.full(shape, value), metadata={KEY: {"path": str(path)}})

    place, old, new = tmp_path / "sessions", tmp_path / "old" / "scan.tif", tmp_path / "new" / "scan.tif"
    other = tmp_path / "old" / "other.tif"
    for folder in (old.parent, new.parent):
        folder.mkdir()
    for number, path in enumerate((old, other)):
        path.touch()
        Journal(place / f"{number}", about_image(layer(path))).close()
    other.unlink()
    new.touch()
    assert newest_session(place, layer(new)) is None  # another image of that name: the first is still there
    old.unlink()
    assert newest_session(place, layer(new)) == place / "0"
    assert newest_session(place, layer(new, (8, 9))) is None
    assert newest_session(place, layer(new, value=1.0)) is None  # of another patient, say
    assert newest_session(place, layer(new), but=place / "0") is None
    old.touch()
    assert newest_session(place, layer(old, value=1.0)) == place / "0"  # a file that was changed is the same


def test_a_full_disk_is_told_and_what_it_missed_is_written_later(tmp_path, working, monkeypatch):
    _, controller, autosave = working(2)
    settle(autosave)

    def full(file, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("wsseg.journal._put", full)
        controller.hints.paint((9, 9), 1)
        settle(autosave)
    assert "No space left" in autosave.error
    controller.hints.paint((3, 9), 1)
    settle(autosave)
    assert autosave.error == ""
    (folder,) = sessions(tmp_path)
    assert np.array_equal(replay(folder).drawing.hints, controller.hints.data)


def test_the_thread_ends_with_the_window(working):
    before = set(threading.enumerate())  # windows of other tests
    _, _, autosave = working(2)
    autosave.pulse()
    assert [thread for thread in set(threading.enumerate()) - before if thread.name == "wsseg autosave"]
    autosave.close()
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "wsseg autosave"]


def test_sessions_are_kept_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("WSSEG_SESSIONS", str(tmp_path))
    assert sessions_folder() == tmp_path
    monkeypatch.delenv("WSSEG_SESSIONS")
    assert sessions_folder().name == "sessions"
