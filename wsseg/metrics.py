"""How good a mask is: overlap and distances of each class.

The surface of an object is its voxels with a face to outside; a voxel at the border of the image has one.
A volume of one slice is measured as the picture it is.

Distances are those between the centres of surface voxels, in the unit of the spacing:

- `hd95`: the 95th percentile of the distances from each surface voxel to the other's surface, each way, and
  the larger of the two (as MONAI's compute_hausdorff_distance; other tools pool both ways first).
- `surface_dice`: the share of both surfaces' voxels that lie within the tolerance of the other surface
  (Nikolov et al. 2018, arXiv 1809.04430, with voxels counted instead of areas).
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
from scipy import ndimage

_ROUNDING = 1e-6  # 10 voxels of 0.1 mm must count as within 1 mm


@dataclass(frozen=True)
class Scores:
    """One class of one image.

    Attributes:
        dice: 2|A∩B| / (|A|+|B|), 0 to 1; 1 where the class is absent from both masks.
        iou: |A∩B| / |A∪B|, likewise.
        hd95: See the head of this file; None where absent from both, the image's diagonal where from one.
        surface_dice: Likewise; None where absent from both, 0 where from one.
    """

    dice: float
    iou: float
    hd95: float | None
    surface_dice: float | None

    def as_dict(self) -> dict[str, float | None]:
        """The scores by name, ready for JSON."""
        return asdict(self)


ABSENT = Scores(dice=1.0, iou=1.0, hd95=None, surface_dice=None)
"""The scores of a class that neither mask has."""


def score_masks(
    predicted: np.ndarray,
    truth: np.ndarray,
    classes: Iterable[int],
    spacing: Iterable[float] | None = None,
    tolerance: float = 1.0,
) -> dict[int, Scores]:
    """Measure a mask against the truth, class by class.

    Args:
        predicted: Mask (*S) of whole numbers.
        truth: Mask (*S).
        classes: The class ids to measure; 0, the background, may be among them.
        spacing: Size of a voxel along each axis; None = 1.
        tolerance: For `surface_dice`, the distance that is still right, in the unit of `spacing`.

    Raises:
        ValueError: The shapes differ.
    """
    if predicted.shape != truth.shape:
        raise ValueError(
            f"predicted has shape {predicted.shape}, truth {truth.shape}; both must be the same."
        )
    spacing = _spacing(truth.shape, spacing)
    return {k: score_object(predicted == k, truth == k, spacing, tolerance) for k in classes}


def score_object(
    predicted: np.ndarray, truth: np.ndarray, spacing: Iterable[float] | None = None, tolerance: float = 1.0
) -> Scores:
    """Measure one object, both masks bool (*S)."""
    spacing = _spacing(truth.shape, spacing)
    diagonal = math.hypot(*(n * s for n, s in zip(truth.shape, spacing, strict=True)))
    window = bounding_box(predicted | truth)
    if window is None:
        return ABSENT
    predicted, truth = predicted[window], truth[window]
    sizes = int(np.count_nonzero(predicted)), int(np.count_nonzero(truth))
    both = int(np.count_nonzero(predicted & truth))
    if 0 in sizes:
        return Scores(dice=0.0, iou=0.0, hd95=diagonal, surface_dice=0.0)
    there, back = surface_distances(predicted, truth, spacing)
    near = sum(int(np.count_nonzero(d <= tolerance + _ROUNDING)) for d in (there, back))
    return Scores(
        dice=2 * both / sum(sizes),
        iou=both / (sum(sizes) - both),
        hd95=float(max(np.percentile(there, 95), np.percentile(back, 95))),
        surface_dice=near / (len(there) + len(back)),
    )


def surface_distances(
    first: np.ndarray, second: np.ndarray, spacing: Iterable[float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Distances from each surface voxel of one object to the other's surface, and the other way.

    Args:
        first: bool (*S), not empty.
        second: bool (*S), not empty.
        spacing: Size of a voxel along each axis; None = 1.

    Returns:
        Two arrays, one distance a surface voxel, in the unit of `spacing`.

    Raises:
        ValueError: An object is empty: it has no surface.
    """
    if not first.any() or not second.any():
        raise ValueError("An empty object has no surface to measure a distance to.")
    spacing = _spacing(first.shape, spacing)
    # along an axis of one voxel every voxel would be surface; a single slice is measured as a picture
    thick = [axis for axis, n in enumerate(first.shape) if n > 1] or [0]
    flat = tuple(slice(None) if axis in thick else 0 for axis in range(first.ndim))
    surfaces = [_surface(mask[flat]) for mask in (first, second)]
    sampling = [spacing[axis] for axis in thick]
    to_first, to_second = (ndimage.distance_transform_edt(~s, sampling=sampling) for s in surfaces)
    return to_second[surfaces[0]], to_first[surfaces[1]]


def bounding_box(mask: np.ndarray) -> tuple[slice, ...] | None:
    """The smallest box around the True voxels of a bool array (*S), or None where there are none."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(a for a in range(mask.ndim) if a != axis)
        filled = np.flatnonzero(mask.any(axis=others))
        if not len(filled):
            return None
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)


def _surface(mask: np.ndarray) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask)  # outside of the array counts as outside of the object


def _spacing(shape: tuple[int, ...], spacing: Iterable[float] | None) -> tuple[float, ...]:
    return (1.0,) * len(shape) if spacing is None else tuple(spacing)
