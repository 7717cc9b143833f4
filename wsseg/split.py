"""Objects that touch, cut apart at their necks: a watershed of the distance to the border, 2D and 3D."""

from collections.abc import Sequence

import numpy as np

NECK = 0.86  # of the smaller radius beside it: a narrower place parts two objects, whatever their size
SMOOTH = 0.5  # voxels; a border of single voxels would make necks of its own


def split_objects(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Number the objects of a mask.

    The depth of a voxel is its distance to the border. Two deepest places belong to two objects where every
    way between them leads through a place less than `NECK` times as deep as the shallower of both. Right for
    compact objects; thin and branched ones vary in width and come apart.

    Args:
        mask: bool (*S).
        spacing: Size of a voxel per axis.

    Returns:
        int32 (*S), objects 1, 2, …; 0 = background.
    """
    from scipy.ndimage import distance_transform_edt, gaussian_filter
    from skimage.measure import label
    from skimage.morphology import h_maxima
    from skimage.segmentation import watershed

    if not mask.any():
        return np.zeros(mask.shape, np.int32)
    finest = min(spacing)
    depth = distance_transform_edt(mask, sampling=[s / finest for s in spacing])
    # in the logarithm a ratio of depths is a difference, which is what h-maxima ask for
    ratio = gaussian_filter(np.log(np.maximum(depth, 1)), [SMOOTH * finest / s for s in spacing]) * mask
    seeds = label(h_maxima(ratio, -np.log(NECK)) > 0)
    parts = watershed(-ratio, seeds, mask=mask)
    # a piece too thin to have a deepest place of its own is an object all the same
    rest = label(mask & (parts == 0), connectivity=1)
    return np.where(rest > 0, rest + parts.max(), parts).astype(np.int32)
