"""A folder that a training command writes as a whole, and what a stopped run leaves in it."""

import json
import shlex
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from wsseg.atomic import check_room
from wsseg.errors import InputError

READ = ("images", "hints", "masks")  # folders of a dataset in which every file counts


def open_model_folder(
    out: Path,
    kind: str,
    sources: Collection[Path],
    left: Collection[str],
    *,
    resume: bool,
    overwrite: bool,
) -> bool:
    """Whether there is something to train; clears what an overwritten run left to resume from.

    Args:
        out: The folder, which may be missing.
        kind: "model" or "encoder".
        sources: What is read, which may not be replaced.
        left: Names of what a stopped run leaves.
        resume, overwrite: As the user said; not both.

    Raises:
        InputError: `out` can't be written, lies among what is read, or holds something that may not be
            replaced.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; --out names a folder.")
    for source in sources:
        for name in READ:
            if (source / name).is_dir() and (source / name).resolve() in (
                out.resolve(),
                *out.resolve().parents,
            ):
                raise InputError(f"{out}: lies in {source / name}, which is read; choose a folder beside it.")
    if not out.is_dir() or not any(out.iterdir()):
        check_room(out)
        return True
    finished = is_finished(out, kind)
    # the folder is replaced as a whole, so nobody's own files may be in it
    ours = finished or {entry.name for entry in out.iterdir()} <= set(left)
    if not ours or any(out.resolve() == source.resolve() for source in sources):
        raise InputError(f"{out}: is not empty and no {kind} folder; choose another one for --out.")
    if resume and finished and not (out / "checkpoint").is_dir():
        return False
    if resume or overwrite:
        check_room(out)
    if resume:
        return True
    if overwrite:
        shutil.rmtree(out / "checkpoint", ignore_errors=True)
        return True
    raise InputError(
        f"{out}: is not empty; choose a new folder, or add --resume to go on with a stopped run, or "
        "--overwrite to replace it."
    )


def is_finished(folder: Path, kind: str) -> bool:
    """Whether a folder holds a whole "model" or "encoder"."""
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8")).get("kind") == kind
    except (OSError, ValueError, AttributeError):
        return False


def state_of(out: Path) -> int | None:
    """Up to which step a stopped run is kept, or None."""
    kept = _checkpoint(out)
    return None if kept is None else int(kept["done"])


def command_of(out: Path) -> list[str] | None:
    """The words of the command that a stopped run was started with, or None where they are not kept."""
    kept = _checkpoint(out) or {}
    return shlex.split(kept["command"]) if kept.get("command") else None


def _checkpoint(out: Path) -> dict[str, Any] | None:
    state = out / "checkpoint" / "config.json"
    return json.loads(state.read_text(encoding="utf-8")) if state.is_file() else None
