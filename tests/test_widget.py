"""The widget in a real viewer: from strokes to a mask, Stop, errors. Few tests: each viewer costs seconds."""

import gc
import time
from types import SimpleNamespace

import numpy as np
import pytest

from napari_plugin.keymap import KEYS
from napari_plugin.results import find_or_make
from napari_plugin.widget import SegmentWidget
from wsseg.steps import Step

pytestmark = pytest.mark.gui


@pytest.fixture
def scene(make_napari_viewer_proxy):
    """A viewer with a bright cube in noise, the widget docked, hints painted."""
    viewer = make_napari_viewer_proxy()
    rng = np.random.default_rng(0)
    data = rng.normal(0, 0.1, (16, 16, 16))
    data[4:12, 4:12, 4:12] += 2
    viewer.add_image(data, name="cube", scale=(2, 1, 1), translate=(3, 0, 0))
    widget = SegmentWidget(viewer)
    viewer.window.add_dock_widget(widget, name="wsseg")
    widget.new_hints()
    widget.controller.hints.data[8, 6:10, 8] = 1
    return viewer, widget


def wait(qtbot, widget):
    qtbot.waitUntil(lambda: widget.worker is None, timeout=60_000)


def test_from_strokes_to_a_mask_and_on(scene, qtbot):
    viewer, widget = scene
    assert widget.images.currentText() == "cube"
    assert widget.hints.currentText() == "cube hints"
    assert widget.controller.hints.mode == "paint"
    viewer.dims.set_current_step(0, 8)
    widget.finish_slice()
    assert (widget.controller.hints.data[8] == 255).sum() == 256 - 4
    assert not (widget.controller.hints.data[7] == 255).any()
    widget.steps.setValue(3)
    widget.segment()
    assert not widget.go.isEnabled()
    assert widget.stop_button.isEnabled()
    wait(qtbot, widget)
    assert widget.go.isEnabled()
    assert not widget.stop_button.isEnabled()
    mask = viewer.layers["cube mask"]
    assert mask.data.shape == (16, 16, 16)
    assert tuple(mask.scale) == (2, 1, 1)
    assert widget.hints.findText("cube mask") == -1  # hints are not taken from it
    assert widget.status.text() == "Done."
    assert len(widget.controller.losses) == 3
    assert widget.go.text() == "Segment on"
    first = widget.controller.model
    widget.segment()
    wait(qtbot, widget)
    assert widget.controller.model is not first
    gc.freeze()
    viewer.layers.remove("cube")
    assert not gc.get_freeze_count()  # or what was opened before torch would stay in memory
    assert widget.controller.image is None
    widget.segment()
    assert "Choose an image" in widget.message.text()


def test_it_keeps_learning_when_more_is_marked(scene, qtbot):
    _, widget = scene
    widget.controller.hints.data[0] = 255
    widget.steps.setValue(2)
    widget.training.keep.click()
    widget.segment()
    wait(qtbot, widget)
    first = widget.controller.model
    qtbot.wait(1500)  # nothing new, nothing begins
    assert widget.worker is None
    assert widget.controller.model is first
    widget.controller.hints.paint((15, 3, 3), 255)
    qtbot.waitUntil(lambda: widget.worker is not None, timeout=30_000)
    wait(qtbot, widget)
    assert widget.controller.model is not first


def test_stop_answers_at_once_and_keeps_what_is_there(scene, qtbot):
    _, widget = scene
    widget.controller.hints.data[0] = 255
    widget.steps.setValue(100_000)
    widget.segment()
    widget.segment()  # a second press changes nothing
    qtbot.waitUntil(lambda: widget.controller.model is not None, timeout=60_000)  # the first preview
    mask = widget.viewer.layers["cube mask"]
    shown = mask.data.copy()
    old = widget.worker
    began = time.monotonic()
    widget.go_or_stop()
    assert time.monotonic() - began < 0.5
    assert widget.worker is None
    assert widget.status.text().startswith("Stopped")
    assert widget.go.isEnabled()
    assert widget.controller.run is None
    model = widget.controller.model
    qtbot.waitUntil(lambda: not old.is_running, timeout=20_000)
    np.testing.assert_array_equal(mask.data, shown)  # what its last step sent was dropped
    assert widget.controller.model is model
    widget.steps.setValue(2)
    widget.segment()
    wait(qtbot, widget)
    assert widget.status.text() == "Done."


