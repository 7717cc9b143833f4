"""`wsseg robot`: a simulated annotator turns true masks into a dataset folder with hints."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from wsseg.commands import options
from wsseg.errors import InputError
from wsseg.words import counted


def robot(
    truth: Annotated[
        Path, typer.Argument(help="Folder of true masks.", metavar="TRUTH_DIR", show_default=False)
    ],
    images: Annotated[
        Path, typer.Option(help="Folder of the images, same stems.", metavar="DIR", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Dataset folder to make.", metavar="DATA", show_default=False)],
    kind: Annotated[
        str,
        typer.Option(help="scribbles, slices, clicks, boxes or tags.", metavar="KIND", show_default=False),
    ],
    every: Annotated[
        int | None,
        typer.Option(min=1, help="Every K-th slice, from K//2 on.", metavar="K", show_default=False),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(min=1, help="K evenly spaced slices, or K clicks.", metavar="K", show_default=False),
    ] = None,
    axis: Annotated[str, typer.Option(help="Axis of the slices, or “orthogonal”.", metavar="A")] = "0",
    inside: Annotated[bool, typer.Option("--inside", help="Slices only where there are objects.")] = False,
    instances: Annotated[
        bool, typer.Option("--instances", help="The true masks number objects, not classes.")
    ] = False,
    pixels: Annotated[
        int, typer.Option(min=1, help="Scribbles: about how many pixels a picture or slice.", metavar="N")
    ] = 100,
    jitter: Annotated[
        float, typer.Option(help="Boxes: how far a face may be off, as a share of the side.", metavar="SHARE")
    ] = 0.0,
    first: Annotated[
        int | None,
        typer.Option(min=1, help="Only the first N masks by name.", metavar="N", show_default=False),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(min=1, help="Only the last N masks by name.", metavar="N", show_default=False),
    ] = None,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
) -> None:
    """Simulate an annotator: true masks become hints.

    Makes a dataset folder with the images and their hints, and tells the annotated share of the voxels and
    about how long a person would have taken.
    """
    from wsseg.progress import run_with_progress
    from wsseg.robot_dataset import robot_steps

    report = run_with_progress(
        robot_steps(
            truth,
            images,
            out,
            kind,
            seed=seed,
            every=every,
            count=count,
            axis=_axis(axis),
            inside=inside,
            instances=instances,
            pixels=pixels,
            jitter=jitter,
            first=first,
            last=last,
            overwrite=overwrite,
        )
    )
    for doubt in report["doubts"]:
        typer.echo(f"Warning: {doubt}", err=True)
    typer.echo(
        f"{len(report['images'])} images with {kind} in {out}: {_amount(report)}, about "
        f"{options.duration(report['seconds'])} of a person's time"
    )


def _amount(report: dict[str, Any]) -> str:
    """How much is marked: voxels where a person paints, else how many marks of each class."""
    if report["kind"] in ("scribbles", "slices"):
        return f"{100 * report['annotated_share']:.3g} % of the voxels"
    names = {"0": "none" if report["kind"] == "tags" else "background", **report["classes"]}
    parts = [f"{counted(n, report['kind'])} of {names[k]}" for k, n in report["marks"].items()]
    return ", ".join(parts) or f"no {report['kind']}"


def _axis(text: str) -> int | Literal["orthogonal"]:
    if text == "orthogonal":
        return "orthogonal"
    try:
        return int(text)
    except ValueError:
        raise InputError(f"--axis {text}: 0, 1, 2 or orthogonal is right.") from None
