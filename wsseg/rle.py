"""Masks as COCO's run-length code; in 3D the same runs, not squeezed into letters."""

from typing import Any

import numpy as np


def encode(mask: np.ndarray) -> dict[str, Any]:
    """A mask as COCO stores it.

    Args:
        mask: bool (*S), 2D or 3D.

    Returns:
        "size", the shape, and "counts": runs of 0 and 1 in turns, first axis fastest, 0 first. In 2D they are
        COCO's compressed string, which pycocotools and every COCO reader know; in 3D a list of numbers.
    """
    if mask.ndim == 2:
        from pycocotools.mask import encode as squeeze

        code = squeeze(np.asfortranarray(mask, np.uint8))
        return {"size": [int(n) for n in code["size"]], "counts": code["counts"].decode("ascii")}
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat.astype(np.int8))) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    runs = np.diff(edges).tolist()
    return {"size": list(mask.shape), "counts": [0, *runs] if flat.size and flat[0] else runs}
