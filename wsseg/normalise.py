"""Intensities made comparable, robustly and per channel; the recipe is stored in the model and re-applied."""

from dataclasses import dataclass

import numpy as np

from wsseg.errors import InputError
from wsseg.images import Image

QUARTILES = 1.349  # between the quartiles of a Gaussian, in standard deviations
SAMPLE = 2_000_000  # voxels looked at for the statistics of one image


@dataclass(frozen=True)
class Normalisation:
    """How intensities are normalised: clip to two percentiles, subtract the mean, divide by the deviation.

    Attributes:
        low, high: Percentiles (0 to 100) that intensities are clipped to, measured on each image itself:
            scanners and microscopes differ in scale, so a model's own numbers would not fit a new image.
        robust: Subtract the median and divide by the spread of the middle half (as a deviation) instead. An
            object moves mean and deviation, and with them every voxel of its image: a classifier of images
            would find its evidence there (docs/tags.md).
    """

    low: float = 0.5
    high: float = 99.5
    robust: bool = False

    def measure(self, image: Image, name: str = "The image") -> "Statistics":
        """Measure one image, on an even subsample where it is large.

        Raises:
            InputError: The image is constant, or holds NaN or infinity.
        """
        step = max(1, int(np.ceil((np.prod(image.shape) / SAMPLE) ** (1 / image.ndim))))
        values = np.asarray(image.data[(slice(None), *[slice(None, None, step)] * image.ndim)], np.float32)
        values = values.reshape(len(values), -1)
        if not np.isfinite(values).all():
            raise InputError(f"{name} holds NaN or infinite values; replace them by numbers first.")
        low, high = np.percentile(values, [self.low, self.high], axis=1)
        flat = high <= low  # sparse bright spots on an even ground: percentiles agree, the values don't
        low, high = np.where(flat, values.min(1), low), np.where(flat, values.max(1), high)
        if np.all(high <= low):
            raise InputError(
                f"{name} is constant ({float(values.flat[0]):g} everywhere): nothing to segment."
            )
        clipped = np.clip(values, low[:, None], high[:, None])
        middle, deviation = clipped.mean(1), clipped.std(1)
        if self.robust:
            first, middle, third = np.percentile(clipped, [25, 50, 75], axis=1)
            # where half of an image is one value (air, say) the deviation has to do
            deviation = np.where(third > first, (third - first) / QUARTILES, deviation)
        return Statistics(low, high, middle, np.where(deviation > 0, deviation, 1.0))


@dataclass(frozen=True, eq=False)
class Statistics:
    """What was measured on one image; each float (C,)."""

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Normalise (C, *S) of any dtype to float32, middle about 0 and deviation about 1."""
        shape = (-1, *[1] * (values.ndim - 1))
        values = np.clip(values.astype(np.float32), self.low.reshape(shape), self.high.reshape(shape))
        return ((values - self.mean.reshape(shape)) / self.deviation.reshape(shape)).astype(np.float32)
