"""The small window that asks what is to be measured."""

from typing import Any

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from napari_plugin.forms import form
from wsseg.measure import Cleaning


class MeasureDialog(QDialog):
    """Rows of the table, and how the mask is cleaned first.

    Args:
        parent: The widget it belongs to.
        unit: Of volume, such as "mm³".
    """

    def __init__(self, parent: QWidget, unit: str) -> None:
        super().__init__(parent)
        self.setWindowTitle("Measure")
        self.rows = QComboBox()
        self.rows.addItem("class", False)
        self.rows.addItem("object", True)
        self.fill_holes = QCheckBox("Fill holes")
        self.fill_holes.setToolTip("Background that a class or object encloses counts as its own.")
        self.min_size = QDoubleSpinBox()
        self.min_size.setRange(0, 1e12)
        self.min_size.setDecimals(2)
        self.min_size.setSpecialValueText("none")
        self.min_size.setSuffix(f" {unit}" if unit else "")
        self.min_size.setToolTip("Connected parts smaller than this are left out.")
        self.largest = QCheckBox("Only the largest part")
        self.largest.setToolTip("Of each class or object only the largest connected part counts.")
        self.page = QCheckBox("A page beside the table")
        self.page.setToolTip("HTML of the same name: the table in short, and the image with outlines.")
        told = QLabel(
            "Volume, count, place, box, intensities, agreement with the hints, and the time spent. "
            "The mask stays as it is."
        )
        told.setWordWrap(True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        save = buttons.addButton("Save table …", QDialogButtonBox.ButtonRole.AcceptRole)
        assert save is not None
        save.setDefault(True)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addLayout(
            form(
                ("A row for each", self.rows),
                ("Smallest part", self.min_size),
                ("", self.fill_holes),
                ("", self.largest),
                ("", self.page),
            )
        )
        column.addWidget(told)
        column.addWidget(buttons)

    def choice(self) -> dict[str, Any]:
        """What was chosen, for `LeaveTool.measure`."""
        cleaning = Cleaning(
            fill_holes=self.fill_holes.isChecked(),
            min_size=self.min_size.value(),
            largest=self.largest.isChecked(),
        )
        return {
            "instances": bool(self.rows.currentData()),
            "cleaning": cleaning,
            "page": self.page.isChecked(),
        }
