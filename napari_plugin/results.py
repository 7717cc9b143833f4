"""Layers that show what was found: the mask of classes and the objects in boxes. Knows no Qt."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_plugin.layers import belongs, make_labels
from wsseg.boxes import Segment, place_of, render, shape_of

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Image as ImageLayer
    from napari.layers import Labels, Layer

SHOWN = ("mask", "objects", "heat", "seeds", "locked")


def find(layers: "LayerList", image: "ImageLayer | None", role: str) -> Any:
    """The layer that plays this role for an image, or None."""
    return next((layer for layer in layers if image is not None and belongs(layer, image, role)), None)


def find_or_make(
    layers: "LayerList", image: "ImageLayer", role: str, colours: Mapping[int, str], active: "Layer | None"
) -> "Labels":
    """The mask or the objects of an image, made right above it if there are none; objects above the mask.

    Args:
        layers: The viewer's.
        image: The image.
        role: "mask" or "objects".
        colours: Of the classes.
        active: The layer that stays active, or the user's next stroke would go nowhere.
    """
    layer = find(layers, image, role)
    if layer is None:
        layer = make_labels(image, role, colours)
        below = find(layers, image, "mask") if role == "objects" else None
        below = image if below is None else below
        layers.insert(list(layers).index(below) + 1 if below in layers else len(layers), layer)
        if active is not None:
            layers.selection.active = active
    return layer


def toggle(layers: "LayerList", image: "ImageLayer | None") -> None:
    """Hide all that was found, or show it where all is hidden."""
    found = [layer for role in SHOWN if (layer := find(layers, image, role)) is not None]
    visible = not any(layer.visible for layer in found)
    for layer in found:
        layer.visible = visible


def show_objects(layer: "Labels", segments: Sequence[Segment], before: Sequence[Segment] | None) -> None:
    """Draw masks of boxes, each with its box's id, the smaller ones in front.

    Args:
        layer: The objects.
        segments: All there are now.
        before: What is drawn already and goes; None = whatever there is.
    """
    highest = max((one.box.id for one in segments), default=0)
    if highest > np.iinfo(layer.data.dtype).max:  # ids of a foreign file; slower to show
        layer.data = layer.data.astype(np.uint32 if highest < 2**32 else np.uint64)
    for place in [...] if before is None else [place_of(one.box) for one in before]:
        layer.data[place] = 0
    for one in sorted(segments, key=lambda one: -int(np.prod(shape_of(one.box)))):
        layer.data[place_of(one.box)][one.mask] = one.box.id
    layer.refresh(extent=False)


def as_classes(shape: tuple[int, ...], segments: Sequence[Segment]) -> np.ndarray:
    """uint8 (*S): the classes of objects, for a mask where nothing was trained."""
    classes = {one.box.class_id: one.box.class_id for one in segments}
    return render(shape, segments, classes).target.astype(np.uint8)
