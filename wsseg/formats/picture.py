"""PNG and JPEG: grey in 8 or 16 bit, colour, palettes; alpha is dropped."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from wsseg.errors import InputError
from wsseg.formats.base import Image, no_pixels, real_array

_GREY: dict[str, Any] = {"1": np.uint8, "L": np.uint8, "LA": np.uint8, "La": np.uint8}
_DEEP: dict[str, Any] = {
    "I;16": np.uint16,
    "I;16B": np.uint16,
    "I;16L": np.uint16,
    "I;16N": np.uint16,
    "I": np.int32,
}


def read(path: Path, *, channel_axis: int | None = None, pixels: bool = True) -> Image:
    """Read a picture as (1, Y, X), or as (3, Y, X) where the file stores colour.

    A palette is turned into its colours, and 16-bit colour is read in 8 bit as Pillow gives it. Rows and
    columns are as stored: a camera's rotation mark (EXIF) is not applied, because hints are drawn on the
    stored pixels. `channel_axis` has no use here.

    Raises:
        InputError: The file is not a readable picture.
    """
    with _opened(path) as picture:
        mode = picture.mode
        if mode in _GREY:
            dtype, channels, wanted = _GREY[mode], 1, "1" if mode == "1" else "L"
        elif mode in _DEEP or mode == "F":
            dtype, channels, wanted = _DEEP.get(mode, np.float32), 1, mode
        else:
            dtype, channels, wanted = np.uint8, 3, "RGB"
        shape = (channels, picture.height, picture.width)
        if pixels:
            values = np.asarray(picture if mode == wanted else picture.convert(wanted))
            values = np.moveaxis(values, -1, 0) if channels == 3 else values[None]
            data = real_array(values, path)
        else:
            data = no_pixels(shape, dtype, path)
        dpi = picture.info.get("dpi")
    geometry = {} if dpi is None else {"dpi": tuple(float(d) for d in dpi)}
    return Image(
        data=data, spacing=(1.0, 1.0), rgb=channels == 3, kind="picture", path=path, geometry=geometry
    )


def read_labels(path: Path) -> Image:
    """Read a label map: a palette's indices are the labels, and grey saved as RGB counts as grey.

    Raises:
        InputError: The file is a JPEG, which changes labels, or has real colours.
    """
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: JPEG changes the labels it stores; PNG or TIFF is right.")
    with _opened(path) as picture:
        indices = np.asarray(picture) if picture.mode == "P" else None
    if indices is not None:
        return Image(data=real_array(indices[None], path), spacing=(1.0, 1.0), kind="picture", path=path)
    image = read(path)
    if image.channels == 1:
        return image
    if (image.data != image.data[:1]).any():
        raise InputError(f"{path}: has colours where labels are expected; a grey or palette PNG is right.")
    return Image(data=image.data[:1], spacing=image.spacing, kind="picture", path=path)


def write(path: Path, mask: np.ndarray, like: Image) -> None:
    """Write a mask (Y, X) as grey PNG in 8 or 16 bit."""
    dpi = like.geometry.get("dpi")
    options: dict[str, Any] = {} if dpi is None else {"dpi": dpi}
    PIL.Image.fromarray(np.ascontiguousarray(mask)).save(path, format="PNG", **options)


@contextmanager
def _opened(path: Path) -> Iterator[PIL.Image.Image]:
    try:
        with warnings.catch_warnings():
            # a large scan is no attack; what is too large for Pillow is an error below
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            with PIL.Image.open(path, formats=("PNG", "JPEG")) as picture:
                yield picture
    except InputError:
        raise
    except PIL.Image.DecompressionBombError as error:
        raise InputError(f"{path}: is too large for a picture; a TIFF or OME-Zarr is right.") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        reason = str(error).split("\n")[0].rstrip(".")
        raise InputError(
            f"{path}: is not a readable PNG or JPEG, or is cut short ({reason}); copy or save it again."
        ) from error
