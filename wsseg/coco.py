"""boxes.json: COCO's boxes, and the same in 3D, turned into half-open voxel intervals at the door."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsseg.errors import InputError
from wsseg.hints import Box
from wsseg.tables import Known, known_classes, read_json

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
    """

    by_stem: Mapping[str, tuple[Box, ...]]
    classes: Mapping[int, str]
    crowds: Mapping[str, tuple[Box, ...]] = field(default_factory=dict)
    twins: Mapping[int, int] = field(default_factory=dict)
    listed: frozenset[str] = frozenset()
    refused: Mapping[int | str, str] = field(default_factory=dict)


def read_boxes(path: Path, known: Known, *, lenient: bool = False) -> Boxes:
    """Read boxes.json; a category counts by its name where classes.json has it, else by its id.

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
    classes = _classes(path, _listed(content, "categories", path), known)
    images = {entry.get("id"): entry for entry in _listed(content, "images", path)}
    found: dict[str, list[Box]] = {}
    crowds: dict[str, list[Box]] = {}
    first: dict[tuple[str, int, tuple[int, ...], tuple[int, ...]], int] = {}
    twins: dict[int, int] = {}
    refused: dict[int | str, str] = {}
    used: set[int] = set()
    for index, entry in enumerate(_listed(content, "annotations", path)):
        number: Any = entry.get("id")
        own = isinstance(number, int) and number not in used
        try:
            if not own:
                raise InputError(
                    f"{path}: annotation {index} has the id {number}; a whole number of its own is right."
                )
            used.add(number)
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
    listed = (known.find(str(entry.get("file_name", ""))) for entry in images.values())
    return Boxes(
        by_stem={stem: tuple(boxes) for stem, boxes in found.items()},
        classes=known.classes or dict(sorted(classes.values())),
        crowds={stem: tuple(boxes) for stem, boxes in crowds.items()},
        twins=twins,
        listed=frozenset(stem for stem in listed if stem is not None),
        refused=refused,
    )


def _box(
    entry: dict[str, Any],
    number: int,
    images: Mapping[Any, dict[str, Any]],
    classes: Mapping[Any, tuple[int, str]],
    known: Known,
    where: str,
) -> tuple[str, Box]:
    """The image's stem and the box of one annotation."""
    image = images.get(entry.get("image_id"), {})
    if not isinstance(image.get("file_name"), str):
        raise InputError(f"{where}: its image_id {entry.get('image_id')} is not among “images”.")
    if entry.get("category_id") not in classes:
        raise InputError(f"{where}: its category_id {entry.get('category_id')} is not among “categories”.")
    stem = known.stem(image["file_name"], where)
    shape = known.shape_of(stem)
    told = (image.get("height"), image.get("width"))
    if len(shape) == 2 and None not in told and told != shape:
        raise InputError(
            f"{where}: its image {image['file_name']} is {shape[1]} × {shape[0]} pixels, but the file says "
            f"{told[1]} × {told[0]}; the boxes are of another version of the image."
        )
    start, stop = to_interval(entry, shape, where)
    return stem, Box(start, stop, classes[entry["category_id"]][0], number)


def _listed(content: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    entries = content.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path}: has no list “{key}”; COCO has images, annotations and categories.")
    return entries


def _classes(path: Path, categories: list[dict[str, Any]], known: Known) -> dict[Any, tuple[int, str]]:
    """Category id -> (class id, name)."""
    classes: dict[Any, tuple[int, str]] = {}
    for entry in categories:
        number, name = entry.get("id"), str(entry.get("name", f"class {entry.get('id')}"))
        if known.classes is not None:
            by_name = {text: k for k, text in known.classes.items()}
            found = by_name.get(name, number if number in known.classes else None)
            if found is None:
                raise InputError(
                    f"{path}: the category {number} “{name}” is unknown; {known_classes(known.classes)}."
                )
        elif isinstance(number, int) and 1 <= number <= 254:
            found = number
        else:
            raise InputError(
                f"{path}: the category id {number} is not from 1 to 254; number them so, or name “{name}” in "
                "classes.json."
            )
        classes[number] = (found, name)
    return classes


def to_interval(
    entry: Mapping[str, Any], shape: tuple[int, ...], where: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(start, stop) of one annotation, clipped to the image."""
    key, count = ("bbox3d", 6) if len(shape) == 3 else ("bbox", 4)
    values = entry.get(key)
    if (
        not isinstance(values, list)
        or len(values) != count
        or not all(isinstance(v, int | float) and math.isfinite(v) for v in values)
    ):
        raise InputError(
            f"{where}: has no “{key}” of {count} numbers, as its image with {len(shape)} spatial axes needs; "
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
