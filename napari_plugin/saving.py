"""What is saved where: masks, objects and boxes, as plain values for the worker. Knows no Qt."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_plugin.boxlayer import to_boxes
from napari_plugin.boxtool import BoxTool
from napari_plugin.keymap import told
from napari_plugin.layers import belongs, file_of, identity, to_image
from napari_plugin.levels import at_finest, number_of, whole_or_refuse, with_levels
from napari_plugin.results import as_classes, find
from wsseg.errors import InputError
from wsseg.hints import Box
from wsseg.images import mask_path, peek_image, stem_of

TABLES = {"boxes": "boxes.json", "tags": "tags.csv"}

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Image as ImageLayer
    from napari.layers import Shapes


def place_for(image: "ImageLayer", role: str) -> Path:
    """A good place beside the image, in its kind of file; tables in the dataset folder that it is of.

    A level has places of its own, but for tables: those speak of the whole image.
    """
    source = file_of(image)
    if role in TABLES:
        folder = Path() if source is None else source.parent
        return (folder.parent if folder.name == "images" else folder) / TABLES[role]
    if source is None:
        return mask_path("", f"{image.name}_{role}", to_image(image))
    level = f"_level{number_of(image)}" if number_of(image) else ""
    return mask_path(source.parent, f"{stem_of(source)}{level}_{role}", peek_image(source))


def values_of(layers: "LayerList", image: "ImageLayer", role: str, boxes: BoxTool) -> np.ndarray:
    """The "mask" or the "objects" as they are now; without a mask the classes of the objects.

    Raises:
        InputError: There is none.
    """
    layer = find(layers, image, role)
    if layer is not None:
        return np.array(layer.data)
    if role == "mask" and boxes.segments:
        return as_classes(to_image(image).shape, boxes.segments)
    raise InputError(
        "There is no mask yet: press Segment first."
        if role == "mask"
        else f"There are no objects yet: draw boxes, then press {told('find_objects')}."
    )


def boxes_to_save(
    layers: "LayerList", image: "ImageLayer", boxes: BoxTool
) -> "tuple[ImageLayer, tuple[Box, ...]]":
    """The image that the boxes at work are of, and its boxes; of a multiscale image those of all its levels.

    These are in the voxels of the finest level, and of two with the same number that of the coarser gets
    another.

    Raises:
        InputError: There are none, one can't be used, or the image that a level is of was closed.
    """
    boxes.read(image)
    if boxes.problems:
        raise InputError(boxes.missing())
    whole = whole_or_refuse(layers, image, "boxes")
    levels = {
        identity(one): one for one in (*with_levels(layers, [whole]), image)
    }  # a file may be open twice
    groups = []
    for level in sorted(levels.values(), key=number_of):
        drawn = boxes.layer if level == image else _newest_boxes(layers, level)
        if drawn is not None:
            found, problems = to_boxes(drawn, level, boxes.table.names)
            if problems:
                raise InputError(f"{level.name}: {problems[0]}")
            groups.append(at_finest(found, to_image(level).shape, to_image(whole).shape))
    if not groups:
        raise InputError(boxes.missing())
    return whole, _apart(groups)


def _newest_boxes(layers: "LayerList", image: "ImageLayer") -> "Shapes | None":
    """The boxes that are at work where this image is."""
    return next((layer for layer in reversed(layers) if belongs(layer, image, "boxes")), None)


def _apart(groups: Sequence[Sequence[Box]]) -> tuple[Box, ...]:
    """The boxes of all groups; one whose number a group before it has gets the next that is free."""
    found: dict[int, Box] = {}
    following = max((box.id for group in groups for box in group), default=0) + 1
    for box in (box for group in groups for box in group):
        number, following = (following, following + 1) if box.id in found else (box.id, following)
        found[number] = replace(box, id=number)
    return tuple(found.values())
