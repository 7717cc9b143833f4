"""Levels of a multiscale image: each one can be worked on, as an image of its own. Knows no Qt."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_plugin.layers import KEY, file_of, has_channels, identity, show_alone, to_world
from wsseg.errors import InputError
from wsseg.hints import Box

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Image as ImageLayer
    from napari.layers import Layer


def whole_of(layers: "Iterable[Layer]", image: "ImageLayer | None") -> "ImageLayer | None":
    """The multiscale image that this one is, or is a level of; None for others."""
    if image is None or image.multiscale:
        return image
    of = image.metadata.get(KEY, {}).get("level_of")
    found = (x for x in layers if type(x).__name__ == "Image" and x.multiscale and identity(x) == of)
    return next(found, None)


def number_of(image: "ImageLayer") -> int:
    """Which level an image is; 0 is the finest, which a multiscale image itself stands for."""
    return int(image.metadata.get(KEY, {}).get("level", 0))


def with_levels(layers: "LayerList", images: "Iterable[ImageLayer]") -> "list[ImageLayer]":
    """These images and the levels that were made of them, in the order of the layers."""
    known = {identity(image) for image in images}
    return [
        layer
        for layer in layers
        if type(layer).__name__ == "Image"
        and not known.isdisjoint((identity(layer), layer.metadata.get(KEY, {}).get("level_of")))
    ]


def whole_or_refuse(layers: "LayerList", image: "ImageLayer", what: str) -> "ImageLayer":
    """The multiscale image that a level is of; any other image itself.

    Raises:
        InputError: That image was closed, in the voxels of which `what` is saved.
    """
    whole = whole_of(layers, image)
    if whole is None and number_of(image):
        raise InputError(
            f"{image.name}: the image that it is a level of was closed, and {what} are saved in voxels of "
            "its finest level; open it again, and choose the level there."
        )
    return image if whole is None else whole


def refuse_level(image: "ImageLayer | None", what: str) -> None:
    """Raise an InputError that begins with `what` where an image is a coarse level."""
    if image is not None and number_of(image):
        raise InputError(f"{what} at the finest level alone; {image.name} is coarser: choose another Level.")


def at_finest(boxes: Iterable[Box], level: Sequence[int], finest: Sequence[int]) -> tuple[Box, ...]:
    """Boxes of a level in the voxels of the finest one; `level` and `finest` are their shapes."""

    def scaled(place: Sequence[int]) -> tuple[int, ...]:
        return tuple((2 * at * n + m) // (2 * m) for at, m, n in zip(place, level, finest, strict=True))

    return tuple(replace(box, start=scaled(box.start), stop=scaled(box.stop)) for box in boxes)


def words_of(whole: "ImageLayer") -> list[str]:
    """The size of each level in words, the finest first."""
    colour = -1 if whole.rgb else None
    shapes = [level.shape[int(has_channels(whole)) : colour] for level in whole.data]
    return [" × ".join(str(n) for n in shape) for shape in shapes]


def at_level(layers: "LayerList", whole: "ImageLayer", number: int) -> "ImageLayer":
    """The image that a level is, made right above the whole one where there was none; the whole one for 0.

    A coarse voxel is taken to lie over the fine ones that it is of, as napari draws it: voxel k of a level f
    times as coarse has its middle at f k + (f - 1) / 2.

    Args:
        layers: The viewer's.
        whole: A multiscale image.
        number: Of the level.
    """
    if number == 0:
        return whole
    name = f"{identity(whole)} level {number}"
    for layer in layers:
        if type(layer).__name__ == "Image" and identity(layer) == name:
            return layer
    layer = _made(whole, number, name)
    layers.insert(list(layers).index(whole) + 1, layer)
    return layer


def show_level(layers: "LayerList", whole: "ImageLayer", number: int) -> "ImageLayer":
    """`at_level`, seen with what belongs to it; the other levels are hidden with theirs."""
    chosen = at_level(layers, whole, number)
    show_alone(layers, chosen, with_levels(layers, [whole]))
    return chosen


def _made(whole: "ImageLayer", number: int, name: str) -> "ImageLayer":
    from napari.layers import Image as ImageLayer

    factors = np.asarray(whole.downsample_factors[number], float)[: whole.ndim]
    to_whole = np.diag([*factors, 1.0])
    to_whole[:-1, -1] = (factors - 1) / 2
    own = {"id": name, "level_of": identity(whole), "level": number}
    if (path := file_of(whole)) is not None:
        own["path"] = str(path)
    looks = ("contrast_limits", "gamma") if not whole.rgb else ()
    return ImageLayer(
        whole.data[number],
        rgb=whole.rgb,
        multiscale=False,
        name=f"{whole.name} level {number}",
        affine=to_world(whole) @ to_whole,
        units=whole.units,
        axis_labels=whole.axis_labels,
        metadata={**whole.metadata, KEY: own},
        colormap=None if whole.rgb else whole.colormap,
        **{look: getattr(whole, look) for look in looks},
    )
