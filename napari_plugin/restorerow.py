"""The line that offers an earlier session of the image, and says when something can't be saved."""

import time
from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_plugin.autosave import Autosave
from napari_plugin.forms import Sentence, button, row
from napari_plugin.trying import Tried
from napari_plugin.writer import MODEL
from wsseg.journal import LINES


class RestoreRow(QWidget):
    """Hidden while there is nothing to say.

    Args:
        autosave: Of the widget.
        try_to: Calls the controller and shows its sentence where it refuses; see `Tried`.
        begin: Starts the work that it makes.
    """

    def __init__(
        self,
        autosave: Autosave,
        try_to: Callable[..., Tried],
        begin: Callable[[Callable[[], Any]], None],
    ) -> None:
        super().__init__()
        self.autosave, self.try_to, self.begin = autosave, try_to, begin
        self.words, self.error = Sentence(), Sentence()
        self.button = button("Restore", self.restore)
        self.button.setToolTip(
            "Puts what was marked then on the image, in new layers, with its mask and model."
        )
        self.dismissed = button("Dismiss", self.dismiss)
        self.dismissed.setToolTip("Offers it no more until napari is opened again; it stays on disk.")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row(self.words, self.button, self.dismissed, stretch=0))
        column.addWidget(self.error)
        self.show_state()

    def show_state(self) -> None:
        """Show what there is to restore, and what could not be saved."""
        folder, error = self.autosave.found(), self.autosave.error
        words = ""
        if folder is not None:
            moment = time.localtime((folder / LINES).stat().st_mtime)
            words = f"An earlier session, {time.strftime('%d %b %Y %H:%M', moment)}"
        self.words.tell(words)
        for widget in (self.button, self.dismissed):
            widget.setVisible(folder is not None)
        self.error.tell(error)
        self.setVisible(bool(folder or error))

    def dismiss(self) -> None:
        """Offer it no more."""
        self.autosave.dismiss()
        self.show_state()

    def restore(self) -> None:
        """Put the earlier session on the image."""
        folder = self.autosave.found()
        if folder is None or not self.try_to(self.autosave.restore, folder):
            return
        if (folder / MODEL / "config.json").is_file():
            self.begin(lambda: self.autosave.controller.open_model(folder / MODEL))
        self.show_state()
