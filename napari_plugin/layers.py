"""Layers to arrays and back: images, hint maps, masks and clicks, all on one grid. Knows no Qt.

What belongs to what stands in `layer.metadata["wsseg"]`, plain text and numbers only: `id` names an image,
`of` the image a layer belongs to, `role` is "hints", "clicks", "boxes", "mask", "objects", "heat", "seeds",
"locked", "held" or "doubt", `classes` gives ids and names, `tags` what is in an image, `path` the file it was
read from, axes as stored, `dataset` the folder that it was opened with; `level_of` the multiscale image that
an image is a level of, `level` which one.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wsseg.colours import BACKGROUND_COLOUR
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND, Box, Click, Hints
from wsseg.images import Image, is_image

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Image as ImageLayer
    from napari.layers import Labels, Layer, Points
    from napari.utils.colormaps import DirectLabelColormap

KEY = "wsseg"


def identity(layer: "Layer") -> str:
    """What the layers of an image know it by: where it was read from, else napari's own id."""
    return layer.metadata.get(KEY, {}).get("id") or str(layer.unique_id)


def belongs(layer: "Layer", image: "ImageLayer", role: str) -> bool:
    """Whether a layer plays this role for this image."""
    own = layer.metadata.get(KEY, {})
    return own.get("role") == role and own.get("of") == identity(image)


def show_alone(layers: "LayerList", chosen: "ImageLayer", others: "Iterable[ImageLayer]") -> None:
    """Show an image with the layers that belong to it, and hide these others with theirs."""
    owners = {identity(image): image for image in (*others, chosen)}
    for layer in layers:
        owner = owners.get(layer.metadata.get(KEY, {}).get("of") or identity(layer))
        if owner is not None:
            layer.visible = owner == chosen


def to_image(layer: "ImageLayer") -> Image:
    """The image of a layer, nothing copied and nothing read that is lazy.

    Of a multiscale layer it is the finest level, see `levels`. The first axis is the channels where its label
    is "c" or "channel"; any other layer holds one channel, or the three of RGB. Time is an axis like depth.

    Raises:
        InputError: There are not two or three spatial axes.
    """
    data = layer.data[0] if layer.multiscale else layer.data
    ndim = len(data.shape) - bool(layer.rgb) - has_channels(layer)
    if ndim not in (2, 3):
        raise InputError(
            f"{layer.name}: has {ndim} axes; 2 or 3 are right. Split it, or name its first axis “c” if that "
            "holds channels (axis labels, in the layer's metadata)."
        )
    where = layer.metadata.get(KEY, {})
    return Image(
        data=data if has_channels(layer) else _Channels(data, bool(layer.rgb)),
        spacing=_spacing(layer, ndim),
        rgb=bool(layer.rgb),
        geometry={"affine": np.array(where["affine"])} if "affine" in where else {},
    )


def has_channels(layer: "ImageLayer") -> bool:
    """Whether the first axis of a layer holds channels."""
    return str(layer.axis_labels[0]).lower() in ("c", "channel", "channels")


class _Channels:
    """A layer's array seen as (C, *S): a new first axis, or RGB(A) from last to first without alpha.

    Each slice of it is a numpy array, whether the layer's data is numpy, dask or Zarr.
    """

    def __init__(self, array: Any, rgb: bool) -> None:
        self._array, self._rgb = array, rgb
        self.shape = (3, *array.shape[:-1]) if rgb else (1, *array.shape)
        self.dtype = np.dtype(array.dtype)
        self.ndim = len(self.shape)

    def __getitem__(self, key: Any) -> np.ndarray:
        keys = key if isinstance(key, tuple) else (key,)
        if Ellipsis in keys:
            at = keys.index(Ellipsis)
            missing: list[Any] = [slice(None)] * (self.ndim - len(keys) + 1)
            keys = (*keys[:at], *missing, *keys[at + 1 :])
        channel, *space = list(keys) + [slice(None)] * (self.ndim - len(keys))
        if self._rgb:
            return np.moveaxis(np.asarray(self._array[(*space, slice(3))]), -1, 0)[channel]
        return np.asarray(self._array[tuple(space)])[None][channel]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype=dtype)

    def __len__(self) -> int:
        return self.shape[0]


def _spacing(layer: "Layer", ndim: int) -> tuple[float, ...]:
    """Size of a voxel along each spatial axis, as the layer's transforms together have it."""
    linear = to_world(layer)[:-1, :-1]
    return tuple(float(v) for v in np.linalg.norm(linear, axis=0)[-ndim:])


