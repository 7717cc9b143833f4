"""boxes.json: COCO's boxes, and the same in 3D, turned into half-open voxel intervals at the door."""

import json
import math
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsseg.errors import InputError
from wsseg.hints import Box
from wsseg.tables import Known, known_classes, read_json

MOST = 254  # classes; 255 is background in hint maps
Interval = tuple[tuple[int, ...], tuple[int, ...]]  # (start, stop) along each axis, half-open
_NAMED = re.compile(r", (annotation -?\d+): ")  # which one a sentence is about
_NOISE = 1e-6  # x + w in floats may pass a whole number by this without meaning the next voxel


@dataclass(frozen=True)
class Boxes:
    """The content of boxes.json.

    Attributes:
        by_stem: The boxes of each image that has some, clipped to it.
        classes: Class id to name.
        crowds: Boxes around many objects at once (iscrowd), by stem: of what is in them nothing is known.
        twins: Annotation id to that of an earlier one of the same image, class and box.
        listed: The images of the dataset that the file lists, with boxes or without.
        refused: Annotation id (or "#n", the n-th, where it has none of its own) to what is wrong with it.
        doubtful: Where refused annotations lie, by stem: there is an object, and nobody knows of which kind.
        unplaced: Images with a refused annotation that does not say where it lies: an object may be anywhere.
    """

    by_stem: Mapping[str, tuple[Box, ...]]
    classes: Mapping[int, str]
    crowds: Mapping[str, tuple[Box, ...]] = field(default_factory=dict)
    twins: Mapping[int, int] = field(default_factory=dict)
    listed: frozenset[str] = frozenset()
    refused: Mapping[int | str, str] = field(default_factory=dict)
    doubtful: Mapping[str, tuple[Interval, ...]] = field(default_factory=dict)
    unplaced: frozenset[str] = frozenset()

    def unknown(self, stem: str) -> tuple[Interval, ...]:
        """Where nothing is known of an image beside what its boxes say: in crowds and refused boxes."""
        crowds = ((box.start, box.stop) for box in self.crowds.get(stem, ()))
        return (*crowds, *self.doubtful.get(stem, ()))

    def mistakes(self) -> list[str]:
        """What is wrong with refused annotations, in their order; one sentence for all that share a reason.

        An image that is not there, or has another size, is one mistake, however many boxes it has.
        """
        alike: dict[str, list[str]] = {}
        for sentence in self.refused.values():
            alike.setdefault(_NAMED.sub(", ", sentence, count=1), []).append(sentence)
        return [
            own[0]
            if len(set(own)) == 1
            else _NAMED.sub(rf", {len(own)} boxes (\1 and others): ", own[0], count=1)
            for own in alike.values()
        ]


