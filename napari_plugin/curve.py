"""A number over the steps of a run as a small curve."""

from collections.abc import Sequence

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget


def smooth(values: Sequence[float], points: int) -> np.ndarray:
    """At most `points` values: the mean of equal stretches, so that the trend shows and not the noise."""
    if not len(values):
        return np.zeros(0)
    parts = np.array_split(np.asarray(values, float), min(points, len(values)))
    return np.array([part.mean() for part in parts])


class Curve(QWidget):
    """Draws a curve from 0 to its highest value, in the colours of the theme.

    Args:
        name: Of the number.
        tip: What it should do.
    """

    def __init__(
        self, name: str = "loss", tip: str = "Training loss after each step; it should fall and level off."
    ) -> None:
        super().__init__()
        self.name = name
        self._values: Sequence[float] = ()
        self._chance: float | None = None
        self._total = 0
        self.setFixedHeight(64)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(tip)

    def show_values(self, values: Sequence[float], total: int, chance: float | None = None) -> None:
        """Draw these values of a run that will have `total` of them; chance is a dotted line."""
        wanted = list(values), max(total, len(values)), chance
        if wanted == (self._values, self._total, self._chance):
            return
        self._values, self._total, self._chance = wanted
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Qt asks for the picture."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text, line = self.palette().color(QPalette.ColorRole.WindowText), QPalette.ColorRole.Highlight
        area = QRectF(self.rect()).adjusted(1, 1, -1, -1)
        painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Mid), 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        values = smooth(self._values, 80)
        painter.setPen(text)
        if len(values) < 2:
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, self.name)
            return
        top = max(float(values.max()), self._chance or 0.0) or 1.0
        reach = area.width() * len(self._values) / self._total
        across = area.left() + np.linspace(0, reach, len(values))
        height = area.height() - 2 - painter.fontMetrics().height()  # the words stand above
        up = area.bottom() - 2 - values / top * height
        words = f"{self.name} {values[-1]:.3g}" if values[-1] >= 1 else f"{self.name} {values[-1]:.3f}"
        painter.drawText(area, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop, words)
        if self._chance is not None:
            painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Mid), 1, Qt.PenStyle.DotLine))
            level = area.bottom() - 2 - self._chance / top * height
            painter.drawLine(QPointF(area.left(), level), QPointF(area.right(), level))
        painter.setPen(QPen(self.palette().color(line), 2))
        painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in zip(across, up, strict=True)]))
