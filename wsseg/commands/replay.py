"""`wsseg replay`: a session of the window, played again without it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from wsseg.commands import options

KINDS = {"hints": "strokes", "classes": "names and colours", "mask": "masks found"}


def replay(
    session: Annotated[
        Path, typer.Argument(help="Folder of the session.", metavar="SESSION", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Write what is marked as a dataset folder.", metavar="DATA", show_default=False),
    ] = None,
    until: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after so many changes.", metavar="N", show_default=False),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write all numbers there.", metavar="FILE", show_default=False),
    ] = None,
) -> None:
    """Play a session of the window again: what was marked, and where the time went.

    The window keeps every change to the hints of an image in a session folder as it happens.
    """
    from wsseg.atomic import write_beside
    from wsseg.replay import replay as play
    from wsseg.replay import write_dataset

    found = play(session, until=until)
    _show(found.about, found.statistics)
    if out is not None:
        write_dataset(found, out)
        typer.echo(f"The dataset is in {out}; {options.shell('check', out)} looks at it.")
    if json_file is not None:
        report = {**found.about, **found.statistics}
        with write_beside(json_file) as fresh:
            fresh.write_text(json.dumps(report, indent=2), encoding="utf-8")


def _show(about: Mapping[str, Any], told: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    if not told["changes"]:
        typer.echo("Nothing was changed in this session.")
        return
    table = Table(title=str(about.get("image", "")), title_justify="left")
    for title in ("Change", "Times", "Working time"):
        table.add_column(title, justify="left" if title == "Change" else "right")
    for kind, times in told["actions"].items():
        table.add_row(KINDS.get(kind, kind), str(times), options.duration(told["seconds"][kind]))
    table.add_row("all", str(told["changes"]), options.duration(told["working_seconds"]))
    Console().print(table)
    painted = ", ".join(f"{name} {count:,}" for name, count in told["painted"].items())
    if painted:
        typer.echo(f"Voxels painted: {painted}.")
    marked = ", ".join(f"{count:,} {kind}" for kind, count in told["marked"].items() if count)
    typer.echo(f"Marked in the end: {marked or 'nothing'}.")
