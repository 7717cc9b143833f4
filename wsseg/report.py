"""One picture that shows what a run did: image, hints, mask, error and the training curve."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy.ndimage import grey_dilation

from wsseg.atomic import write_beside
from wsseg.colours import (
    BACKGROUND_COLOUR,
    CLASS_COLOURS,
    CONFUSED_COLOUR,
    EXTRA_COLOUR,
    MISSED_COLOUR,
    class_colour,
)
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND
from wsseg.page import Page, draw_curve, draw_legend
from wsseg.planes import choose_planes, cut, extent

__all__ = ["BACKGROUND_COLOUR", "CLASS_COLOURS", "class_colour", "overview"]

_VISIBLE = 4  # pixels of the page that a hint takes at least
_ERRORS = {"too much": EXTRA_COLOUR, "missed": MISSED_COLOUR, "wrong class": CONFUSED_COLOUR}


def overview(
    path: Path | str,
    image: np.ndarray,
    hints: np.ndarray,
    mask: np.ndarray,
    truth: np.ndarray | None = None,
    *,
    classes: Mapping[int, str],
    losses: Sequence[float],
    spacing: Sequence[float],
    quality: Mapping[int, float] | None = None,
    axes: str | None = None,
    rgb: bool = False,
    unit: str = "mm",
) -> None:
    """Write one PNG: image, hints, mask and error side by side, in three planes of a volume, and the curve.

    All planes have the same scale. The planes are those where the objects are; see `planes.choose_planes`.

    Args:
        path: The PNG to write, atomically.
        image: (C, *S), any range; the first channel is shown, or all three where `rgb`.
        hints: Hint map (*S): 0 nothing said, k class k, 255 background.
        mask: Predicted mask (*S).
        truth: The true mask (*S); without it there is no error column.
        classes: Class id to name.
        losses: The training loss after each step; empty leaves the curve out.
        spacing: Size of a voxel along each spatial axis, in `unit`.
        quality: Class id to Dice, written beside the names.
        axes: Names of the spatial axes as stored, "xyz" and "xy" for NIfTI; by default "zyx" or "yx".
        rgb: The channels are colour.
        unit: What `spacing` is measured in, for the scale bar.

    Raises:
        InputError: The arrays differ in shape, or the file can't be written.
    """
    shape = hints.shape
    axes = axes or ("zyx" if len(shape) == 3 else "yx")
    for name, array in {"image": image[0], "mask": mask, "truth": truth}.items():
        if array is not None and array.shape != shape:
            raise InputError(
                f"{name} has the shape {array.shape}, but the hints have {shape}; give equal shapes."
            )

    planes = choose_planes(hints, mask if truth is None else truth)
    planes.sort(key=lambda plane: "zyx".index(axes[plane.axis or 0]))
    titles = ["Image", f"Hints ({_share(hints)} of the {'voxels' if len(shape) == 3 else 'pixels'})", "Mask"]
    if len(image) > 1 and not rgb:
        titles[0] = f"Image (channel 1 of {len(image)})"
    if truth is not None:
        titles.append("Error")
    hinted = [*classes, BACKGROUND] if (hints == BACKGROUND).any() else list(classes)
    errors = {} if truth is None else _errors_of(classes)

    shown = image if rgb else image[:1]
    window = intensity_window(shown)
    sizes = [extent(shape, spacing, plane, axes) for plane in planes]
    page = Page(titles, sizes, lines=(len(hinted), len(errors)), curve=len(losses) > 0)
    for row, plane in enumerate(planes):
        here = to_picture(cut(shown, plane, axes), window)
        there = to_picture(cut(shown, plane, axes, at_hints=True), window)
        strokes = _thickened(cut(hints, plane, axes, at_hints=True), page.pixels(row))
        panels = [here, _hint_panel(_grey(there), strokes), _mask_panel(_grey(here), cut(mask, plane, axes))]
        if truth is not None:
            panels.append(_error_panel(_grey(here), cut(mask, plane, axes), cut(truth, plane, axes)))
        for column, panel in enumerate(panels):
            page.show(row, column, panel)
        if plane.axis is not None:
            page.note(row, 0, f"{axes[plane.axis]} = {plane.index}")
            if plane.hint_index != plane.index:
                page.note(row, 1, f"{axes[plane.axis]} = {plane.hint_index}")
    page.scale_bar(unit)

    names = {**classes, BACKGROUND: "background (hint)"}
    colours = {k: BACKGROUND_COLOUR if k == BACKGROUND else class_colour(k) for k in hinted}
    draw_legend(page.legend, [(colours[k], names[k], (quality or {}).get(k)) for k in hinted], errors)
    if page.curve is not None:
        draw_curve(page.curve, losses)
    _save(page.figure, path)


def _share(hints: np.ndarray) -> str:
    percent = 100 * np.count_nonzero(hints) / hints.size
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.2g} %"


def _errors_of(classes: Mapping[int, str]) -> dict[str, str]:
    """The kinds of error that can be: with a single class none is taken for another."""
    return {name: colour for name, colour in _ERRORS.items() if len(classes) > 1 or name != "wrong class"}


def _save(figure: Figure, path: Path | str) -> None:
    FigureCanvasAgg(figure)
    with write_beside(path) as fresh:
        figure.savefig(fresh, format="png", metadata={"Software": None})  # the same picture is the same bytes


def intensity_window(image: np.ndarray) -> tuple[float, float]:
    """Lowest and highest value shown: percentiles of the whole image, or one hot voxel would darken it."""
    stride = (slice(None), *(slice(None, None, max(1, n // 128)) for n in image.shape[1:]))
    values = image[stride].astype(np.float64)
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, [0.5, 99.8]) if values.size else (0.0, 1.0)
    return float(low), float(high if high > low else low + 1)


def to_picture(flat: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """A cut (1 or 3, rows, columns) as a picture (rows, columns, 3) in [0, 1]."""
    low, high = window
    flat = np.clip((np.nan_to_num(flat.astype(np.float64), nan=low) - low) / (high - low), 0, 1)
    return np.moveaxis(np.broadcast_to(flat, (3, *flat.shape[1:])), 0, -1)


def _grey(picture: np.ndarray) -> np.ndarray:
    """The picture without its colours: those of labels are told apart on grey alone."""
    return np.repeat(picture @ [[0.299], [0.587], [0.114]], 3, axis=-1)


def _thickened(hints: np.ndarray, pixels: tuple[float, float]) -> np.ndarray:
    """The hints (rows, columns) grown until a single one can be seen on a page that gives them `pixels`."""
    size = [max(1, round(_VISIBLE * n / p)) for n, p in zip(hints.shape, pixels, strict=True)]
    if max(size) == 1:
        return hints
    rank = np.zeros(256, dtype=np.uint8)  # a class grows over the background's hint, not the other way round
    rank[BACKGROUND], rank[1:BACKGROUND] = 1, np.arange(2, BACKGROUND + 1)
    return np.argsort(rank).astype(np.uint8)[grey_dilation(rank[hints], size=size)]


def _hint_panel(grey: np.ndarray, hints: np.ndarray) -> np.ndarray:
    background = hints == BACKGROUND
    veil = 0.4 if background.mean() > 0.3 else 0.85  # a whole slice lets the image through, a stroke need not
    panel = _paint(grey, background, BACKGROUND_COLOUR, veil)
    for k in np.setdiff1d(hints, [0, BACKGROUND]):
        panel = _paint(panel, hints == k, class_colour(int(k)), 0.85)
    return panel


def _mask_panel(grey: np.ndarray, mask: np.ndarray) -> np.ndarray:
    for k in np.setdiff1d(mask, [0]):
        grey = _paint(grey, mask == k, class_colour(int(k)), 0.65)
    return grey


def _error_panel(grey: np.ndarray, mask: np.ndarray, truth: np.ndarray) -> np.ndarray:
    wrong = mask != truth
    panel = _paint(0.55 * grey, wrong & (truth == 0), EXTRA_COLOUR, 1)
    panel = _paint(panel, wrong & (mask == 0), MISSED_COLOUR, 1)
    return _paint(panel, wrong & (truth != 0) & (mask != 0), CONFUSED_COLOUR, 1)


def _paint(picture: np.ndarray, where: np.ndarray, colour: str, opacity: float) -> np.ndarray:
    """Lay a colour over the pixels `where` (rows, columns) of `picture` (rows, columns, 3)."""
    mixed = (1 - opacity) * picture + opacity * np.array(to_rgb(colour))
    return np.where(where[..., None], mixed, picture)
