"""What reports in HTML share: pictures in the file itself, tables, images with outlines of what was found."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image as Picture
from scipy.ndimage import maximum_filter, minimum_filter

from wsseg.report import intensity_window, to_picture

STYLE = """\
  body { font: 15px/1.45 system-ui, sans-serif; color: #222; background: #fff;
    max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
  h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem } img { max-width: 100% }
  table { border-collapse: collapse }
  td, th { text-align: left; padding: .15rem .9rem .15rem 0; vertical-align: top }
  .tiles { display: flex; flex-wrap: wrap; gap: 1rem } figure { margin: 0 }
  figcaption { font-size: 12px; overflow-wrap: anywhere }
  figure img { display: block; margin-bottom: .3rem }"""


def embedded(png: bytes, words: str = "") -> str:
    """An <img> that holds a PNG itself; `words` stand for it where it can't be seen."""
    code = base64.b64encode(png).decode("ascii")
    return f'<img src="data:image/png;base64,{code}" alt="{escape(words)}">'


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; an empty heading is left out."""
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    top = "<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>" if any(head) else ""
    return f"<table>{top}" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def drawn(figure: Figure) -> bytes:
    """A figure as PNG."""
    FigureCanvasAgg(figure)
    handle = io.BytesIO()
    figure.savefig(handle, format="png")
    return handle.getvalue()


def as_png(pixels: np.ndarray) -> bytes:
    """Pixels uint8 (rows, columns, 3) as PNG."""
    handle = io.BytesIO()
    Picture.fromarray(pixels).save(handle, "png", optimize=True)
    return handle.getvalue()


@dataclass(frozen=True, eq=False)
class Outlines:
    """What to draw round.

    Attributes:
        labels: Whole numbers (rows, columns); 0 = nothing is there.
        colour: Of each label, "#RRGGBB".
        thickness: Of the line, pixels; it lies within the label.
    """

    labels: np.ndarray
    colour: Callable[[int], str]
    thickness: int = 2


def outlined(values: np.ndarray, size: tuple[int, int], *layers: Outlines) -> bytes:
    """PNG of a cut through an image with outlines.

    Args:
        values: (C, rows, columns); of other than three channels the first is shown.
        size: Rows and columns of the picture, in pixels.
        layers: Later ones lie on top.
    """
    shown = to_picture(values[: 3 if len(values) == 3 else 1], intensity_window(values))
    pixels = Picture.fromarray((shown * 255).astype(np.uint8))
    large = np.array(pixels.resize(size[::-1], Picture.Resampling.BICUBIC))
    for layer in layers:
        numbers, numbered = np.unique(layer.labels, return_inverse=True)
        there = Picture.fromarray(numbered.reshape(layer.labels.shape).astype(np.int32))
        found = np.asarray(there.resize(size[::-1], Picture.Resampling.NEAREST))
        window = 2 * layer.thickness + 1
        edge = maximum_filter(found, window, mode="nearest") != minimum_filter(found, window, mode="nearest")
        edge &= numbers[found] != 0
        paint = np.array([to_rgb(layer.colour(int(k)) if k else "black") for k in numbers])
        large[edge] = 255 * paint[found[edge]]
    return as_png(large)
