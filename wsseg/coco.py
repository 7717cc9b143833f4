"""boxes.json: COCO's boxes, and the same in 3D, turned into half-open voxel intervals at the door."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
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
    """

    by_stem: Mapping[str, tuple[Box, ...]]
    classes: Mapping[int, str]


def read_boxes(path: Path, known: Known) -> Boxes:
    """Read boxes.json; a category counts by its name where classes.json has it, else by its id.

    COCO's bbox is [x, y, width, height]: x runs along the last stored axis, y along the one before. In 3D
    "bbox3d" is [start0, start1, start2, size0, size1, size2] along the stored axes. Starts are rounded down,
    stops up, both clipped to the image.

    Raises:
        InputError: It is not COCO, an id is unknown or used twice, a box is empty or has the wrong axes.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: is not COCO; an object with images, annotations and categories is right.")
    classes = _classes(path, _listed(content, "categories", path), known)
    names = {entry.get("id"): entry.get("file_name") for entry in _listed(content, "images", path)}
    found: dict[str, list[Box]] = {}
    used: set[int] = set()
    for index, entry in enumerate(_listed(content, "annotations", path)):
        number = entry.get("id")
        if not isinstance(number, int) or number in used:
            raise InputError(
                f"{path}: annotation {index} has the id {number}; a whole number of its own is right."
            )
        used.add(number)
        where = f"{path}, annotation {number}"
        name = names.get(entry.get("image_id"))
        if not isinstance(name, str):
            raise InputError(f"{where}: its image_id {entry.get('image_id')} is not among “images”.")
        if entry.get("category_id") not in classes:
            raise InputError(
                f"{where}: its category_id {entry.get('category_id')} is not among “categories”."
            )
        stem = known.stem(name, where)
        start, stop = _interval(entry, known.shape_of(stem), where)
        found.setdefault(stem, []).append(Box(start, stop, classes[entry["category_id"]][0], number))
    return Boxes(
        by_stem={stem: tuple(boxes) for stem, boxes in found.items()},
        classes=known.classes or dict(sorted(classes.values())),
    )


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


def _interval(
    entry: dict[str, Any], shape: tuple[int, ...], where: str
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
