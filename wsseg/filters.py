"""Filters that say what a voxel is part of: a plain, an edge, a line or a blob, at one scale.

Gradient and Hessian are taken of the image smoothed by a Gaussian, as central differences, and multiplied by
σ and σ², so that a value means the same at every scale (Lindeberg 1998, "Feature Detection with Automatic
Scale Selection", section 4). σ may differ between axes: voxels may be longer than wide.
"""

import numpy as np
from scipy import ndimage

REACH = 4.0  # standard deviations after which a Gaussian is cut off


def smooth(values: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Gaussian of (C, *S), mirrored at the border; σ in places of the grid, per axis."""
    for axis, width in enumerate(sigma, 1):
        values = ndimage.gaussian_filter1d(values, width, axis, mode="reflect", truncate=REACH)
    return values


def describe(smoothed: np.ndarray, sigma: np.ndarray, inner: tuple[slice, ...]) -> np.ndarray:
    """Smoothed intensity, gradient magnitude and eigenvalues of the Hessian, the largest first.

    Args:
        smoothed: float32 (C, *S), smoothed by σ, with one place more at each side than `inner` wants, but at
            the image's border.
        sigma: σ in places of the grid, per axis.
        inner: The part that is wanted.

    Returns:
        float32 (C · (2 + axes), *inner), all of the first channel before all of the second.
    """
    out = []
    for channel in smoothed:
        ndim = channel.ndim
        first = [_slope(channel, axis) * np.float32(sigma[axis]) for axis in range(ndim)]
        hessian = {}
        for a in range(ndim):
            for b in range(a, ndim):
                second = (
                    _bend(channel, a) * np.float32(sigma[a] ** 2)
                    if a == b
                    else _slope(first[a], b) * np.float32(sigma[b])
                )
                hessian[a, b] = second[inner]
        gradient = np.sqrt(sum(np.square(d[inner]) for d in first))
        out += [channel[inner], gradient, *eigenvalues(hessian, ndim)]
    return np.stack(out)


def _slope(values: np.ndarray, axis: int) -> np.ndarray:
    """Central difference, 0 across a border."""
    return ndimage.correlate1d(values, [-0.5, 0, 0.5], axis, mode="reflect")


def _bend(values: np.ndarray, axis: int) -> np.ndarray:
    """Second difference."""
    return ndimage.correlate1d(values, [1.0, -2.0, 1.0], axis, mode="reflect")


def eigenvalues(h: dict[tuple[int, int], np.ndarray], ndim: int) -> list[np.ndarray]:
    """Of symmetric 2 × 2 or 3 × 3 matrices, the largest first; closed form (Smith 1961, CACM 4(4):168).

    Args:
        h: The entries (a, b) with a ≤ b, each an array of one shape.
        ndim: 2 or 3.
    """
    if ndim == 2:
        middle, half = (h[0, 0] + h[1, 1]) / 2, (h[0, 0] - h[1, 1]) / 2
        radius = np.sqrt(half**2 + h[0, 1] ** 2)
        return [middle + radius, middle - radius]
    middle = (h[0, 0] + h[1, 1] + h[2, 2]) / 3
    a, b, c = (h[i, i] - middle for i in range(3))
    d, e, f = h[0, 1], h[0, 2], h[1, 2]
    size = np.sqrt((a**2 + b**2 + c**2 + 2 * (d**2 + e**2 + f**2)) / 6)
    determinant = a * (b * c - f**2) - d * (d * c - e * f) + e * (d * f - b * e)
    angle = np.arccos(np.clip(determinant / np.maximum(2 * size**3, 1e-30), -1, 1)) / 3
    highest = middle + 2 * size * np.cos(angle)
    lowest = middle + 2 * size * np.cos(angle + np.float32(2 * np.pi / 3))
    return [highest, 3 * middle - highest - lowest, lowest]
