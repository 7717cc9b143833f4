"""NIfTI: axes as nibabel gives them (x first); header and affine come back on the mask bit for bit."""

import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from wsseg.errors import InputError
from wsseg.formats.base import Image, no_pixels, real_array, real_dtype, spacing_of

CHANNELS = "wsseg channels"
"""The intent name that says: the last axis is the channels."""

_BROKEN = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error)


def read(path: Path, *, channel_axis: int | None = None, pixels: bool = True) -> Image:
    """Read a NIfTI image.

    The last axis is the channels where the header says so (intent "vector", "RGB vector", or the name that
    `write_probabilities` leaves); `channel_axis` says it for a file that does not.

    Raises:
        InputError: The file is broken, or has a fourth axis that nothing explains.
    """
    try:
        nii = nibabel.load(path)
    except _BROKEN as error:
        raise InputError(f"{path}: is not a readable NIfTI file ({_reason(error)}).") from error
    if not isinstance(nii, nibabel.Nifti1Pair):
        raise InputError(f"{path}: is not NIfTI inside but {type(nii).__name__}; save it as NIfTI.")
    header = nii.header
    dtype, scaled = _stored(nii, path)
    colour = dtype.fields is not None
    if not colour:
        real_dtype(dtype, path)  # refuses complex numbers before anything is read
    stored = tuple(int(n) for n in header.get_data_shape())
    axis = _channel_axis(header, stored, channel_axis, path)
    spatial = [i for i in range(len(stored)) if i != axis]
    # an unused fourth axis (one time point) or fifth is no axis at all
    dropped = [i for i in spatial[3:] if stored[i] == 1]
    spatial = [i for i in spatial if i not in dropped]
    if len(spatial) > 3:
        raise InputError(
            f"{path}: has {len(spatial)} axes {stored} and its header does not say which are channels; "
            "split it into volumes, or say which axis is the channels' (--channel-axis; in Python "
            "channel_axis)."
        )
    if colour and axis is not None:
        raise InputError(f"{path}: holds RGB voxels and channels as well; one of the two is right.")
    shape = tuple(stored[i] for i in spatial)
    channels = 3 if colour else 1 if axis is None else stored[axis]
    zooms = header.get_zooms()
    if pixels:
        values = _values(nii, scaled, path)
        if colour:
            values = np.stack([values[name].reshape(shape) for name in ("R", "G", "B")])
        else:
            values = values.reshape([n for i, n in enumerate(stored) if i not in dropped])
            here = None if axis is None else axis - sum(i < axis for i in dropped)
            values = values[None] if here is None else np.moveaxis(values, here, 0)
        data = real_array(values, path)
    else:
        data = no_pixels((channels, *shape), np.uint8 if colour else np.float32 if scaled else dtype, path)
    return Image(
        data=data,
        spacing=spacing_of(zooms[i] for i in spatial),
        rgb=colour or (int(header["intent_code"]) == 2003 and channels == 3),
        kind="nifti",
        path=path,
        geometry={"header": header.copy(), "affine": np.array(nii.affine), "axes": tuple(spatial)},
    )


def write(path: Path, mask: np.ndarray, like: Image) -> None:
    """Write a mask (*S) with the header and affine of `like`."""
    header = _header(like)
    header.set_intent("label")
    _save(path, mask, header, like.ndim)


def write_probabilities(path: Path, probabilities: np.ndarray, like: Image) -> None:
    """Write probabilities (K, *S) as (*S, K): NIfTI has its channels last."""
    header = _header(like)
    header.set_intent("none", name=CHANNELS)
    _save(path, np.moveaxis(probabilities, 0, -1).astype(np.float32), header, like.ndim)


def _stored(nii: Any, path: Path) -> tuple[np.dtype, bool]:
    """The dtype on disk, and whether values must be scaled."""
    dtype = np.dtype(nii.header.get_data_dtype())
    if dtype.fields is not None and not {"R", "G", "B"} <= set(dtype.fields):
        raise InputError(f"{path}: holds values of type {dtype}; integers or real numbers are right.")
    # not from the header: nibabel clears slope and intercept there when it loads a file
    scaled = (nii.dataobj.slope, nii.dataobj.inter) != (1.0, 0.0)
    return dtype, scaled and dtype.fields is None


def _values(nii: Any, scaled: bool, path: Path) -> np.ndarray:
    try:
        # get_fdata would turn integers into float64; the copy lets go of the memory map and so of the file
        if scaled:
            return np.asarray(nii.dataobj, dtype=np.float32)
        return np.array(nii.dataobj.get_unscaled())
    except _BROKEN as error:
        raise InputError(f"{path}: is cut short or damaged ({_reason(error)}); copy it again.") from error


def _channel_axis(header: Any, stored: tuple[int, ...], asked: int | None, path: Path) -> int | None:
    if asked is not None:
        if not -len(stored) <= asked < len(stored):
            raise InputError(f"{path}: has no axis {asked} to take as channels; its shape is {stored}.")
        return asked % len(stored)
    name = bytes(header["intent_name"]).split(b"\0")[0].decode("latin-1").strip()
    vector = int(header["intent_code"]) in (1007, 2003) and len(stored) >= 4
    return len(stored) - 1 if name == CHANNELS or vector else None


def _header(like: Image) -> Any:
    """The header for a result on the grid of `like`."""
    if like.kind == "nifti":
        header = like.geometry["header"].copy()
        axes = like.geometry["axes"]
        header["pixdim"][1 : 1 + like.ndim] = [header["pixdim"][1 + i] for i in axes]
        # what described the image's values and not its grid
        header["cal_min"] = header["cal_max"] = 0
        header.extensions.clear()
    else:
        header = nibabel.Nifti1Header()
        header.set_data_shape(like.shape)
        header.set_zooms(like.spacing)
        affine = like.geometry.get("affine")
        if affine is not None:
            header.set_sform(affine, code="scanner")
            header.set_qform(affine, code="scanner")
            header.set_xyzt_units(like.geometry.get("unit", "mm"))
    return header


def _save(path: Path, values: np.ndarray, header: Any, ndim: int) -> None:
    header.set_data_dtype(values.dtype)
    if header.get_data_shape() != values.shape:
        header.set_data_shape(values.shape)
        header["pixdim"][1 + ndim :] = 1
    header.set_slope_inter(1, 0)
    made = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    # affine None: nibabel then leaves sform, qform and their codes as they are in the header
    nibabel.save(made(values, None, header=header), path)


def _reason(error: BaseException) -> str:
    return str(error).split("\n")[0].rstrip(".") or type(error).__name__
