"""A page about measurements: each class in numbers and as a distribution, each image with its outlines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from statistics import median
from string import Template

import numpy as np
from matplotlib.figure import Figure

from wsseg.atomic import write_beside
from wsseg.colours import class_colour
from wsseg.measure import Row
from wsseg.webpage import STYLE, Outlines, drawn, embedded, html_table, outlined
from wsseg.words import counted

PAGE = Path(__file__).with_name("measurereport.html")
SIDE = 180  # pixels of a picture
PICTURES = 200  # a page with more is slow to open
HISTOGRAMS = 6  # classes with a distribution, the first ones
FEW = 3  # values have no distribution


@dataclass(frozen=True, eq=False)
class Cut:
    """A cut through an image where most of its mask is.

    Attributes:
        stem: Of the image.
        png: The picture.
    """

    stem: str
    png: bytes


def cut_through(stem: str, values: np.ndarray | None, mask: np.ndarray, spacing: Sequence[float]) -> Cut:
    """Draw an image with the outlines of its mask; of a volume the slice across its coarsest axis with most.

    Args:
        stem: Of the image.
        values: (C, *S); None = the mask alone.
        mask: Class ids or numbered objects (*S), 0 = background.
        spacing: Size of a voxel per axis.
    """
    seen = np.zeros((1, *mask.shape), np.uint8) if values is None else values
    if mask.ndim == 3:
        axis = int(np.argmax(spacing))
        at = int((mask > 0).sum(tuple(a for a in range(3) if a != axis)).argmax())
        seen, mask = seen.take(at, axis + 1), mask.take(at, axis)
        spacing = [s for a, s in enumerate(spacing) if a != axis]
    extent = np.multiply(mask.shape, spacing)
    rows, columns = (max(1, round(SIDE * e / extent.max())) for e in extent)
    return Cut(stem, outlined(seen, (rows, columns), Outlines(mask, class_colour)))


def write_measure_report(
    path: Path | str, rows: Sequence[Row], cuts: Sequence[Cut], settings: Mapping[str, object]
) -> None:
    """Write the page; everything is in the one file.

    Args:
        path: The file.
        rows: As `wsseg.measurefolder.measure_folder` gives them: a row a class, or a row an object.
        cuts: Pictures of the images, see `PICTURES`.
        settings: What was asked for.

    Raises:
        InputError: The disk refuses.
    """
    classes = sorted({row["class"] for row in rows if row["class"] != 0}, key=lambda k: (k is None, k))
    stems = list(dict.fromkeys(row["image"] for row in rows))
    own = {k: [row for row in rows if row["class"] == k] for k in classes}
    objects = bool(rows) and "object" in rows[0]
    masks = counted(len(stems), "masks")
    summary = f"{counted(len(rows), 'objects')} in {masks}." if objects else f"{masks}, class by class."
    by_image = {stem: [row for row in rows if row["image"] == stem and row["class"] != 0] for stem in stems}
    tiles = [
        f"<figure>{embedded(cut.png, cut.stem)}<figcaption><b>{escape(cut.stem)}</b><br>"
        f"{'<br>'.join(map(escape, _told(by_image.get(cut.stem, []))))}</figcaption></figure>"
        for cut in cuts
    ]
    text = Template(PAGE.read_text(encoding="utf-8")).substitute(
        style=STYLE,
        summary=escape(summary),
        classes=_classes(own),
        curves=_distributions(own),
        legend=escape(_legend(len(stems), len(cuts), "their own" if objects else "those of their classes")),
        tiles="\n".join(tiles),
        settings=html_table(["", ""], [[key, str(value)] for key, value in settings.items()]),
    )
    with write_beside(path) as fresh:
        fresh.write_text(text, encoding="utf-8")


def _classes(own: Mapping[int | None, Sequence[Row]]) -> str:
    """A line a class and unit; volumes of images that have the class at all."""
    lines = []
    for k, rows in own.items():
        for unit in sorted({row["unit"] for row in rows}):
            volumes = _volumes([row for row in rows if row["unit"] == unit])
            objects = sum(row["objects"] or 0 for row in rows) if "objects" in rows[0] else len(rows)
            hinted = sum(row.get("hinted") or 0 for row in rows)
            agreed = sum((row.get("agreement") or 0) * (row.get("hinted") or 0) for row in rows)
            lines.append(
                [
                    _name(k, rows),
                    f"{len({row['image'] for row in rows if row['voxels']})}",
                    f"{objects}",
                    *([f"{f(volumes):.6g}" for f in (median, min, max, sum)] if volumes else ["–"] * 4),
                    unit,
                    f"{100 * agreed / hinted:.1f} %" if hinted else "–",
                ]
            )
    head = ["class", "images", "objects", "median", "smallest", "largest", "sum", "unit", "as hinted"]
    shown = len(head) if any("hinted" in row for rows in own.values() for row in rows) else -1
    return html_table(head[:shown], [line[:shown] for line in lines])


def _distributions(own: Mapping[int | None, Sequence[Row]]) -> str:
    """A histogram of volumes for the first classes with enough of them in one unit."""
    shown = [
        (k, rows)
        for k, rows in own.items()
        if len(_volumes(rows)) > FEW and len({row["unit"] for row in rows}) == 1
    ][:HISTOGRAMS]
    if not shown:
        return ""
    figure = Figure(figsize=(3 * len(shown), 2.2), dpi=110, layout="constrained")
    for axes, (k, rows) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        axes.hist(_volumes(rows), bins="auto", color=class_colour(k) if k else "#888888")
        axes.set(xlabel=f"{_name(k, rows)}, {rows[0]['unit']}", ylabel="how many")
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    return embedded(drawn(figure), "how often each volume")


def _volumes(rows: Sequence[Row]) -> list[float]:
    return [row["volume"] for row in rows if row["voxels"]]


def _told(rows: Sequence[Row]) -> list[str]:
    """A few lines about one image."""
    if rows and "object" in rows[0]:
        return [
            f"{counted(len(rows), 'objects')}, {sum(row['volume'] for row in rows):.6g} {rows[0]['unit']}"
        ]
    return [f"{_name(row['class'], [row])}: {row['volume']:.6g} {row['unit']}" for row in rows]


def _name(k: int | None, rows: Sequence[Row]) -> str:
    return "all" if k is None else rows[0].get("name") or f"class {k}"


def _legend(masks: int, shown: int, colours: str) -> str:
    first = f"The first {shown} of {masks}. " if shown < masks else ""
    return f"{first}Of volumes the slice with most of the mask. Colours of outlines are {colours}."
