"""The real window: the key to the next place turns and moves the viewer, and what is accepted stays."""

import numpy as np
import pytest

from napari_plugin.guidepanel import in_middle
from napari_plugin.guidetool import Goal
from napari_plugin.widget import SegmentWidget
from wsseg.hints import BACKGROUND

pytestmark = pytest.mark.gui


def test_a_goal_at_the_border_does_not_take_the_picture_off_the_screen():
    for point, seen, middle in (
        ((50, 100), (40, 40), (50, 100)),
        ((5, 195), (40, 40), (20, 180)),
        ((5, 195), (150, 40), (50, 180)),  # all of its height is seen
    ):
        goal = Goal(point, None, (10, 10), (0, 0), (100, 200))
        assert tuple(in_middle(goal, np.array(seen))) == middle


def test_next_doubt_accept_and_a_picture(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy()
    rng = np.random.default_rng(0)
    data = rng.normal(0, 0.6, (16, 24, 24))
    data[4:12, 6:18, 6:18] += 2
    viewer.add_image(data, name="cube", scale=(3, 1, 1), translate=(10, 0, 0))
    widget = SegmentWidget(viewer)
    viewer.window.add_dock_widget(widget, name="wsseg")
    panel, c = widget.guide, widget.controller
    keys = {str(key): action for key, action in viewer.keymap.items()}

    def press(key):
        keys[key](viewer)
        qtbot.waitUntil(lambda: panel.worker is None, timeout=20_000)

    panel.doubt.click()
    assert "Nothing is in doubt" in widget.message.text()
    qtbot.waitUntil(lambda: not panel.doubt.isChecked(), timeout=2000)
    widget.new_hints()
    press(",")  # nothing is known: the middle
    assert viewer.dims.current_step[0] in (7, 8)
    assert "(1 of 5)" in panel.label.text()
    c.hints.brush_size = 3
    c.hints.paint((8, 12, 12), 1)
    c.hints.paint((8, 2, 2), BACKGROUND)
    qtbot.waitUntil(lambda: "cube mask" in viewer.layers, timeout=60_000)
    qtbot.waitUntil(lambda: widget.instant.worker is None, timeout=20_000)
    press(",")
    first = viewer.dims.current_step[0]
    assert f"Slice {first}," in panel.label.text()
    press(",")
    assert viewer.dims.current_step[0] != first
    assert "(2 of 5)" in panel.label.text()
    panel.choice.setCurrentIndex(panel.choice.findData("any axis"))
    panel._choose()
    press(",")
    axis = c.guide._list[0].axis
    assert viewer.dims.order[0] == axis
    assert viewer.dims.current_step[axis] == c.guide._list[0].index
    viewer.dims.order = (0, 1, 2)

    panel.doubt.click()
    assert viewer.layers["cube doubt"].data.any()
    assert viewer.layers.selection.active == c.hints
    assert widget.images.count() == 1
    viewer.dims.set_current_step(0, 10)
    c.hints.paint((10, 21, 21), 1)
    press("U")
    press("Shift+H")
    held = viewer.layers["cube held out"]
    assert held.data[10].all()
    assert not c.hints.data[10].any()
    assert "Held out" in widget.message.text()
    assert viewer.layers.selection.active == c.hints
    qtbot.waitUntil(lambda: "Dice on what is held out" in widget.quality.held_words.text(), timeout=20_000)
    press("Shift+H")
    assert not held.data.any()
    qtbot.waitUntil(lambda: not widget.quality.held_words.isVisibleTo(widget.quality), timeout=20_000)
    qtbot.waitUntil(lambda: widget.instant.worker is None, timeout=20_000)

    viewer.dims.set_current_step(0, 8)
    viewer.cursor.position = (34, 12, 12)
    press("Shift+J")
    locked = viewer.layers["cube locked"]
    assert locked.data[8, 12, 12] == 1
    assert "locked" in widget.message.text()
    assert viewer.layers.selection.active == c.hints
    assert widget.hints.count() == 2  # "none yet" and the hints: nobody paints in what is locked
    press("Shift+U")
    assert locked.data[8].all()
    press("Shift+U")
    assert not locked.data[8].any()
    {str(key): action for key, action in locked.keymap.items()}["Ctrl+Z"](locked)
    assert locked.data[8].all()

    viewer.layers.clear()
    picture = np.zeros((200, 300))
    picture[150:170, 230:250] = 1
    viewer.add_image(picture + rng.normal(0, 0.1, picture.shape), name="picture", scale=(2, 2))
    viewer.reset_view()
    zoom = viewer.scene.camera.zoom
    panel.choice.setCurrentIndex(panel.choice.findData("intervals"))
    panel._choose()
    press(",")
    place = c.guide._list[0]
    assert tuple(viewer.scene.camera.center[-2:]) == tuple(2 * middle for middle in place.centre)
    assert viewer.scene.camera.zoom > zoom
