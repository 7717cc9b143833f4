"""The training loss as a small curve."""

from collections.abc import Sequence

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget


def smooth(losses: Sequence[float], points: int) -> np.ndarray:
    """At most `points` values: the mean of equal stretches, so that the trend shows and not the noise."""
    if not len(losses):
        return np.zeros(0)
    parts = np.array_split(np.asarray(losses, float), min(points, len(losses)))
    return np.array([part.mean() for part in parts])


class Curve(QWidget):
    """Draws a curve from 0 to its highest value, in the colours of the theme."""

    def __init__(self) -> None:
        super().__init__()
        self._losses: Sequence[float] = ()
        self._total = 0
        self.setFixedHeight(64)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip("Training loss after each step; it should fall and then level off.")

    def show_losses(self, losses: Sequence[float], total: int) -> None:
        """Draw these losses of a run that will have `total` steps."""
        if len(losses) == len(self._losses) and max(total, len(losses)) == self._total:
            return
        self._losses, self._total = list(losses), max(total, len(losses))
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Qt asks for the picture."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text, line = self.palette().color(QPalette.ColorRole.WindowText), QPalette.ColorRole.Highlight
        area = QRectF(self.rect()).adjusted(1, 1, -1, -1)
        painter.setPen(QPen(self.palette().color(QPalette.ColorRole.Mid), 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        values = smooth(self._losses, 80)
        painter.setPen(text)
        if len(values) < 2:
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, "loss")
            return
        top = float(values.max()) or 1.0
        reach = area.width() * len(self._losses) / self._total
        across = area.left() + np.linspace(0, reach, len(values))
        up = area.bottom() - 2 - values / top * (area.height() - 4)
        painter.drawText(
            area, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop, f"loss {values[-1]:.3f}"
        )
        painter.setPen(QPen(self.palette().color(line), 2))
        painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in zip(across, up, strict=True)]))
