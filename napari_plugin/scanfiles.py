"""The scans that an encoder learns from: what the user named, and images that are in no file yet."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Picture

from napari_plugin.layers import file_of, to_image
from napari_plugin.levels import number_of, whole_of
from wsseg.atomic import write_beside
from wsseg.images import Image, write_probabilities

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer


@dataclass(frozen=True, eq=False)
class Loaded:
    """An image of a layer that was read from no file that wsseg knows; its name can be a file's."""

    name: str
    image: Image


Scan = Path | Loaded


def of_layers(layers: Iterable["ImageLayer"]) -> tuple[Scan, ...]:
    """The files of image layers, each once; the image itself where there is no file, but no level beside it.

    Raises:
        InputError: A layer has other than 2 or 3 spatial axes.
    """
    found: dict[Path | str, Scan] = {}
    layers = list(layers)
    for layer in layers:
        if number_of(layer) and whole_of(layers, layer) is not None:
            continue
        path = file_of(layer)
        if path is not None:
            found.setdefault(path, path.resolve())
        else:
            name = "".join(c if c.isalnum() or c in "-_" else "_" for c in layer.name)
            while name in found:
                name += "_"
            found[name] = Loaded(name, to_image(layer))
    return tuple(found.values())


def as_files(scans: Iterable[Scan], folder: Path) -> list[Path]:
    """The scans as files; images without one are written into a folder with their geometry.

    Raises:
        InputError: The disk refuses.
    """
    return [scan if isinstance(scan, Path) else _write(scan, folder) for scan in scans]


def _write(scan: Loaded, folder: Path) -> Path:
    image = scan.image
    values = np.asarray(image.data[(slice(None),) * (image.ndim + 1)])
    if image.rgb and image.ndim == 2 and values.dtype == np.uint8:
        path = folder / f"{scan.name}.png"
        with write_beside(path) as fresh:
            Picture.fromarray(np.moveaxis(values, 0, -1)).save(fresh)
        return path
    # a scanner's affine has a place in NIfTI alone; those are read as CT or MR
    path = folder / f"{scan.name}{'.nii.gz' if 'affine' in image.geometry else '.ome.zarr'}"
    write_probabilities(path, values.astype(np.float32), image)  # any real numbers, channels first
    return path
