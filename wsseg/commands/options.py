"""Options that several commands share, said once."""

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from wsseg.encoder import SavedEncoder

Seed = Annotated[int, typer.Option(min=0, metavar="S", help="Same seed, same machine, same result.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", metavar="NAME")]
Steps = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Training steps; by default chosen from the data.", show_default=False
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier run left in --out.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")]
Encoder = Annotated[
    Path | None,
    typer.Option(
        help="Pretrained encoder to start from: a folder, or a torchvision ResNet's .safetensors.",
        metavar="ENC",
        show_default=False,
    ),
]
Unknown = Annotated[
    int | None,
    typer.Option(
        min=0, metavar="V", help="Foreign hint maps: the value that says nothing.", show_default=False
    ),
]
Background = Annotated[
    int | None,
    typer.Option(min=0, metavar="V", help="Foreign hint maps: the value of background.", show_default=False),
]
ChannelAxis = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="NIfTI, TIFF: the axis that is channels, where the file is silent.",
        show_default=False,
    ),
]
Data = Annotated[
    Path, typer.Argument(help="Dataset folder: images/ and hints.", metavar="DATA", show_default=False)
]


def exclude(*, resume: bool, overwrite: bool) -> None:
    """Refuse --resume and --overwrite together.

    Raises:
        InputError: Both are given.
    """
    from wsseg.errors import InputError

    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other; give one.")


def tell_warnings(encoder: "SavedEncoder", spacings: Sequence[Sequence[float]], rgb: bool) -> None:
    """Say on standard error where an encoder does not suit images of these spacings and of this kind."""
    import numpy as np

    for sentence in encoder.warnings([float(s) for s in np.median(spacings, axis=0)], rgb):
        typer.echo(f"Warning: --encoder: {sentence}.", err=True)


def taken_words(counts: Mapping[str, int]) -> str:
    """What was taken of an encoder, as a model's config has it."""
    from wsseg.encoder import taken_words

    return f"Encoder: {taken_words(counts)}"


def sizes_of(text: str, dims: int, option: str) -> tuple[int, ...]:
    """Whole numbers above 0 from "64" (for every axis) or "64,64,32" (one an axis).

    Raises:
        InputError: It is neither.
    """
    from wsseg.errors import InputError

    try:
        numbers = [int(part) for part in text.replace("x", ",").split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        numbers *= dims
    if len(numbers) != dims or min(numbers) < 1:
        example = ",".join(["64"] * dims)
        raise InputError(f"{option} {text}: one whole number, or {dims} such as {example}, is right.")
    return tuple(numbers)


def read_terms(text: str, known: Collection[str]) -> tuple[str, ...]:
    """The terms of --terms.

    Raises:
        InputError: One is not known.
    """
    from wsseg.errors import InputError

    terms = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := [name for name in terms if name not in known]:
        raise InputError(f"--terms {unknown[0]}: there is no such term; {', '.join(known)} are right.")
    return terms


def names(classes: Mapping[int, str]) -> str:
    """Classes as a person reads them: "1 (grey), 2 (white)"."""
    return ", ".join(f"{k} ({classes[k]})" for k in sorted(classes))


def shell(*words: object) -> str:
    """A wsseg command as one can paste it: names with spaces in quotes."""
    return shlex.join(["wsseg", *map(str, words)])


def duration(seconds: float) -> str:
    """A time as a person says it: "12 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    return f"{whole // 3600} h {whole % 3600 // 60} min"
