"""The journal of a session: every change to what is marked on an image, appended as it happens.

    SESSION/session.json    which image it is of, and the format
    SESSION/journal.jsonl   a line a change, with its time; a changed part of a map is "at" a byte of maps.bin
    SESSION/maps.bin        those parts, compressed

The last two only grow, and the bytes of a map are on disk before the line that names them. So whatever is
killed when, each whole line is a whole change, and a line that was cut short is left out.
"""

import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from wsseg.atomic import write_beside
from wsseg.errors import InputError
from wsseg.tables import read_json

ABOUT, LINES, MAPS = "session.json", "journal.jsonl", "maps.bin"
FORMAT = 1
FORCE_SECONDS = 5.0


@dataclass(frozen=True, eq=False)
class Entry:
    """One change.

    Attributes:
        time: Seconds since 1970.
        kind: What has changed.
        values: JSON values that say how.
        block: uint8 or uint16, a changed part of a map as it is now, or None.
    """

    time: float
    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)
    block: np.ndarray | None = None

    @property
    def place(self) -> tuple[slice, ...]:
        """Where in the map the block lies; its values have a "start"."""
        assert self.block is not None
        starts = self.values["start"]
        return tuple(slice(a, a + n) for a, n in zip(starts, self.block.shape, strict=True))


class Journal:
    """A journal that is being written, by one process alone.

    Args:
        folder: Made, with its parents; it may not be there yet.
        about: JSON values: what the session is of.
        goes_on: The folder of an earlier session whose changes come first, or None.

    Raises:
        InputError: The disk refuses, or the earlier session can't be read.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], *, goes_on: Path | None = None) -> None:
        self.folder = folder
        if folder.exists():
            raise InputError(f"{folder}: is there already; a session needs a folder of its own.")
        content = {"format": FORMAT, **about}
        earlier: list[Entry] = []
        if goes_on is not None:
            earlier = list(read_journal(goes_on)[1])
            content["goes_on"] = goes_on.name
        with write_beside(folder) as fresh:
            fresh.mkdir()
            (fresh / ABOUT).write_text(json.dumps(content, indent=2), encoding="utf-8")
            with open(fresh / LINES, "wb") as lines, open(fresh / MAPS, "wb") as maps:
                for entry in earlier:
                    _write(entry, lines, maps)
        self._lines = open(folder / LINES, "ab", buffering=0)
        self._maps = open(folder / MAPS, "ab", buffering=0)
        self._forced = time.monotonic()

    def append(
        self,
        kind: str,
        values: Mapping[str, Any] | None = None,
        block: np.ndarray | None = None,
        *,
        moment: float | None = None,
    ) -> None:
        """Write one change; when this returns, no end of this program can lose it.

        `moment` is its time, None = now: changes of one moment belong together.

        Every few seconds all is forced onto the disk itself, so that a power cut costs no more.

        Raises:
            InputError: The disk refuses; the files are as they were.
        """
        ends = [(file, file.seek(0, os.SEEK_END)) for file in (self._maps, self._lines)]
        try:
            _write(
                Entry(time.time() if moment is None else moment, kind, values or {}, block),
                self._lines,
                self._maps,
            )
            if time.monotonic() - self._forced > FORCE_SECONDS:
                self._force()
        except OSError as error:
            for file, end in ends:
                os.ftruncate(file.fileno(), end)  # half a line would spoil the next
            raise InputError(
                f"{self.folder}: the session can't be saved ({error.strerror or error}); free some space."
            ) from error

    def close(self) -> None:
        """No more changes will come."""
        with suppress(OSError):  # told before
            self._force()
        self._lines.close()
        self._maps.close()

    def _force(self) -> None:
        os.fsync(self._maps.fileno())
        os.fsync(self._lines.fileno())
        self._forced = time.monotonic()


def read_journal(folder: Path) -> tuple[dict[str, Any], Iterator[Entry]]:
    """What a session is of, and its changes in order; a change that a kill cut short is left out.

    Raises:
        InputError: There is no session, it is of a newer format, or its bytes are damaged.
    """
    if not folder.exists():
        raise InputError(f"{folder}: there is no such folder; check the name.")
    if not (folder / ABOUT).is_file():
        raise InputError(f"{folder}: is no session; a folder with {ABOUT} is right.")
    about = read_json(folder / ABOUT)
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise InputError(
            f"{folder / ABOUT}: is not of format {FORMAT}; read it with the wsseg that wrote it."
        )
    return about, _entries(folder)


def _entries(folder: Path) -> Iterator[Entry]:
    try:
        with open(folder / LINES, "rb") as lines, open(folder / MAPS, "rb") as maps:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    return  # a kill cut it short
                yield _read(line, maps, f"{folder / LINES}, line {number}")
    except OSError as error:
        raise InputError(f"{folder}: the session can't be read ({error.strerror or error}).") from error


def _write(entry: Entry, lines: IO[bytes], maps: IO[bytes]) -> None:
    values: dict[str, Any] = {"time": round(entry.time, 3), "kind": entry.kind, **entry.values}
    if entry.block is not None:
        packed = zlib.compress(np.ascontiguousarray(entry.block).tobytes(), 1)
        shape, kind = list(entry.block.shape), entry.block.dtype.str
        at = maps.seek(0, os.SEEK_END)
        values["block"] = {
            "at": at,
            "bytes": len(packed),
            "crc": zlib.crc32(packed),
            "shape": shape,
            "type": kind,
        }
        _put(maps, packed)
    _put(lines, json.dumps(values, ensure_ascii=False).encode() + b"\n")


def _put(file: IO[bytes], data: bytes) -> None:
    """Write all; a file without a buffer may take less at once."""
    rest = memoryview(data)
    while len(rest):
        rest = rest[file.write(rest) :]


def _read(line: bytes, maps: IO[bytes], where: str) -> Entry:
    damaged = f"{where}: is damaged; the changes before it can be read when it and what follows are cut off."
    try:
        values = json.loads(line)
        moment, kind, stored = values.pop("time"), values.pop("kind"), values.pop("block", None)
        block = None
        if stored is not None:
            maps.seek(stored["at"])
            packed = maps.read(stored["bytes"])
            if zlib.crc32(packed) != stored["crc"]:
                raise InputError(damaged)
            block = np.frombuffer(zlib.decompress(packed), np.dtype(stored["type"])).reshape(stored["shape"])
        return Entry(float(moment), str(kind), values, block)
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
        raise InputError(damaged) from error
