"""The rows of the widget that say how to train: what strokes mean, for how long, and whether it goes on."""

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QCheckBox, QComboBox, QSpinBox, QVBoxLayout, QWidget

from napari_plugin.forms import form, row
from napari_plugin.settings import MOST_STEPS

if TYPE_CHECKING:
    from napari_plugin.marks import Marks

MEANINGS = {
    "auto": "auto",
    "marked": "every object",
    "alike": "examples of many",
    "off": "only what is painted",
}


class TrainRows(QWidget):
    """What strokes mean, the steps of training, and whether it goes on by itself.

    Args:
        marks: Whose settings these are.

    Attributes:
        objects: Its data is a `wsseg.propagate.Meaning`.
        steps: 0 = auto.
        keep: Go on by itself.
    """

    def __init__(self, marks: "Marks") -> None:
        super().__init__()
        self._marks = marks
        self.steps = QSpinBox()
        self.steps.setRange(0, MOST_STEPS)
        self.steps.setSingleStep(100)
        self.steps.setSpecialValueText("auto")
        self.steps.setToolTip("Training steps; auto suits the amount of hints.")
        self.objects = QComboBox()
        for meaning, words in MEANINGS.items():
            self.objects.addItem(words, meaning)
        self.objects.setToolTip(
            "Every object: the mask is what strokes reach. Examples: what looks like them is found too."
        )
        self.keep = QCheckBox("Keep learning")
        self.keep.setToolTip("When a run is done and you mark more, the next one begins by itself.")
        self.steps.valueChanged.connect(lambda steps: self._take("steps", steps))
        self.objects.currentIndexChanged.connect(lambda: self._take("objects", self.objects.currentData()))
        self.keep.toggled.connect(lambda on: self._take("keep_learning", on))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(
            form(("Strokes mark", self.objects), ("Steps", row(self.steps, self.keep, stretch=0)))
        )

    def show_state(self) -> None:
        """Show the settings, as after undo."""
        settings = self._marks.settings
        self.steps.setValue(settings.steps)
        self.objects.setCurrentIndex(self.objects.findData(settings.objects))
        self.keep.setChecked(settings.keep_learning)

    def _take(self, name: str, value: Any) -> None:
        if value != getattr(self._marks.settings, name):
            self._marks.set(name, value)
