"""The rows that lead to where a hint helps most and show where the mask is in doubt; keys that accept it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QCheckBox, QComboBox, QVBoxLayout, QWidget

from napari_plugin.forms import Sentence, button, row
from napari_plugin.trying import Tried
from napari_plugin.worker import sentence, start

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_plugin.controller import Controller
    from napari_plugin.guidetool import Goal

CHOICES = {
    "doubt": "most in doubt, this axis",
    "any axis": "most in doubt, any axis",
    "intervals": "the widest gap",
    "random": "at random",
}
SHARE = 0.25  # of the canvas that a window of a picture takes at least


def in_middle(goal: "Goal", seen: np.ndarray) -> np.ndarray:
    """Where the camera looks so that the goal is in the middle, or as near to it as the picture reaches.

    Args:
        goal: A window.
        seen: Height and width of what the canvas shows, in the world.
    """
    low, high = np.array(goal.low), np.array(goal.high)
    middle = np.clip(goal.point, low + seen / 2, np.maximum(high - seen / 2, low + seen / 2))
    return np.where(high - low <= seen, (low + high) / 2, middle)


class GuidePanel(QWidget):
    """Asks the tool in a worker of its own, so that it works while a network trains.

    Args:
        viewer: That is turned and moved.
        controller: The plugin's.
        view: Gives the viewer's point and the image's spatial axes on screen.
        try_to: Calls something and shows its sentence where it refuses; see `Tried`.
    """

    def __init__(
        self,
        viewer: "Viewer",
        controller: "Controller",
        view: Callable[[], tuple[list[float], list[int]]],
        try_to: Callable[..., Tried],
    ) -> None:
        super().__init__()
        self.viewer, self.controller, self.tool = viewer, controller, controller.guide
        self._view, self.try_to = view, try_to
        self.worker: Any = None
        self.choice, self.doubt, self.label = QComboBox(), QCheckBox("Show doubt"), Sentence()
        for choice, words in CHOICES.items():
            self.choice.addItem(words, choice)
        self.choice.setToolTip("By what the next slice, or the next part of a picture, is chosen.")
        self.doubt.setToolTip("Bright where the two likeliest classes are about as likely.")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row(button("Go to", self.go), self.choice, stretch=1))
        column.addWidget(self.doubt)
        column.addWidget(self.label)
        self.choice.activated.connect(self._choose)
        self.doubt.clicked.connect(lambda on: self.try_to(self.tool.show, on))
        self.pulse = QTimer(self)
        self.pulse.timeout.connect(self._follow)
        self.pulse.start(250)
        self._follow()

    def go(self) -> None:
        """Go to where a hint helps most; again, and it goes to the next best."""
        if self.worker is not None:
            return
        if not (made := self.try_to(lambda: self.tool.ask(self._view()[1]))):
            return
        if made.value is None:
            self._go_on()
            return
        self.worker = start(
            made.value,
            event=lambda _: None,
            result=self._arrived,
            error=self._failed,
            finished=self._finished,
        )

    def accept_object(self) -> None:
        """Lock the object under the cursor, or unlock it."""
        self.try_to(self.controller.accept_object, *self._cursor())

    def reject_object(self) -> None:
        """The object under the cursor is none: background, and locked."""
        self.try_to(self.controller.reject_object, *self._cursor())

    def accept_slice(self) -> None:
        """Lock the mask of this slice, or unlock it."""
        self.try_to(self.controller.accept_slice, *self._view())

    def accept_region(self) -> None:
        """Take the polygon: what the mask says in it will be locked."""
        self._draw(self.try_to(lambda: self.controller.region_to_accept(self._view()[1])))

    def background_region(self) -> None:
        """Take the polygon: all in it will be background."""
        self._draw(self.try_to(self.controller.region_of_background))

    def _draw(self, made: Tried) -> None:
        """Draw polygons in a layer."""
        if made:
            self.viewer.layers.selection.active = made.value
            made.value.n_edit_dimensions = 2
            made.value.mode = "polygon"

    def hold_out(self) -> None:
        """Hold the paint of this slice out, or give it back."""
        self.try_to(self.controller.hold_out, *self._view())

    def _cursor(self) -> tuple[list[float], list[int]]:
        """Where the cursor is, in the world, and the axes on screen."""
        point, displayed = self._view()
        return list(self.viewer.cursor.position)[self.viewer.dims.ndim - len(point) :], displayed

    def stop(self) -> None:
        """End what is under way."""
        if self.worker is not None:
            self.worker.quit()

    def _arrived(self, places: Any) -> None:
        if self.tool.take(places):
            self._go_on()

    def _failed(self, error: BaseException) -> None:
        self.tool.forget()
        self.tool.told = sentence(error)

    def _finished(self) -> None:
        self.worker = None

    def _go_on(self) -> None:
        if goal := self.try_to(self.tool.next):
            self._look_at(goal.value)
        self._follow()

    def _look_at(self, goal: "Goal") -> None:
        """Show the slice; of a picture the window, in the middle."""
        dims, camera = self.viewer.dims, self.viewer.scene.camera
        before = dims.ndim - len(goal.point)
        if goal.axis is not None:
            if before + goal.axis in dims.displayed and dims.ndisplay == 2:
                order = [axis for axis in dims.order if axis != before + goal.axis]
                dims.order = (*order[:before], before + goal.axis, *order[before:])
            dims.set_point(range(before, dims.ndim), goal.point)
        else:
            canvas = np.array(self.viewer.canvas.size)
            camera.zoom = max(camera.zoom, float((SHARE * canvas / goal.size).min()))
            seen = canvas / camera.zoom
            camera.center = (*camera.center[:-2], *in_middle(goal, seen))

    def _choose(self) -> None:
        self.tool.choice = self.choice.currentData()
        self.tool.told = ""
        self._follow()

    def _follow(self) -> None:
        tool = self.tool
        tool.follow()
        self.doubt.setChecked(tool.layer is not None)
        self.label.tell(tool.told)
