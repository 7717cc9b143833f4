"""`wsseg evaluate`: masks against the truth, as a table and as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from wsseg.words import counted

COLUMNS = {
    "dice": "Dice",
    "iou": "IoU",
    "hd95": "95 % Hausdorff",
    "surface_dice": "Surface Dice",
    "n": "Images",
}


def evaluate(
    predicted: Annotated[
        Path, typer.Argument(help="Folder of masks.", metavar="PRED_DIR", show_default=False)
    ],
    truth: Annotated[
        Path, typer.Argument(help="Folder of true masks.", metavar="TRUTH_DIR", show_default=False)
    ],
    instances: Annotated[
        bool, typer.Option("--instances", help="Match objects too: F1, AP and IoU per object.")
    ] = False,
    tolerance: Annotated[
        float,
        typer.Option(
            min=0, help="Surface Dice: distance that is still right, in the files' unit.", metavar="MM"
        ),
    ] = 1.0,
    matching: Annotated[
        bool, typer.Option("--matching", help="Leave out true masks without a prediction, and tell them.")
    ] = False,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write all numbers there.", metavar="FILE", show_default=False),
    ] = None,
) -> None:
    """Measure masks against the truth.

    Dice, IoU, 95 % Hausdorff distance and surface Dice for each class, and objects with --instances.

    Files are matched by their stem. With --instances each value of a mask is an object, and
    PRED_DIR/instances is taken where predict --instances made it. A class that neither has counts as 1 for
    Dice; one that only one has counts as 0, with the image's diagonal as distance.
    """
    from wsseg.atomic import check_writable, write_beside
    from wsseg.evaluate import evaluate_folder
    from wsseg.progress import run_with_progress
    from wsseg.whichmasks import class_doubts, object_doubts, objects_within

    if json_file is not None:
        check_writable(json_file)
    if instances:
        predicted = objects_within(predicted) or predicted
    report = run_with_progress(
        evaluate_folder(predicted, truth, instances=instances, tolerance=tolerance, matching=matching)
    )
    taken = [
        doubt
        for folder in (predicted, truth)
        for doubt in (class_doubts(folder, (), {}) if instances else object_doubts(folder))
    ]
    for doubt in (report["doubts"] or taken) + _left_out(report):
        typer.echo(f"Warning: {doubt}", err=True)
    _show(report, tolerance)
    if json_file is not None:
        with write_beside(json_file) as fresh:
            fresh.write_text(json.dumps(report, indent=2), encoding="utf-8")


def _left_out(report: Mapping[str, Any]) -> list[str]:
    """What was not scored."""
    found = []
    if missing := report["missing"]:
        found.append(
            f"{counted(len(missing), 'true masks')} without a prediction left out, such as {missing[0]}; "
            f"scores are of the other {len(report['images'])}."
        )
    if unmatched := report["unmatched"]:
        found.append(
            f"{counted(len(unmatched), 'predicted masks')} without a truth left out, such as {unmatched[0]}."
        )
    return found


def _show(report: Mapping[str, Any], tolerance: float) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(caption=f"surface Dice at {_length(tolerance, report['unit'])}")
    table.add_column("Class")
    for title in COLUMNS.values():
        table.add_column(title, justify="right")
    rows = {**report["classes"], "mean": report["mean"]}
    for name, values in rows.items():
        table.add_row(name, *(_number(values.get(key)) for key in COLUMNS))
    console.print(table)
    if "instances" in report:
        console.print(_instances(report["instances"]))


def _length(value: float, unit: str | None) -> str:
    """A distance with its unit; None where the files have several, "" where they say none."""
    if unit is None:
        return f"{value:g}, each file's unit"
    one = unit.removesuffix("s") if value == 1 and unit in ("pixels", "voxels") else unit
    return f"{value:g} {one}".rstrip()


def _instances(found: Mapping[str, Any]) -> Any:
    from rich.table import Table

    table = Table(
        caption=f"{found['n']} true objects: mean IoU {_number(found['mean_iou'])}, AP {_number(found['ap'])}"
    )
    names = {"f1": "F1", "precision": "Precision", "recall": "Recall"}
    for title in ("IoU above", *names.values()):
        table.add_column(title, justify="right")
    for threshold in found["f1"]:
        table.add_row(threshold, *(_number(found[name][threshold]) for name in names))
    return table


def _number(value: float | int | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
