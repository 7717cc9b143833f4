"""`wsseg probe`: is an encoder worth anything? Measured beside controls."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from wsseg.commands import options
from wsseg.errors import InputError


def probe(
    encoder: Annotated[Path, typer.Argument(help="Encoder folder.", metavar="ENC", show_default=False)],
    data: Annotated[
        Path,
        typer.Argument(help="Dataset folder: images/ and masks/.", metavar="DATA", show_default=False),
    ],
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write all numbers here.", metavar="FILE", show_default=False),
    ] = None,
    labels: Annotated[
        str, typer.Option(metavar="N,N", help="Numbers of labelled images to fine-tune on.")
    ] = "1,2,4,8",
    seeds: Annotated[
        int, typer.Option(min=2, metavar="N", help="How many times, each with other images and weights.")
    ] = 5,
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Steps of each fine-tuning.")] = 100,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Train the longer random start as long as pretraining took; else no more than four times "
            "--steps.",
        ),
    ] = False,
    device: options.Device = "auto",
    channel_axis: options.ChannelAxis = None,
) -> None:
    """Tell whether an encoder is worth anything, on images with finished masks.

    Reads its frozen features by a linear probe and by nearest neighbours, and fine-tunes it on few labelled
    images, each time beside a random start, a random start trained longer, and its own weights shuffled.
    """
    from pretrain.probe import ProbeConfig, probe_steps
    from wsseg.atomic import check_writable, write_beside
    from wsseg.dataset import open_dataset
    from wsseg.encoder import load_encoder
    from wsseg.fit import make_sample
    from wsseg.hints import Hints
    from wsseg.normalise import Normalisation
    from wsseg.progress import run_with_progress

    try:
        counts = tuple(sorted({int(part) for part in labels.split(",")}))
    except ValueError:
        counts = ()
    if not counts or counts[0] < 1:
        raise InputError(f"--labels {labels}: numbers of images such as 1,2,4,8 are right.")
    if json_file is not None:
        check_writable(json_file)
    saved = load_encoder(encoder)
    dataset = open_dataset(data, channel_axis=channel_axis)
    finished = tuple(item for item in dataset.items if item.mask is not None)
    if len(finished) < 2:
        raise InputError(
            f"{data}: has {len(finished)} finished masks in masks/; a probe needs 2 at least, and for "
            f"--labels {labels} it needs {2 * counts[-1]}."
        )
    samples = []
    for item in finished:
        image, hints = dataset.read(item)
        mask = Hints(image.shape, mask=hints.mask)
        samples.append(make_sample(image, mask, dataset.classes, Normalisation(), str(item.image)))
    options.tell_warnings(saved, [sample.image.spacing for sample in samples], dataset.rgb)
    config = ProbeConfig(counts, seeds, steps, None if full else 4, device)
    report = run_with_progress(probe_steps(saved, samples, dataset.classes, config))
    if json_file is not None:
        with write_beside(json_file) as fresh:
            fresh.write_text(json.dumps(report, indent=2), encoding="utf-8")
    _tell(report, seeds)


def _tell(report: Mapping[str, Any], seeds: int) -> None:
    """The tables, and what they mean."""
    typer.echo(f"Dice on {len(report['tested'])} images after {report['steps']} steps, mean of {seeds} seeds")
    arms = list(next(iter(report["labels"].values()))["dice"])
    typer.echo("labels  " + "  ".join(f"{arm:>14}" for arm in arms) + "   gain over random")
    for n, part in report["labels"].items():
        means = [sum(scores) / len(scores) for scores in part["dice"].values()]
        cells = "  ".join(f"{mean:14.3f}" for mean in means)
        typer.echo(f"{n:>6}  {cells}   {_words(part['gain']['random'])}")
    typer.echo("Frozen: share of voxels told right, mean over classes")
    for reader, part in report["frozen"].items():
        shares = {arm: sum(scores) / len(scores) for arm, scores in part["accuracy"].items()}
        cells = ", ".join(f"{arm} {share:.3f}" for arm, share in shares.items())
        typer.echo(f"{reader}: {cells}; {_words(part['gain']['random'])} over random")
    cost = "as long as pretraining took" if report["matched"] else "less than pretraining took (--full does)"
    typer.echo(f"“random, longer” has {report['longer_steps']} steps, {cost}.")
    if report["tested_and_seen"]:
        seen = report["tested_and_seen"]
        typer.echo(f"{seen} of the tested images were among those it learned from, without their labels.")
    typer.echo(_verdict(report))


def _words(gain: Mapping[str, Any]) -> str:
    interval = f"{gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"
    return interval if gain["verdict"] == "gain" else f"{interval} {gain['verdict']}"


def _verdict(report: Mapping[str, Any]) -> str:
    """Whether it pays, in a sentence: a gain is one over every control."""
    worth = [
        n
        for n, part in report["labels"].items()
        if all(g["verdict"] == "gain" for g in part["gain"].values())
    ]
    lost = [n for n, part in report["labels"].items() if part["gain"]["random"]["verdict"] == "loss"]
    if lost:
        return f"It does harm with {', '.join(lost)} labelled images: leave it out."
    if worth:
        return f"It pays with {', '.join(worth)} labelled images: better than every control there."
    return (
        "No gain over every control at any number of labels: it is no better than no encoder, as far as seen."
    )
