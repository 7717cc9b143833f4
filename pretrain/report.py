"""report.html of `wsseg pretrain`: one file with curves, crops and settings."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image as Picture

from pretrain.crops import CropSampler
from pretrain.monitor import COLLAPSED
from wsseg.page import draw_curve
from wsseg.report import intensity_window, to_picture
from wsseg.webpage import STYLE, as_png, drawn, embedded, html_table
from wsseg.words import counted

PAGE = Path(__file__).with_name("report.html")
SHOWN = 12  # crops
SIDE = 160  # pixels of one
VIEWS = ("similarity", "agreement", "kept")  # what methods without a task tell of their views
LEGEND = (
    "Spread: 1 = embeddings of crops lie all around, near 0 = all alike (the dashed line is where a run is "
    "stopped). Directions: how many the embeddings use. Alignment: squared distance of two crops that show "
    "nearly the same, lower is nearer; uniformity: lower is more even. Same subject: how often the nearest "
    "other crop is of the same scan; the dotted line is chance. Views agree: how far two "
    "looks at a crop say the same, as the method compares them. What is good depends on the method; what "
    "counts is measured by wsseg probe."
)


def write_report(
    record: Mapping[str, Any],
    rows: Sequence[Mapping[str, float]],
    sampler: CropSampler,
    *,
    failed: bool = False,
) -> str:
    """The page as text; everything is in the one file.

    Args:
        record: Of the encoder.
        rows: What was measured, as `pretrain.train.Pretrainer.rows`.
        sampler: For a few of the crops.
        failed: The run was stopped since it learned nothing.
    """
    done = int(rows[-1]["step"]) if rows else 0
    guessed = ", guessed" if record["modality_guessed"] else ""
    summary = (
        f"{record['method']} on {counted(record['scans'], 'scans')} of "
        f"{counted(record['subjects'], 'subjects')} ({record['modality']}{guessed}): "
        f"{counted(done, 'steps')}, {record['crops_seen']} crops; "
        f"the loss went from {record['loss']['first']:.3f} to {record['loss']['last']:.3f}."
    )
    warnings = [f'<p class="warning">{escape(sentence)}</p>' for sentence in record["warnings"]]
    shown = {k: v for k, v in record.items() if k not in ("skipped", "warnings", "monitors", "loss", "names")}
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        style=STYLE,
        title="The run learned nothing" if failed else "An encoder from unlabelled scans",
        summary=escape(summary),
        warnings="\n".join(warnings),
        curves=embedded(drawn(_curves(rows)), "curves over steps"),
        legend=escape(LEGEND),
        crops=embedded(_crops(sampler), "crops"),
        skipped=_table(record["skipped"]) if record["skipped"] else "<p>None.</p>",
        settings=_table(shown),
    )


def _curves(rows: Sequence[Mapping[str, float]]) -> Figure:
    figure = Figure(figsize=(11, 5.2), dpi=100, layout="constrained")
    panels = figure.subplots(2, 3).ravel()
    losses = [row["loss"] for row in rows if "loss" in row]
    draw_curve(panels[0], losses)
    panels[1].axhline(COLLAPSED, color="#D55E00", linestyle="--", linewidth=0.8)
    _line(panels[1], rows, "Spread", {"spread": ""})
    _line(panels[2], rows, "Directions used", {"rank": ""})
    _line(panels[3], rows, "Alignment and uniformity", {"alignment": "alignment", "uniformity": "uniformity"})
    _line(panels[4], rows, "Nearest is of the same subject", {"nearest": ""}, "nearest_chance")
    if any("accuracy" in row for row in rows):
        _line(panels[5], rows, "Task solved", {"accuracy": ""}, "chance")
    elif told := {name: name for name in VIEWS if any(name in row for row in rows)}:
        _line(panels[5], rows, "Views agree", told)
    else:
        panels[5].set_axis_off()
    return figure


def _line(
    axes: Axes,
    rows: Sequence[Mapping[str, float]],
    title: str,
    names: Mapping[str, str],
    chance: str | None = None,
) -> None:
    """Draw some of the numbers over the steps, smoothed where there is one at every step."""
    for name, label in names.items():
        steps, values = _values(rows, name)
        if len(values) > 200:
            width = len(values) // 40
            values = np.convolve(values, np.ones(width) / width, "valid")
            steps = steps[width - 1 :]
        axes.plot(steps, values, label=label, linewidth=1.6)
    if chance is not None:
        axes.plot(*_values(rows, chance), color="#555555", linestyle=":", linewidth=1)
        axes.set_ylim(0, 1.02)
    elif len(names) == 1:
        axes.set_ylim(0, 1.08 * max(axes.dataLim.y1, 1e-6))
    if len(names) > 1:
        axes.legend(frameon=False, fontsize=8)
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("step")
    axes.grid(color="#E5E5E5", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _values(rows: Sequence[Mapping[str, float]], name: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(row["step"], row[name]) for row in rows if name in row]
    steps, values = np.array(pairs, float).reshape(-1, 2).T
    return steps, values


def _crops(sampler: CropSampler) -> bytes:
    """PNG of some of the first crops; of a volume the middle slice along its coarsest axis."""
    images, _ = sampler.draw(0, range(SHOWN))
    tiles = []
    channels = images.shape[1] - len(sampler.crop) * sampler.located
    for image in images:
        shown, spacing = image[: 3 if channels == 3 else 1], sampler.spacing
        if shown.ndim == 4:
            axis = int(np.argmax(spacing))
            shown = shown.take(shown.shape[axis + 1] // 2, axis + 1)
            spacing = tuple(s for a, s in enumerate(spacing) if a != axis)
        extent = np.multiply(shown.shape[1:], spacing)
        height, width = (max(1, int(SIDE * n / extent.max())) for n in extent)
        picture = Picture.fromarray((255 * to_picture(shown, intensity_window(shown))).astype(np.uint8))
        tile = np.full((SIDE, SIDE, 3), 255, np.uint8)
        tile[:height, :width] = np.asarray(picture.resize((width, height), Picture.Resampling.BICUBIC))
        tiles.append(np.pad(tile, ((3, 3), (3, 3), (0, 0)), constant_values=255))
    half = SHOWN // 2
    sheet = np.concatenate([np.concatenate(tiles[:half], 1), np.concatenate(tiles[half:], 1)])
    return as_png(sheet)


def _table(entries: Mapping[str, Any]) -> str:
    return html_table(["", ""], [[key, str(value)] for key, value in entries.items()])
