"""Mouse and keyboard over napari's window: strokes on the canvas, buttons of the panel, menus, dialogs."""

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from qtpy.QtCore import QEvent, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QDialogButtonBox,
    QFileDialog,
    QLineEdit,
    QPushButton,
    QWidget,
)

from napari_plugin.widget import SegmentWidget

CONTROL, SHIFT, NONE = (
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.ShiftModifier,
    Qt.KeyboardModifier.NoModifier,
)


def choose_in_menu(viewer, *words: str) -> None:
    """Choose an action of the window's menus: `choose_in_menu(viewer, "File", "Open Sample", ...)`."""
    menu = viewer.window._qt_window.menuBar()
    for word in words:
        found = {one.text().replace("&", ""): one for one in menu.actions()}
        assert word in found, f"{word} is not among {list(found)}"
        menu = found[word].menu()
        if menu is not None:
            menu.aboutToShow.emit()  # napari fills some menus only then
    found[words[-1]].trigger()
    QApplication.processEvents()


def open_panel(viewer) -> SegmentWidget:
    """The plugin's panel, opened by its menu."""
    choose_in_menu(viewer, "Plugins", "wsseg", "wsseg (wsseg)")
    (panel,) = viewer.window._qt_window.findChildren(SegmentWidget)
    return panel


class Hand:
    """Mouse and keyboard over the canvas of a viewer.

    Args:
        viewer: napari's.
        widget: The panel in it.
    """

    def __init__(self, viewer, widget: SegmentWidget) -> None:
        self.viewer, self.widget = viewer, widget
        kinds = {type(one).__name__: one for one in widget.window().findChildren(QWidget)}
        self.keys, self.canvas = kinds["QtViewer"], kinds["CanvasBackendDesktop"]

    def key(self, key: Qt.Key, modifier=NONE) -> None:
        """Press a key."""
        QTest.keyClick(self.keys, key, modifier)
        self.live(0.02)

    def press(self, text: str, nth: int = 0) -> None:
        """Press a button of the panel, by what stands on it."""
        button = [one for one in self.widget.findChildren(QPushButton) if one.text() == text][nth]
        self.widget.ensureWidgetVisible(button)
        assert button.isVisible(), text
        assert button.isEnabled(), text
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)
        self.live(0.02)

    def press_and_name(self, text: str, path: Path) -> None:
        """Press a button that asks for a file to write, and name this one in the dialog."""
        timer = QTimer()  # press does not come back before the dialog is answered
        timer.timeout.connect(lambda: timer.stop() if _answer(path) else None)
        timer.start(50)
        self.press(text)
        assert not timer.isActive(), f"{text} asked for no file"

    def pick(self, box: QComboBox, text: str) -> None:
        """Choose an entry of a box of the panel by its first letters."""
        self.widget.ensureWidgetVisible(box)
        QTest.keyClicks(box, text)
        assert box.currentText() == text
        self.live(0.02)

    def drag(self, *places) -> None:
        """Press the left button at a voxel of the image, move over the others, and let go at the last."""
        points = [self.point(place) for place in places]
        self._mouse(QEvent.Type.MouseMove, points[0], down=False)
        self._mouse(QEvent.Type.MouseButtonPress, points[0])
        for start, stop in pairwise(points):
            for part in (0.5, 1.0):
                self._mouse(QEvent.Type.MouseMove, start + part * (stop - start))
        self._mouse(QEvent.Type.MouseButtonRelease, points[-1], down=False)
        self.live(0.02)

    def click(self, place, *, twice: bool = False) -> None:
        """Click on a voxel; `twice` is a double click."""
        point = self.point(place)
        self._mouse(QEvent.Type.MouseMove, point, down=False)
        self._mouse(QEvent.Type.MouseButtonDblClick if twice else QEvent.Type.MouseButtonPress, point)
        self._mouse(QEvent.Type.MouseButtonRelease, point, down=False)
        self.live(0.02)

    def hover(self, place) -> None:
        """Put the cursor on a voxel."""
        self._mouse(QEvent.Type.MouseMove, self.point(place), down=False)

    def point(self, place) -> np.ndarray:
        """Where a voxel of the image is on the canvas: x and y in pixels."""
        dims, camera = self.viewer.dims, self.viewer.scene.camera
        world = np.array(self.widget.controller.image.data_to_world(place))[list(dims.displayed)]
        y, x = (world - camera.center[-2:]) * camera.zoom + np.array(self.viewer.canvas.size) / 2
        return np.array([x, y])

    def _mouse(self, kind, point, *, down: bool = True) -> None:
        left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
        where = QPointF(*(float(v) for v in point))
        button = none if kind == QEvent.Type.MouseMove else left
        held = left if down else none
        event = QMouseEvent(
            kind, where, QPointF(self.canvas.mapToGlobal(where.toPoint())), button, held, NONE
        )
        QApplication.sendEvent(self.canvas, event)
        self.live(0.0)

    def live(self, seconds: float, until=lambda: False) -> None:
        """Let the window live for a while, or until something is so."""
        end = time.monotonic() + seconds
        while True:
            QApplication.processEvents()
            if until() or time.monotonic() >= end:
                return
            time.sleep(0.005)

    def wait(self, until, seconds: float = 60.0) -> None:
        """Let the window live until something is so; it has to become so."""
        self.live(seconds, until)
        assert until(), f"{until.__code__.co_filename}:{until.__code__.co_firstlineno} never came true"

    def rest(self, pause: float = 0.0) -> None:
        """Until nothing is under way, and all is on disk; boxes and answers begin when the hand rests."""
        widget = self.widget
        self.live(pause)
        self.wait(lambda: widget.worker is None and widget.instant.worker is None)
        widget.autosave.pulse()
        self.wait(lambda: not widget.autosave.busy())


def _answer(path: Path) -> bool:
    """Name a file in the dialog that is open; False while none is."""
    dialog = QApplication.activeModalWidget()
    if not isinstance(dialog, QFileDialog):
        return False
    dialog.findChild(QLineEdit).setText(str(path))
    save = dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Save)
    QTest.mouseClick(save, Qt.MouseButton.LeftButton)
    return True
