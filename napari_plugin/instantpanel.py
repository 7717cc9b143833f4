"""The rows for answers while one draws: on or off, what they cost, and which of two masks is on show."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QCheckBox, QComboBox, QVBoxLayout, QWidget

from napari_plugin.forms import Sentence, form
from napari_plugin.worker import sentence, start

if TYPE_CHECKING:
    from napari_plugin.instanttool import InstantTool

PULSE = 50  # milliseconds between two looks at what is due
CHOICES = {"auto": "auto", "instant": "while drawing", "network": "network"}


class InstantPanel(QWidget):
    """Shows the tool's state, and runs what is due in a worker of its own beside that of Segment.

    Args:
        tool: What the controller knows of it.
        view: Gives the viewer's point and displayed axes, as `layers.on_screen` wants them.
    """

    def __init__(self, tool: "InstantTool", view: Callable[[], tuple[list[float], list[int]]]) -> None:
        super().__init__()
        self.tool, self._view = tool, view
        self.worker: Any = None
        self.answer = QCheckBox("Answer while drawing")
        self.answer.setToolTip(
            "After each stroke a mask of what looks alike, in a moment; no network needed."
        )
        self.choice = QComboBox()
        for choice, words in CHOICES.items():
            self.choice.addItem(words, choice)
        self.choice.setToolTip("Auto: the answer while drawing, and the network’s mask once Segment is done.")
        self.label = Sentence()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.answer)
        self.which = QWidget()
        self.which.setLayout(form(("Mask", self.choice)))
        column.addWidget(self.which)
        column.addWidget(self.label)
        self.answer.clicked.connect(self.turn)
        self.choice.activated.connect(lambda: self.choose(self.choice.currentData()))
        self.pulse = QTimer(self)
        self.pulse.timeout.connect(self._follow)
        self.pulse.start(PULSE)
        self.destroyed.connect(tool.drop)  # what a worker sends later finds nobody
        self._show()

    def turn(self, on: bool) -> None:
        """Answer from now on, or no more."""
        if not on:
            self.stop()
        self.tool.turn(on)
        self._show()

    def choose(self, choice: Any) -> None:
        """Show this mask."""
        self.tool.choose(choice)
        self._show()

    def stop(self) -> None:
        """End what is under way; what it still sends is dropped."""
        if self.worker is not None:
            self.worker.quit()
            self.worker = None
        self.tool.drop()

    def _follow(self) -> None:
        self.tool.follow()
        self.tool.look_at(*self._view())
        work = self.tool.due()
        if work is not None:
            self._begin(work)
        self._show()

    def _begin(self, work: Any) -> None:
        if self.worker is not None:
            self.worker.quit()  # it ends after the piece under way
        tool, generation = self.tool, self.tool.generation
        self.worker = start(
            work,
            event=lambda event: tool.take(event, generation),
            result=lambda features: tool.keep(features, generation),
            error=lambda error: tool.fail(sentence(error), generation),
            finished=lambda: self._finished(generation),
        )

    def _finished(self, generation: int) -> None:
        if generation == self.tool.generation:
            self.worker = None
            self.tool.end(generation)
            self._show()

    def _show(self) -> None:
        """Every 50 ms: a widget that is told what it shows already draws nothing."""
        tool = self.tool
        self.answer.setChecked(tool.on)
        self.answer.setEnabled(tool.working())
        self.answer.setText(tool.words())
        self.which.setVisible(tool.two())
        self.label.tell(tool.told())
