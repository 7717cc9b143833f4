"""`wsseg refine`: a box-labelled dataset becomes instance masks, unattended."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wsseg.commands import options
from wsseg.commands.running import run_to_end
from wsseg.errors import InputError
from wsseg.memory import in_words
from wsseg.words import counted

if TYPE_CHECKING:
    from wsseg.boximages import BoxImages
    from wsseg.boxreport import Outcome

SECONDS_A_BOX = 0.05  # on 2 slow cores, each round
SECONDS_A_MEGAVOXEL = 8.0  # to predict, each round
BYTES_A_BOX = 2000  # of boxes.json, read and checked
SHOWN = 5  # problems told on the screen; the log has them all


def refine(
    data: Annotated[
        Path,
        typer.Argument(help="Dataset folder with boxes.json.", metavar="DATA", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.", metavar="DIR", show_default=False)],
    method: Annotated[
        str,
        typer.Option(
            help="auto, box, box-inner, naive, ellipse, grabcut, grabcut-inner, agreement or boxinst."
        ),
    ] = "auto",
    rounds: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Rounds of training; by default the method's.",
            show_default=False,
        ),
    ] = None,
    inner_share: Annotated[
        float,
        typer.Option(min=0.01, max=1, metavar="SHARE", help="box-inner: share of the box that is object."),
    ] = 0.2,
    crf: Annotated[
        Literal["local", "dense"],
        typer.Option(help="Field: local, in torch; or dense, by pydensecrf2 (extra crf)."),
    ] = "local",
    terms: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="More terms of the loss, with commas: projection, tightness, affinity.",
            show_default=False,
        ),
    ] = "",
    shape: Annotated[
        Literal["auto", "learned", "ellipse"],
        typer.Option(
            help="Where in its box an object is likely: an ellipse, a shape learned over the boxes of its "
            "class, or that where it pays. For auto and grabcut."
        ),
    ] = "auto",
    encoder: options.Encoder = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would be done, what is wrong, and the cost.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first mistake instead of leaving that box out.")
    ] = False,
    steps: options.Steps = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    channel_axis: options.ChannelAxis = None,
) -> None:
    """Turn boxes into instance masks.

    Trains in rounds: labels from the boxes, a network, new labels from what it says, and again. Leaves the
    COCO file with a mask for every box, numbered objects and class masks of each image, the model, a log of
    every decision, and a report with the least certain boxes first.
    """
    from wsseg.dataset import open_dataset

    # what needs no PyTorch is told before that is loaded
    options.exclude(resume=resume, overwrite=overwrite)
    dataset = open_dataset(data, channel_axis=channel_axis, lenient=not strict)
    if out.resolve() == data.resolve():
        raise InputError(f"{out}: is the dataset itself; choose another folder for --out.")
    from wsseg.boximages import BoxImages
    from wsseg.boxterms import TERMS
    from wsseg.budget import steps_for
    from wsseg.crf import need_dense
    from wsseg.encoder import load_encoder
    from wsseg.fit import suited
    from wsseg.normalise import Normalisation
    from wsseg.outfolder import checksum, open_out
    from wsseg.progress import run_with_progress
    from wsseg.recipes import METHODS
    from wsseg.refine import LAYOUT, ROOM, refine_steps
    from wsseg.rounds import Rounds, RoundsConfig
    from wsseg.train import TrainConfig

    if method not in METHODS:
        raise InputError(f"--method {method}: there is no such method; {', '.join(METHODS)} are right.")
    if shape == "learned" and METHODS[method].first != "colour":
        raise InputError(f"--shape learned: --method {method} knows no shape; auto and grabcut do.")
    extra = options.read_terms(terms, TERMS)
    if crf == "dense":
        need_dense()
    pretrained = load_encoder(encoder) if encoder else None  # a wrong folder is told before the first labels
    dataset.dims, dataset.channels  # noqa: B018  a mix is told before hours of work
    if pretrained:
        suited(pretrained, dataset.dims, dataset.channels)
        spacings = [dataset.peek(item).spacing for item in dataset.items]
        options.tell_warnings(pretrained, spacings, dataset.rgb)
    images = BoxImages(dataset, Normalisation())
    run_with_progress(images.look(strict=strict))
    recipe = METHODS[method]
    many = recipe.rounds if rounds is None else rounds
    voxels = sum(images.voxels(item) for item in images.items)
    steps = steps or steps_for(voxels)
    if dry_run:
        _tell_plan(images, method, many, steps, voxels)
        return
    settings: dict[str, Any] = {
        "method": method,
        "rounds": many,
        "inner_share": inner_share,
        "crf": crf,
        "terms": list(extra),
        "shape": shape,
        "steps": steps,
        "seed": seed,
        "encoder": str(encoder.resolve()) if encoder else None,
        "boxes": checksum(data / "boxes.json"),
        "images": len(images.items),
    }
    if not open_out(out, settings, LAYOUT, resume=resume, overwrite=overwrite):
        typer.echo(f"{out} is finished; nothing is left to do (--overwrite does it anew).")
        return
    train = TrainConfig(steps=steps, seed=seed, device=device)
    config = RoundsConfig(recipe, many, train, inner_share, encoder, crf, extra, shape)
    run = Rounds(images, config, out / ROOM)
    outcome = run_to_end(
        refine_steps(images, run, out, settings),
        no_memory=f"{data}: not enough memory on {device}; close other programs or use --device cpu, and go "
        "on with --resume.",
    )
    _tell(outcome, images, out)


def _problems(images: "BoxImages") -> list[str]:
    from wsseg.coco import unlisted_words

    found = list(dict.fromkeys([*images.coco.mistakes(), *images.bad.values()]))
    found += [f"class {name} has no box" for name in images.unused]
    if images.unlisted:
        found.append(unlisted_words(images.unlisted))
    return found


def _tell_problems(images: "BoxImages", log: Path | None = None) -> None:
    """All of them, or the first few where a log has them all."""
    found = _problems(images)
    shown = found if log is None else found[:SHOWN]
    for sentence in shown:
        typer.echo(f"Warning: {sentence}", err=True)
    if len(found) > len(shown):
        typer.echo(f"Warning: and {len(found) - len(shown)} more; {log} has every annotation.", err=True)
    if twins := len(images.coco.twins):
        is_are = "box is" if twins == 1 else "boxes are"
        typer.echo(f"Warning: {twins} {is_are} there twice; each has one mask.", err=True)
    if images.coco.unplaced:
        typer.echo(
            f"Warning: images in which a refused box may lie anywhere: {len(images.coco.unplaced)}, such as "
            f"{min(images.coco.unplaced)}; outside of their other boxes all counts as unknown.",
            err=True,
        )


def _tell_plan(images: "BoxImages", method: str, rounds: int, steps: int, voxels: int) -> None:
    from wsseg.commands.check import SECONDS_A_STEP
    from wsseg.rounds import LATER, POOL

    boxes = sum(len(images.boxes(item)) for item in images.items)
    crowds = sum(len(boxes) for boxes in images.coco.crowds.values())
    told = counted(boxes, "boxes") + (f" and {counted(crowds, 'crowds')}" if crowds else "")
    typer.echo(f"Images: {len(images.items)} with {told}")
    for k, name in images.classes.items():
        count = sum(box.class_id == k for item in images.items for box in images.boxes(item))
        typer.echo(f"Class {k} ({name}): {counted(count, 'boxes')}")
    trained = steps * (1 + LATER * (rounds - 1)) if rounds else 0
    seconds = trained * SECONDS_A_STEP + (rounds + 1) * boxes * SECONDS_A_BOX
    seconds += rounds * voxels / 1e6 * SECONDS_A_MEGAVOXEL
    channels, classes = images.dataset.channels, len(images.classes) + 1
    largest = max(images.voxels(item) for item in images.items)
    memory = min(voxels, POOL) * (4 * channels + 12) + largest * 4 * (channels + 2 * classes)
    memory += boxes * BYTES_A_BOX
    typer.echo(
        f"{method}, {counted(rounds, 'rounds')}: {trained:.0f} steps, about "
        f"{options.duration(seconds)} on 2 slow cores and less on a GPU, and {in_words(memory)} of memory"
    )
    _tell_problems(images)


def _tell(outcome: "Outcome", images: "BoxImages", out: Path) -> None:
    from wsseg.refine import LOG
    from wsseg.tables import read_json

    _tell_problems(images, out / LOG)
    total = sum(outcome.counts.values())
    parts = [f"{count} {what}" for what, count in outcome.counts.items()]
    parts += [f"{len(outcome.ignored)} ignored"] if outcome.ignored else []
    typer.echo(
        f"{counted(total, 'masks')} ({', '.join(parts)}); {out / 'report.html'} shows the least certain."
    )
    for name, told in outcome.shapes.items():
        typer.echo(f"{name}: {told}")
    typer.echo(f"COCO with masks: {out / 'masks.json'}; by image: {out / 'instances'}, {out / 'masks'}")
    if (out / "model").is_dir():
        counts = read_json(out / "model" / "config.json")["encoder"]
        if counts:
            typer.echo(options.taken_words(counts))
        typer.echo(f"{options.shell('predict', out / 'model', 'IMAGES', '--out', 'MASKS')} needs no boxes.")