def read_boxes(path: Path, known: Known, *, lenient: bool = False) -> Boxes:
    """Read boxes.json; a category counts by its name where classes.json has it, else by its id.

    Where there is no classes.json and annotations use a category whose id is no class id (Label Studio begins
    at 0, other tools go beyond 254), all categories are numbered from 1 on in the order of their ids. A
    category that no annotation uses (Roboflow's 0) needs no class.

    COCO's bbox is [x, y, width, height]: x runs along the last stored axis, y along the one before. In 3D
    "bbox3d" is [start0, start1, start2, size0, size1, size2] along the stored axes. Starts are rounded down,
    stops up, both clipped to the image.

    Args:
        path: The file.
        known: The dataset that it belongs to.
        lenient: Leave out annotations with a mistake and tell them in the result, instead of stopping there.

    Raises:
        InputError: It is not COCO; or, if not lenient, an id is unknown or used twice, a box is empty or has
            the wrong axes, two annotations are the same.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: is not COCO; an object with images, annotations and categories is right.")
    entries = _listed(content, "annotations", path)
    used = {_key(entry, "category_id") for entry in entries}
    classes = _classes(path, _listed(content, "categories", path), used, known)
    images = {_key(entry, "id"): entry for entry in _listed(content, "images", path)}
    images.pop(None, None)  # without an id its boxes can't be found, and it would pass for an empty image
    found: dict[str, list[Box]] = {}
    crowds: dict[str, list[Box]] = {}
    first: dict[tuple[str, int, tuple[int, ...], tuple[int, ...]], int] = {}
    twins: dict[int, int] = {}
    refused: dict[int | str, str] = {}
    open_: list[tuple[str, Interval | None]] = []
    taken: set[int] = set()
    for index, entry in enumerate(entries):
        number: Any = entry.get("id")
        own = type(number) is int and number not in taken
        try:
            if not own:
                raise InputError(f"{path}: annotation #{index} {_bad_id(entry)}")
            taken.add(number)
            where = f"{path}, annotation {number}"
            stem, box = _box(entry, number, images, classes, known, where)
            if entry.get("iscrowd"):
                crowds.setdefault(stem, []).append(box)
                continue
            same = first.setdefault((stem, box.class_id, box.start, box.stop), number)
            if same != number:
                if not lenient:
                    raise InputError(f"{where}: is the same box as annotation {same}; remove one of them.")
                twins[number] = same
                continue
            found.setdefault(stem, []).append(box)
        except InputError as error:
            if not lenient:
                raise
            refused[number if own else f"#{index}"] = str(error)
            open_ += _left_open(entry, images, known)
    listed = (known.find(str(entry.get("file_name", ""))) for entry in images.values())
    return Boxes(
        by_stem={stem: tuple(boxes) for stem, boxes in found.items()},
        classes=known.classes or dict(sorted(classes.values())),
        crowds={stem: tuple(boxes) for stem, boxes in crowds.items()},
        twins=twins,
        listed=frozenset(stem for stem in listed if stem is not None),
        refused=refused,
        doubtful=_doubtful(open_, found),
        unplaced=frozenset(stem for stem, place in open_ if place is None),
    )


def unlisted_words(stems: Sequence[str]) -> str:
    """What becomes of images that boxes.json does not list, as a sentence."""
    are = "image is" if len(stems) == 1 else "images are"
    return f"{len(stems)} {are} not in boxes.json and left out, such as {stems[0]}."


def _bad_id(entry: Mapping[str, Any]) -> str:
    """What is wrong with the id of an annotation, as the end of a sentence."""
    number = entry.get("id")
    if number is None:
        return "has no id; a whole number of its own is right."
    if type(number) is int:
        return f"has the id {number}, as an earlier one has; an id of its own is right."
    what = "in quotes, which makes it text" if isinstance(number, str) else "which is no whole number"
    return f"has the id {json.dumps(number, ensure_ascii=False)}, {what}; a whole number such as 7 is right."


def _left_open(
    entry: Mapping[str, Any], images: Mapping[Any, dict[str, Any]], known: Known
) -> list[tuple[str, Interval | None]]:
    """The image of a refused annotation and where it lies in it, None where that can't be told.

    Empty where not even the image is known or can be read.
    """
    image = images.get(_key(entry, "image_id"), {})
    stem = known.find(str(image.get("file_name", "")))
    if stem is None:
        return []
    try:
        shape = known.shape_of(stem)
    except InputError:
        return []
    try:
        _check_size(image, shape, "")
        return [(stem, to_interval(entry, shape, ""))]
    except InputError:
        return [(stem, None)]


def _doubtful(
    open_: list[tuple[str, Interval | None]], found: Mapping[str, list[Box]]
) -> dict[str, tuple[Interval, ...]]:
    """Places of refused annotations by stem, but for those that are the box of another."""
    places: dict[str, set[Interval]] = {}
    for stem, place in open_:
        if place:
            places.setdefault(stem, set()).add(place)
    known = {stem: {(box.start, box.stop) for box in found.get(stem, ())} for stem in places}
    return {stem: tuple(sorted(own - known[stem])) for stem, own in places.items() if own - known[stem]}


def _box(
    entry: dict[str, Any],
    number: int,
    images: Mapping[Any, dict[str, Any]],
    classes: Mapping[Any, tuple[int, str]],
    known: Known,
    where: str,
) -> tuple[str, Box]:
    """The image's stem and the box of one annotation."""
    image = images.get(_key(entry, "image_id"), {})
    if not isinstance(image.get("file_name"), str):
        raise InputError(f"{where}: its image_id {entry.get('image_id')} is not among “images”.")
    category = _key(entry, "category_id")
    if category not in classes:
        raise InputError(f"{where}: its category_id {entry.get('category_id')} is not among “categories”.")
    stem = known.stem(image["file_name"], where)
    shape = known.shape_of(stem)
    _check_size(image, shape, where)
    start, stop = to_interval(entry, shape, where)
    return stem, Box(start, stop, classes[category][0], number)


