"""`wsseg check`: what is in a dataset folder, what is wrong, what a run would cost."""

from typing import TYPE_CHECKING

import typer

from wsseg.commands import options
from wsseg.memory import in_words
from wsseg.words import counted

if TYPE_CHECKING:
    from wsseg.check import Findings

SECONDS_A_STEP = 0.4  # on 2 slow cores; patches are planned to take about this long


def check(
    data: options.Data,
    unknown: options.Unknown = None,
    background: options.Background = None,
    channel_axis: options.ChannelAxis = None,
) -> None:
    """Look through a dataset folder before a run.

    Tells what is there, what is wrong, and what a run would cost.

    Exit code 2 where something must be mended first; warnings alone leave it at 0. Boxes with a mistake, and
    images that can't be read, are warnings where there are boxes alone, since refine goes on without them.
    """
    from wsseg.dataset import check_dataset, open_dataset
    from wsseg.progress import run_with_progress

    dataset = open_dataset(
        data, unknown=unknown, background=background, channel_axis=channel_axis, lenient_tables=True
    )
    findings = run_with_progress(check_dataset(dataset))
    _tell(findings)
    if findings.counts["boxes"]:
        dry = options.shell("refine", data, "--out", "DIR", "--dry-run")
        typer.echo(f"Boxes: {dry} tells what masks of them would cost")
    for warning in findings.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    for error in findings.errors:
        typer.echo(f"Error: {error}", err=True)
    if findings.errors:
        raise typer.Exit(2)


def _tell(findings: "Findings") -> None:
    counts = findings.counts
    named = {"tags": "tagged images"}
    parts = [
        counted(count, named.get(what, what))
        for what, count in counts.items()
        if count and what not in ("images", "unmarked")
    ]
    if findings.class_voxels:  # clicks, boxes and tags are no share of the voxels
        parts.append(f"{100 * findings.annotated_share:.3g} % of the voxels painted")
    broken = findings.left_out["images"]
    without = f"; {broken} with a mistake, left out of what follows" if broken else ""
    typer.echo(f"Images: {counts['images']} ({counts['unmarked']} unmarked{without})")
    typer.echo(f"Hints: {', '.join(parts) or 'none'}")
    names = {0: "background", **findings.classes}
    for class_id in sorted({*findings.classes, *findings.class_voxels, *findings.class_marks}):
        marks = {"voxels": findings.class_voxels.get(class_id, 0), **findings.class_marks.get(class_id, {})}
        told = ", ".join(counted(count, what) for what, count in marks.items() if count)
        typer.echo(f"Class {class_id} ({names.get(class_id, '?')}): {told or 'nothing'} marked")
    if findings.spacing_range:
        ranges = [f"{a:.3g}" if a == b else f"{a:.3g}–{b:.3g}" for a, b in findings.spacing_range]
        typer.echo(f"Spacing: {' × '.join(ranges)}")
    if not findings.errors and (findings.class_voxels or counts["clicks"]):
        typer.echo(_cost(findings))


def _cost(findings: "Findings") -> str:
    from wsseg.budget import steps_for

    steps = steps_for(sum(findings.class_voxels.values()))
    time = options.duration(60 * max(1, round(steps * SECONDS_A_STEP / 60)))
    return (
        f"A run: about {steps} steps, {time} on 2 slow cores and less on a GPU, and "
        f"{in_words(findings.memory)} of memory for the images"
    )