def to_world(layer: "Layer") -> np.ndarray:
    """All of a layer's transforms in one homogeneous matrix, data to world."""
    origin = np.array(layer.data_to_world(np.zeros(layer.ndim)))
    steps = [np.array(layer.data_to_world(unit)) - origin for unit in np.eye(layer.ndim)]
    matrix = np.eye(layer.ndim + 1)
    matrix[:-1, :-1], matrix[:-1, -1] = np.stack(steps, axis=1), origin
    return matrix


def transforms_of(layer: "ImageLayer") -> dict[str, Any]:
    """Every transform of an image layer, for a layer on the same grid; a channel axis is left out."""
    if has_channels(layer):
        return {
            "affine": to_world(layer)[1:, 1:],
            "units": layer.units[1:],
            "axis_labels": layer.axis_labels[1:],
        }
    names = ("affine", "scale", "translate", "rotate", "shear", "units", "axis_labels")
    return {name: getattr(layer, name) for name in names}


def may_be_hints(layer: "Labels") -> bool:
    """Whether hints can be taken from a layer: one made for them, or one of the user's own."""
    return layer.editable and layer.metadata.get(KEY, {}).get("role", "hints") == "hints"


def guard(layer: "Layer | None") -> None:
    """Delete does not take a layer of hints with all its undo: napari's lock, to be opened in its list."""
    if layer is not None and KEY in layer.metadata:
        layer.locked = True


def make_labels(layer: "ImageLayer", role: str, colours: Mapping[int, str]) -> "Labels":
    """A Labels layer of zeros on an image's grid.

    Args:
        layer: The image.
        role: "hints" to paint in; "mask" for classes and "locked" for what was accepted, which may be painted
            on; "objects" for one value an object, "seeds" for what may become hints or "held" for what is
            held out: no brush changes these.
        colours: Of the classes; objects have napari's own.
    """
    from napari.layers import Labels

    objects = role == "objects"
    labels = Labels(
        np.zeros(to_image(layer).shape, np.uint16 if objects else np.uint8),
        name=f"{layer.name} {role}",
        colormap=None if objects else colormap(colours),
        opacity={"hints": 0.8, "seeds": 0.65, "locked": 1.0}.get(role, 0.5),
        metadata={KEY: {"role": role, "of": identity(layer)}},
        **transforms_of(layer),
    )
    labels.editable = role in ("hints", "mask", "locked")
    return labels


def make_clicks(layer: "ImageLayer", colours: Mapping[int, str], class_id: int) -> "Points":
    """An empty Points layer on an image's grid; the feature "class" of a point is its class, 0 background."""
    from napari.layers import Points

    return Points(
        ndim=to_image(layer).ndim,
        name=f"{layer.name} clicks",
        features={"class": np.zeros(0, dtype=object)},
        feature_defaults={"class": str(class_id)},
        face_color="class",
        face_color_cycle={"0": BACKGROUND_COLOUR, **{str(k): v for k, v in colours.items()}},
        border_color="white",
        size=6,
        metadata={KEY: {"role": "clicks", "of": identity(layer)}},
        **transforms_of(layer),
    )


def colormap(colours: Mapping[int, str]) -> "DirectLabelColormap":
    """Class colours as napari wants them; 255 is the background hint, a value without a class is white."""
    from napari.utils.colormaps import DirectLabelColormap

    named: dict[int | None, str] = {None: "white", 0: "transparent"}
    for k, colour in (*colours.items(), (BACKGROUND, BACKGROUND_COLOUR)):
        named[k] = colour
    return DirectLabelColormap(color_dict=named)


def check_grid(labels: "Labels", image: "ImageLayer") -> None:
    """Check that a layer of hints has a voxel for each one of the image.

    Raises:
        InputError: It has not.
    """
    shape = to_image(image).shape
    if labels.data.shape != shape:
        raise InputError(f"{labels.name}: has shape {labels.data.shape}, the image {shape}; press New.")


def as_hint_map(labels: "Labels", values: np.ndarray) -> np.ndarray:
    """What is painted in a layer of hints, or in a part of it, as uint8.

    Raises:
        InputError: A label is neither a class id nor 255.
    """
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low < 0 or high > BACKGROUND:
        raise InputError(
            f"{labels.name}: holds the label {low if low < 0 else high}; 1 to 254 are classes and 255 is "
            "background."
        )
    return values.astype(np.uint8, copy=False)


