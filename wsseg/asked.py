"""What a run was asked for: kept with it, so that it is not gone on with by another command or other data."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wsseg.atomic import write_beside
from wsseg.errors import InputError
from wsseg.outfolder import checksum
from wsseg.tables import read_json

TABLES = ("boxes.json", "classes.json", "clicks.csv", "tags.csv")
MAPS = ("hints", "masks", "clicks")  # folders


def asked_for(data: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """A record, JSON-ready: the options that decide a result, and checksums of a dataset folder's hints.

    Args:
        data: The dataset folder.
        options: Name, as in "terms" for --terms, to what was said; None, () or "" where nothing was.
    """
    said = {name: str(v) if isinstance(v, Path) else v for name, v in options.items()}
    sums = {path.relative_to(data).as_posix(): checksum(path) for path in _files(data)}
    return {"options": json.loads(json.dumps(said)), "hints": sums}


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two records of `asked_for`, a few words each."""
    found = []
    for name, value in now["options"].items():
        was = before["options"].get(name)
        if was != value:
            found.append(f"--{name} was {_told(was)} and is {_told(value)}")
    old, new = before["hints"], now["hints"]
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            what = "is new" if name not in old else "is gone" if name not in new else "has changed"
            found.append(f"{name} {what}")
    return found


def hold_to(record: Path, now: Mapping[str, Any], where: Path) -> None:
    """Write the record of a run, or compare with the one that is there.

    Args:
        record: The file.
        now: Of `asked_for`.
        where: What is being made, for the message.

    Raises:
        InputError: The run that is there was asked for something else.
    """
    if record.is_file():
        refuse_other(read_json(record), now, f"{where}: the stopped run")
        return
    record.parent.mkdir(parents=True, exist_ok=True)
    with write_beside(record) as fresh:
        fresh.write_text(json.dumps(now, indent=2), encoding="utf-8")


def refuse_other(before: Mapping[str, Any], now: Mapping[str, Any], what: str) -> None:
    """Refuse to go on with what was asked for otherwise.

    Raises:
        InputError: Something differs; the sentence names up to three things.
    """
    if found := changes(before, now):
        more = f", and {len(found) - 3} more" if len(found) > 3 else ""
        raise InputError(
            f"{what} was asked for otherwise ({'; '.join(found[:3])}{more}); resume with the same options "
            "and hints, or start again with --overwrite."
        )


def _told(value: Any) -> str:
    return "not given" if value in (None, "", [], ()) else str(value)


def _files(data: Path) -> Iterator[Path]:
    """The files that say what is marked, those in folders of OME-Zarr maps among them."""
    yield from (data / name for name in TABLES if (data / name).is_file())
    for name in MAPS:
        yield from sorted(path for path in (data / name).rglob("*") if path.is_file())
