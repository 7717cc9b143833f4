"""Two thresholds of heat, shared over a dataset and chosen from the tags alone.

Images without a class are all background and say how hot it gets: what is not hotter than nearly all of it is
background in images with the class too, though no more than the colder group of their voxels (Otsu 1979).
What is hotter falls into two groups again, the class and its surroundings; the threshold between these (Otsu
again) is the upper one. Voxels are pooled over images, as many of each image.

The upper threshold is raised until at most `EXPLAINED` of what is above it would be there without any object,
as images without the class have it; where no threshold does that, the maps mean nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from skimage.filters import threshold_otsu

COLD = 0.995  # share of the voxels of images without the class that counts as nearly all
EXPLAINED = 0.2  # share of the voxels above the upper threshold that background may explain
FEWEST = 5e-4  # share of the voxels in images with the class that must be above it
SAMPLE = 4000  # voxels of each image that are looked at


@dataclass(frozen=True)
class Thresholds:
    """Of one class.

    Attributes:
        lower: Heat up to which a voxel is background.
        upper: Heat above which it is the class; more than `lower`.
    """

    lower: float
    upper: float


def sample_heat(heat: np.ndarray) -> np.ndarray:
    """An even sample of the heat of one image (*S), as many voxels of each however large it is."""
    flat = heat.ravel()
    return flat[np.linspace(0, flat.size - 1, min(SAMPLE, flat.size)).astype(int)]


def choose_thresholds(
    there: Sequence[np.ndarray], absent: Sequence[np.ndarray], *, force: bool = False
) -> Thresholds | None:
    """The thresholds of a class.

    Args:
        there: Samples of heat of the images with it.
        absent: Of those without it.
        force: Take the upper threshold as it is, whatever images without the class say.

    Returns:
        The thresholds; None where no threshold parts the images with the class from those without it.
    """
    with_, without = np.concatenate(there), np.sort(np.concatenate(absent))
    cold = float(np.quantile(without, COLD))
    hot = with_[with_ > cold]
    if len(hot) < FEWEST * len(with_) or np.ptp(hot) == 0:
        return None
    lower, upper = min(cold, float(threshold_otsu(with_))), float(threshold_otsu(hot))
    cuts = np.unique([upper, *np.quantile(with_, 1 - np.geomspace(FEWEST, 1, 200))])
    cuts = cuts[cuts >= upper]
    above = np.array([(with_ > cut).mean() for cut in cuts])
    above_without = 1 - np.searchsorted(without, cuts, "right") / len(without)
    good = (above >= FEWEST) & ((above_without <= EXPLAINED * above) | force)
    return Thresholds(lower, float(cuts[good][0])) if good.any() else None


def within_size(heat: np.ndarray, thresholds: Thresholds, smallest: float, largest: float) -> Thresholds:
    """The thresholds of one image whose object is known to take from `smallest` to `largest` of it.

    At least the hottest `smallest` of the voxels are the class, and at most the hottest `largest` may be.

    Args:
        heat: (*S) of the image.
        thresholds: Those of the dataset.
        smallest, largest: Shares, 0 to 1.
    """
    least_heat, most_heat = np.quantile(heat, [1 - largest, 1 - smallest])
    upper = float(np.clip(thresholds.upper, least_heat, most_heat))
    return Thresholds(min(max(thresholds.lower, float(least_heat)), upper), upper)
