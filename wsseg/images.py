"""Read and write image files with their geometry; each format's own rules live in `wsseg/formats/`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from wsseg.atomic import write_beside
from wsseg.errors import InputError
from wsseg.formats.base import SUFFIXES, Image
from wsseg.formats.labels import agreeing, whole_numbers

__all__ = [
    "Image",
    "check_values",
    "in_colour",
    "is_image",
    "list_images",
    "mask_path",
    "mask_writer",
    "peek_image",
    "probabilities_path",
    "read_image",
    "read_labels",
    "stem_of",
    "write_mask",
    "write_probabilities",
]

_FORMATS = {"nifti": "nifti", "tiff": "tiff", "picture": "picture", "zarr": "omezarr", "dicom": "dicom"}
_MASK_SUFFIX = {
    "nifti": ".nii.gz",
    "dicom": ".nii.gz",
    "tiff": ".tif",
    "picture": ".png",
    "zarr": ".ome.zarr",
    "array": ".tif",
}


def read_image(path: Path | str, channel_axis: int | None = None) -> Image:
    """Read an image; spatial axes stay as the format's standard reader gives them (NIfTI: x first).

    A spatial axis of one voxel is kept: a stack (1, Y, X) stays a stack. OME-Zarr is read lazily.

    Args:
        path: A NIfTI, TIFF, PNG or JPEG file, an OME-Zarr folder, or a folder with one DICOM series.
        channel_axis: Which stored axis is the channels, for a NIfTI or TIFF that does not say so itself.

    Raises:
        InputError: The file is missing, broken, or its axes can't be told.
    """
    path = Path(path)
    return _format(_kind_of(path)).read(path, channel_axis=channel_axis)


def peek_image(path: Path | str, channel_axis: int | None = None) -> Image:
    """`read_image` without the values: `data` has the right shape and dtype but is zeros, without memory.

    Raises:
        InputError: As `read_image`, as far as the header tells.
    """
    path = Path(path)
    return _format(_kind_of(path)).read(path, channel_axis=channel_axis, pixels=False)


def read_labels(path: Path | str, like: Image | None = None) -> np.ndarray:
    """Read a hint map or a mask (*S) as whole numbers.

    A file that differs from `like` only in axes of one voxel is given its shape. A NIfTI for a DICOM series
    is turned onto the series' grid where the two affines say how.

    Args:
        path: The file; a palette PNG gives its indices.
        like: The image it must agree with, in shape and, for NIfTI and DICOM, in affine within 1e-3.

    Raises:
        InputError: It does not agree with `like`, has several channels, or holds numbers that aren't whole.
    """
    path = Path(path)
    kind = _kind_of(path)
    image = _format(kind).read_labels(path) if kind == "picture" else read_image(path)
    if image.channels != 1:
        raise InputError(f"{path}: has {image.channels} channels; a label map has one number a voxel.")
    labels = whole_numbers(np.asarray(image.data[0]), path)
    return labels if like is None else agreeing(labels, image, like)


def write_mask(path: Path | str, mask: np.ndarray, like: Image) -> None:
    """Write a mask on the grid of `like`, whose affine, spacing or resolution comes back as it was.

    Args:
        path: Where; the suffix gives the kind of file. It appears whole or not at all.
        mask: Whole numbers (*S) from 0 to 65535; stored as uint8 where 255 is enough.
        like: The image it belongs to.

    Raises:
        InputError: The shape is not that of `like`, the numbers don't fit, or the disk refuses.
    """
    path, mask = Path(path), np.asarray(mask)
    low, high = int(mask.min(initial=0)), int(mask.max(initial=0))
    if low < 0 or high > 65535 or mask.dtype.kind not in "iub":
        raise InputError(
            f"{path}: a mask holds whole numbers from 0 to 65535, not {mask.dtype} {low}…{high}."
        )
    with mask_writer(path, like, np.uint8 if high <= 255 else np.uint16) as target:
        if mask.shape != target.shape:
            raise InputError(f"{path}: the mask has shape {mask.shape}, its image {like.shape}.")
        target[...] = mask


@contextmanager
def mask_writer(path: Path | str, like: Image, dtype: Any = np.uint8) -> Iterator[Any]:
    """A mask to fill block by block: `with mask_writer(path, like) as mask: mask[slices] = block`.

    For OME-Zarr the blocks go to disk as they come, for other kinds the whole mask is held in memory. The
    file appears under its name when the block ends well; an error or a cancel leaves nothing behind.

    Raises:
        InputError: The kind of file can't hold a mask, or the disk refuses.
    """
    path = Path(path)
    kind = _writable_kind(path, like)
    with write_beside(path) as fresh:
        if kind == "zarr":
            with _format(kind).writer(fresh, like, dtype) as array:
                yield array
        else:
            mask = np.zeros(like.shape, dtype)
            yield mask
            _format(kind).write(fresh, mask, like)


def write_probabilities(path: Path | str, probabilities: np.ndarray, like: Image) -> None:
    """Write probabilities (K, *S), float32 or float16: channels first, in NIfTI last as that format has it.

    Raises:
        InputError: The shape does not fit `like`, or the disk refuses.
    """
    path = Path(path)
    kind = _writable_kind(path, like)
    if probabilities.shape[1:] != like.shape:
        raise InputError(
            f"{path}: the probabilities have shape {probabilities.shape}, (classes, *{like.shape}) is right."
        )
    if kind == "picture":
        raise InputError(f"{path}: a PNG holds no probabilities; .tif, .nii.gz or .ome.zarr do.")
    with write_beside(path) as fresh:
        _format(kind).write_probabilities(fresh, probabilities, like)


def mask_path(folder: Path | str, stem: str, like: Image) -> Path:
    """Where the mask of `like` goes: NIfTI for NIfTI and DICOM, OME-Zarr, TIFF, or PNG for a picture."""
    return Path(folder) / f"{stem}{_MASK_SUFFIX[like.kind]}"


def probabilities_path(folder: Path | str, stem: str, like: Image) -> Path:
    """As `mask_path`, but TIFF for a picture, since PNG holds no real numbers."""
    return Path(folder) / f"{stem}{'.tif' if like.kind == 'picture' else _MASK_SUFFIX[like.kind]}"


def stem_of(path: Path | str) -> str:
    """The name less its known suffix: "a.nii.gz" and "a.ome.zarr" are "a", a DICOM folder keeps its name."""
    name = Path(path).name
    suffix = _suffix(name)
    return name[: -len(suffix)] if suffix else name


def is_image(path: Path | str) -> bool:
    """Whether this is a file by its known suffix, an OME-Zarr folder, or a folder of DICOM slices."""
    path = Path(path)
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return SUFFIXES.get(_suffix(path.name)) == "zarr" or _format("dicom").is_series(path)
    return path.is_file() and SUFFIXES.get(_suffix(path.name), "zarr") != "zarr"


def list_images(
    where: Path | str | Iterable[Path | str], twins: "dict[str, str] | None" = None
) -> dict[str, Path]:
    """The images in a folder, or among the files and folders given, by stem and in the order of stems.

    Args:
        where: Folders and files.
        twins: Takes a sentence for each stem that several images have, which are all left out; None = such
            images are an error.

    Raises:
        InputError: A path is missing or no image, or two images have the same stem.
    """
    given = [Path(where)] if isinstance(where, str | Path) else [Path(path) for path in where]
    found: list[Path] = []
    for path in given:
        if is_image(path):
            found.append(path)
        elif path.is_dir():
            found += [entry for entry in sorted(path.iterdir()) if is_image(entry)]
        else:
            _kind_of(path)  # says what is wrong with it
    images: dict[str, Path] = {}
    for path in found:
        stem = stem_of(path)
        if stem in images and images[stem].resolve() != path.resolve():
            said = (
                f"{path}: has the same stem “{stem}” as {images[stem]}; rename one, results go by the stem."
            )
            if twins is None:
                raise InputError(said)
            twins[stem] = said
        images[stem] = path
    return {stem: path for stem, path in sorted(images.items()) if stem not in (twins or ())}


def in_colour(image: Image) -> Image:
    """A grey image with its one channel repeated to red, green and blue; takes no memory."""
    grey = np.asarray(image.data)
    return replace(image, data=np.broadcast_to(grey, (3, *grey.shape[1:])), rgb=True)


def check_values(image: Image) -> None:
    """Check that an image in memory holds numbers only; a lazy one is not read for this.

    Raises:
        InputError: Voxels are NaN or infinite; the sentence says how many.
    """
    if not isinstance(image.data, np.ndarray) or image.data.dtype.kind != "f":
        return
    bad = image.data.size - int(np.count_nonzero(np.isfinite(image.data)))
    if bad:
        raise InputError(
            f"{image.path or 'image'}: {bad} of {image.data.size} voxels are NaN or infinite; replace them, "
            "for example by the lowest value of the image."
        )


def _format(kind: str) -> Any:
    """The module of a kind of file, imported on first use: each brings a library that is slow to load."""
    return import_module(f"wsseg.formats.{_FORMATS[kind]}")


def _suffix(name: str) -> str:
    return next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")


def _kind_of(path: Path) -> str:
    """The kind of an image on disk."""
    kind = SUFFIXES.get(_suffix(path.name))
    if not path.exists():
        raise InputError(f"{path}: there is no such file; check the name.")
    if path.is_dir():
        if kind == "zarr":
            return kind
        if _format("dicom").is_series(path):
            return "dicom"
        raise InputError(f"{path}: is a folder without DICOM slices; name an image or a DICOM series.")
    if kind is None or kind == "zarr":
        if path.suffix.lower() in (".dcm", ".ima"):
            raise InputError(f"{path}: is one DICOM file; name the folder that holds its series.")
        raise InputError(
            f"{path}: is no kind of image that wsseg knows; NIfTI, TIFF, PNG, JPEG, OME-Zarr and folders "
            "with a DICOM series are."
        )
    if path.stat().st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes); copy it again.")
    return kind


def _writable_kind(path: Path, like: Image) -> str:
    kind = SUFFIXES.get(_suffix(path.name))
    if kind is None or path.suffix.lower() in (".jpg", ".jpeg"):
        raise InputError(f"{path}: can't hold a mask; .nii.gz, .tif, .png or .ome.zarr can.")
    if kind == "picture" and like.ndim != 2:
        raise InputError(f"{path}: a PNG holds no volume; .nii.gz, .tif or .ome.zarr do.")
    return kind
