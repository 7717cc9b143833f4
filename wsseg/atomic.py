"""Results are written beside and renamed, so that nothing half-written is ever left under its own name."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wsseg.errors import InputError


@contextmanager
def write_beside(path: Path | str) -> Iterator[Path]:
    """Give a fresh path beside `path`; rename it over `path` when the block ends well, remove it when not.

    Works for a file and for a folder (the block makes whichever it needs at the path it is given). The
    suffixes are kept, because writers choose the format by them. An existing folder is moved aside before
    the rename and removed after it, so a kill in between leaves the old or the new one complete on disk.

    Raises:
        InputError: The disk is full or the folder can't be written; the sentence names the file.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise InputError(f"{path}: can't be written ({error.strerror}); choose a folder that can.") from error
    try:
        fresh = room / path.name
        yield fresh
        _flush(fresh)
        if path.is_dir() and not path.is_symlink():
            os.replace(path, room / "old")
        os.replace(fresh, path)
    except OSError as error:
        raise InputError(
            f"{path}: can't be written ({error.strerror or error}); nothing was changed, "
            "free some space or choose another folder and run again."
        ) from error
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _flush(path: Path) -> None:
    """Force the bytes to disk before the rename, or a power cut could leave a renamed but empty file."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    for file in files:
        with open(file, "rb") as handle:
            os.fsync(handle.fileno())
