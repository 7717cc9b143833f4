"""A DICOM series: a folder of slices becomes one volume (Z, Y, X), with its affine for a NIfTI mask."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.errors

from wsseg.errors import InputError
from wsseg.formats.base import Image, no_pixels, real_array, real_dtype, spacing_of

_BROKEN = (
    pydicom.errors.InvalidDicomError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    RuntimeError,
    NotImplementedError,
)
_ORIENTATION_TOLERANCE = 1e-4
_GAP_TOLERANCE = 0.02  # of the usual distance between slices


def is_series(folder: Path) -> bool:
    """Whether a folder holds DICOM slices (told from the first file that is no hidden one)."""
    return any(_is_dicom(file) for file in _files(folder)[:3])


def read(folder: Path, *, channel_axis: int | None = None, pixels: bool = True) -> Image:
    """Read a folder of slices as (C, Z, Y, X), sorted along the normal of the slices.

    The rescale slope and intercept are applied. `geometry["affine"]` takes indices (z, y, x) to RAS
    millimetres, as NIfTI has them; `geometry["patient"]` is the PatientID. `channel_axis` has no use here.

    Raises:
        InputError: Not one complete series: slices missing or doubled, series mixed, a file unreadable.
    """
    slices = [_slice(file, pixels) for file in _files(folder) if _is_dicom(file)]
    if not slices:
        raise InputError(f"{folder}: holds no DICOM slices; a folder with the files of one series is right.")
    _check_one_series(folder, slices)
    positions = np.array([s.ImagePositionPatient for s in slices], float)
    across, down = np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3)
    heights = positions @ np.cross(across, down)
    order = np.argsort(heights, kind="stable")
    slices, positions, heights = [slices[i] for i in order], positions[order], heights[order]
    step = _check_gaps(folder, slices, positions, heights)
    row, column = (float(size) for size in slices[0].PixelSpacing)
    lps = np.eye(4)
    lps[:3, :3] = np.stack([step, down * row, across * column], axis=1)
    lps[:3, 3] = positions[0]
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps
    colour = int(slices[0].get("SamplesPerPixel", 1)) == 3
    shape = (len(slices), int(slices[0].Rows), int(slices[0].Columns))
    if pixels:
        data = _pixels(folder, slices)
        data = np.moveaxis(data, -1, 0) if colour else data[None]
    else:
        wide = int(slices[0].BitsAllocated) // 8
        stored = np.dtype(f"{'i' if slices[0].PixelRepresentation else 'u'}{wide}")
        dtype = np.float32 if any(map(_rescale, slices)) else stored
        data = no_pixels((3 if colour else 1, *shape), dtype, folder)
    return Image(
        data=real_array(data, folder) if pixels else data,
        spacing=spacing_of((np.linalg.norm(step), row, column)),
        rgb=colour,
        kind="dicom",
        path=folder,
        geometry={"affine": affine, "patient": str(slices[0].get("PatientID", ""))},
    )


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


def _is_dicom(file: Path) -> bool:
    if file.name.upper() == "DICOMDIR":
        return False
    with open(file, "rb") as handle:
        return handle.read(132)[128:] == b"DICM" or file.suffix.lower() in (".dcm", ".ima")


def _slice(file: Path, pixels: bool) -> Any:
    try:
        found = pydicom.dcmread(file, stop_before_pixels=not pixels)
        if "Rows" not in found:
            raise InputError(f"{file}: is DICOM but holds no image; only the slices of one series are right.")
        if int(found.get("NumberOfFrames", 1)) > 1:
            raise InputError(
                f"{file}: holds many slices in one file; convert it to NIfTI (for example with dcm2niix)."
            )
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            if found.get(name) is None:
                raise InputError(
                    f"{file}: does not say where its slice lies ({name}); a volume's slices have it, a "
                    "single picture is better saved as PNG or TIFF."
                )
    except InputError:
        raise
    except _BROKEN as error:
        raise InputError(f"{file}: is not a readable DICOM file ({error}); copy it again.") from error
    return found


def _check_one_series(folder: Path, slices: list[Any]) -> None:
    series = Counter(str(s.get("SeriesInstanceUID", "")) for s in slices)
    if len(series) > 1:
        counts = ", ".join(str(n) for n in series.values())
        raise InputError(
            f"{folder}: mixes {len(series)} series (of {counts} files); one series a folder is right."
        )
    first = slices[0]
    for other in slices[1:]:
        same = (
            (other.Rows, other.Columns) == (first.Rows, first.Columns)
            and other.get("SamplesPerPixel", 1) == first.get("SamplesPerPixel", 1)
            and _close(other.ImageOrientationPatient, first.ImageOrientationPatient)
            and _close(other.PixelSpacing, first.PixelSpacing)
        )
        if not same:
            raise InputError(
                f"{folder}: its slices differ in size, orientation or pixel spacing "
                f"({Path(first.filename).name} and {Path(other.filename).name}); a folder of equal slices is "
                "right."
            )


def _check_gaps(folder: Path, slices: list[Any], positions: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """The way from one slice to the next, in LPS millimetres (3,)."""
    if len(slices) == 1:
        across, down = np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3)
        thickness = slices[0].get("SpacingBetweenSlices") or slices[0].get("SliceThickness") or 1.0
        return np.cross(across, down) * abs(float(thickness))
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    for i, gap in enumerate(gaps):
        here, after = (Path(s.filename).name for s in slices[i : i + 2])
        if gap <= 1e-3:
            raise InputError(
                f"{folder}: {here} and {after} lie at the same place; one volume without doubles is right."
            )
        if abs(gap - usual) > max(_GAP_TOLERANCE * usual, 1e-2):
            raise InputError(
                f"{folder}: between {here} and {after} are {gap:.3g} mm where {usual:.3g} mm are usual; "
                "a slice is missing or too many, a complete series is right."
            )
    return (positions[-1] - positions[0]) / (len(slices) - 1)


def _rescale(one: Any) -> tuple[float, float] | None:
    pair = (float(one.get("RescaleSlope", 1) or 1), float(one.get("RescaleIntercept", 0) or 0))
    return None if pair == (1.0, 0.0) else pair


def _pixels(folder: Path, slices: list[Any]) -> np.ndarray:
    scaled = any(map(_rescale, slices))
    planes = []
    for one in slices:
        try:
            plane = one.pixel_array
        except _BROKEN as error:
            raise InputError(
                f"{one.filename}: its pixels can't be read ({str(error).splitlines()[0]}); copy it again, or "
                "convert the series to NIfTI (for example with dcm2niix)."
            ) from error
        if scaled:
            slope, intercept = _rescale(one) or (1.0, 0.0)
            plane = plane.astype(np.float32) * np.float32(slope) + np.float32(intercept)
        planes.append(plane.astype(real_dtype(plane.dtype, folder), copy=False))
    return np.stack(planes)


def _close(a: Any, b: Any) -> bool:
    return bool(np.allclose(np.array(a, float), np.array(b, float), rtol=0, atol=_ORIENTATION_TOLERANCE))
