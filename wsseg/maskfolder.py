"""The folder that masks are predicted into: which model made which, so that none is taken for another's."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from wsseg.atomic import write_beside
from wsseg.dataset import Dataset
from wsseg.errors import InputError
from wsseg.images import is_image, stem_of
from wsseg.model import Model
from wsseg.whichmasks import RECORD


def open_out(
    out: Path,
    model: Model,
    images: Mapping[str, Path],
    *,
    hints: Dataset | None = None,
    split: bool | None = None,
    min_score: float = 0.0,
    how: Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> None:
    """Check that masks of these images may go into `out`, and note there which model makes them.

    A folder that this model began is gone on with; its masks are kept. Any other folder that is not empty
    needs the caller's word. With `overwrite` the record lists the masks of before as "stale" until each is
    made anew, so that a stopped run is gone on with and leaves no mask of another model for done.

    Args:
        out: Made where it is missing.
        model: What predicts.
        images: Stem to path.
        hints: The dataset whose hints the masks honour.
        split: Whether objects that touch are cut; None = no objects are wanted.
        min_score: Of objects that stay.
        how: Option to value of all else that changes a mask, JSON-ready; a folder from before this was noted
            goes on with any.
        resume: Keep what is in a folder without a record.
        overwrite: Predict again what is there.

    Raises:
        InputError: The folder holds something else, masks of another model or of other images with the same
            names, made with other options, objects cut in another way, or the images themselves.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; --out names a folder.")
    for path in images.values():
        if path.resolve().parent == out.resolve():
            raise InputError(
                f"{out}: holds the image {path.name} itself; choose another folder for the masks."
            )
    sources = {stem: str(path.resolve()) for stem, path in images.items()}
    digest = model_digest(model)
    honoured = str(hints.folder.resolve()) if hints else None
    record = out / RECORD
    masks = [path for path in out.iterdir() if is_image(path)] if out.is_dir() else []
    stale = {stem_of(path) for path in masks} if overwrite else set()
    if record.is_file() and not overwrite:
        old = _read_record(record)
        stale = set(old.get("stale", ()))
        if masks and old["model"] != digest:
            raise InputError(
                f"{out}: holds masks of another model; choose another folder, or predict all again with "
                "--overwrite."
            )
        if masks and old.get("hints") != honoured:
            raise InputError(
                f"{out}: holds masks made {_with_hints(old.get('hints'))}, this run is "
                f"{_with_hints(honoured)}; choose another folder, or predict all again with --overwrite."
            )
        if masks and "how" in old and old["how"] != (how or {}):
            raise InputError(
                f"{out}: holds masks made with {_options(old['how'])}, this run has {_options(how or {})}; "
                "choose another folder, or predict all again with --overwrite."
            )
        before = old.get("split"), old.get("min_score", 0.0)
        if split is None:
            split, min_score = before
        elif masks and before[0] is not None and before != (split, min_score):
            raise InputError(
                f"{out}: {_differs(before, (split, min_score))}; choose another --out, or the same value."
            )
        for stem in sources:
            if old["images"].get(stem, sources[stem]) != sources[stem]:
                raise InputError(
                    f"{out}: the mask “{stem}” there is that of {old['images'][stem]}, not of "
                    f"{sources[stem]}; choose another folder, or predict it again with --overwrite."
                )
        sources = old["images"] | sources
    elif out.is_dir() and any(out.iterdir()) and not (resume or overwrite):
        raise InputError(
            f"{out}: is not empty; choose a new folder, or add --resume to keep what is there and go on, or "
            "--overwrite to predict again."
        )
    content = {"format": 1, "model": digest, "images": sources, "hints": honoured, "how": dict(how or {})}
    objects = {"split": split, "min_score": min_score}
    _write_record(record, {**content, **objects, "stale": sorted(stale)})


def _options(how: Mapping[str, Any]) -> str:
    """As they are written in the shell; what is None or False was left out."""
    said = [
        f"--{name}" if value is True else f"--{name} {value}"
        for name, value in how.items()
        if value is not None and value is not False
    ]
    return " ".join(said) or "no options"


def _with_hints(folder: str | None) -> str:
    return f"with the hints of {folder}" if folder else "without hints"


def _differs(before: tuple[bool | None, float], now: tuple[bool | None, float]) -> str:
    """Which options of its objects a folder was made with otherwise."""
    found = []
    if before[0] != now[0]:
        found.append("--split was given and is not" if before[0] else "--split was not given and is")
    if before[1] != now[1]:
        found.append(f"--min-score was {before[1]:g} and is {now[1]:g}")
    return ", ".join(found)


def stale_in(out: Path) -> set[str]:
    """The stems of `out` whose masks are from before the last --overwrite, still to be made anew."""
    record = out / RECORD
    return set(_read_record(record).get("stale", ())) if record.is_file() else set()


def note_stale(out: Path, stale: Iterable[str]) -> None:
    """Write down which masks are still to be made anew."""
    _write_record(out / RECORD, {**_read_record(out / RECORD), "stale": sorted(stale)})


def remove_beside(out: Path, stem: str, names: Iterable[str]) -> None:
    """Remove the files of a stem from these folders of `out`: they belonged to a mask that is no more."""
    for name in names:
        folder = out / name
        for path in list(folder.iterdir()) if folder.is_dir() else []:
            if is_image(path) and stem_of(path) == stem:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def model_digest(model: Model) -> str:
    """A short code for a model's weights and classes, to tell whether masks are its own."""
    digest = hashlib.sha256(json.dumps({str(k): v for k, v in model.config.classes.items()}).encode())
    for name, tensor in sorted(model.net.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _write_record(path: Path, content: Mapping[str, Any]) -> None:
    with write_beside(path) as fresh:
        fresh.write_text(json.dumps(content, indent=2), encoding="utf-8")


def _read_record(path: Path) -> dict:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] == 1 and isinstance(record["images"], dict) and record["model"]:
            return record
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: can't be read ({error}); use --overwrite, or another folder.") from error
    raise InputError(f"{path}: was written by another version; use --overwrite, or another folder.")
