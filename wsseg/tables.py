"""The small tables of a dataset folder: classes.json, clicks.csv and tags.csv."""

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsseg.captions import classes_in
from wsseg.errors import InputError
from wsseg.hints import Click, Tag
from wsseg.images import stem_of

AXES = ("axis-0", "axis-1", "axis-2")


@dataclass(frozen=True)
class Known:
    """What a table may refer to.

    Attributes:
        stems: The images of the dataset.
        shape_of: Gives an image's spatial shape by its stem.
        classes: Class id to name where classes.json or boxes.json names them, else None: any id will do.
    """

    stems: frozenset[str]
    shape_of: Callable[[str], tuple[int, ...]]
    classes: Mapping[int, str] | None

    def find(self, text: str) -> str | None:
        """The stem of an image given by its stem, file name or path, or None."""
        name = Path(text.strip().replace("\\", "/")).name
        return next((stem for stem in (name, stem_of(name)) if stem in self.stems), None)

    def stem(self, text: str, where: str) -> str:
        """The stem of an image given by its stem, file name or path."""
        found = self.find(text)
        if found is None:
            raise InputError(f"{where}: there is no image “{text}”; a stem or file name in images/ is right.")
        return found

    def class_id(self, text: str, where: str, *, background: bool = False) -> int:
        """The class given by id or name; 0 only where a background click makes sense."""
        text = text.strip()
        number = _whole(text)
        if number is None and self.classes is not None:
            number = next((k for k, name in self.classes.items() if name == text), None)
        known = number is not None and (
            (1 <= number <= 254 and (self.classes is None or number in self.classes))
            or (background and number == 0)
        )
        if not known or number is None:
            raise InputError(f"{where}: there is no class “{text}”; {known_classes(self.classes)}.")
        return number


def known_classes(classes: Mapping[int, str] | None) -> str:
    """The classes as the end of a sentence."""
    if classes is None:
        return "an id from 1 to 254 is right, or a name that classes.json gives"
    return "known are " + ", ".join(f"{k} ({classes[k]})" for k in sorted(classes))


def unnamed_words(classes: Mapping[int, str], what: str = "No hint names") -> str:
    """What it means that nothing names these classes, as a sentence."""
    it = "it" if len(classes) == 1 else "them"
    return f"{what} {', '.join(classes.values())}; the model will never answer {it}."


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        InputError: It can't be read as JSON; the sentence gives the line.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {error.lineno} is not JSON ({error.msg}); mend it there.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: can't be read as text in UTF-8 ({error}); save it so.") from error


def read_classes(path: Path) -> dict[int, str]:
    """Class id to name from classes.json, sorted by id; synonyms are left out.

    Raises:
        InputError: As `read_synonyms`.
    """
    return {class_id: words[0] for class_id, words in read_synonyms(path).items()}


def read_synonyms(path: Path) -> dict[int, tuple[str, ...]]:
    """Class id to its name and further words for it, from classes.json, sorted by id.

    {"1": "nucleus"} names a class; {"1": ["nucleus", "nuclei", "karyon"]} also says which other words for it
    may stand in captions.

    Raises:
        InputError: It is not an object of ids 1…254 to different names, or two classes share a word.
    """
    content = read_json(path)
    right = 'an object such as {"1": "nucleus"} or {"1": ["nucleus", "nuclei"]} is right'
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: holds no classes; {right}.")
    classes: dict[int, tuple[str, ...]] = {}
    taken: set[str] = set()
    for key, value in content.items():
        number = _whole(key)
        if number is None or not 1 <= number <= 254:
            raise InputError(f"{path}: the key “{key}” is no class id from 1 to 254; {right}.")
        words = tuple(value) if isinstance(value, list) and value else (value,)
        if not all(isinstance(word, str) and word.strip() for word in words):
            raise InputError(f"{path}: class {key} has no name but {json.dumps(value)}; {right}.")
        if twice := next((word for word in words if word in taken), None):
            raise InputError(f"{path}: two classes are called “{twice}”; a name for each is right.")
        if number in classes:
            raise InputError(f"{path}: class {number} stands there twice; once is right.")
        taken |= set(words)
        classes[number] = words
    return dict(sorted(classes.items()))


def read_clicks(path: Path, known: Known, *, stem: str | None = None) -> dict[str, tuple[Click, ...]]:
    """The clicks of clicks.csv by stem: columns image, class, axis-0, axis-1[, axis-2], others ignored.

    A table of napari's points layer is read as it is, once it has a column for the image (or `stem` says
    which image it belongs to). Without a column for the class every click is the one class there is.

    Raises:
        InputError: A line is malformed, or names an unknown image or class, or lies outside its image.
    """
    clicks: dict[str, list[Click]] = {}
    for where, row in _rows(path, required=(*(() if stem else ("image",)), *AXES[:2])):
        name = stem or known.stem(row["image"], where)
        shape = known.shape_of(name)
        if "class" in row:
            number = known.class_id(row["class"], where, background=True)
        elif known.classes is None or len(known.classes) == 1:
            number = min(known.classes or {1: ""})
        else:
            raise InputError(f"{path}: has no column “class” but there are {len(known.classes)}; add it.")
        texts = [row[axis] for axis in AXES if row.get(axis)]
        position = tuple(_real(text, where) for text in texts)
        inside = all(-0.5 <= p < n - 0.5 for p, n in zip(position, shape, strict=False))
        if len(position) != len(shape) or not inside:
            raise InputError(
                f"{where}: the click at {position} lies outside of {name}, of shape {shape}; a position in "
                "voxels for each axis is right."
            )
        clicks.setdefault(name, []).append(Click(position, number))
    return {name: tuple(found) for name, found in clicks.items()}


