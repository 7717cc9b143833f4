"""Conditional random fields with Potts terms, solved by mean field; 2D and 3D, any channels and classes.

Krähenbühl & Koltun 2011, section 3: Q ← softmax(scores + Σₘ wₘ·Kₘ Q) with symmetrically normalised Gaussian
kernels Kₘ over position, or over position and intensity. Two solvers behind one set of kernels:

- `mean_field`: voxels see each other within a window. Torch: batched, on any device, differentiable.
- `dense_mean_field`: all voxels see each other, by pydensecrf2's lattice on the CPU (extra `crf`).

Where the window spans the image both are the same model; pydensecrf2's lattice approximates its Gaussians.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsseg.errors import InputError

REACH = 3.0  # standard deviations beyond which a kernel is taken to be 0


@dataclass(frozen=True)
class Kernel:
    """One pairwise term.

    Attributes:
        weight: How strongly like neighbours pull, in units of the scores.
        position: Standard deviation of distance, voxels, per axis.
        value: Standard deviation of intensity, in units of the guide; None = position alone.
        radius: Half the window of `mean_field`, voxels, per axis.
        step: Only every so many voxels of the window are looked at.
    """

    weight: float
    position: tuple[float, ...]
    value: float | None
    radius: tuple[int, ...]
    step: int = 1


def mean_field(
    scores: Tensor,
    guide: Tensor,
    kernels: Sequence[Kernel],
    *,
    iterations: int = 5,
    valid: Tensor | None = None,
) -> Tensor:
    """Sharpen class scores along the edges of an image; many images or crops at once.

    Args:
        scores: (N, K, *S), logarithms of probabilities, up to a constant.
        guide: (N, C, *S), intensities.
        kernels: The pairwise terms.
        iterations: Of mean field.
        valid: bool (N, *S); voxels that exist. Others neither give nor take.

    Returns:
        (N, K, *S) probabilities; gradients flow to `scores`.
    """
    return LocalField(guide, kernels, valid=valid).solve(scores, iterations=iterations)


class LocalField:
    """The field of a guide, for scores that change while the guide does not; arguments as of `mean_field`."""

    def __init__(self, guide: Tensor, kernels: Sequence[Kernel], *, valid: Tensor | None = None) -> None:
        self._windows = [_Window(guide, kernel, valid) for kernel in kernels]

    def solve(self, scores: Tensor, *, iterations: int = 5) -> Tensor:
        """(N, K, *S) scores -> probabilities."""
        probabilities = scores.softmax(1)
        for _ in range(iterations):
            pull = sum(window.weight * window.average(probabilities) for window in self._windows)
            probabilities = (scores + pull).softmax(1)
        return probabilities


class _Window:
    """One kernel's values between each voxel and its window, one half of it: they are symmetric."""

    def __init__(self, guide: Tensor, kernel: Kernel, valid: Tensor | None) -> None:
        size = guide.shape[2:]
        self.weight = kernel.weight
        total = torch.ones((len(guide), 1, *size), dtype=guide.dtype, device=guide.device)
        self.pairs = []
        for offset in half_window(kernel):
            if any(abs(o) >= n for o, n in zip(offset, size, strict=True)):
                continue
            here, there = shifted(offset, size)
            exponent = 0.5 * sum((o / s) ** 2 for o, s in zip(offset, kernel.position, strict=True))
            if kernel.value is None:
                value = torch.full_like(total[here], np.exp(-exponent))
            else:
                difference = guide[here] - guide[there]
                value = difference.square_().sum(1, keepdim=True)
                value.mul_(-0.5 / kernel.value**2).sub_(exponent).exp_()
            if valid is not None:
                value = value * (valid[:, None][here] & valid[:, None][there])
            total[here] += value
            total[there] += value
            self.pairs.append((here, there, value))
        scale = total.rsqrt()
        self.own = scale.square()  # a voxel counts among its own neighbours, as in pydensecrf2
        for here, there, value in self.pairs:
            value.mul_(scale[here]).mul_(scale[there])

    def average(self, probabilities: Tensor) -> Tensor:
        """K·Q, (N, K, *S)."""
        result = probabilities * self.own
        for here, there, value in self.pairs:
            result[here].addcmul_(value, probabilities[there])
            result[there].addcmul_(value, probabilities[here])
        return result


def half_window(kernel: Kernel) -> list[tuple[int, ...]]:
    """The offsets of a window, one of each pair (o, −o); those out of the kernel's reach are left out."""
    spans = [range(-(r - r % kernel.step), r + 1, kernel.step) for r in kernel.radius]
    return [
        offset
        for offset in product(*spans)
        if offset > (0,) * len(offset)
        and sum((o / s) ** 2 for o, s in zip(offset, kernel.position, strict=True)) <= REACH**2
    ]


def shifted(offset: Sequence[int], size: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Two views of an (N, C, *S) tensor: voxels, and their neighbours at `offset`."""
    here = [slice(max(0, -o), n - max(0, o)) for o, n in zip(offset, size, strict=True)]
    there = [slice(max(0, o), n - max(0, -o)) for o, n in zip(offset, size, strict=True)]
    both = slice(None), slice(None)
    return (*both, *here), (*both, *there)


def dense_mean_field(
    scores: np.ndarray, guide: np.ndarray, kernels: Sequence[Kernel], *, iterations: int = 5
) -> np.ndarray:
    """The same with every voxel as a neighbour of every other, one image at a time, by pydensecrf2.

    Args:
        scores: (K, *S), as in `mean_field`.
        guide: (C, *S), intensities.
        kernels: The pairwise terms; their windows do not matter.
        iterations: Of mean field.

    Returns:
        float32 (K, *S) probabilities.

    Raises:
        InputError: pydensecrf2 is not installed.
    """
    field_of = need_dense()
    classes, *size = scores.shape
    field = field_of(int(np.prod(size)), classes)
    field.setUnaryEnergy(np.ascontiguousarray(-scores.reshape(classes, -1), np.float32))
    places = np.indices(size).reshape(len(size), -1)
    for kernel in kernels:
        features = [place / sigma for place, sigma in zip(places, kernel.position, strict=True)]
        if kernel.value is not None:
            features += list(guide.reshape(len(guide), -1) / kernel.value)
        field.addPairwiseEnergy(np.ascontiguousarray(features, np.float32), compat=kernel.weight)
    return np.asarray(field.inference(iterations), np.float32).reshape(scores.shape)


def need_dense() -> Any:
    """pydensecrf2's class.

    Raises:
        InputError: It is not installed.
    """
    try:
        from pydensecrf.densecrf import DenseCRF
    except ImportError as error:
        raise InputError(
            "The dense CRF needs pydensecrf2, which is not installed; install wsseg[crf] (it is compiled, "
            "which takes a C++ compiler and two minutes), or use the local one."
        ) from error
    return DenseCRF
