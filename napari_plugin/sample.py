"""Sample data from what scikit-image and nilearn bring along: nothing is downloaded."""

from typing import Any

import numpy as np

from napari_plugin.layers import KEY
from wsseg.errors import InputError

LayerData = tuple[Any, dict[str, Any], str]


def coins() -> list[LayerData]:
    """Greek coins from Pompeii, a picture."""
    from skimage.data import coins

    return [(coins(), {"name": "coins", "axis_labels": ("y", "x")}, "image")]


def retina() -> list[LayerData]:
    """A colour photograph of a retina, every second pixel."""
    from skimage.data import retina

    return [(np.ascontiguousarray(retina()[::2, ::2]), {"name": "retina", "rgb": True}, "image")]


def brain() -> list[LayerData]:
    """The MNI152 brain template at 2 mm, axes x, y, z as in its file.

    Raises:
        InputError: nilearn, which brings it, is not installed.
    """
    try:
        from nilearn.datasets import load_mni152_template
    except ImportError as error:
        raise InputError(
            "This sample comes with nilearn: pip install wsseg[demo], then try again."
        ) from error
    image = load_mni152_template(resolution=2)
    options = {
        "name": "brain",
        "scale": (2.0, 2.0, 2.0),
        "units": ("mm",) * 3,
        "axis_labels": ("x", "y", "z"),
        "metadata": {KEY: {"affine": np.asarray(image.affine).tolist()}},
    }
    return [(np.asarray(image.dataobj, np.float32), options, "image")]
