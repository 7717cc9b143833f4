"""The sheet under a report: a grid of pictures at one scale, room for a legend and for a curve."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

_DPI = 150
_GAP, _MARGIN, _HEAD = 0.08, 0.15, 0.27  # inches: between pictures, round the page, for column titles
_SIDE = 3.3  # width of the side bar, inches
_BESIDE = 4.5  # a grid taller than this has the legend beside it, inches
_INK = "#333333"
_LINE = 0.26  # height of a line of the legend, inches


class Page:
    """A figure laid out in inches: titles over a grid of pictures, legend and curve beside it or under it.

    Args:
        titles: One a column.
        sizes: Height and width of the pictures of each row, in the image's unit; all are drawn at one scale.
        lines: How many lines the legend has: classes, errors.
        curve: Whether there is a curve to leave room for.

    Attributes:
        figure: The figure.
        legend: Axes for the legend.
        curve: Axes for the curve, or None.
    """

    def __init__(
        self,
        titles: Sequence[str],
        sizes: Sequence[tuple[float, float]],
        *,
        lines: tuple[int, int],
        curve: bool,
    ) -> None:
        self._sizes = sizes
        columns, rows = len(titles), len(sizes)
        tallest, widest = sum(height for height, _ in sizes), max(width for _, width in sizes)
        beside = tallest * min(2.6 / widest, 8.4 / tallest) > _BESIDE
        self._scale = min(2.6 / widest, 8.4 / tallest) if beside else min(3.2 / widest, 5.0 / tallest)
        self._column = max(widest * self._scale, 2.0)  # a title must fit over it
        across = columns * self._column + (columns - 1) * _GAP
        down = tallest * self._scale + (rows - 1) * _GAP
        strip = min(max(1.9, (max(lines) + 1) * _LINE), 4.0)
        width = 2 * _MARGIN + across + (_SIDE if beside else 0)
        height = 2 * _MARGIN + _HEAD + down + (0 if beside else strip + 0.3)
        self.figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
        self._top = height - _MARGIN - _HEAD
        self._panels = [[self._panel(row, column) for column in range(columns)] for row in range(rows)]
        for column, title in enumerate(titles):
            x = _MARGIN + column * (self._column + _GAP) + self._column / 2
            self.figure.text(
                x / width, (self._top + 0.09) / height, title, ha="center", fontsize=11, color=_INK
            )

        if beside:
            left = _MARGIN + across + 0.35
            need = (sum(lines) + (3 if lines[1] else 1)) * _LINE
            tall = min(need, down - 2.5) if curve else down
            self.legend = self._axes(left, self._top - tall, _SIDE - 0.35, tall)
            room = (left + 0.45, _MARGIN + 0.45, _SIDE - 0.85, min(down - tall - 1.1, 3.4))
        else:
            wide = 5.2 if lines[1] else 3.4
            self.legend = self._axes(_MARGIN, _MARGIN, wide, strip)
            room = (_MARGIN + wide + 0.6, _MARGIN + 0.45, across - wide - 0.65, strip - 0.55)
        self.curve = self._axes(*room) if curve else None

    def _axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        across, up = self.figure.get_size_inches()
        return self.figure.add_axes((left / across, bottom / up, width / across, height / up))

    def _panel(self, row: int, column: int) -> Axes:
        """Axes as wide as the column, measured in the image's unit from the picture's upper left corner."""
        height, width = self._sizes[row]
        above = sum(h * self._scale + _GAP for h, _ in self._sizes[:row])
        left = _MARGIN + column * (self._column + _GAP)
        axes = self._axes(left, self._top - above - height * self._scale, self._column, height * self._scale)
        spare = self._column / self._scale - width
        axes.set(
            xlim=(-spare / 2, width + spare / 2), ylim=(height, 0), xticks=[], yticks=[], facecolor="black"
        )
        axes.spines[:].set_visible(False)
        return axes

    def show(self, row: int, column: int, picture: np.ndarray) -> None:
        """Draw a picture (rows, columns, 3) in [0, 1]."""
        (height, width), axes = self._sizes[row], self._panels[row][column]
        frame = axes.get_xlim(), axes.get_ylim()
        axes.imshow(picture, aspect="auto", extent=(0, width, height, 0), interpolation_stage="rgba")
        axes.set(xlim=frame[0], ylim=frame[1])

    def pixels(self, row: int) -> tuple[float, float]:
        """Height and width of a row's pictures on the page, in pixels."""
        height, width = self._sizes[row]
        return height * self._scale * _DPI, width * self._scale * _DPI

    def note(self, row: int, column: int, text: str) -> None:
        """Write a few words into the upper left corner of a picture."""
        _outlined(self._panels[row][column], 0.08, -0.08, text, va="top", ha="left", corner=(0, 1))

    def scale_bar(self, unit: str) -> None:
        """Draw a bar of a round length into the first picture's lower left corner."""
        axes = self._panels[0][0]
        length = _round_length(self._sizes[0][1] / 3)
        inch = 1 / self._scale  # the axes count in the image's unit
        corner = axes.get_xlim()[0] + 0.1 * inch, axes.get_ylim()[0] - 0.13 * inch
        bar = Rectangle(corner, length, 0.04 * inch, facecolor="white", edgecolor="black", linewidth=0.5)
        axes.add_patch(bar)
        _outlined(
            axes, 0.1 + length / inch / 2, 0.15, f"{length:g} {unit}", va="bottom", ha="center", corner=(0, 0)
        )


