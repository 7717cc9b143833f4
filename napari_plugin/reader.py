"""Opens NIfTI, OME-Zarr and DICOM images with their axes as stored, and whole dataset folders."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_plugin.boxlayer import look, to_shapes
from napari_plugin.layers import KEY, colormap
from napari_plugin.openfolder import dataset_at
from napari_plugin.taglayer import to_rows
from wsseg.colours import class_colour
from wsseg.hints import BACKGROUND, Hints
from wsseg.images import Image, is_image, read_image, stem_of
from wsseg.world import world_of

if TYPE_CHECKING:
    from wsseg.folder import Dataset, Item

MOST = 12  # images of a dataset opened at first; a layer each, which takes napari 0.1 s
LayerData = tuple[Any, dict[str, Any], str]


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """A function that reads this path, or None where it is nothing of ours (npe2's reader contract)."""
    if not isinstance(path, str):
        return None
    if (Path(path) / "images").is_dir() and not is_image(path):
        return read_dataset
    return read_file if is_image(path) else None


def read_file(path: str) -> list[LayerData]:
    """One image, axes as stored.

    Raises:
        InputError: It can't be read.
    """
    return [image_layer(read_image(path), Path(path))]


def read_dataset(path: str) -> list[LayerData]:
    """The images of a dataset folder with their hints, the first ones where there are many.

    Raises:
        InputError: It is no dataset, or a file in it can't be read.
    """
    dataset = dataset_at(path)
    items = dataset.items[:MOST]
    found = [layer for item in items for layer in item_layers(dataset, item)]
    _, first, _ = found[0]
    for _, options, _ in found:
        if "dataset" in options["metadata"][KEY]:
            options["metadata"][KEY]["reached"] = items[-1].stem  # see `open_more`
        options["visible"] = options["metadata"][KEY].get("of") == first["metadata"][KEY]["id"]
    first["visible"] = True
    if len(dataset.items) > MOST:
        from napari.utils.notifications import show_info

        show_info(
            f"Opened the first {MOST} of {len(dataset.items)} images; Next (K) opens more after the last."
        )
    return found


def item_layers(dataset: "Dataset", item: "Item") -> list[LayerData]:
    """An image of a dataset, which knows the folder that it is of, with its tags and its hints."""
    image, hints = dataset.read_alone(item)
    layer = tagged(image_layer(image, item.image), hints, dataset.classes)
    layer[1]["metadata"][KEY]["dataset"] = str(dataset.folder)
    return [layer, *_hint_layers(image, hints, item.image, dataset.classes)]


def image_layer(image: Image, path: Path) -> LayerData:
    """An image as napari's layer data: RGB last, other channels first, lazy data as dask."""
    options: dict[str, Any] = {"name": stem_of(path), **_grid(image)}
    data = image.data
    if not isinstance(data, np.ndarray):
        from dask.array import from_array

        data = from_array(data, chunks=data.chunks)
    if image.rgb:
        data, options["rgb"] = np.moveaxis(data, 0, -1), True
    elif image.channels == 1:
        data = data[0]
    else:
        for name, value in (("scale", 1.0), ("units", "pixel"), ("axis_labels", "c")):
            options[name] = (value, *options[name])
    options["metadata"] = {KEY: {"id": str(path), "path": str(path), "kind": image.kind}}
    return data, options, "image"


def tagged(layer: LayerData, hints: Hints, classes: dict[int, str]) -> LayerData:
    """The image with its tags in the layer's metadata, where it has some."""
    if hints.tags is not None:
        layer[1]["metadata"][KEY].update(tags=to_rows(hints.tags), classes=dict(classes))
    return layer


def _hint_layers(image: Image, hints: Hints, path: Path, classes: dict[int, str]) -> list[LayerData]:
    """Hints of an image; a finished mask becomes a hint map that is full."""
    layers: list[LayerData] = []
    colours = {k: class_colour(k) for k in classes}
    painted = np.zeros(image.shape, np.uint8) if hints.scribbles is None else hints.scribbles.copy()
    if hints.mask is not None:
        painted = np.where(hints.mask == 0, BACKGROUND, hints.mask).astype(np.uint8)
    own = {"of": str(path), "classes": dict(classes)}
    options = {"opacity": 0.8, **_grid(image)}
    if painted.any():
        name = f"{stem_of(path)} hints"
        metadata = {KEY: {"role": "hints", **own}}
        layers.append(
            (
                painted,
                {**options, "name": name, "colormap": colormap(colours), "metadata": metadata},
                "labels",
            )
        )
    if hints.clicks:
        features: dict[str, Any] = {"class": [str(click.class_id) for click in hints.clicks]}
        positions = np.array([click.position for click in hints.clicks])
        extra = {"name": f"{stem_of(path)} clicks", "features": features, "size": 6}
        layers.append(
            (positions, {**_grid(image), **extra, "metadata": {KEY: {"role": "clicks", **own}}}, "points")
        )
    if hints.boxes:
        # first and last slice of a box in a volume: of the axis along which it is shown
        corners, features = to_shapes(hints.boxes, axis=2 if image.kind == "nifti" else 0)
        shown = look(f"{stem_of(path)} boxes", image.shape)
        shown["edge_color"] = [colours[int(k)] for k in features["class"]]
        metadata = {KEY: {"role": "boxes", **own}}
        layers.append(
            (corners, {**_grid(image), **shown, "features": features, "metadata": metadata}, "shapes")
        )
    return layers


def _shown(unit: str) -> str:
    """A unit as napari takes it; pixels for what is none, or what it does not know."""
    from tokenize import TokenError

    from pint import PintError, get_application_registry

    try:
        get_application_registry().Unit(unit or "pixel")
    except (PintError, ValueError, AssertionError, TokenError):  # what pint's parser ends with
        return "pixel"
    return unit or "pixel"


def _grid(image: Image) -> dict[str, Any]:
    """Scale, units and names of the spatial axes."""
    names = "xyz" if image.kind == "nifti" else "zyx"[-image.ndim :]
    labels = [str(axis["name"]) for axis in image.geometry.get("axes", ())] if image.kind == "zarr" else []
    return {
        "scale": image.spacing,
        "units": tuple(_shown(unit) for unit in world_of(image).units),
        "axis_labels": tuple(labels or names[: image.ndim]),
    }
