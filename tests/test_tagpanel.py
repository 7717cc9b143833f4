"""The rows for tags in a real viewer: keys, buttons, the strip, heat with Stop, and two thresholds."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QWidget
from test_seeds import narrow  # noqa: F401  networks that train in a moment
from test_tagwork import noise

from napari_plugin.layers import identity
from napari_plugin.results import find
from napari_plugin.taglayer import tags_of
from napari_plugin.tagstrip import ROW
from napari_plugin.widget import SegmentWidget
from wsseg.hints import BACKGROUND, Tag

pytestmark = pytest.mark.gui


@pytest.fixture
def dock(make_napari_viewer_proxy):
    """Gives a viewer with these images, and the widget docked in it."""

    def open_with(*images, **options):
        viewer = make_napari_viewer_proxy()
        for index, values in enumerate(images):
            viewer.add_image(values, name=f"i{index}", **options)
        widget = SegmentWidget(viewer)
        viewer.window.add_dock_widget(widget, name="wsseg")
        widget.choose_image(viewer.layers["i0"])
        return viewer, widget

    return open_with


def press(widget, key, modifier=Qt.KeyboardModifier.NoModifier):
    """Press a key over the canvas as a user does, through napari's own handling."""
    canvas = next(w for w in widget.window().findChildren(QWidget) if type(w).__name__ == "QtViewer")
    QTest.keyClick(canvas, key, modifier)


def test_slices_are_tagged_by_keys_whatever_layer_is_at_work(dock, qtbot):
    volume = np.random.default_rng(0).random((12, 16, 16))
    viewer, widget = dock(volume, scale=(2.0, 1.0, 1.0), translate=(3.0, 0.0, 0.0))
    c, panel = widget.controller, widget.tags
    control, key = Qt.KeyboardModifier.ControlModifier, Qt.Key
    assert not panel.isVisibleTo(widget)
    assert panel.summary.text() == "none yet"
    c.add_class()
    c.rename_class(2, "tail")
    hints = widget.new_hints()
    hints = c.hints
    assert viewer.layers.selection.active == hints
    viewer.dims.set_current_step(0, 4)
    press(widget, key.Key_1, control)
    assert tags_of(c.image) == {Tag(1, 0, 4)}
    assert hints.mode == "paint"  # 1 alone would be the eraser
    assert panel.isVisibleTo(widget)
    assert panel.state.text() == "Slice 4 of i0: class 1; not tail."
    assert [own.text() for own in panel.buttons.values()] == ["✓ class 1", "– tail"]
    assert [own.isChecked() for own in panel.buttons.values()] == [True, False]
    viewer.dims.set_current_step(0, 6)
    assert panel.state.text() == "Slice 6 of i0: not tagged."
    assert [own.text() for own in panel.buttons.values()] == ["class 1", "tail"]
    press(widget, key.Key_Period)
    assert panel.summary.text() == "3 of 12 slices tagged"
    press(widget, key.Key_2, control)
    assert panel.state.text() == "Slice 6 of i0: class 1, tail."
    press(widget, key.Key_Z, Qt.KeyboardModifier.ShiftModifier)
    assert panel.state.text() == "Slice 6 of i0: class 1; not tail."
    press(widget, key.Key_9, control)  # there is no ninth class
    viewer.dims.set_current_step(0, 0)
    press(widget, key.Key_0, control)
    assert panel.none.isChecked()
    assert panel.state.text() == "Slice 0 of i0: none of the classes."
    panel.untag()
    assert panel.summary.text() == "3 of 12 slices tagged"
    QTest.mouseClick(
        panel.strip, Qt.MouseButton.LeftButton, pos=QPoint(int(panel.strip.width() * 5.5 / 12), 4)
    )
    assert viewer.dims.current_step[0] == 5
    assert panel.strip.height() == 2 * ROW + 4
    picture = panel.strip.grab().toImage()
    there, absent, unsaid = (
        picture.pixelColor(int(panel.strip.width() * column), row)
        for column, row in ((4.2 / 12, 5), (4.2 / 12, ROW + 5), (9.5 / 12, 5))
    )
    assert there.name().upper() == c.colours[1]
    assert len({there.name(), absent.name(), unsaid.name()}) == 3
    panel.buttons[2].click()
    assert panel.summary.text() == "3 of 12 slices tagged"
    assert Tag(2, 0, 5) in tags_of(c.image)
    panel.scope.setCurrentIndex(1)
    panel._choose_scope(1)
    panel.toggle_none()
    assert "Slices of i0 are tagged already" in widget.message.text()
    panel.toggle_open()
    assert not panel.isVisibleTo(widget)
    assert panel.opener.text() == "Tag"
    panel.toggle_open()
    qtbot.waitUntil(lambda: widget.widget().width() <= widget.viewport().width())  # nothing is cut off


def test_heat_with_stop_and_thresholds_that_show_their_seeds(dock, qtbot):
    rng = np.random.default_rng(0)
    viewer, widget = dock(*(noise(rng, index % 2)[0] for index in range(8)))
    c, panel = widget.controller, widget.tags
    panel.toggle_open()
    for index in range(8):
        (panel.toggle_none, lambda: panel.toggle(1))[index % 2]()
        press(widget, Qt.Key.Key_K)
        assert c.image.name == f"i{(index + 1) % 8}"
    assert panel.summary.text() == "8 of 8 images tagged"
    assert [layer.visible for layer in viewer.layers] == [True] + [False] * 7
    panel._go_to(1)
    assert c.image.name == "i1"
    assert viewer.layers["i1"].visible
    assert not panel.cuts.isVisibleTo(widget)
    widget.steps.setValue(100_000)
    panel.heat.click()
    assert not panel.heat.isEnabled()
    qtbot.waitUntil(lambda: len(c.losses) > 3, timeout=60_000)
    old = widget.worker
    widget.stop()
    assert widget.worker is None
    assert panel.heat.isEnabled()
    assert c.tags.view.heated is None
    qtbot.waitUntil(lambda: not old.is_running, timeout=20_000)
    widget.steps.setValue(40)
    panel.heat.click()
    qtbot.waitUntil(lambda: widget.worker is None, timeout=60_000)
    assert panel.verdict.text().startswith("Class 1 (class 1): AUC 1.00")
    assert panel.cuts.isVisibleTo(widget)
    assert [widget.images.itemText(i) for i in range(widget.images.count())] == [f"i{i}" for i in range(8)]
    qtbot.waitUntil(lambda: not c.tags.view.unfinished, timeout=20_000)
    layer = find(c.layers, c.image, "seeds")
    before = (layer.data == 1).sum()
    chosen = c.tags.view.chosen()
    assert panel.slider.value() == pytest.approx((chosen.lower, chosen.upper), abs=0.02)
    heat = c.tags.view.heated.heat[identity(c.image)][0]
    lower, upper = np.quantile(heat, [0.5, 0.7])
    panel.slider.setValue((lower, upper))
    assert (layer.data == 1).sum() > before  # at once
    assert (layer.data == BACKGROUND).mean() == pytest.approx(0.5, abs=0.05)
    assert f"above {upper:.2f}" in panel.values.text()
    panel._reset()
    assert (layer.data == 1).sum() == before
    panel.use.click()
    qtbot.waitUntil(lambda: widget.worker is None, timeout=60_000)
    assert (c.hints.data == 1).any()
    assert "Ctrl+Z takes them back" in widget.message.text()
    viewer.layers.remove("i1")  # another one is chosen, and heat is known of it too
    assert c.tags.view.image == c.image
    panel.untag()
    c.choose_image(None)
    widget._show()
    assert not panel.cuts.isVisibleTo(widget)
