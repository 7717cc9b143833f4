"""Tags written into tags.csv; what it says of other images, and other columns, stay."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from wsseg.atomic import write_beside
from wsseg.errors import InputError
from wsseg.hints import Tag
from wsseg.images import stem_of
from wsseg.tables import read_classes

COLUMNS = ("image", "class", "axis", "slice")


def save_tags(path: Path, tags: Mapping[str, frozenset[Tag]], classes: Mapping[int, str]) -> None:
    """Write tags of some images; rows that the table had of them are replaced.

    Classes are written by name where a classes.json beside the table has it, else by id.

    Args:
        path: The table; made where there is none.
        tags: File name of each tagged image to its tags; none = none of the classes is in it.
        classes: Class id to name.

    Raises:
        InputError: The table there has no columns image and class, classes.json lacks a class, or the disk
            refuses.
    """
    columns, rows = _read(path)
    words = _words(path, {tag.class_id for own in tags.values() for tag in own} - {0}, classes)
    slices = any(tag.axis is not None for own in tags.values() for tag in own)
    columns += [name for name in COLUMNS[: 4 if slices else 2] if name not in columns]
    stems = {stem_of(name) for name in tags}
    kept = [row for row in rows if stem_of(row["image"].strip().replace("\\", "/")) not in stems]
    for name, own in tags.items():
        kept += [{"image": name, **row} for row in _rows(own, words)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(kept)
    with write_beside(path) as fresh:
        fresh.write_text(text.getvalue(), encoding="utf-8")


def _rows(tags: frozenset[Tag], words: Mapping[int, str]) -> list[dict[str, str]]:
    """A row for each class that is there, one with an empty class for none."""
    if not tags:
        return [{"class": ""}]
    rows = []
    for tag in sorted(
        tags, key=lambda tag: (tag.axis or 0, -1 if tag.slice is None else tag.slice, tag.class_id)
    ):
        place = {} if tag.axis is None else {"axis": str(tag.axis), "slice": str(tag.slice)}
        rows.append({"class": words.get(tag.class_id, ""), **place})
    return rows


def _words(path: Path, used: set[int], classes: Mapping[int, str]) -> dict[int, str]:
    """What to write for each class."""
    known = path.with_name("classes.json")
    if not known.exists():
        return {k: str(k) for k in used}
    names = set(read_classes(known).values())
    for k in sorted(used):
        if classes[k] not in names:
            raise InputError(
                f"{known}: has no class “{classes[k]}”; add it there, or rename the class as it is there."
            )
    return {k: classes[k] for k in used}


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """The columns and rows of a table, none where there is no file."""
    if not path.exists():
        return [], []
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle, skipinitialspace=True, strict=True, restkey="", restval="")
            reader.fieldnames = [column.strip() for column in reader.fieldnames or ()]
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: can't be read as a CSV table in UTF-8 ({error}); choose another name."
        ) from error
    columns = list(reader.fieldnames)
    if not {"image", "class"} <= set(columns):
        raise InputError(
            f"{path}: lacks the columns image and class, as one of captions does; choose another name."
        )
    return columns, [{name: row[name] for name in columns} for row in rows]
