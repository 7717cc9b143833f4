"""TIFF: a picture, a stack (Z, Y, X), ImageJ's hyperstacks and OME-TIFF, by the axes their metadata name."""

import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import PIL.Image
import tifffile

from wsseg.errors import InputError
from wsseg.formats.base import Image, no_pixels, real_array, spacing_of

SPATIAL = "TZIQYX"
"""Axis letters that are space. T (time) counts as a sparse axis like Z; I and Q are pages nobody named."""

_BROKEN = (
    tifffile.TiffFileError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    RuntimeError,
    struct.error,
    zlib.error,
)


def read(path: Path, *, channel_axis: int | None = None, pixels: bool = True) -> Image:
    """Read a TIFF.

    Axes come from ImageJ's or OME's metadata: C is channels, RGB samples are colour (alpha is dropped), T is
    a spatial axis. Both always write all their axes, so of those one of length 1 is left out. Pages without
    metadata are (Z, Y, X); a plain stack of one page that says so stays a stack. `channel_axis` names the
    channels of a file that does not say.

    The spacing is read from ImageJ's and OME's metadata only: a plain TIFF's resolution is mostly a printer's
    and says nothing about the distance of pages.

    Raises:
        InputError: The file is broken, or its axes are more than space and channels.
    """
    try:
        with tifffile.TiffFile(path) as tif:
            series = _only_series(tif, path)
            axes, shape = series.axes, tuple(series.shape)
            _check_whole(tif, series, path)
            page = series.keyframe
            style = "ome" if tif.is_ome else "imagej" if tif.is_imagej else "plain"
            sizes, tags = _sizes(tif, style)
            geometry = {"style": style, "sizes": sizes, **tags}
            rgb = int(page.photometric) in (2, 6)  # RGB and YCbCr; a palette's indices stay as they are
            dtype = series.dtype
            values = _values(tif, series, path) if pixels else no_pixels(shape, dtype, path)
    except InputError:
        raise
    except _BROKEN as error:
        raise InputError(
            f"{path}: is not a readable TIFF or is cut short ({_reason(error)}); copy it again."
        ) from error
    values, letters, rgb = _arrange(values, axes, rgb=rgb, channel_axis=channel_axis, path=path)
    return Image(
        data=real_array(values, path) if pixels else values,
        spacing=spacing_of(sizes.get(letter, 1.0) for letter in letters),
        rgb=rgb,
        kind="tiff",
        path=path,
        geometry={**geometry, "axes": letters},
    )


def write(path: Path, mask: np.ndarray, like: Image) -> None:
    """Write a mask (*S) with the axes, resolution and spacing of `like`."""
    _save(path, mask, _letters(like), like)


def write_probabilities(path: Path, probabilities: np.ndarray, like: Image) -> None:
    """Write probabilities (K, *S), channels first.

    Axes and resolution are those of `like`; ImageJ's or OME's own metadata is not written, because neither
    allows every order of axes and float16.
    """
    _save(path, probabilities, "C" + _letters(like), like, style="plain")


def _only_series(tif: Any, path: Path) -> Any:
    whole = [s for s in tif.series if not s.keyframe.is_reduced]
    if len(whole) != 1:
        shapes = ", ".join(str(tuple(s.shape)) for s in whole[:3])
        raise InputError(f"{path}: holds {len(whole)} images ({shapes}); one image or stack a file is right.")
    return whole[0]


def _check_whole(tif: Any, series: Any, path: Path) -> None:
    """Check that no page is missing: tifffile gives what it finds of a file cut short, without an error."""
    broken = InputError(f"{path}: is cut short, pages are missing at its end; copy it again.")
    form, handle = tif.tiff, tif.filehandle
    handle.seek(form.offsetsize if form.offsetsize == 8 else 4)
    seen: set[int] = set()
    while offset := _number(handle, form.offsetformat, form.offsetsize):
        if offset in seen or offset >= handle.size:
            raise broken
        seen.add(offset)
        handle.seek(offset)
        count = _number(handle, form.tagnoformat, form.tagnosize)
        handle.seek(offset + form.tagnosize + count * form.tagsize)
    planes = math.prod(series.shape) // math.prod(series.keyframe.shape)
    # tifffile fills pages with zeros that OME's metadata names but that are in no file
    if any(page is None for page in series.pages):
        raise InputError(
            f"{path}: its OME metadata names pages that are missing; copy it again, with all its files."
        )
    if tif.is_imagej and (tif.imagej_metadata or {}).get("images", planes) != planes:
        raise broken


def _number(handle: Any, form: str, size: int) -> int:
    return int(struct.unpack(form, handle.read(size))[0])


def _values(tif: Any, series: Any, path: Path) -> np.ndarray:
    try:
        return np.asarray(series.asarray())
    except ValueError as error:
        # tifffile leaves LZW and JPEG to imagecodecs; Pillow, which is here anyway, reads the usual ones
        if "imagecodecs" not in str(error):
            raise
    if len(tif.pages) < len(series.pages):
        raise InputError(f"{path}: its compression can't be read; save it without compression.")
    with PIL.Image.open(path) as picture:
        pages = []
        for page in series.pages:
            picture.seek(page.index)
            pages.append(np.asarray(picture))
    if np.stack(pages).size != np.prod(series.shape) or pages[0].dtype.itemsize != series.dtype.itemsize:
        raise InputError(f"{path}: its compression can't be read; save it without compression.")
    return np.stack(pages).reshape(series.shape)