def write_clicks(path: Path, clicks: Mapping[str, Iterable[Click]], ndim: int) -> None:
    """Write a table that `read_clicks` reads.

    Args:
        path: The table.
        clicks: Stem of each image to its clicks.
        ndim: Spatial axes of the images.
    """
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["image", "class", *AXES[:ndim]])
        for stem, own in clicks.items():
            writer.writerows([stem, click.class_id, *click.position] for click in own)


def read_tags(
    path: Path, known: Known, words: Mapping[int, Iterable[str]] | None = None
) -> dict[str, frozenset[Tag]]:
    """The tags of tags.csv by stem: columns image, class[, axis, slice], one row a class that is present.

    An empty class says that none is there: in the image (no tag then), or in the slice (a tag of class 0).
    With a column "caption" in place of "class" the classes are those that the caption says are there
    (`wsseg.captions`); an empty caption says nothing.

    Args:
        path: The table.
        known: What it may refer to.
        words: Class id to name and synonyms, for captions; None = classes have no names.

    Raises:
        InputError: A line is malformed, names an unknown image, class or slice, or says both that there is a
            class and that there is none; captions without names of classes, or none of them names any.
    """
    tags: dict[str, set[Tag]] = {}
    said: dict[tuple, tuple[bool, str]] = {}  # image and slice -> whether it has a class, and who says so
    for where, row in _tag_rows(path, words):
        name = known.stem(row["image"], where)
        found = tags.setdefault(name, set())
        axis, index = (_optional(row.get(column, ""), column, where) for column in ("axis", "slice"))
        if (axis is None) != (index is None):
            raise InputError(f"{where}: axis and slice belong together; give both or none.")
        if axis is not None and index is not None:
            shape = known.shape_of(name)
            if not (0 <= axis < len(shape) and 0 <= index < shape[axis]):
                raise InputError(
                    f"{where}: there is no slice {index} along axis {axis} of {name}, whose shape is {shape}."
                )
        has, before = said.setdefault((name, axis, index), (bool(row["class"]), where))
        if has != bool(row["class"]):
            there = name if axis is None else f"slice {index} along axis {axis} of {name}"
            raise InputError(
                f"{where}: {there} has {'a class' if row['class'] else 'no class'} here, and "
                f"{'a class' if has else 'no class'} in {before.rpartition(', ')[2]}; only one can be right."
            )
        if row["class"]:
            found.add(Tag(known.class_id(row["class"], where), axis, index))
        elif axis is not None:
            found.add(Tag(0, axis, index))
    return {name: frozenset(found) for name, found in tags.items()}


def _tag_rows(path: Path, words: Mapping[int, Iterable[str]] | None) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of tags.csv, captions turned into a row for each class that they name."""
    if "class" in _columns(path) or "caption" not in _columns(path):
        yield from _rows(path, required=("image", "class"))
        return
    if words is None:
        raise InputError(f"{path}: captions need names of classes; classes.json with names is right.")
    rows = [row for row in _rows(path, required=("image", "caption")) if row[1]["caption"]]
    named = [classes_in(row["caption"], words) for _, row in rows]
    if not any(named):
        known = ", ".join(word for own in words.values() for word in own)
        raise InputError(
            f"{path}: no caption names a class; the words looked for are {known}: add those that the "
            'captions use to classes.json, as in {"1": ["nucleus", "nuclei"]}.'
        )
    for (where, row), found in zip(rows, named, strict=True):
        for text in [str(class_id) for class_id in sorted(found)] or [""]:
            yield where, {**row, "class": text}


def _columns(path: Path) -> list[str]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            return [column.strip() for column in next(csv.reader(handle, skipinitialspace=True), [])]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []  # `_rows` says what is wrong


def _rows(path: Path, *, required: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """("file, line n", row) for every line below the heading; empty lines are left out."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle, skipinitialspace=True, strict=True)
            columns = [column.strip() for column in reader.fieldnames or ()]
            reader.fieldnames = columns
            missing = [column for column in required if column not in columns]
            if missing:
                raise InputError(
                    f"{path}: line 1 lacks the column “{missing[0]}”; a heading with "
                    f"{', '.join(required)}, with commas between, is right."
                )
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                if None in row or None in row.values():
                    raise InputError(f"{where}: has not {len(columns)} columns as the heading has.")
                yield where, {column: text.strip() for column, text in row.items()}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: can't be read as a CSV table in UTF-8 ({error}); save it so.") from error


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _real(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{where}: “{text}” is no number; a position in voxels is right.")
    return number


def _optional(text: str, column: str, where: str) -> int | None:
    number = _whole(text)
    if text and number is None:
        raise InputError(f"{where}: the {column} “{text}” is no whole number.")
    return number
