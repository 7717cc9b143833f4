"""`wsseg demo`: the whole way on a real scan, in a few minutes."""

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from wsseg.commands import options


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the demo.", metavar="DIR")] = Path("wsseg-demo"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier demo in --out.")] = False,
    steps: options.Steps = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
) -> None:
    """Segment a brain scan from five annotated slices.

    Annotates the slices of nilearn's MNI152 template with the simulated annotator, trains, predicts the whole
    volume, and prints Dice per class against the tissue maps, outside the annotated slices.
    """
    from wsseg.demo import STEPS, demo_steps
    from wsseg.progress import run_with_progress

    begin = time.monotonic()
    command = shlex.join(["wsseg", *sys.argv[1:]])
    shown = run_with_progress(
        demo_steps(out, seed=seed, device=device, steps=steps or STEPS, overwrite=overwrite, command=command)
    )
    typer.echo(
        f"Annotated {100 * shown.annotated_share:.2g} % of the voxels, about "
        f"{options.duration(shown.person_seconds)} of a person's time; done in "
        f"{options.duration(time.monotonic() - begin)}."
    )
    typer.echo("Dice outside the annotated slices:")
    for name, dice in shown.dice.items():
        typer.echo(f"  {name}: {dice:.3f}")
    typer.echo(f"Picture: {shown.picture}")
    typer.echo(f"Mask: {shown.mask}")
    typer.echo(f"Model: {out / 'model'}")
