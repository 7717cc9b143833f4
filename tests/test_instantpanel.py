"""Answers while one draws in the real window: from a stroke to the mask, the choice, off, and errors."""

import numpy as np
import pytest

from napari_plugin.widget import SegmentWidget
from wsseg.hints import BACKGROUND
from wsseg.steps import Step

pytestmark = pytest.mark.gui


def test_from_a_stroke_to_an_answer_and_back_and_off(make_napari_viewer_proxy, qtbot, monkeypatch):
    viewer = make_napari_viewer_proxy()
    rng = np.random.default_rng(0)
    data = rng.normal(0, 0.1, (16, 32, 32))
    data[4:12, 8:24, 8:24] += 2
    viewer.add_image(data, name="cube")
    widget = SegmentWidget(viewer)
    viewer.window.add_dock_widget(widget, name="wsseg")
    panel, tool = widget.instant, widget.controller.instant
    qtbot.waitUntil(panel.answer.isChecked, timeout=5000)
    widget.new_hints()
    hints = widget.controller.hints
    viewer.dims.set_current_step(0, 8)
    hints.brush_size = 2
    hints.paint((8, 12, 12), 1)
    hints.paint((8, 2, 2), BACKGROUND)
    qtbot.waitUntil(lambda: "cube mask" in viewer.layers, timeout=60_000)
    mask = viewer.layers["cube mask"]
    qtbot.waitUntil(lambda: panel.worker is None, timeout=20_000)
    assert mask.data[8, 12, 12] == 1
    assert mask.data[8, 2, 2] == 0
    assert "answer" in panel.label.text()
    assert not panel.which.isVisibleTo(panel)  # there is one mask only
    assert widget.go.isEnabled()
    for _ in range(2):
        hints.undo()
    qtbot.waitUntil(lambda: not mask.data.any(), timeout=20_000)
    hints.redo()
    hints.redo()
    qtbot.waitUntil(lambda: mask.data[8, 12, 12] == 1, timeout=20_000)

    widget.steps.setValue(2)
    widget.objects.setCurrentIndex(widget.objects.findData("off"))
    widget.segment()
    qtbot.waitUntil(lambda: widget.worker is None, timeout=60_000)
    qtbot.waitUntil(lambda: "network" in panel.label.text(), timeout=5000)
    assert panel.which.isVisibleTo(panel)
    panel.choice.setCurrentIndex(panel.choice.findData("instant"))
    panel.choose("instant")
    assert mask.data[8, 12, 12] == 1
    assert "answer" in panel.label.text()

    panel.answer.click()
    assert not tool.on
    shown = mask.data.copy()
    hints.paint((8, 30, 30), 1)
    qtbot.wait(400)
    assert mask.data[8, 30, 30] == 1  # paint is in every mask
    np.testing.assert_array_equal(mask.data[hints.data == 0], shown[hints.data == 0])  # and nothing more
    assert panel.worker is None

    def broken(*asked):
        yield Step("features", 0, 1)
        raise RuntimeError("no luck")

    monkeypatch.setattr("napari_plugin.instanttool.respond", broken)
    panel.answer.click()
    qtbot.waitUntil(lambda: "no luck" in panel.label.text(), timeout=5000)
    assert not panel.answer.isChecked()
    assert panel.worker is None
