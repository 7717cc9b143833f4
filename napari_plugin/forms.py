"""Small pieces that widgets are put together from."""

from collections.abc import Callable
from typing import Any, cast

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QScrollBar,
    QVBoxLayout,
    QWidget,
)


class Sentence(QLabel):
    """What is going on, in words, over as many lines as they take; without words it takes no room."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)  # names in it are the user's
        self.hide()

    def tell(self, words: str) -> None:
        """Called often: words that are there already are not drawn anew."""
        if self.text() != words:
            self.setText(words)
        self.setVisible(bool(words))


def fill(box: QComboBox, layers: list[Any], chosen: Any, nothing: str | None) -> None:
    """Offer these layers in a box, the chosen one shown; `nothing` is the entry for none of them."""
    box.clear()
    if nothing is not None:
        box.addItem(nothing, None)
    for layer in layers:
        box.addItem(layer.name, layer)
        if layer == chosen:
            box.setCurrentIndex(box.count() - 1)


def button(text: str, action: Callable[[], Any]) -> QPushButton:
    """A button that does this."""
    made = QPushButton(text)
    made.clicked.connect(lambda: action())
    return made


def row(*widgets: QWidget, stretch: int) -> QHBoxLayout:
    """Widgets side by side; the one numbered `stretch` takes the free space."""
    line = QHBoxLayout()
    for widget in widgets:
        line.addWidget(widget)
    line.setStretch(stretch, 1)
    return line


def form(*rows: tuple[str, Any]) -> QFormLayout:
    """Names at the left, widgets or rows at the right."""
    made = QFormLayout()
    made.setContentsMargins(0, 0, 0, 0)
    for name, widget in rows:
        made.addRow(name, widget)
    return made


def group(title: str, widget: QWidget) -> QGroupBox:
    """A titled frame around a widget."""
    made = QGroupBox(title)
    layout = QVBoxLayout(made)
    layout.addWidget(widget)
    return made


def narrow(box: QComboBox, letters: int) -> None:
    """Let a box be this narrow, or its longest entry says how narrow the panel can be."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(letters)


def fill_column(area: QScrollArea, column: QVBoxLayout) -> None:
    """Put a column into a dock: on a low screen it scrolls up and down, never sideways."""
    inside = QWidget()
    inside.setLayout(column)
    area.setWidget(inside)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)


def widen(area: QScrollArea) -> None:
    """Make a dock as wide as its column needs, beside the scroll bar."""
    inside, bar = cast(QWidget, area.widget()), cast(QScrollBar, area.verticalScrollBar())
    area.setMinimumWidth(inside.minimumSizeHint().width() + bar.sizeHint().width() + 4)
