"""The folder of results of a long run: opened anew, gone on with, or replaced; never anyone's own files."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsseg.atomic import write_beside
from wsseg.errors import InputError
from wsseg.tables import read_json


@dataclass(frozen=True)
class Layout:
    """What a command leaves in its folder.

    Attributes:
        command: Its name.
        record: File with the settings, written first.
        last: File written last; where it is, the run is finished.
        files, folders: All else.
        hints: What it works on, as a word.
    """

    command: str
    record: str
    last: str
    files: tuple[str, ...]
    folders: tuple[str, ...]
    hints: str


def open_out(
    out: Path, settings: Mapping[str, Any], layout: Layout, *, resume: bool, overwrite: bool
) -> bool:
    """Whether there is something to do in `out`; notes there what is done.

    Args:
        out: Made where it is missing.
        settings: All that decides the result, JSON-ready.
        layout: Of the command.
        resume: Go on with the run in it.
        overwrite: Replace it.

    Raises:
        InputError: It holds something else, or a run with other settings.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; --out names a folder.")
    record = out / layout.record
    if out.is_dir() and any(out.iterdir()):
        if not record.is_file():
            raise InputError(f"{out}: is not empty and not made by {layout.command}; choose another folder.")
        if overwrite:
            for name in (layout.last, *layout.files):
                (out / name).unlink(missing_ok=True)
            for name in layout.folders:
                shutil.rmtree(out / name, ignore_errors=True)
        elif not resume:
            raise InputError(
                f"{out}: is not empty; choose a new folder, or add --resume to go on with a stopped run, or "
                "--overwrite to replace it."
            )
        elif read_json(record) != settings:
            raise InputError(
                f"{out}: holds a run with other options or other {layout.hints}; resume with the same ones, "
                "or start again with --overwrite."
            )
    with write_beside(record) as fresh:
        fresh.write_text(json.dumps(settings, indent=2), encoding="utf-8")
    return not (out / layout.last).is_file()


def checksum(path: Path) -> str:
    """A short code for the content of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]
