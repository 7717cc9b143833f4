"""`wsseg predict`: a model and images become masks."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsseg.commands import options
from wsseg.errors import InputError

if TYPE_CHECKING:
    from wsseg.batch import Outcome
    from wsseg.dataset import Dataset
    from wsseg.memoryplan import MemoryPlan
    from wsseg.model import ModelConfig

LISTED = 10  # least certain images told on the screen; the file has them all


def predict(
    model: Annotated[
        Path, typer.Argument(help="Model folder that fit made.", metavar="MODEL", show_default=False)
    ],
    images: Annotated[
        list[Path],
        typer.Argument(help="Images, or folders of images.", metavar="IMAGE|FOLDER...", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the masks.", metavar="DIR", show_default=False)],
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write DIR/probabilities/ too, channels first.")
    ] = False,
    instances: Annotated[
        bool, typer.Option("--instances", help="Number connected objects in DIR/instances/ too.")
    ] = False,
    split: Annotated[
        bool, typer.Option("--split", help="With --instances: cut objects that touch at their necks.")
    ] = False,
    min_score: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="SCORE",
            help="With --instances: leave out objects whose mean probability is below this.",
        ),
    ] = 0.0,
    tile: Annotated[
        str | None,
        typer.Option(help="Tile size in voxels, such as 64 or 64,64,32.", metavar="N", show_default=False),
    ] = None,
    overlap: Annotated[
        float, typer.Option(min=0, max=0.9, metavar="SHARE", help="Share of a tile that neighbours share.")
    ] = 0.5,
    flips: Annotated[
        bool, typer.Option("--flips", help="Average over mirrored views, where mirroring is harmless.")
    ] = False,
    hints: Annotated[
        Path | None,
        typer.Option(
            help="Dataset folder whose hints the masks honour: painted voxels keep their class, and around "
            "strokes the mask follows the image's edges.",
            metavar="DATA",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the masks that are in --out and go on.")
    ] = False,
    overwrite: options.Overwrite = False,
    device: options.Device = "auto",
    channel_axis: options.ChannelAxis = None,
) -> None:
    """Predict masks of images with a trained model.

    An image whose mask is there is skipped, so the same command goes on with a stopped run. One bad image is
    told and the others go on; the exit code is then 2. DIR/uncertainty.csv lists the images, least certain
    first: those are worth the next hints.
    """
    options.exclude(resume=resume, overwrite=overwrite)
    if split and not instances:
        raise InputError("--split cuts what --instances numbers; add --instances.")
    if min_score and not instances:
        raise InputError("--min-score leaves out some of what --instances numbers; add --instances.")
    from wsseg.images import list_images

    twins: dict[str, str] = {}
    found = list_images(images, twins)
    for said in twins.values():
        typer.echo(f"Error: {said}", err=True)
    if not found and twins:
        raise typer.Exit(2)
    if not found:
        raise InputError(
            f"{images[0]}: holds no image; NIfTI, TIFF, PNG, JPEG, OME-Zarr or DICOM folders are."
            + _deeper(images, out)
        )
    if told := _deeper(images, out):
        typer.echo(f"Note:{told}", err=True)
    from wsseg.batch import Wanted, predict_images
    from wsseg.maskfolder import open_out
    from wsseg.model import load_model
    from wsseg.predict import Predictor
    from wsseg.progress import run_with_progress

    loaded = load_model(model)
    size = _tile(tile, loaded.config) if tile else None
    dataset = _hints(hints, loaded.config, channel_axis) if hints else None
    plan = _plan(
        found, loaded.config, size, device, keep=probabilities or min_score > 0 or dataset is not None
    )
    predictor = Predictor(
        loaded, device=device, tile=plan.tile if plan else size, overlap=overlap, flips=flips
    )
    if plan and plan.matters:
        typer.echo(plan.sentence(), err=True)
    open_out(
        out,
        loaded,
        found,
        hints=dataset,
        split=split if instances else None,
        min_score=min_score,
        how={"tile": tile, "overlap": overlap, "flips": flips},
        resume=resume,
        overwrite=overwrite,
    )
    wanted = Wanted(probabilities, instances, split, min_score, overwrite, channel_axis, dataset)
    outcome = run_with_progress(predict_images(predictor, found, out, wanted))
    _tell(outcome, out)
    if outcome.failed or twins:
        raise typer.Exit(2)


def _deeper(given: Sequence[Path], out: Path) -> str:
    """A sentence on subfolders with images, which are not searched; "" where there are none."""
    from wsseg.images import is_image

    known = {path.resolve() for path in (*given, out)}
    full = []
    for folder in given:
        if is_image(folder):
            continue
        for one in sorted(folder.iterdir()):
            seen = one.is_dir() and not one.name.startswith(".") and os.access(one, os.R_OK | os.X_OK)
            if (
                seen
                and not is_image(one)
                and one.resolve() not in known
                and any(map(is_image, one.iterdir()))
            ):
                full.append(one)
    if not full:
        return ""
    more = f" and {len(full) - 1} more hold" if len(full) > 1 else " holds"
    return f" Subfolders are not searched, and {full[0]}{more} images; name what you want."


def _hints(folder: Path, config: "ModelConfig", channel_axis: int | None) -> "Dataset":
    """The dataset that `--hints` names.

    Raises:
        InputError: It is none, or its classes are not those of the model.
    """
    from wsseg.dataset import open_dataset

    dataset = open_dataset(folder, channel_axis=channel_axis)
    if dataset.classes.keys() - config.classes.keys():
        raise InputError(
            f"{folder}: its classes are {options.names(dataset.classes)}, the model's are "
            f"{options.names(config.classes)}; use hints of the model's classes."
        )
    return dataset


def _tile(text: str, config: "ModelConfig") -> tuple[int, ...]:
    """The tile that `--tile` asks for.

    Raises:
        InputError: The network can't take it; the sentence names the nearest that it can.
    """
    divisor = config.architecture.divisor
    size = options.sizes_of(text, config.architecture.dims, "--tile")
    if any(s % d for s, d in zip(size, divisor, strict=True)):
        nearest = ",".join(str(max(d, round(s / d) * d)) for s, d in zip(size, divisor, strict=True))
        raise InputError(
            f"--tile {text}: this model needs multiples of {','.join(map(str, divisor))}, such as {nearest}."
        )
    return size


def _plan(
    images: Mapping[str, Path],
    config: "ModelConfig",
    tile: tuple[int, ...] | None,
    device: str,
    *,
    keep: bool,
) -> "MemoryPlan | None":
    """What the largest file will ask of the memory; None where it is no image for this model."""
    from wsseg.images import peek_image
    from wsseg.memoryplan import plan_prediction

    largest = max(images.values(), key=lambda path: path.stat().st_size)
    try:
        shape = peek_image(largest).shape
    except InputError:
        return None  # told when its turn comes
    if len(shape) != config.architecture.dims:
        return None
    return plan_prediction(config, shape, tile=tile, device=device, keep_probabilities=keep)


def _tell(outcome: "Outcome", out: Path) -> None:
    for warning in outcome.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    for sentence in outcome.failed.values():
        typer.echo(f"Error: {sentence}", err=True)
    parts = [f"{len(outcome.done)} predicted"]
    parts += [f"{len(outcome.skipped)} skipped (done before)"] if outcome.skipped else []
    parts += [f"{len(outcome.failed)} failed"] if outcome.failed else []
    where = f"; masks are in {out}" if outcome.done or outcome.skipped else ""
    typer.echo(f"{', '.join(parts)}{where}")
    if outcome.left_out:
        advice = "; the network is nowhere so sure: choose a smaller one, with another --out or --overwrite"
        told = advice if outcome.left_out == outcome.objects else ""
        typer.echo(f"--min-score left out {outcome.left_out} of {outcome.objects} objects{told}.")
    if len(outcome.uncertainty) > 1:
        typer.echo(f"Least certain (all in {out / 'uncertainty.csv'}):")
        for stem, value in list(outcome.uncertainty.items())[:LISTED]:
            typer.echo(f"  {value:.3f}  {stem}")
