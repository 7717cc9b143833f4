"""`wsseg fit`: a dataset folder becomes a model."""

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wsseg.commands import options
from wsseg.commands.outfolder import open_out, state_of
from wsseg.errors import InputError

if TYPE_CHECKING:
    from wsseg.dataset import Dataset
    from wsseg.model import ModelConfig
    from wsseg.patches import Sample


def fit(
    data: options.Data,
    out: Annotated[Path, typer.Option(help="Model folder to write.", metavar="MODEL", show_default=False)],
    init: Annotated[
        Path | None, typer.Option(help="Model to start from.", metavar="MODEL", show_default=False)
    ] = None,
    encoder: options.Encoder = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    objects: Annotated[
        Literal["auto", "marked", "alike", "off"],
        typer.Option(
            help="What strokes mean: every object is marked; some of many alike; auto finds out; off learns "
            "from the painted voxels alone."
        ),
    ] = "auto",
    steps: options.Steps = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    unknown: options.Unknown = None,
    background: options.Background = None,
    channel_axis: options.ChannelAxis = None,
) -> None:
    """Train a model from the hints of a dataset folder.

    Learns from hint maps, finished masks and clicks. At the end it tells an honest estimate of quality: some
    hints are held back for the first half of the run and compared.
    """
    if not open_out(out, "model", [data], ["checkpoint"], resume=resume, overwrite=overwrite):
        typer.echo(f"{out} holds a finished model; nothing is left to do (--overwrite trains it anew).")
        return
    from wsseg.dataset import open_dataset

    dataset = open_dataset(data, unknown=unknown, background=background, channel_axis=channel_axis)
    begin = time.monotonic()

    from wsseg.encoder import load_encoder
    from wsseg.fit import default_steps, fit_steps
    from wsseg.memory import is_out_of_memory
    from wsseg.model import load_model
    from wsseg.progress import run_with_progress
    from wsseg.propagate import TOLD
    from wsseg.train import TrainConfig

    start = load_model(init) if init else None
    pretrained = load_encoder(encoder) if encoder else None
    samples = read_samples(dataset)
    if pretrained:
        options.tell_warnings(pretrained, [sample.image.spacing for sample in samples], dataset.rgb)
    config = TrainConfig(steps=steps or default_steps(samples), seed=seed, device=device, objects=objects)
    command = shlex.join(["wsseg", *sys.argv[1:]])
    run = fit_steps(
        samples,
        dataset.classes,
        config,
        out=out,
        init=start,
        encoder=pretrained,
        resume=resume,
        command=command,
    )
    try:
        fitted = run_with_progress(run)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_how_to_go_on(out)) from None
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(
            f"{data}: not enough memory for training on {device}; close other programs or use --device cpu, "
            "and go on with --resume."
        ) from error
    _tell(fitted.model.config, out, time.monotonic() - begin)
    if objects == "auto" and fitted.model.config.objects:
        typer.echo(f"{TOLD[fitted.model.config.objects]} (--objects says otherwise.)")


def read_samples(dataset: "Dataset") -> list["Sample"]:
    """The images that have hints to train on, each with its weak labels.

    Raises:
        InputError: A file is broken, or no image has such hints.
    """
    from wsseg.fit import make_sample
    from wsseg.normalise import Normalisation

    samples, other = [], set()
    dataset.dims, dataset.channels  # noqa: B018  a mix is told before hours of reading
    for item in dataset.items:
        image, hints = dataset.read(item)
        if hints.name_voxels():
            name = str(item.hints or item.mask or item.image)
            samples.append(make_sample(image, hints, dataset.classes, Normalisation(), name))
        else:
            other |= {"boxes"} if hints.boxes else set()
            other |= {"tags"} if hints.tags is not None else set()
    if not samples:
        there = f"only {' and '.join(sorted(other))}" if other else "no hints"
        raise InputError(
            f"{dataset.folder}: has {there}; fit learns from hint maps in hints/, finished masks in masks/ "
            "and clicks.csv."
        )
    return samples


def _how_to_go_on(out: Path) -> str:
    done = state_of(out)
    if done is None:
        return "There was no checkpoint yet (one is written every minute); nothing was changed."
    return f"The run up to step {done} is kept in {out}; the same command with --resume goes on from there."


def _tell(config: "ModelConfig", out: Path, seconds: float) -> None:
    if config.encoder:
        typer.echo(options.taken_words(config.encoder))
    typer.echo(quality_words(config))
    share = config.provenance["annotated_share"]
    steps = config.provenance["steps"]
    typer.echo(f"Annotated {100 * share:.3g} % of the voxels; {steps} steps in {options.duration(seconds)}.")
    typer.echo(f"The model is in {out}; wsseg predict {out} IMAGES --out MASKS uses it.")


def quality_words(config: "ModelConfig") -> str:
    """The estimate of quality as a sentence."""
    quality = config.quality
    if not quality or not quality.get("dice"):
        return "Quality: no estimate, since no hint could be held back; mark more slices or images for one."
    parts = [f"{config.classes[int(k)]} {dice:.3f}" for k, dice in quality["dice"].items()]
    return (
        f"Quality: Dice {quality['mean']:.3f} ({', '.join(parts)}), on {quality['held_back']} that were held "
        f"back until step {quality['at_step']}."
    )
