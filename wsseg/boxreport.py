"""report.html of `wsseg refine`: one file with the least certain boxes first, and what the rounds did."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from wsseg.atomic import write_beside
from wsseg.boxes import Segment, around
from wsseg.boximages import BoxImage
from wsseg.boxstore import Verdict
from wsseg.colours import class_colour
from wsseg.webpage import STYLE, Outlines, drawn, embedded, html_table, outlined
from wsseg.words import counted

SIDE = 140  # pixels of a thumbnail
LISTED = 200  # annotations left out that the page tells; the log has them all
AROUND = 0.3  # of the box, shown on each side of it
PAGE = Path(__file__).with_name("boxreport.html")


@dataclass(frozen=True)
class Thumbnail:
    """A picture of one box, and the words under it."""

    png: bytes
    title: str
    words: str


@dataclass
class Outcome:
    """What became of the boxes.

    Attributes:
        counts: Decision of the last round to how many boxes.
        ignored: Annotation id (or "#n") to why it has no mask.
        twins: Annotation id to that of the same box, whose mask it has.
        images: How many there are.
        least: The least certain boxes, least certain first.
        curve: Per round: mean certainty, share of boxes reset, mean change of a mask since the round before.
        classes: Class name to boxes, mean share of the box filled, mean certainty, and how many were reset.
        shapes: Class name to what is told of the shape learned over its boxes, where one is used.
    """

    counts: Counter[str] = field(default_factory=Counter)
    ignored: dict[int | str, str] = field(default_factory=dict)
    twins: dict[int, int] = field(default_factory=dict)
    images: int = 0
    least: list[tuple[float, Thumbnail]] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)
    classes: dict[str, dict[str, float]] = field(default_factory=dict)
    shapes: dict[str, str] = field(default_factory=dict)


def thumbnail(opened: BoxImage, one: Segment, verdict: Verdict, classes: Mapping[int, str]) -> Thumbnail:
    """Draw a box with some surroundings, its mask outlined; of a volume the slice with most of the mask.

    Args:
        opened: The image.
        one: The box and its mask.
        verdict: What was decided.
        classes: Class id to name.
    """
    box = one.box
    window, inside = around(box, opened.image.shape, AROUND)
    values = np.asarray(opened.image.data[(slice(None), *window)])
    mask, frame = np.zeros((2, *values.shape[1:]), bool)
    mask[inside], frame[inside] = one.mask, True
    if mask.ndim == 3:
        axis = int(np.argmax(opened.image.spacing))
        areas = np.moveaxis(mask, axis, 0).reshape(mask.shape[axis], -1).sum(1)
        at = int(areas.argmax()) if areas.any() else (inside[axis].start + inside[axis].stop) // 2
        values, mask, frame = values.take(at, axis + 1), mask.take(at, axis), frame.take(at, axis)
    scale = SIDE / max(mask.shape)
    rows, columns = (max(1, round(n * scale)) for n in mask.shape)
    picture = outlined(
        values,
        (rows, columns),
        Outlines(frame, lambda _: "#ffffff", 1),
        Outlines(mask, lambda _: class_colour(box.class_id)),
    )
    words = f"{classes[box.class_id]}, certainty {verdict.certainty:.2f}, {verdict.decision}"
    return Thumbnail(picture, f"{opened.stem} #{box.id}", words + (f": {verdict.why}" if verdict.why else ""))


def write_report(path: Path, outcome: Outcome, settings: Mapping[str, Any], losses: Sequence[float]) -> None:
    """Write the page; everything is in the one file.

    Args:
        path: The file.
        outcome: What became of the boxes.
        settings: What was asked for.
        losses: Of all rounds, one after the other.
    """
    tiles = [
        f"<figure>{embedded(one.png)}<figcaption><b>{escape(one.title)}</b><br>"
        f"{escape(one.words)}</figcaption></figure>"
        for _, one in outcome.least
    ]
    classes = [
        [name, f"{row['boxes']:.0f}", f"{row['fill']:.2f}", f"{row['certainty']:.2f}", f"{row['reset']:.0f}"]
        for name, row in outcome.classes.items()
    ]
    shapes = "".join(f"<p>{escape(name)}: {escape(told)}.</p>" for name, told in outcome.shapes.items())
    ignored = [[str(number), why] for number, why in list(outcome.ignored.items())[:LISTED]]
    text = Template(PAGE.read_text(encoding="utf-8")).substitute(
        style=STYLE,
        summary=escape(_summary(outcome)),
        curves=embedded(_curves(outcome.curve, losses), "curves over rounds"),
        classes=html_table(["class", "boxes", "filled share", "certainty", "reset"], classes) + shapes,
        tiles="\n".join(tiles),
        ignored=html_table(["annotation", "why"], ignored) if ignored else "<p>None.</p>",
        settings=html_table(["", ""], [[key, _said(value)] for key, value in settings.items()]),
    )
    with write_beside(path) as fresh:
        fresh.write_text(text, encoding="utf-8")


def _summary(outcome: Outcome) -> str:
    """How many masks there are, what was decided of them, and what has none."""
    total = sum(outcome.counts.values())
    told = ", ".join(f"{count} {what}" for what, count in outcome.counts.items() if count)
    words = f"{counted(total, 'masks')} in {counted(outcome.images, 'images')}: {told}."
    if left := len(outcome.ignored):
        listed = f", of which the first {LISTED} are listed below" if left > LISTED else ""
        words += f" {counted(left, 'annotations')} left out{listed}."
    if same := len(outcome.twins):
        words += f" {counted(same, 'annotations')} with the box and the mask of another."
    return words


def _said(value: Any) -> str:
    """A setting as a person reads it."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else value
    return "–" if text in (None, "") else str(text)


def _curves(curve: Sequence[Mapping[str, float]], losses: Sequence[float]) -> bytes:
    """Certainty, change and resets over rounds; the loss over steps where something was trained."""
    figure = Figure(figsize=(9, 2.6), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    numbers = [row["round"] for row in curve]
    for key, name in (("certainty", "mean certainty"), ("change", "mean change"), ("reset", "share reset")):
        left.plot(numbers, [row[key] for row in curve], marker="o", label=name)
    left.set(xlabel="round", ylim=(0, 1), xticks=numbers)
    left.legend(frameon=False, fontsize=8)
    right.plot(losses, linewidth=0.8)
    right.set(xlabel="step, all rounds", ylabel="loss")
    right.xaxis.get_major_locator().set_params(integer=True)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return drawn(figure)
