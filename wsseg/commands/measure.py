"""`wsseg measure`: masks become a table of volumes, counts, places and intensities."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsseg.commands import options
from wsseg.errors import InputError
from wsseg.words import counted

if TYPE_CHECKING:
    from wsseg.dataset import Dataset


def measure(
    masks: Annotated[
        Path, typer.Argument(help="Folder of masks, or one mask.", metavar="MASKS", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="The table to write.", metavar="FILE", show_default=False)],
    images: Annotated[
        Path | None,
        typer.Option(help="The images, same stems: intensities.", metavar="DIR", show_default=False),
    ] = None,
    hints: Annotated[
        Path | None,
        typer.Option(
            help="Dataset folder: names of classes, and how far hints and masks agree.",
            metavar="DATA",
            show_default=False,
        ),
    ] = None,
    instances: Annotated[
        bool, typer.Option("--instances", help="A row an object instead of a class.")
    ] = False,
    fill_holes: Annotated[
        bool, typer.Option("--fill-holes", help="Background that a class encloses counts as its own.")
    ] = False,
    min_size: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SIZE",
            help="Leave out connected parts smaller than this, in the image's unit: mm³, µm², pixels.",
        ),
    ] = 0.0,
    largest: Annotated[
        bool, typer.Option("--largest", help="Only the largest connected part of each class counts.")
    ] = False,
    matching: Annotated[
        bool, typer.Option("--matching", help="Leave out masks without an image, and tell them.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            help="A page of HTML to write beside: classes, distributions, outlines.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier table and report.")
    ] = False,
) -> None:
    """Measure masks: volume, count, place, intensity.

    A row for each image and class: volume in physical units (in 2D the area), connected objects, centroid in
    the world, bounding box in voxels, and intensities where the images are given. With --instances a row for
    each object: each value of a mask is one, and MASKS/instances is taken where predict --instances made it.
    The masks stay as they are, whatever is cleaned before they are measured.
    """
    if out.is_dir():
        raise InputError(f"{out}: is a folder; --out names a table, such as {out / 'measurements.csv'}.")
    if out.suffix.lower() not in (".csv", ".txt", ""):
        raise InputError(f"{out}: the table is CSV, which spreadsheets open; name it {out.stem}.csv.")
    if report is not None and report.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{report}: --report is a page; name it {report.with_suffix('.html').name}.")
    from wsseg.atomic import check_writable

    for place in (out, report):
        if place is None:
            continue
        check_writable(place)
        if place.exists() and not overwrite:
            raise InputError(
                f"{place}: is there already; choose another name, or add --overwrite to replace it."
            )
    from wsseg.dataset import open_dataset
    from wsseg.measure import Cleaning
    from wsseg.measurefolder import Sources, draw_folder, measure_folder, without_image, write_table
    from wsseg.measurereport import write_measure_report
    from wsseg.progress import run_with_progress
    from wsseg.whichmasks import object_doubts, objects_near, objects_within

    dataset = None if hints is None else open_dataset(hints)
    cleaning = Cleaning(fill_holes=fill_holes, min_size=min_size, largest=largest)
    sources = Sources(images, dataset, instances, cleaning, matching)
    rows = run_with_progress(measure_folder(masks, sources))
    write_table(out, rows)
    many = [] if instances else _doubts(rows) or object_doubts(masks)
    if not many:  # a line a class would be hundreds
        _show(rows)
    is_are = "is" if len(rows) == 1 else "are"
    typer.echo(f"{counted(len(rows), 'rows')} {is_are} in {out}")
    if not instances and (near := objects_near(masks)):
        again = masks if near.parent == masks else near
        typer.echo(f"Objects one by one: {options.shell('measure', again, '--instances')}")
    taken = instances and objects_within(masks) is None
    if alone := without_image(masks, sources):
        many.append(f"{counted(len(alone), 'masks')} without an image left out, such as {alone[0]}.")
    for doubt in many + (_object_doubts(masks, rows, dataset) if taken else []):
        typer.echo(f"Warning: {doubt}", err=True)
    if report is not None:
        settings = {"masks": masks, "images": images or "–", "hints": hints or "–", **asdict(cleaning)}
        write_measure_report(report, rows, run_with_progress(draw_folder(masks, sources)), settings)
        typer.echo(f"The report is {report}")


def _doubts(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Whether the masks look as if they numbered objects; classes that hints name are classes."""
    from wsseg.robot_doubts import instance_doubts

    values = defaultdict(set)
    for row in rows:
        if row["voxels"] and row["class"] != 0:
            values[row["image"]].add(row["class"])
    named = any(row.get("name") for row in rows)
    return instance_doubts(values) if values and not named else []


def _object_doubts(masks: Path, rows: Iterable[Mapping[str, Any]], dataset: "Dataset | None") -> list[str]:
    """Whether the values that were taken for objects look as if they were classes."""
    from wsseg.whichmasks import class_doubts

    named = {} if dataset is None else dataset.classes
    return class_doubts(masks, {row["object"] for row in rows}, named)


def _show(rows: Iterable[Mapping[str, Any]]) -> None:
    """A line a class and unit, over all images: numbers of two units have no mean."""
    from rich.console import Console
    from rich.table import Table

    rows = list(rows)
    groups = defaultdict(list)
    for row in rows:
        groups[row["class"], row["unit"]].append(row)
    table = Table()
    for title in ("Class", "Rows", "Objects", f"Mean {_size_word(rows)}", "Unit"):
        table.add_column(title, justify="left" if title in ("Class", "Unit") else "right")
    for (k, unit), own in sorted(groups.items(), key=_class_and_unit):
        name = own[0].get("name")
        objects = len(own) if "object" in own[0] else sum(row["objects"] or 0 for row in own)
        mean = sum(row["volume"] for row in own) / len(own)
        title = "all" if k is None else f"{k} ({name})" if name else str(k)
        table.add_row(title, str(len(own)), str(objects), f"{mean:.6g}", unit)
    if groups:
        Console().print(table)


def _class_and_unit(group: tuple[tuple[int | None, str], Any]) -> tuple[int, str]:
    (k, unit), _ = group
    return -1 if k is None else k, unit


def _size_word(rows: Iterable[Mapping[str, Any]]) -> str:
    """What the column "volume" holds: areas where the images have two axes."""
    volumes = {"start-2" in row for row in rows if row["voxels"]}
    return "volume or area" if len(volumes) == 2 else "area" if volumes == {False} else "volume"