def _check_size(image: Mapping[str, Any], shape: tuple[int, ...], where: str) -> None:
    """Whether the file speaks of an image of this size."""
    told = (image.get("height"), image.get("width"))
    if len(shape) == 2 and None not in told and told != shape:
        raise InputError(
            f"{where}: its image {image['file_name']} is {shape[1]} × {shape[0]} pixels, but the file says "
            f"{told[1]} × {told[0]}; the boxes are of another version of the image."
        )


def _listed(content: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    entries = content.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path}: has no list “{key}”; COCO has images, annotations and categories.")
    return entries


def _key(entry: Mapping[str, Any], name: str) -> int | str | None:
    """An id that may be looked up; None for what can't be one, such as a list."""
    value = entry.get(name)
    return value if isinstance(value, int | str) else None


def _classes(
    path: Path, categories: list[dict[str, Any]], used: Set[int | str | None], known: Known
) -> dict[Any, tuple[int, str]]:
    """Category id -> (class id, name), of every category that can have a class and is used or may be."""
    names = {_key(entry, "id"): str(entry.get("name", f"class {entry.get('id')}")) for entry in categories}
    names.pop(None, None)  # without an id none can be meant
    if known.classes is None:
        return _numbered(path, names, used)
    classes: dict[Any, tuple[int, str]] = {}
    by_name = {text: k for k, text in known.classes.items()}
    for number, name in names.items():
        found = by_name.get(name, number if number in known.classes else None)
        if isinstance(found, int):
            classes[number] = (found, name)
        elif number in used:
            raise InputError(
                f"{path}: the category {number} “{name}” is unknown; {known_classes(known.classes)}."
            )
    return classes


def _numbered(
    path: Path, names: Mapping[Any, str], used: Set[int | str | None]
) -> dict[Any, tuple[int, str]]:
    """Ids as they are where those that are used can be class ids, else 1, 2, … in their order."""
    fit = {number for number in names if isinstance(number, int) and 1 <= number <= MOST}
    if used & names.keys() <= fit:
        return {number: (number, names[number]) for number in fit}
    if len(names) > MOST:
        raise InputError(f"{path}: has {len(names)} categories; {MOST} are the most there can be.")
    order = sorted(names) if all(isinstance(number, int) for number in names) else list(names)
    return {number: (k, names[number]) for k, number in enumerate(order, 1)}


def to_interval(entry: Mapping[str, Any], shape: tuple[int, ...], where: str) -> Interval:
    """(start, stop) of one annotation, clipped to the image."""
    key, count = ("bbox3d", 6) if len(shape) == 3 else ("bbox", 4)
    values = entry.get(key)
    if (
        not isinstance(values, list)
        or len(values) != count
        or not all(isinstance(v, int | float) and math.isfinite(v) for v in values)
    ):
        came = f"its “{key}” is {json.dumps(values)[:80]}, not" if key in entry else f"has no “{key}” of"
        raise InputError(
            f"{where}: {came} {count} numbers, as its image with {len(shape)} spatial axes needs; "
            f"{'[start0, start1, start2, size0, size1, size2]' if count == 6 else '[x, y, width, height]'} "
            "is right."
        )
    if count == 4:
        x, y, width, height = values
        begins, sizes = [y, x], [height, width]
    else:
        begins, sizes = values[:3], values[3:]
    start = tuple(max(0, math.floor(b + _NOISE)) for b in begins)
    stop = tuple(min(n, math.ceil(b + s - _NOISE)) for b, s, n in zip(begins, sizes, shape, strict=True))
    if any(s <= 0 for s in sizes) or any(a >= b for a, b in zip(start, stop, strict=True)):
        raise InputError(
            f"{where}: its {key} {values} is empty or outside of its image of shape {shape}; mend it."
        )
    return start, stop
