"""Undo and Redo in a real viewer: keys whatever layer is chosen, other people's layers, where it looks."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from test_tagpanel import press

from napari_plugin.widget import SegmentWidget

pytestmark = pytest.mark.gui
CONTROL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


def test_keys_buttons_other_layers_and_the_slice_that_is_shown(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    image = viewer.add_image(np.random.default_rng(0).random((9, 16, 16)), name="i", scale=(2.0, 1.0, 1.0))
    widget = SegmentWidget(viewer)
    viewer.window.add_dock_widget(widget, name="wsseg")
    c, row = widget.controller, widget.undo_row
    assert not row.undo_button.isEnabled()
    row.undo()
    assert widget.message.text() == "There is nothing to undo."
    widget.new_hints()
    hints = c.hints
    viewer.dims.set_current_step(0, 3)
    hints.paint((3, 5, 5), 1)
    widget.new_clicks()
    c.clicks.add((6.0, 2.0, 2.0))
    row.show_state()
    assert row.undo_button.toolTip() == "Undo: click (Ctrl+Z)"
    assert row.redo_button.toolTip() == "There is nothing to redo."

    own = viewer.add_labels(np.zeros((9, 16, 16), np.uint8), name="own")
    viewer.layers.selection.active = own
    own.paint((3, 2, 2), 4)
    press(widget, Qt.Key.Key_Z, CONTROL)  # napari's own undo
    assert not own.data.any()
    assert len(c.clicks.data) == 1
    press(widget, Qt.Key.Key_Z, CONTROL | SHIFT)
    assert own.data.any()
    viewer.add_points(np.zeros((1, 3)), name="points")
    viewer.layers.selection.active = viewer.layers["points"]
    press(widget, Qt.Key.Key_Z, CONTROL)
    assert len(c.clicks.data) == 1
    assert "no layer of wsseg" in viewer.status

    for layer in (image, hints, c.clicks):
        viewer.layers.selection.active = layer
        viewer.dims.set_current_step(0, 0)
        c.clicks.visible = False
        press(widget, Qt.Key.Key_Z, CONTROL)
        assert len(c.clicks.data) == 0
        assert c.clicks.visible
        assert viewer.dims.point[0] == 12  # slice 6 of 2 each
        assert widget.message.text() == "Undone: click."
        press(widget, Qt.Key.Key_Z, CONTROL | SHIFT)
        assert len(c.clicks.data) == 1
    row.undo()
    row.undo_button.click()
    assert not hints.data.any()
    assert viewer.dims.point[0] == 6
    assert row.redo_button.toolTip() == "Redo: stroke of class 1 (Ctrl+Shift+Z)"
    assert row.redo_button.isEnabled()
    viewer.scene.camera.center = (500.0, 500.0)
    row.redo()
    assert np.abs(np.array(viewer.scene.camera.center[-2:]) - 5).max() < 3
