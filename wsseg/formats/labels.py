"""Label maps: whole numbers, on the grid of their image."""

from pathlib import Path

import numpy as np

from wsseg.errors import InputError
from wsseg.formats.base import Image

AFFINE_TOLERANCE = 1e-3
"""The largest difference between an affine of hints and image that counts as none."""


def whole_numbers(values: np.ndarray, path: Path) -> np.ndarray:
    """`values` as integers: integers as they are, floats where every one is whole.

    Raises:
        InputError: A value is not whole, or NaN.
    """
    if values.dtype.kind in "iu":
        return values
    odd = ~((values == np.rint(values)) & (np.abs(values) < 2**31))
    if odd.any():
        raise InputError(
            f"{path}: holds the value {values[odd].flat[0]}, which is no whole number; labels are, so save "
            "it without interpolation or scaling."
        )
    return values.astype(np.int32)


def count_values(labels: np.ndarray) -> dict[int, int]:
    """How many voxels each value has, for the values that occur, in their order."""
    if labels.dtype.kind != "u" or labels.dtype.itemsize > 2:
        values, counts = np.unique(labels, return_counts=True)
        return dict(zip(values.tolist(), counts.tolist(), strict=True))
    # bincount is far faster than a sort but holds 8 bytes a voxel, so one plane at a time
    length = int(labels.max(initial=0)) + 1
    totals = np.zeros(length, np.int64)
    for plane in labels:
        totals += np.bincount(plane.ravel(), minlength=length)
    return {value: count for value, count in enumerate(totals.tolist()) if count}


def agreeing(labels: np.ndarray, image: Image, like: Image) -> np.ndarray:
    """`labels`, read as `image`, on the grid of `like`.

    Axes of one voxel may be there or not. A NIfTI for a DICOM series is turned where the affines say how.

    Raises:
        InputError: Shape or affine are not those of `like`.
    """
    path, name = image.path, like.path or "its image"
    mine, theirs = image.geometry.get("affine"), like.geometry.get("affine")
    if mine is not None and theirs is not None and (like.kind, image.kind) == ("dicom", "nifti"):
        turned = onto_grid(labels, mine, like.shape, theirs)
        if turned is None:
            raise InputError(
                f"{path}: its shape {labels.shape} and affine are not the grid of {name} {like.shape}, in no "
                "order of axes; draw it on that series, or resample it."
            )
        return turned
    if labels.shape != like.shape:
        if [n for n in labels.shape if n > 1] != [n for n in like.shape if n > 1]:
            reversed_axes = labels.shape == like.shape[::-1]
            raise InputError(
                f"{path}: has shape {labels.shape} but {name} has {like.shape}"
                f"{' (its axes are the other way round)' if reversed_axes else ''}; both must be the same."
            )
        labels = labels.reshape(like.shape)
    elif mine is not None and theirs is not None:
        difference = np.abs(mine - theirs).max()
        if difference > AFFINE_TOLERANCE:
            raise InputError(
                f"{path}: its affine differs from that of {name} by up to {difference:.4g}; save it with the "
                "affine of the image, or resample it."
            )
    return labels


def onto_grid(
    labels: np.ndarray,
    affine: np.ndarray,
    shape: tuple[int, ...],
    target: np.ndarray,
) -> np.ndarray | None:
    """`labels` with axes permuted and flipped so that they lie on the grid of `shape` and `target`.

    A mask of a DICOM series mostly comes from a NIfTI that another program made, with its own order of axes;
    the two affines say exactly how they belong together.

    Args:
        labels: (*S) on the grid of `affine`.
        affine: (4, 4), indices of `labels` to millimetres.
        shape: The shape to reach.
        target: (4, 4), indices of the result to millimetres.

    Returns:
        The turned labels, or None where no order and direction of axes makes them agree.
    """
    if labels.ndim != 3 or len(shape) != 3:
        return None
    # result index -> labels index; a signed permutation where the grids are the same
    mapping = np.linalg.solve(affine, target)
    source = np.abs(mapping[:3, :3]).argmax(axis=0)  # axis of labels for each axis of the result
    if sorted(source) != [0, 1, 2]:
        return None
    turned = labels.transpose(source)
    if turned.shape != tuple(shape):
        return None
    placed = np.zeros((4, 4))
    placed[3, 3] = 1
    for axis, from_axis in enumerate(source):
        backward = mapping[from_axis, axis] < 0
        if backward:
            turned = np.flip(turned, axis)
        placed[:3, axis] = affine[:3, from_axis] * (-1 if backward else 1)
        placed[:3, 3] += affine[:3, from_axis] * (labels.shape[from_axis] - 1 if backward else 0)
    placed[:3, 3] += affine[:3, 3]
    if np.abs(placed - target).max() > AFFINE_TOLERANCE:
        return None
    return np.ascontiguousarray(turned)
