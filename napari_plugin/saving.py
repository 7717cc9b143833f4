"""What is saved where: masks, objects and boxes, as plain values for the worker. Knows no Qt."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_plugin.boxtool import BoxTool
from napari_plugin.keymap import told
from napari_plugin.layers import file_of, to_image
from napari_plugin.results import as_classes, find
from wsseg.errors import InputError
from wsseg.images import mask_path, peek_image, stem_of

TABLES = {"boxes": "boxes.json", "tags": "tags.csv"}

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Image as ImageLayer


def place_for(image: "ImageLayer", role: str) -> Path:
    """A good place beside the image, in its kind of file; tables in the dataset folder that it is of."""
    source = file_of(image)
    if role in TABLES:
        folder = Path() if source is None else source.parent
        return (folder.parent if folder.name == "images" else folder) / TABLES[role]
    if source is None:
        return mask_path("", f"{image.name}_{role}", to_image(image))
    return mask_path(source.parent, f"{stem_of(source)}_{role}", peek_image(source))


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