def _arrange(
    values: np.ndarray, axes: str, *, rgb: bool, channel_axis: int | None, path: Path
) -> tuple[np.ndarray, str, bool]:
    """(array with any axes) -> ((C, *S), letters of S, colour or not)."""
    if channel_axis is not None:
        if not -len(axes) <= channel_axis < len(axes):
            raise InputError(f"{path}: has no axis {channel_axis} to take as channels; its axes are {axes}.")
        axes = _with_letter(axes, channel_axis % len(axes), "C")
    # unnamed axes of length 1 at the end are how some writers store (Y, X, 1)
    for letter in [a for i, a in enumerate(axes) if values.shape[i] == 1 and a not in "ZIQTYX"]:
        if len(axes) > 2 and letter not in "CS":
            values = values.squeeze(axes.index(letter))
            axes = axes.replace(letter, "", 1)
    if axes.endswith("YXQ") and values.shape[-1] == 1:
        values, axes = values[..., 0], axes[:-1]
    channel = [i for i, letter in enumerate(axes) if letter in "CS"]
    letters = "".join(letter for letter in axes if letter not in "CS")
    odd = [letter for letter in letters if letter not in SPATIAL]
    if odd or len(letters) not in (2, 3) or len(channel) > 1:
        raise InputError(
            f"{path}: has the axes {axes} {values.shape}; two or three of space (or time) and at most one of "
            "channels are right: split the file, or say which axis is the channels' (--channel-axis; in "
            "Python channel_axis)."
        )
    if not channel:
        return values[None], letters, False
    samples = axes[channel[0]] == "S"
    values = np.moveaxis(values, channel[0], 0)
    if samples and rgb and len(values) > 3:
        values = values[:3]
    elif samples and not rgb and len(values) == 2:
        values = values[:1]  # grey with alpha
    return values, letters, samples and rgb and len(values) == 3


def _with_letter(axes: str, index: int, letter: str) -> str:
    return axes[:index] + letter + axes[index + 1 :]


def _sizes(tif: Any, style: str) -> tuple[dict[str, float], dict[str, Any]]:
    """Voxel sizes by axis letter, and the tags that a mask gets back."""
    page = tif.pages[0]
    tags = {name: page.tags.valueof(name) for name in ("XResolution", "YResolution", "ResolutionUnit")}
    kept: dict[str, Any] = {
        # some writers leave 0/0 as resolution, which is none
        name: int(value) if name == "ResolutionUnit" else value
        for name, value in tags.items()
        if value is not None and (name == "ResolutionUnit" or all(value))
    }
    if style == "ome":
        pixels = ElementTree.fromstring(tif.ome_metadata).find(".//{*}Pixels")
        found = {} if pixels is None else pixels.attrib
        kept["ome"] = {k: v for k, v in found.items() if k.startswith("PhysicalSize")}
        sizes = {axis: float(found.get(f"PhysicalSize{axis}", 1.0)) for axis in "ZYX"}
    elif style == "imagej":
        metadata: Mapping[str, Any] = tif.imagej_metadata or {}
        kept["imagej"] = {k: metadata[k] for k in ("spacing", "unit", "finterval") if k in metadata}
        if "unit" in metadata:
            kept["imagej"]["unit"] = _escaped(str(metadata["unit"]))
        sizes = {"Z": abs(float(metadata.get("spacing", 1.0)))}
        for axis in "YX":
            count, unit = kept.get(f"{axis}Resolution", (1, 1))
            sizes[axis] = unit / count
    else:
        return {}, kept
    # pages that nobody named are as far apart as slices
    return {**sizes, "I": sizes["Z"], "Q": sizes["Z"]}, kept


def _escaped(text: str) -> str:
    """ImageJ's own way to write µ and other letters beyond ASCII."""
    return "".join(c if c.isascii() else f"\\u{ord(c):04X}" for c in text)


def _letters(like: Image) -> str:
    stored = like.geometry.get("axes", "")
    if like.kind != "tiff" or len(stored) != like.ndim:
        return "ZYX"[-like.ndim :]
    return "".join("Z" if letter in "IQ" else letter for letter in stored)


def _save(path: Path, values: np.ndarray, axes: str, like: Image, *, style: str | None = None) -> None:
    geometry = like.geometry if like.kind == "tiff" else {}
    style = style or geometry.get("style", "plain")
    metadata: dict[str, Any] = {"axes": axes}
    if style == "imagej":
        metadata.update(geometry["imagej"])
    elif style == "ome":
        for name, value in geometry["ome"].items():
            metadata[name] = value if name.endswith("Unit") else float(value)
    options: dict[str, Any] = {}
    if "XResolution" in geometry and "YResolution" in geometry:
        options["resolution"] = (geometry["XResolution"], geometry["YResolution"])
        options["resolutionunit"] = geometry.get("ResolutionUnit")
    tifffile.imwrite(
        path,
        np.ascontiguousarray(values),
        photometric="minisblack",
        compression="zlib",
        imagej=style == "imagej",
        ome=style == "ome",
        metadata=metadata,
        **options,
    )


def _reason(error: BaseException) -> str:
    return str(error).split("\n")[0].rstrip(".") or type(error).__name__
