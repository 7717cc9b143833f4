"""Results are written beside and renamed, so that nothing half-written is ever left under its own name."""

import ctypes
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
    suffixes are kept, because writers choose the format by them. An existing folder changes places with the
    new one in one step where the system can (Linux); elsewhere it is moved aside first, and a kill between
    those two renames leaves both complete, but under hidden names.

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
            if not _exchange(fresh, path):
                os.replace(path, room / "old")
                os.replace(fresh, path)
        else:
            os.replace(fresh, path)
    except OSError as error:
        raise InputError(
            f"{path}: can't be written ({error.strerror or error}); nothing was changed, "
            "free some space or choose another folder and run again."
        ) from error
    finally:
        shutil.rmtree(room, ignore_errors=True)


def check_writable(path: Path | str) -> None:
    """Whether a file could be written there, told before minutes of work and not after them.

    Nothing is left behind, not even the folders that the file would be in.

    Raises:
        InputError: It is a folder, or the folder that it would be in can't be written.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file in it.")
    check_room(path)


def check_room(path: Path | str) -> None:
    """Whether a file or folder could be made there, or replaced; see `check_writable`.

    Raises:
        InputError: The folder that it would be in can't be written, or is a file.
    """
    path = Path(path)
    there = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=there):
            pass
    except OSError as error:
        raise InputError(f"{path}: can't be written ({error.strerror}); choose a folder that can.") from error


def remove(folder: Path) -> None:
    """Take a folder away, if it is there; it is gone from under its name before anything in it is.

    Raises:
        InputError: The disk refuses; the folder is as it was.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as room:
            os.replace(folder, Path(room) / "old")
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"{folder}: can't be removed ({error.strerror or error}).") from error


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths change places in one step; False where the system or the disk can't.

    Python has no name for Linux's renameat2 with RENAME_EXCHANGE, so the C library is asked.
    """
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return rename is not None and rename(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0


def _flush(path: Path) -> None:
    """Force the bytes to disk before the rename, or a power cut could leave a renamed but empty file."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    for file in files:
        with open(file, "rb") as handle:
            os.fsync(handle.fileno())


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link (to every file, for a folder), or a copy on another disk."""
    target.parent.mkdir(parents=True, exist_ok=True)

    def link(one: str, other: str) -> None:
        try:
            os.link(os.path.realpath(one), other)
        except OSError:
            shutil.copy2(one, other)

    if source.is_dir():
        shutil.copytree(source, target, copy_function=link)
    else:
        link(str(source), str(target))
