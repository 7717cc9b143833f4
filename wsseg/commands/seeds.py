"""`wsseg seeds`: tags of images become heat maps and seed hints."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wsseg.commands import options
from wsseg.commands.running import run_to_end
from wsseg.errors import InputError

if TYPE_CHECKING:
    from wsseg.seedrun import Seeded


def seeds(
    data: Annotated[
        Path, typer.Argument(help="Dataset folder with tags.csv.", metavar="DATA", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.", metavar="DIR", show_default=False)],
    method: Annotated[
        Literal["cam", "gradcam", "gradcam++", "layercam", "hirescam", "saliency"],
        typer.Option(help="Which class maps."),
    ] = "cam",
    pooling: Annotated[
        Literal["rank", "average", "max", "log-sum-exp", "every"],
        typer.Option(help="How the scores of all places become that of the image."),
    ] = "rank",
    one_class: Annotated[
        bool, typer.Option("--one-class", help="At most one class is in an image or slice.")
    ] = False,
    flips: Annotated[
        bool, typer.Option("--flips", help="Average maps over mirrored views and sizes: slower.")
    ] = False,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="LOW-HIGH",
            help="A class that is there takes so many percent of an image, such as 1-20.",
            show_default=False,
        ),
    ] = None,
    crf: Annotated[
        Literal["local", "dense", "off"],
        typer.Option(help="Field: local, in torch; dense, by pydensecrf2 (extra crf); or off."),
    ] = "local",
    encoder: options.Encoder = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write seeds even where the check says they mean nothing.")
    ] = False,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    steps: options.Steps = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    channel_axis: options.ChannelAxis = None,
) -> None:
    """Turn tags into heat maps and seeds.

    Trains a classifier of the tagged images or slices, checks it on some that are held back, and makes of its
    maps hint maps of what is sure, for fit, for other tools and for corrections by hand.
    """
    from wsseg.bags import check_marks, read_bags
    from wsseg.dataset import open_dataset

    # what needs no PyTorch is told before that is loaded
    options.exclude(resume=resume, overwrite=overwrite)
    prior = _size_of(size)
    dataset = open_dataset(data, channel_axis=channel_axis)
    bags = read_bags(dataset)
    check_marks(dataset)
    if out.resolve() == data.resolve():
        raise InputError(f"{out}: is the dataset itself; choose another folder for --out.")
    from wsseg.budget import TAG_STEPS
    from wsseg.crf import need_dense
    from wsseg.encoder import load_encoder
    from wsseg.outfolder import checksum, open_out
    from wsseg.seedrun import LAYOUT, SeedRun, seed_steps
    from wsseg.seeds import SeedConfig
    from wsseg.tagfit import TagConfig

    if crf == "dense":
        need_dense()
    pretrained = load_encoder(encoder) if encoder else None
    if untagged := [name for k, name in dataset.classes.items() if k not in bags.classes]:
        typer.echo(f"Warning: no tag names {', '.join(untagged)}; it gets no seeds.", err=True)
    train = TagConfig(
        steps=steps or TAG_STEPS, seed=seed, device=device, pooling=pooling, exclusive=one_class
    )
    settings = {
        "method": method,
        "pooling": pooling,
        "one_class": one_class,
        "flips": flips,
        "size": size,
        "crf": crf,
        "encoder": str(encoder.resolve()) if encoder else None,
        "force": force,
        "steps": train.steps,
        "seed": seed,
        "tags": checksum(data / "tags.csv"),
        "images": [item.stem for item in dataset.items],
    }
    if not open_out(out, settings, LAYOUT, resume=resume, overwrite=overwrite):
        typer.echo(f"{out} is finished; nothing is left to do (--overwrite does it anew).")
        return
    field = SeedConfig(solver=crf, size=prior, **({"smooth": 0.0} if crf == "off" else {}))
    run = SeedRun(
        train, field, kind=method, scales=(0.5, 1.0, 1.5) if flips else (1.0,), flips=flips, force=force
    )
    found = run_to_end(
        seed_steps(dataset, bags, run, out, encoder=pretrained),
        no_memory=f"{data}: not enough memory on {device}; use --method cam, which works by blocks, or "
        "--device cpu, and go on with --resume.",
    )
    _tell(found, out)


def _size_of(text: str | None) -> tuple[float, float] | None:
    """Shares from "1-20", percent."""
    if text is None:
        return None
    try:
        low, high = (float(part.strip(" %")) / 100 for part in text.split("-"))
    except ValueError:
        low, high = 1.0, 0.0
    if not 0 <= low < high <= 1:
        raise InputError(f"--size {text}: two percentages from 0 to 100 such as 1-20 are right.")
    return low, high


def _tell(found: "Seeded", out: Path) -> None:
    from wsseg.tagcheck import check_words

    for line in check_words(found.model.config):
        typer.echo(line)
    for k, name in found.model.config.classes.items():
        if found.thresholds[k] is None:
            why = "its heat is the same with it and without it"
        elif not found.share[k]:
            why = "what is hot is too small and too unsure to outlast the field (--crf off keeps it)"
        else:
            continue
        typer.echo(f"Warning: class {k} ({name}) has no seeds: {why}.", err=True)
    typer.echo(found.share_words())
    typer.echo(f"Hint maps: {out / 'hints'}; heat maps: {out / 'heat'}; the classifier: {out / 'classifier'}")
