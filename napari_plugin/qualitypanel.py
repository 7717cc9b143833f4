"""Two small curves: how right the mask was where a person painted next, and its Dice on held-out slices."""

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_plugin.curve import Curve
from napari_plugin.forms import Sentence

if TYPE_CHECKING:
    from napari_plugin.controller import Controller


class QualityPanel(QWidget):
    """Shows what the controller knows of how good the mask on show is; nothing where that is nothing.

    Args:
        controller: The plugin's.
    """

    def __init__(self, controller: "Controller") -> None:
        super().__init__()
        self.controller = controller
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        self.agreement = Curve(
            "agreement",
            "How much of what you painted the mask had right before, each class alike; it should rise.",
        )
        self.held = Curve(
            "Dice held out",
            "Of the mask on show on held-out slices, one point an answer or run; it should rise.",
        )
        self.agreement_words, self.held_words = Sentence(), Sentence()
        for widget in (self.agreement, self.agreement_words, self.held, self.held_words):
            column.addWidget(widget)
        self.show_state()

    def show_state(self) -> None:
        """Called often: a widget that is told what it shows already draws nothing."""
        c = self.controller
        agreement, held = c.instant.agreement, c.held
        for curve, label, values, told in (
            (self.agreement, self.agreement_words, agreement.values, agreement.told()),
            (self.held, self.held_words, held.values, held.told(c.classes)),
        ):
            curve.setVisible(len(values) > 1)
            curve.show_values(values, len(values))
            label.tell(told)