def test_errors_are_sentences_and_unlock(scene, qtbot):
    _, widget = scene
    widget.segment()  # no background is marked: the backend refuses, in the worker
    wait(qtbot, widget)
    assert "Only class 1 is marked" in widget.message.text()
    assert widget.go.isEnabled()

    def broken():
        yield Step("load", 0, 1)
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    widget.controller._begin(widget.controller.image)
    widget.begin(broken)
    wait(qtbot, widget)
    assert "shapes cannot be multiplied" in widget.message.text()
    assert widget.go.isEnabled()


def test_keys_and_classes(scene):
    viewer, widget = scene
    c = widget.controller
    actions = {str(key): action for key, action in viewer.keymap.items()}
    assert {key for key, _ in KEYS.values()} <= set(actions)
    widget.classes.added.emit()
    assert c.hints.selected_label == 2
    widget.classes.renamed.emit(2, "shell")
    assert widget.classes.rows.item(1).text() == "shell"
    widget.classes.renamed.emit(2, "class 1")
    assert "no other class" in widget.message.text()
    assert widget.classes.rows.item(1).text() == "shell"
    for expected in (255, 1):
        actions["N"](viewer)
        assert c.hints.selected_label == expected
    actions["Q"](viewer)
    assert c.hints.selected_label == 255
    actions["U"](viewer)
    assert (c.hints.data == 255).sum() >= 252
    find_or_make(c.layers, c.image, "mask", c.colours, None)
    actions["H"](viewer)
    assert not viewer.layers["cube mask"].visible
    widget.new_clicks()
    assert widget.clicks.currentText() == "cube clicks"
    assert c.clicks.mode == "add"
    viewer.layers["cube"].name = "block"
    assert widget.images.currentText() == "block"


def drag(layer, *corners):
    """Draw with the mouse from one corner to another, as napari tells a layer of it."""
    start, stop = (layer.data_to_world(corner) for corner in corners)
    event = SimpleNamespace(type="mouse_press", position=start, button=1, modifiers=[])
    moves = layer.mouse_drag_callbacks[0](layer, event)
    next(moves)
    event.type, event.position = "mouse_move", stop
    next(moves)
    event.type = "mouse_release"
    assert next(moves, None) is None


def test_boxes_become_objects_by_themselves_and_by_key(scene, qtbot):
    viewer, widget = scene
    c = widget.controller
    viewer.dims.set_current_step(0, 4)
    keys = {str(key): action for key, action in viewer.keymap.items()}
    keys["W"](viewer)
    layer = c.boxes.layer
    assert widget.boxes.currentText() == "cube boxes"
    assert layer.mode == "add_rectangle"
    assert viewer.layers.selection.active == layer
    drag(layer, (4, 4, 4), (4, 11, 11))
    assert list(layer.features["box"]) == ["1"]
    viewer.dims.set_current_step(0, 11)
    drag(layer, (11, 4, 4), (11, 11, 11))
    assert list(layer.features["box"]) == ["1", "1"]
    qtbot.waitUntil(lambda: "cube objects" in viewer.layers, timeout=60_000)
    wait(qtbot, widget)
    found = viewer.layers["cube objects"].data == 1
    truth = np.zeros((16, 16, 16), bool)
    truth[4:12, 4:12, 4:12] = True
    assert (found & truth).sum() / (found | truth).sum() > 0.8
    assert widget.status.text() == "Done."
    assert widget.box_rows.depth_row.isVisibleTo(widget)
    keys["N"](viewer)  # boxes are drawn: the next class is for them
    assert viewer.layers.selection.active == layer
    widget.box_rows.slices.setValue(4)
    drag(layer, (11, 13, 13), (11, 15, 15))
    assert list(layer.features["depth"]) == [0, 0, 4]
    qtbot.waitUntil(lambda: 2 in c.boxes.found, timeout=60_000)
    wait(qtbot, widget)
    before = c.boxes.found
    keys["J"](viewer)
    assert not widget.go.isEnabled()
    wait(qtbot, widget)
    assert c.boxes.found[1] is not before[1]  # of each anew
    layer.remove([0, 1, 2])
    qtbot.waitUntil(lambda: not viewer.layers["cube objects"].data.any(), timeout=60_000)
    viewer.layers.remove(layer)
    assert c.boxes.layer is None
