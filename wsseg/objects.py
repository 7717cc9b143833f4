"""A mask of classes becomes numbered objects, and those that the network is unsure of may go."""

from collections.abc import Sequence

import numpy as np

from wsseg.split import split_objects


def label_instances(mask: np.ndarray, *, spacing: Sequence[float] | None = None) -> np.ndarray:
    """Number the connected objects of a mask: voxels of one class that touch by their faces are one object.

    Args:
        mask: Class ids (*S), 0 = background.
        spacing: Size of a voxel per axis; where it is given, objects that touch are cut at their necks, see
            `wsseg.split.split_objects`.

    Returns:
        int32 (*S), objects 1, 2, …; 0 = background. The class of an object is what the mask says there.
    """
    from skimage.measure import label  # slow to import, and few need it

    if spacing is None:
        return label(mask, background=0, connectivity=1)
    objects = np.zeros(mask.shape, np.int32)
    for class_id in np.unique(mask[mask > 0]):
        parts = split_objects(mask == class_id, spacing)
        objects = np.where(parts > 0, parts + objects.max(), objects)
    return objects


def leave_out_unsure(objects: np.ndarray, probabilities: np.ndarray, least: float) -> np.ndarray:
    """Leave out objects by their score: the mean over an object of the probability of its class.

    Where a network is wrong about a whole object it is rarely sure of all of it, so that a small, half
    believed piece scores low although each of its voxels won. What it is worth: docs/boxes.md.

    Args:
        objects: 0 = background, 1, 2, … (*S), each of one class, the likeliest at each of its voxels.
        probabilities: float32 (K, *S).
        least: Score from which on an object stays, 0 to 1.

    Returns:
        int32 (*S), those that stay, 1, 2, … in their order.
    """
    flat = objects.ravel()
    score = np.bincount(flat, probabilities.max(0).ravel()) / np.maximum(np.bincount(flat), 1)
    stays = score >= least
    stays[0] = False
    return (stays.cumsum() * stays).astype(np.int32)[objects]
