"""The group “Results”: exports, measurements, and the line for the shell."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from qtpy.QtCore import Qt
from qtpy.QtGui import QClipboard
from qtpy.QtWidgets import QApplication, QComboBox, QLabel, QLineEdit, QVBoxLayout, QWidget

from napari_plugin.asking import ask_file
from napari_plugin.forms import button, narrow, row
from napari_plugin.leavetool import KINDS
from napari_plugin.measuredialog import MeasureDialog
from napari_plugin.trying import Tried

if TYPE_CHECKING:
    from napari_plugin.controller import Controller

HELP = {
    "mask": "The mask on show.",
    "objects": "Those in boxes, else the connected parts of the mask.",
    "probabilities": "What the mask on show goes by: how likely each class is. It is found anew.",
}
FILTERS = {
    "NIfTI": "NIfTI (*.nii.gz)",
    "TIFF": "TIFF (*.tif)",
    "OME-Zarr": "OME-Zarr (*.ome.zarr)",
    "PNG": "PNG (*.png)",
    "COCO": "COCO (*.json)",
}


class LeaveRows(QWidget):
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
        self.tool, self.try_to, self.begin = controller.leaving, try_to, begin
        self.kind, self.format = QComboBox(), QComboBox()
        for box in (self.kind, self.format):
            narrow(box, 5)
        for index, kind in enumerate(KINDS):
            self.kind.addItem(kind, kind)
            self.kind.setItemData(index, HELP[kind], Qt.ItemDataRole.ToolTipRole)
        self.kind.activated.connect(lambda: self.show_state())
        self.line = QLineEdit()
        self.line.setReadOnly(True)
        self.copied = button("Copy", self.copy_line)
        self.shell = QLabel("The saved model on a folder of images, from the shell:")
        self.shell.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        line = row(self.kind, QLabel("as"), self.format, stretch=0)
        line.setStretch(2, 1)
        column.addLayout(line)
        buttons = row(button("Export …", self.ask_export), button("Measure …", self.ask_measure), stretch=0)
        buttons.setStretch(1, 1)
        column.addLayout(buttons)
        column.addWidget(self.shell)
        column.addLayout(row(self.line, self.copied, stretch=0))
        self.show_state()

    def show_state(self) -> None:
        """Offer the formats that suit, and show the line where there is one."""
        names = self.tool.formats(self.kind.currentData())
        if names != [self.format.itemText(i) for i in range(self.format.count())]:
            before = self.format.currentText()
            self.format.clear()
            self.format.addItems(names)
            self.format.setCurrentIndex(max(0, self.format.findText(before)))
        for widget in (self.shell, self.line, self.copied):
            widget.setVisible(bool(self.tool.line))
        if self.line.text() != self.tool.line:
            self.line.setText(self.tool.line)
            self.line.setCursorPosition(0)
            self.line.setToolTip(self.tool.line)

    def copy_line(self) -> None:
        """The shell's line into the clipboard."""
        cast(QClipboard, QApplication.clipboard()).setText(self.tool.line)

    def ask_export(self) -> None:
        """Export what is chosen where the user says."""
        kind, format_name = self.kind.currentData(), self.format.currentText()
        merge = format_name == "COCO"
        title = f"Export {kind}"
        title += " (a file that is there keeps what it says of other images)" if merge else ""
        place = partial(self.tool.place_for, kind, format_name)
        if name := ask_file(self, self.try_to, place, title, FILTERS[format_name], merge=merge):
            self.begin(lambda: self.tool.export(kind, format_name, Path(name)))

    def ask_measure(self) -> None:
        """Measure what is shown, as the user says, into a table."""
        wanted = MeasureDialog(self, self.tool.unit())
        if not wanted.exec():
            return
        place = self.tool.table_place
        if name := ask_file(self, self.try_to, place, "Save measurements", "Table (*.csv)"):
            self.begin(lambda: self.tool.measure(Path(name), **wanted.choice()))
