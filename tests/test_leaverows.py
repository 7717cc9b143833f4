"""The group Results and the question at closing, in a real viewer. Few tests: each viewer costs seconds."""

import csv

import numpy as np
import pytest
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QApplication, QFileDialog, QMainWindow, QMessageBox
from test_widget import scene, wait  # noqa: F401  a fixture
from tiny import tiny_model

from napari_plugin.closing import CloseGuard
from napari_plugin.measuredialog import MeasureDialog
from napari_plugin.results import find_or_make
from wsseg.images import read_labels
from wsseg.replay import replay

pytestmark = pytest.mark.gui


def test_export_measure_and_the_line(scene, qtbot, tmp_path, monkeypatch):  # noqa: F811
    viewer, widget = scene
    c, rows = widget.controller, widget.leaving
    asked = []

    def answer(parent, title, place, kind, **options):
        asked.append((title, place, kind))
        return str(tmp_path / place.rpartition("/")[2]), kind

    monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
    rows.ask_export()
    assert "no mask yet" in widget.message.text()
    mask = find_or_make(c.layers, c.image, "mask", c.colours, None)
    mask.data[4:12, 4:12, 4:12] = 1
    assert [rows.format.itemText(i) for i in range(rows.format.count())] == ["NIfTI", "TIFF", "OME-Zarr"]
    rows.format.setCurrentText("TIFF")
    rows.ask_export()
    wait(qtbot, widget)
    assert asked[-1] == ("Export mask", "cube_mask.tif", "TIFF (*.tif)")
    np.testing.assert_array_equal(read_labels(tmp_path / "cube_mask.tif"), mask.data)
    assert "Wrote cube_mask.tif" in widget.message.text()

    (tmp_path / "file").write_text("no folder")
    widget.begin(lambda: c.leaving.export("mask", "TIFF", tmp_path / "file" / "a.tif"))
    wait(qtbot, widget)
    assert "can't be written" in widget.message.text()  # an error of the worker, and the panel is free again
    assert widget.go.isEnabled()

    def choose(dialog):
        dialog.rows.setCurrentIndex(1)
        dialog.min_size.setValue(2.0)
        dialog.fill_holes.setChecked(True)
        return True

    monkeypatch.setattr(MeasureDialog, "exec", choose)
    rows.ask_measure()
    wait(qtbot, widget)
    with open(tmp_path / "cube_measurements.csv", newline="", encoding="utf-8") as handle:
        (row,) = csv.DictReader(handle)
    assert (row["object"], float(row["volume"])) == ("1", 2 * 8**3)
    assert row["agreement"] == "1"
    monkeypatch.setattr(MeasureDialog, "exec", lambda dialog: False)
    rows.ask_measure()
    assert asked[-1][1] == "cube_measurements.csv"
    assert len(asked) == 3

    assert not rows.line.isVisibleTo(widget)
    c.model = tiny_model(3, spacing=(2.0, 1.0, 1.0))
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "model"), ""))
    widget.files.ask_save_model()
    assert rows.line.isVisibleTo(widget)
    assert rows.line.text().startswith(f"wsseg predict {tmp_path / 'model'} ")
    rows.copied.click()
    assert QApplication.clipboard().text() == rows.line.text()

    viewer.add_image(np.random.default_rng(0).random((9, 9, 9)), name="other")
    widget.choose_image(viewer.layers["cube"])
    viewer.add_image(np.zeros((9, 9)), name="flat")
    widget.begin(c.leaving.apply_to_others)
    assert widget.stop_button.isEnabled()
    wait(qtbot, widget)
    assert viewer.layers["other mask"].data.shape == (9, 9, 9)
    assert "flat is 2D" in widget.message.text()


def test_closing_while_work_runs_asks_and_saves(scene, qtbot, monkeypatch):  # noqa: F811
    _, widget = scene
    window = widget.parentWidget()
    while not isinstance(window, QMainWindow):
        window = window.parentWidget()
    said, answers = [], []
    monkeypatch.setattr(CloseGuard, "ask", lambda guard, words: said.append(words) or answers.pop(0))

    def close(spontaneous=True):
        """What the guard does to a close; a program can't send one that counts as the user's."""
        event = QEvent(QEvent.Type.Close)
        monkeypatch.setattr(event, "spontaneous", lambda: spontaneous, raising=False)
        return widget.guard.eventFilter(window, event)

    QCoreApplication.sendEvent(widget, QShowEvent())  # windows of tests are not shown
    assert widget.guard.window() is window
    assert not close()
    assert said == []
    widget.controller.instant.choose("network")
    widget.controller.hints.data[0] = 255
    widget.steps.setValue(100_000)
    widget.segment()
    qtbot.waitUntil(lambda: widget.controller.model is not None, timeout=60_000)
    answers.append(False)
    assert close()  # the user stays: the event goes no further
    assert widget.worker is not None
    assert said[-1].startswith("Training: step")
    answers.append(True)
    old = widget.worker
    assert not close()
    assert widget.worker is None
    qtbot.waitUntil(lambda: not widget.autosave.busy(), timeout=20_000)
    folder = widget.autosave.folder()
    assert (folder / "model" / "config.json").is_file()
    assert replay(folder).drawing.mask.shape == (16, 16, 16)
    qtbot.waitUntil(lambda: not old.is_running, timeout=20_000)
    widget.segment()
    assert not close(spontaneous=False)  # a script does not wait for an answer, and loses nothing
    assert widget.worker is None
    assert len(said) == 2


def test_the_question_says_what_is_kept(qtbot, monkeypatch):
    from qtpy.QtWidgets import QWidget

    widget = QWidget()
    qtbot.addWidget(widget)
    guard = CloseGuard(widget, lambda: "Training", "All is kept.")
    shown = []

    def press(number):
        def exec_(box):
            shown.append(box.text())
            box.buttons()[number].click()

        monkeypatch.setattr(QMessageBox, "exec", exec_)
        monkeypatch.setattr(QMessageBox, "clickedButton", lambda box: box.buttons()[number])
        return guard.ask("Training: step 3 of 9")

    assert {press(0), press(1)} == {True, False}
    assert shown[0] == "Training: step 3 of 9\n\nStop and close napari? All is kept."
