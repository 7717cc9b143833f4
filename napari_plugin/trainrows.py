"""The rows of the widget that say how to train: what strokes mean, and for how long."""

from qtpy.QtWidgets import QComboBox, QSpinBox, QVBoxLayout, QWidget

from napari_plugin.forms import form

MEANINGS = {
    "auto": "auto",
    "marked": "every object",
    "alike": "examples of many",
    "off": "only what is painted",
}


class TrainRows(QWidget):
    """What strokes mean, and the steps of training.

    Attributes:
        objects: Its data is a `wsseg.propagate.Meaning`.
        steps: 0 = auto.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps = QSpinBox()
        self.steps.setRange(0, 100_000)
        self.steps.setSingleStep(100)
        self.steps.setSpecialValueText("auto")
        self.steps.setToolTip("Training steps; auto suits the amount of hints.")
        self.objects = QComboBox()
        for meaning, words in MEANINGS.items():
            self.objects.addItem(words, meaning)
        self.objects.setToolTip(
            "Every object: the mask is what strokes reach. Examples: what looks like them is found too."
        )
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(form(("Strokes mark", self.objects), ("Steps", self.steps)))
