"""`wsseg fit`: a dataset folder becomes a model."""

import math
import shlex
import shutil
import sys
import time
from collections.abc import Generator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from wsseg.commands import options
from wsseg.commands.running import kept, run_to_end
from wsseg.errors import InputError
from wsseg.modelfolder import open_model_folder, state_of

if TYPE_CHECKING:
    from wsseg.boxlabels import BoxWord
    from wsseg.dataset import Dataset
    from wsseg.encoder import SavedEncoder
    from wsseg.model import Model, ModelConfig
    from wsseg.patches import Sample
    from wsseg.steps import Step

Result = TypeVar("Result")
NO_END = (
    "Warning: all finished slices lie inside the objects, and nothing tells where these end; the mask may "
    "run on there. Finish an empty slice beyond the ends of some objects, a third slice in each, or a slice "
    "along each axis."
)


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
    terms: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Tags only: more terms of the loss, with commas: expand, constrain.",
            show_default=False,
        ),
    ] = "",
    steps: options.Steps = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    unknown: options.Unknown = None,
    background: options.Background = None,
    channel_axis: options.ChannelAxis = None,
) -> None:
    """Train a model from the hints of a dataset folder.

    Learns from hint maps, finished masks, clicks and tags, and from boxes beside these. At the end it tells
    an honest estimate of quality: some hints are held back for the first half of the run and compared.
    """
    from wsseg.asked import asked_for, refuse_other
    from wsseg.tables import read_json, unnamed_words

    options.exclude(resume=resume, overwrite=overwrite)
    asked = asked_for(
        data,
        {
            "init": init and init.resolve(),
            "encoder": encoder and encoder.resolve(),
            "objects": objects,
            "terms": terms,
            "steps": steps,
            "seed": seed,
            "unknown": unknown,
            "background": background,
            "channel-axis": channel_axis,
        },
    )
    if not open_model_folder(out, "model", [data], ["checkpoint"], resume=resume, overwrite=overwrite):
        before = read_json(out / "config.json").get("provenance", {}).get("asked")
        if before:
            refuse_other(before, asked, f"{out}: the finished model")
        typer.echo(f"{out} holds a finished model; nothing is left to do (--overwrite trains it anew).")
        return
    from wsseg.dataset import open_dataset

    dataset = open_dataset(data, unknown=unknown, background=background, channel_axis=channel_axis)
    if unnamed := dataset.leave_out_unnamed():
        typer.echo(f"Warning: {unnamed_words(unnamed)}", err=True)
    begin = time.monotonic()

    from wsseg.boxlabels import told_of
    from wsseg.encoder import load_encoder
    from wsseg.extent import shows_no_end
    from wsseg.fit import default_steps, fit_steps
    from wsseg.model import load_model
    from wsseg.propagate import TOLD, by_strokes
    from wsseg.tagterms import TERMS
    from wsseg.train import TrainConfig

    start = load_model(init) if init else None
    pretrained = load_encoder(encoder) if encoder else None
    if dataset.tags:
        if objects in ("marked", "alike"):
            raise InputError(
                f"{data}: has tags.csv, and seeds are not spread as strokes are; leave out --objects."
            )
        extra = options.read_terms(terms, TERMS)
        _fit_tags(dataset, out, start, pretrained, extra, resume, steps, seed, device, asked)
        return
    if terms:
        raise InputError(f"{data}: has no tags.csv, and --terms {terms} are of tags; leave out --terms.")
    words = _run(_box_words(dataset), data, out, device)
    if words:
        typer.echo(told_of(words, dataset.boxes))
    samples = read_samples(dataset, words)
    if pretrained:
        options.tell_warnings(pretrained, [sample.image.spacing for sample in samples], dataset.rgb)
    if all(shows_no_end(sample.labels, sample.image.spacing) for sample in samples):
        typer.echo(NO_END)
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
        asked=asked,
    )
    fitted = _run(run, data, out, device)
    strokes = all(by_strokes(sample) for sample in samples)
    share = f"Annotated {100 * fitted.model.config.provenance['annotated_share']:.3g} % of the voxels; "
    _tell(fitted.model.config, out, share, time.monotonic() - begin, strokes=strokes)
    if objects == "auto" and fitted.model.config.objects:
        typer.echo(f"{TOLD[fitted.model.config.objects]} (--objects says otherwise.)")


def _run(steps: "Generator[Step, None, Result]", data: Path, out: Path, device: str) -> "Result":
    """Run to the end with progress, and say how to go on where it is stopped."""
    return run_to_end(
        steps,
        no_memory=f"{data}: not enough memory for training on {device}; close other programs or use --device "
        "cpu, and go on with --resume.",
        stopped=partial(_how_to_go_on, out),
    )


