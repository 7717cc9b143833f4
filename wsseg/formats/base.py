"""The image that travels through wsseg, and the few rules every file format shares."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wsseg.errors import InputError

SUFFIXES = {
    ".nii.gz": "nifti",
    ".nii": "nifti",
    ".ome.tiff": "tiff",
    ".ome.tif": "tiff",
    ".tiff": "tiff",
    ".tif": "tiff",
    ".png": "picture",
    ".jpeg": "picture",
    ".jpg": "picture",
    ".ome.zarr": "zarr",
    ".zarr": "zarr",
}
"""Every known suffix and the kind of file it stands for; longer ones first, so the first match is right."""


@dataclass(frozen=True, eq=False)
class Image:
    """One image with its geometry.

    Attributes:
        data: The values, (C, *S) with the spatial axes S as stored: a numpy array, or a lazy object with
            `.shape`, `.dtype` and basic slicing that gives numpy (OME-Zarr).
        spacing: Size of a voxel along each spatial axis, in the file's unit (1 where the file says nothing).
        rgb: The channels are colour, as told by the file's own metadata.
        kind: "nifti", "tiff", "picture" (PNG, JPEG), "zarr", "dicom" or "array" (made in memory).
        path: Where it was read from.
        geometry: What the writer of this kind needs to give the geometry back on a mask.

    Raises:
        InputError: There are not two or three spatial axes, or the spacing does not fit them.
    """

    data: Any
    spacing: tuple[float, ...]
    rgb: bool = False
    kind: str = "array"
    path: Path | None = None
    geometry: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        name = self.path if self.path is not None else "image"
        if self.ndim not in (2, 3):
            raise InputError(f"{name}: has {max(self.ndim, 0)} spatial axes; 2 or 3 are right.")
        if 0 in self.data.shape:
            raise InputError(f"{name}: holds no voxels (shape {tuple(self.data.shape)}).")
        if len(self.spacing) != self.ndim or not all(np.isfinite(s) and s > 0 for s in self.spacing):
            raise InputError(
                f"{name}: the spacing {tuple(self.spacing)} does not fit {self.ndim} spatial axes; "
                "one number above 0 for each axis is right."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along each spatial axis."""
        return tuple(int(n) for n in self.data.shape[1:])

    @property
    def ndim(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return len(self.data.shape) - 1

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.data.shape[0])


def real_dtype(dtype: Any, path: Path) -> np.dtype:
    """The dtype in which wsseg holds values stored as `dtype`: native byte order, no bool, no long double.

    Raises:
        InputError: The values are not real numbers.
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "f" and dtype.itemsize > 8:
        return np.dtype(np.float64)
    if dtype.kind not in "iuf":
        what = "complex numbers" if dtype.kind == "c" else f"values of type {dtype}"
        raise InputError(f"{path}: holds {what}; integers or real numbers are right (save the magnitude).")
    return dtype.newbyteorder("=")


def real_array(array: Any, path: Path) -> np.ndarray:
    """`array` in memory, contiguous and in a dtype of `real_dtype`."""
    return np.ascontiguousarray(array, dtype=real_dtype(array.dtype, path))


def no_pixels(shape: tuple[int, ...], dtype: Any, path: Path) -> np.ndarray:
    """Zeros of this shape that take no memory, for looking at a file's header alone."""
    return np.broadcast_to(np.zeros((), real_dtype(dtype, path)), shape)


def spacing_of(values: Any) -> tuple[float, ...]:
    """Spacings as plain numbers; one that a file leaves at 0 or NaN is unset and counts as 1."""
    sizes = (abs(float(value)) for value in values)
    return tuple(size if np.isfinite(size) and size > 0 else 1.0 for size in sizes)
