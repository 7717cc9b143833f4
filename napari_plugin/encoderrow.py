"""A line of the widget that tells which encoder training starts from, and drops it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QLabel, QWidget

from napari_plugin.forms import Sentence, button, row
from napari_plugin.trying import Tried

if TYPE_CHECKING:
    from napari_plugin.controller import Controller


class EncoderRow(QWidget):
    """Hidden where there is no encoder.

    Args:
        controller: The plugin's.
        try_to: Calls it and shows its sentence where it refuses.
    """

    def __init__(self, controller: "Controller", try_to: Callable[..., Tried]) -> None:
        super().__init__()
        self.controller = controller
        self.label = Sentence()
        line = row(QLabel("Encoder"), self.label, button("Drop", lambda: try_to(self.drop)), stretch=1)
        line.setContentsMargins(0, 0, 0, 0)
        self.setLayout(line)
        self.show_encoder()

    def drop(self) -> None:
        """Start from fresh weights again."""
        self.controller.drop_encoder()

    def show_encoder(self) -> None:
        """Bring it up to date."""
        words = self.controller.encoder.words(self.controller.model)
        self.label.tell(words)
        self.setVisible(bool(words))
