"""Boxes of one image written into boxes.json, COCO; what it says of other images, and other fields, stay."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wsseg.atomic import write_beside
from wsseg.coco import to_interval
from wsseg.errors import InputError
from wsseg.hints import Box
from wsseg.images import stem_of
from wsseg.rle import encode
from wsseg.tables import read_classes, read_json


def save_boxes(
    path: Path,
    file_name: str,
    shape: Sequence[int],
    boxes: Sequence[Box],
    classes: Mapping[int, str],
    *,
    mask_of: Callable[[int], np.ndarray] | None = None,
) -> None:
    """Write the boxes of one image; those that the file had of it, crowds left out, are replaced.

    A box whose id is that of an annotation of the image keeps that annotation's other fields, its
    "segmentation" only where the box is as it was. An id that another image uses gives way to a new one.

    Args:
        path: The file; made where there is none.
        file_name: Of the image.
        shape: Of the image.
        boxes: With ids of their own.
        classes: Class id to name.
        mask_of: Gives by a box's id its mask in the image (*S), bool, that becomes its "segmentation".

    Raises:
        InputError: The file there is no COCO, or has other classes; or the disk refuses.
    """
    content = _content(path)
    images, categories = content["images"], content["categories"]
    stem = stem_of(file_name)
    image = next((entry for entry in images if stem_of(str(entry.get("file_name"))) == stem), None)
    if image is None:
        image = {"id": _free(images), "file_name": file_name, **to_size(shape)}
        images.append(image)
    used = {box.class_id for box in boxes}
    ids = {k: _category(categories, k, name, path) for k, name in classes.items() if k in used}
    own: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for entry in content["annotations"]:
        mine = entry.get("image_id") == image["id"] and not entry.get("iscrowd")
        (own if mine else others).append(entry)
    before = {entry.get("id"): entry for entry in own}
    taken = {entry.get("id") for entry in others}
    following = max([0, *(i for i in (*taken, *(b.id for b in boxes)) if isinstance(i, int))]) + 1
    for box in boxes:
        entry = {**before.get(box.id, {}), "image_id": image["id"], "category_id": ids[box.class_id]}
        if box.id in taken:
            entry["id"], following = following, following + 1
        else:
            entry["id"] = box.id
        if not _same(entry, box, shape):
            entry.pop("segmentation", None)
            entry.update(to_bbox(box))
        if mask_of is not None:  # one at a time: a thousand masks of a large picture fill the memory
            mask = mask_of(box.id)
            entry |= {"segmentation": encode(mask), "area": int(mask.sum())}
        others.append(entry)
    content["annotations"] = others
    with write_beside(path) as fresh:
        fresh.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def to_bbox(box: Box) -> dict[str, Any]:
    """A box for COCO: "bbox" [x, y, width, height], x along the last axis; "bbox3d" in 3D, as stored."""
    sides = [b - a for a, b in zip(box.start, box.stop, strict=True)]
    if len(sides) == 3:
        return {"bbox3d": [*box.start, *sides]}
    return {"bbox": [*box.start[::-1], *sides[::-1]], "area": int(np.prod(sides)), "iscrowd": 0}


def to_size(shape: Sequence[int]) -> dict[str, Any]:
    """COCO's fields for the size of an image; in 3D "shape", axes as stored."""
    return {"height": shape[0], "width": shape[1]} if len(shape) == 2 else {"shape": list(shape)}


def _content(path: Path) -> dict[str, Any]:
    """What the file says, or an empty COCO."""
    content = read_json(path) if path.exists() else {}
    if not isinstance(content, dict):
        raise InputError(f"{path}: is not COCO, so no boxes are added to it; choose another name.")
    for key in ("images", "annotations", "categories"):
        entries = content.setdefault(key, [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise InputError(f"{path}: “{key}” is no list as COCO has it; choose another name.")
    return content


def _category(categories: list[dict[str, Any]], class_id: int, name: str, path: Path) -> Any:
    """The category of a class: the one of its name, or a new one."""
    known = path.with_name("classes.json")
    if known.exists() and name not in read_classes(known).values():
        raise InputError(f"{known}: has no class “{name}”; add it there, or rename the class as it is there.")
    for entry in categories:
        if entry.get("name") == name:
            return entry.get("id")
    for entry in categories:
        if entry.get("id") == class_id:
            raise InputError(
                f"{path}: class {class_id} is “{entry.get('name')}” there and “{name}” here; rename one."
            )
    categories.append({"id": class_id, "name": name})
    return class_id


def _same(entry: Mapping[str, Any], box: Box, shape: Sequence[int]) -> bool:
    """Whether an annotation already says this box, perhaps with fractions."""
    try:
        return to_interval(entry, tuple(shape), "") == (box.start, box.stop)
    except InputError:
        return False


def _free(entries: Sequence[Mapping[str, Any]]) -> int:
    """An id that none has."""
    return max([0, *(i for entry in entries if isinstance(i := entry.get("id"), int))]) + 1