def _outlined(
    axes: Axes, right: float, up: float, text: str, *, va: str, ha: str, corner: tuple[int, int]
) -> None:
    """Write in white with a dark rim, `right` and `up` inches from a corner of the axes."""
    axes.annotate(
        text,
        xy=corner,
        xycoords="axes fraction",
        xytext=(72 * right, 72 * up),
        textcoords="offset points",
        va=va,
        ha=ha,
        color="white",
        fontsize=9,
        path_effects=[withStroke(linewidth=2, foreground="black")],
    )


def _round_length(longest: float) -> float:
    """The greatest of 1, 2, 5, 10, 20, ... that is not above `longest`."""
    power = 10.0 ** np.floor(np.log10(longest))
    return float(max(step * power for step in (1, 2, 5) if step * power <= longest))


def draw_legend(
    axes: Axes, entries: Sequence[tuple[str, str, float | None]], errors: Mapping[str, str]
) -> None:
    """List classes with their colours, and Dice where known, then what the colours of the error map mean.

    Args:
        axes: Where; must not have been drawn into.
        entries: Colour, name and Dice of each class.
        errors: Kind of error to colour.
    """
    across, up = axes.bbox.width / axes.figure.dpi, axes.bbox.height / axes.figure.dpi
    axes.set(xlim=(0, across), ylim=(up, 0))  # inches from the upper left corner
    axes.set_axis_off()
    wide = across > _SIDE and bool(errors)  # classes and errors stand side by side
    right = min(across, 3.1)
    rows = round(up / _LINE) - 1 - (0 if wide or not errors else len(errors) + 2)
    shown = entries if len(entries) <= rows else entries[: rows - 1]

    axes.text(0, _LINE / 2, "Classes", va="center", weight="bold", color=_INK)
    if any(dice is not None for _, _, dice in entries):
        axes.text(right, _LINE / 2, "Dice", va="center", ha="right", weight="bold", color=_INK)
    for line, (colour, name, dice) in enumerate(shown, start=1):
        _entry(axes, 0, line, colour, name if len(name) <= 24 else name[:23] + "…")
        if dice is not None:
            axes.text(right, (line + 0.5) * _LINE, f"{dice:.3f}", va="center", ha="right", color=_INK)
    line = len(shown) + 1
    if len(shown) < len(entries):
        axes.text(
            0.32, (line + 0.5) * _LINE, f"and {len(entries) - len(shown)} more", va="center", color=_INK
        )
        line += 1
    left, line = (right + 0.6, 0) if wide else (0, line + 1)
    for kind, colour in errors.items():
        if kind == next(iter(errors)):
            axes.text(left, (line + 0.5) * _LINE, "Errors", va="center", weight="bold", color=_INK)
        line += 1
        _entry(axes, left, line, colour, kind)


def _entry(axes: Axes, left: float, line: int, colour: str, name: str) -> None:
    side = 0.6 * _LINE
    corner = (left, (line + 0.5) * _LINE - side / 2)
    axes.add_patch(Rectangle(corner, side, side, facecolor=colour, edgecolor=_INK, linewidth=0.5))
    axes.text(left + 0.28, (line + 0.5) * _LINE, name, va="center", color=_INK)


def draw_curve(axes: Axes, losses: Sequence[float]) -> None:
    """Draw the loss against the step: each value lightly, their running mean on top.

    Args:
        axes: Where.
        losses: One a step; what is not finite is left out.
    """
    steps = np.arange(1, len(losses) + 1)
    values = np.asarray(losses, dtype=np.float64)
    steps, values = steps[np.isfinite(values)], values[np.isfinite(values)]
    smooth = _running_mean(values, max(1, len(values) // 25))
    axes.plot(steps, values, color="#B8B8B8", linewidth=0.6)
    axes.plot(steps, smooth, color="#0072B2", linewidth=1.8)
    axes.set_title("Training loss", fontsize=11, color=_INK)
    axes.set_xlabel("step", color=_INK)
    axes.set_xlim(0, len(losses) + 1)
    if len(values) and values.min() > 0 and smooth.max() > 10 * smooth.min():
        axes.set_yscale("log")
    elif len(values):
        axes.set_ylim(bottom=min(0, values.min()))
    axes.grid(color="#E5E5E5", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_INK, labelsize=9)


def _running_mean(values: np.ndarray, reach: int) -> np.ndarray:
    """Mean over `reach` values on both sides, over fewer at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(len(values))
    start, stop = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(values))
    return (sums[stop] - sums[start]) / (stop - start)
