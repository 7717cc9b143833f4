"""The buttons at the bottom of the widget: what is opened and saved, each with its file dialog."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QGridLayout, QWidget

from napari_plugin.asking import ask_file
from napari_plugin.forms import button
from napari_plugin.trying import Tried

if TYPE_CHECKING:
    from napari_plugin.controller import Controller


class FileButtons(QWidget):
    """Asks for names and calls the controller.

    Args:
        controller: The plugin's.
        try_to: Calls it and shows its sentence where it refuses; see `Tried`.
        begin: Starts the work that it makes.
    """

    def __init__(
        self,
        controller: "Controller",
        try_to: Callable[..., Tried],
        begin: Callable[[Callable[[], Any]], None],
    ) -> None:
        super().__init__()
        self.controller, self.try_to, self.begin = controller, try_to, begin
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        buttons = {
            "Save mask …": lambda: self.ask_save("mask"),
            "Save objects …": lambda: self.ask_save("objects"),
            "Save boxes …": self.ask_save_boxes,
            "Save tags …": self.ask_save_tags,
            "Apply model": lambda: begin(controller.apply),
            "Open model …": self.ask_open_model,
            "Save model …": self.ask_save_model,
            "Open encoder …": self.ask_open_encoder,
            "Apply to others": lambda: begin(controller.leaving.apply_to_others),
            "Forget model": lambda: try_to(controller.forget_model),
        }
        for index, (text, action) in enumerate(buttons.items()):
            grid.addWidget(button(text, action), index // 2, index % 2)

    def ask_save(self, role: str) -> None:
        """Save the "mask" or the "objects" where the user says."""
        if name := ask_file(self, self.try_to, partial(self.controller.place_for, role), f"Save {role}"):
            self.begin(lambda: self.controller.save(role, Path(name)))

    def ask_save_boxes(self) -> None:
        """Save the boxes where the user says."""
        title = "Save boxes (COCO; a file that is there keeps the boxes of other images)"
        place = partial(self.controller.place_for, "boxes")
        if name := ask_file(self, self.try_to, place, title, "COCO (*.json)", merge=True):
            self.begin(lambda: self.controller.save_boxes(Path(name).with_suffix(".json")))

    def ask_save_tags(self) -> None:
        """Save the tags where the user says."""
        title = "Save tags (a table that is there keeps the tags of other images)"
        place = partial(self.controller.place_for, "tags")
        if name := ask_file(self, self.try_to, place, title, "Table (*.csv)", merge=True):
            self.begin(lambda: self.controller.save_tags(Path(name).with_suffix(".csv")))

    def ask_save_model(self) -> None:
        """Save the model where the user says."""
        name, _ = QFileDialog.getSaveFileName(self, "Save model (a folder)", "model")
        if name:
            self.try_to(self.controller.save_model, Path(name))

    def ask_open_model(self) -> None:
        """Open the model that the user names."""
        name = QFileDialog.getExistingDirectory(self, "Open model (a folder)")
        if name:
            self.begin(lambda: self.controller.open_model(Path(name)))

    def ask_open_encoder(self) -> None:
        """Start from the encoder that the user names, made by the page or by `wsseg pretrain`."""
        name = QFileDialog.getExistingDirectory(self, "Open encoder (a folder)")
        if name:
            self.begin(lambda: self.controller.use_encoder(Path(name)))
