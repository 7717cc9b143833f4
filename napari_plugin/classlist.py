"""The table of classes: a click paints with one, a double click renames it, buttons do the rest."""

from collections.abc import Mapping

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from wsseg.colours import BACKGROUND_COLOUR
from wsseg.hints import BACKGROUND

_ID = Qt.ItemDataRole.UserRole


class ClassList(QWidget):
    """Shows classes; says what the user wants and changes nothing itself."""

    selected = Signal(int)
    added = Signal()
    removed = Signal(int)
    renamed = Signal(int, str)
    recoloured = Signal(int, str)

    def __init__(self) -> None:
        super().__init__()
        self._painted: tuple[dict[int, str], int] | None = None
        self.rows = QListWidget()
        self.rows.setIconSize(QSize(16, 16))
        self.rows.setToolTip("Click: paint with this class. Double click: rename it.")
        self.rows.setEditTriggers(QAbstractItemView.EditTrigger.DoubleClicked)
        self.rows.itemClicked.connect(lambda item: self.selected.emit(item.data(_ID)))
        self.rows.itemChanged.connect(lambda item: self.renamed.emit(item.data(_ID), item.text()))
        self.add, self.remove, self.colour = (
            QPushButton("Add"),
            QPushButton("Remove"),
            QPushButton("Colour …"),
        )
        self.add.clicked.connect(lambda: self.added.emit())
        self.remove.clicked.connect(lambda: self.removed.emit(self._current()))
        self.colour.clicked.connect(self._ask_colour)
        buttons = QHBoxLayout()
        for button in (self.add, self.remove, self.colour):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.rows)
        layout.addLayout(buttons)

    def show_classes(self, classes: Mapping[int, str], colours: Mapping[int, str], selected: int) -> None:
        """Show these classes, background below them, and mark the one that the brush paints."""
        shown = [
            (item.data(_ID), item.text()) for item in map(self.rows.item, range(self.rows.count())) if item
        ]
        wanted = {**classes, BACKGROUND: "background"}
        if shown == list(wanted.items()) and self._painted == (dict(colours), selected):
            return  # or a name that is being typed would be lost at the next tick
        self._painted = (dict(colours), selected)
        self.rows.blockSignals(True)
        self.rows.clear()
        for k, name in wanted.items():
            item = QListWidgetItem(swatch(colours.get(k, BACKGROUND_COLOUR)), name)
            item.setData(_ID, k)
            if k != BACKGROUND:
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
            self.rows.addItem(item)
            if k == selected:
                self.rows.setCurrentItem(item)
        self.rows.blockSignals(False)
        self.remove.setEnabled(selected != BACKGROUND and len(classes) > 1)
        self.colour.setEnabled(selected != BACKGROUND)
        height = self.rows.sizeHintForRow(0) * min(self.rows.count(), 8) + 8
        self.rows.setFixedHeight(height)

    def _current(self) -> int:
        item = self.rows.currentItem()
        return BACKGROUND if item is None else int(item.data(_ID))

    def _ask_colour(self) -> None:
        class_id = self._current()
        colour = QColorDialog.getColor(parent=self, title="Colour of the class")
        if colour.isValid() and class_id != BACKGROUND:
            self.recoloured.emit(class_id, colour.name().upper())


def swatch(colour: str) -> QIcon:
    """A small square of a colour."""
    pixmap = QPixmap(16, 16)
    pixmap.fill(QColor(colour))
    return QIcon(pixmap)