def _fit_tags(
    dataset: "Dataset",
    out: Path,
    init: "Model | None",
    encoder: "SavedEncoder | None",
    terms: tuple[str, ...],
    resume: bool,
    steps: int | None,
    seed: int,
    device: str,
    asked: dict[str, Any],
) -> None:
    """Train from tags, and from whatever else is marked."""
    from wsseg.bags import check_marks, read_bags
    from wsseg.boxlabels import told_of
    from wsseg.budget import TAG_STEPS, steps_for
    from wsseg.seedrun import SeedRun
    from wsseg.tables import unnamed_words
    from wsseg.tagcheck import check_words
    from wsseg.tagfit import TagConfig
    from wsseg.tagrounds import fit_tag_steps, room_of
    from wsseg.train import TrainConfig

    if init is not None:
        raise InputError(
            f"{dataset.folder}: has tags.csv, and training from tags begins anew; leave out --init, or move "
            "tags.csv away to go on from hints alone."
        )
    bags = read_bags(dataset)
    check_marks(dataset)
    if not resume:
        shutil.rmtree(room_of(out), ignore_errors=True)
    begin = time.monotonic()
    voxels = sum(math.prod(dataset.peek(item).shape) for item in bags.items)
    train = TrainConfig(steps=steps or steps_for(voxels), seed=seed, device=device)
    tags = TagConfig(steps=min(TAG_STEPS, steps or TAG_STEPS), seed=seed, device=device)
    command = shlex.join(["wsseg", *sys.argv[1:]])
    run = fit_tag_steps(
        dataset, bags, out, train, SeedRun(tags), encoder=encoder, terms=terms, command=command, asked=asked
    )
    found = _run(run, dataset.folder, out, device)
    for line in check_words(found.seeded.model.config):
        typer.echo(line)
    typer.echo(found.seeded.share_words())
    if found.unseeded:
        typer.echo(f"Warning: {unnamed_words(found.unseeded, 'No seeds were found of')}", err=True)
    if found.words:
        typer.echo(told_of(found.words, dataset.boxes))
    _tell(found.fitted.model.config, out, "", time.monotonic() - begin)
    typer.echo("That quality is agreement with labels that came from tags, not with anyone's masks.")


def _box_words(dataset: "Dataset") -> "Generator[Step, None, dict[str, BoxWord]]":
    """What boxes say beside hints of single voxels.

    Raises:
        InputError: There are no such hints, or an image is broken.
    """
    from wsseg.boxlabels import find_box_words

    dataset.dims, dataset.channels  # noqa: B018  a mix is told before hours of reading
    if not any(dataset.hints(item, dataset.peek(item)).name_voxels() for item in dataset.items):
        boxed = "; wsseg refine learns from boxes alone" if dataset.boxes else ""
        raise InputError(
            f"{dataset.folder}: has {'only boxes' if boxed else 'no hints'}; fit learns from hint maps in "
            f"hints/, finished masks in masks/, clicks.csv and tags.csv, and from boxes beside them{boxed}."
        )
    return (yield from find_box_words(dataset))


def read_samples(dataset: "Dataset", words: "Mapping[str, BoxWord]") -> list["Sample"]:
    """The images that have hints to train on, each with its weak labels.

    Args:
        dataset: The images and their hints.
        words: Stem to what the boxes of an image say.

    Raises:
        InputError: A file is broken.
    """
    from wsseg.fit import make_sample
    from wsseg.normalise import Normalisation

    samples = []
    for item in dataset.items:
        image, hints = dataset.read(item)
        word = words.get(item.stem)
        if hints.name_voxels() or (word is not None and word.labels.known.any()):
            name = str(item.hints or item.mask or item.image)
            below = None if word is None else word.labels
            samples.append(
                make_sample(
                    image, hints, dataset.classes, Normalisation(), name, below=below, boxed=word is not None
                )
            )
    return samples


def _how_to_go_on(out: Path) -> str:
    from wsseg.tagrounds import room_of

    if room_of(out).is_dir():
        return kept()
    done = state_of(out)
    if done is None:
        return "There was no checkpoint yet (one is written every minute); nothing was changed."
    return f"The run up to step {done} is kept in {out}; the same command with --resume goes on from there."


def _tell(config: "ModelConfig", out: Path, share: str, seconds: float, *, strokes: bool = False) -> None:
    if config.encoder:
        typer.echo(options.taken_words(config.encoder))
    typer.echo(quality_words(config, strokes=strokes))
    typer.echo(f"{share}{config.provenance['steps']} steps in {options.duration(seconds)}.")
    typer.echo(f"The model is in {out}; {options.shell('predict', out, 'IMAGES', '--out', 'MASKS')} uses it.")


def quality_words(config: "ModelConfig", *, strokes: bool = False) -> str:
    """The estimate of quality, and what it means where that is not plain.

    Args:
        config: Of the model.
        strokes: Whether strokes and clicks are all that there is to score.
    """
    quality = config.quality
    if not quality or not quality.get("dice"):
        return "Quality: no estimate, since no hint could be held back; mark more slices or images for one."
    parts = [f"{config.classes[int(k)]} {dice:.3f}" for k, dice in quality["dice"].items()]
    said = (
        f"Quality: Dice {quality['mean']:.3f} ({', '.join(parts)}), on {quality['held_back']} that were held "
        f"back until step {quality['at_step']}."
    )
    if strokes:
        said += (
            " Only the voxels of strokes are scored: the easy ones, away from edges and doubt, so a whole "
            "mask is less right than that."
        )
    missed = [config.classes[int(k)] for k, dice in quality["dice"].items() if round(dice, 3) == 0]
    if missed:
        said += (
            f" There the model finds nothing of {', '.join(missed)}; more steps are the first thing to try "
            "(--steps N)."
        )
    return said