def to_hints(
    image: "ImageLayer",
    labels: "Labels | None",
    clicks: "Points | None",
    classes: Mapping[int, str],
    boxes: tuple[Box, ...] = (),
    *,
    all_boxed: bool = False,
) -> Hints:
    """What is marked now, copied: later strokes don't change it.

    Raises:
        InputError: The layer has another shape than the image, a label is neither a class id nor 255, a point
            lies outside or names an unknown class.
    """
    painted = None
    if labels is not None:
        check_grid(labels, image)
        painted = as_hint_map(labels, np.array(labels.data))
    return Hints(
        to_image(image).shape, painted, clicks=to_clicks(clicks, classes), boxes=boxes, all_boxed=all_boxed
    )


def to_clicks(points: "Points | None", classes: Mapping[int, str]) -> tuple[Click, ...]:
    """The points of a layer as clicks.

    Raises:
        InputError: They have no classes, or one has a class that is unknown.
    """
    if points is None or not len(points.data):
        return ()
    if "class" not in points.features:
        raise InputError(f"{points.name}: its points have no feature “class”; make the layer with “New”.")
    ids = {**{str(k): k for k in classes}, "0": 0, **{name: k for k, name in classes.items()}}
    values = [str(value) for value in points.features["class"]]
    if unknown := sorted(set(values) - set(ids)):
        raise InputError(
            f"{points.name}: a point has the class “{unknown[0]}”; an id or name of the table is right."
        )
    return tuple(
        Click(tuple(float(v) for v in position), ids[value])
        for position, value in zip(points.data, values, strict=True)
    )


def slice_on_screen(layer: "Labels", point: Sequence[float], displayed: Sequence[int]) -> tuple[slice, ...]:
    """The slice of a layer that is on screen; a picture is its own.

    Args:
        layer: The layer.
        point: The viewer's point in world coordinates, an entry for each of the layer's axes.
        displayed: The layer's axes that are on screen.

    Raises:
        InputError: A volume is on screen and not a slice.
    """
    if len(displayed) != 2:
        raise InputError("That is done slice by slice, in the 2D view; leave the 3D view first.")
    shape = layer.data.shape
    here = np.clip(np.round(layer.world_to_data(point)).astype(int), 0, np.subtract(shape, 1))
    return tuple(
        slice(0, n) if axis in displayed else slice(here[axis], here[axis] + 1)
        for axis, n in enumerate(shape)
    )


def finish_slice(labels: "Labels", point: Sequence[float], displayed: Sequence[int]) -> int:
    """Make all that is unpainted of the slice on screen background; the layer's own undo takes it back.

    Args:
        labels: The hints.
        point, displayed: As in `slice_on_screen`.

    Returns:
        How many voxels became background.

    Raises:
        InputError: A volume is on screen and not a slice.
    """
    plane = slice_on_screen(labels, point, displayed)
    empty = np.asarray(labels.data[plane]) == 0
    if not empty.any():
        return 0
    seed = np.unravel_index(int(empty.argmax()), empty.shape)
    coordinate = [part.start + at for part, at in zip(plane, seed, strict=True)]
    kept = labels.contiguous, labels.n_edit_dimensions, labels.preserve_labels
    # of the public ways to paint, undo remembers this one as a mask, not as coordinates: 25 times less memory
    labels.contiguous, labels.n_edit_dimensions, labels.preserve_labels = False, 2, False
    try:
        labels.fill([int(v) for v in coordinate], BACKGROUND)
    finally:
        labels.contiguous, labels.n_edit_dimensions, labels.preserve_labels = kept
    return int(empty.sum())


def on_screen(image: "ImageLayer", point: Sequence[float], displayed: Sequence[int]) -> tuple[slice, ...]:
    """The part of an image that is on screen: what the window shows of the slice.

    Args:
        image: The image layer.
        point: The viewer's point in world coordinates, an entry for each spatial axis.
        displayed: The spatial axes that are on screen.
    """
    shape, extra = to_image(image).shape, int(has_channels(image))
    here = np.round(image.world_to_data([*[0.0] * extra, *point]))[extra:]
    low, high = np.asarray(image.corner_pixels)[:, extra:]
    box = []
    for axis, n in enumerate(shape):
        if axis in displayed:
            start, stop = int(np.clip(low[axis], 0, n)), int(np.clip(high[axis] + 1, 0, n))
            box.append(slice(start, stop) if stop - start > 1 else slice(0, n))
        else:
            at = int(np.clip(here[axis], 0, n - 1))
            box.append(slice(at, at + 1))
    return tuple(box)


def file_of(layer: "ImageLayer") -> Path | None:
    """The file or folder that a layer was read from, if it is an image that wsseg knows."""
    path = layer.metadata.get(KEY, {}).get("path") or layer.source.path
    return Path(path) if path is not None and is_image(path) else None
