"""`wsseg measure`: masks become a table of volumes, counts, places and intensities."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from wsseg.errors import InputError


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
        typer.Option(min=0, metavar="SIZE", help="Leave out connected parts smaller than this, in mm³."),
    ] = 0.0,
    largest: Annotated[
        bool, typer.Option("--largest", help="Only the largest connected part of each class counts.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier table.")] = False,
) -> None:
    """Measure masks: volume, count, place, intensity.

    A row for each image and class: volume in physical units (in 2D the area), connected objects, centroid in
    the world, bounding box in voxels, and intensities where the images are given. With --instances a row for
    each object: each value of a mask is one, and MASKS/instances is taken where predict --instances made it.
    The masks stay as they are, whatever is cleaned before they are measured.
    """
    if out.is_dir():
        raise InputError(f"{out}: is a folder; --out names a table, such as {out / 'measurements.csv'}.")
    if out.exists() and not overwrite:
        raise InputError(f"{out}: is there already; choose another name, or add --overwrite to replace it.")
    from wsseg.dataset import open_dataset
    from wsseg.measure import Cleaning
    from wsseg.measurefolder import Sources, measure_folder, write_table
    from wsseg.progress import run_with_progress

    dataset = None if hints is None else open_dataset(hints)
    cleaning = Cleaning(fill_holes=fill_holes, min_size=min_size, largest=largest)
    rows = run_with_progress(measure_folder(masks, Sources(images, dataset, instances, cleaning)))
    write_table(out, rows)
    _show(rows)
    typer.echo(f"{len(rows)} rows are in {out}")


def _show(rows: Iterable[Mapping[str, Any]]) -> None:
    """A line a class: what stands in the table, over all images."""
    from rich.console import Console
    from rich.table import Table

    by_class = defaultdict(list)
    for row in rows:
        by_class[row["class"]].append(row)
    table = Table()
    for title in ("Class", "Rows", "Objects", "Mean volume", "Unit"):
        table.add_column(title, justify="left" if title in ("Class", "Unit") else "right")
    for k, own in sorted(by_class.items(), key=lambda entry: -1 if entry[0] is None else entry[0]):
        name = own[0].get("name")
        objects = len(own) if "object" in own[0] else sum(row["objects"] or 0 for row in own)
        mean = sum(row["volume"] for row in own) / len(own)
        units = sorted({row["unit"] for row in own})
        title = "all" if k is None else f"{k} ({name})" if name else str(k)
        table.add_row(title, str(len(own)), str(objects), f"{mean:.6g}", ", ".join(units))
    if by_class:
        Console().print(table)
