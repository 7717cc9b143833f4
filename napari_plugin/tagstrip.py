"""A strip that shows what is tagged at a glance: a column a slice or image, a row a class."""

from collections.abc import Mapping, Sequence

from qtpy.QtCore import QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPalette
from qtpy.QtWidgets import QSizePolicy, QWidget

ROW, MOST = 9, 54  # height of a row, and of all rows, in pixels


class TagStrip(QWidget):
    """Full colour where a class is there, grey where it is absent, nothing where nobody said.

    A click on a column emits `picked` with its number.
    """

    picked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._said: Sequence[frozenset[int] | None] = ()
        self._colours: dict[int, str] = {}
        self._at: int | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(
            "A column a slice or image, a row a class: coloured = there, grey = absent. Click: go there."
        )

    def show_tags(
        self, said: Sequence[frozenset[int] | None], colours: Mapping[int, str], at: int | None
    ) -> None:
        """Draw this; `at` is the column on screen."""
        if (said, dict(colours), at) == (self._said, self._colours, self._at):
            return
        self._said, self._colours, self._at = said, dict(colours), at
        self.setFixedHeight(self.sizeHint().height())
        self.update()

    def sizeHint(self) -> QSize:
        """As high as its rows."""
        return QSize(80, min(MOST, ROW * max(1, len(self._colours))) + 4)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Qt tells of a click."""
        if event is not None and self._said:
            column = int(event.position().x() / self.width() * len(self._said))
            self.picked.emit(min(max(column, 0), len(self._said) - 1))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Qt asks for the picture."""
        painter = QPainter(self)
        count, rows = len(self._said), max(1, len(self._colours))
        if not count:
            return
        wide, high = self.width() / count, (self.height() - 4) / rows
        painter.setPen(Qt.PenStyle.NoPen)
        gap = 1.0 if wide > 4 else 0.0
        absent = self.palette().color(QPalette.ColorRole.WindowText)
        absent.setAlpha(60)
        for there in (False, True):  # of columns narrower than a pixel what is there shows
            for column, classes in enumerate(self._said):
                for row, (k, colour) in enumerate(self._colours.items()):
                    if classes is not None and (k in classes) == there:
                        painter.setBrush(QColor(colour) if there else absent)
                        painter.drawRect(QRectF(column * wide, 2 + row * high, wide - gap, high - 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        painter.drawRect(QRectF(0.5, 0.5, self.width() - 1, self.height() - 1))
        if self._at is not None:
            middle = (self._at + 0.5) * wide
            painter.drawRect(QRectF(middle - max(wide, 3) / 2, 0.5, max(wide, 3), self.height() - 1))
