"""Changes of intensity that `wsseg.augment` lacks: sharpness, uneven light, colours. One draw a sample.

Drawing and applying are two functions, as there. What is measured in voxels is measured in those of the
finest axis: where slices are far apart, nothing is smoothed across them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

POINTS = 3  # control points of the light's field along each axis


@dataclass(frozen=True)
class AlterConfig:
    """How strongly.

    Attributes:
        blur: Largest standard deviation of a Gaussian, voxels of the finest axis.
        coarser: Largest factor by which resolution is lowered and the samples interpolated.
        light: Standard deviation of the logarithm of uneven light (bias field), at its control points.
        invert: Whether dark may become bright: contrasts of MR sequences are opposite, those of CT never.
        mix: Largest share of the other channels, and largest change of the own, in each channel of colour.
        grey: Share of samples that lose their colours.
    """

    blur: float = 0.0
    coarser: float = 1.0
    light: float = 0.0
    invert: bool = False
    mix: float = 0.0
    grey: float = 0.0


def draw_alterations(
    count: int, dims: int, channels: int, config: AlterConfig, generator: torch.Generator
) -> dict[str, Tensor]:
    """Draw for N samples; each kind is used for half of them, `grey` for its share.

    Args:
        count: N.
        dims: Spatial axes.
        channels: C.
        config: How strongly.
        generator: On the CPU.
    """

    def happens(share: float) -> Tensor:
        return torch.rand(count, generator=generator) < share

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator) * (high - low) + low

    identity = torch.eye(channels)
    grey = torch.full((channels, channels), 1 / channels)
    mix = torch.where(
        happens(0.5).view(-1, 1, 1),
        identity + uniform(-config.mix, config.mix, channels, channels),
        identity,
    )
    light = config.light * torch.randn(count, 1, *[POINTS] * dims, generator=generator)
    return {
        "blur": torch.where(happens(0.5), uniform(0, config.blur), 0.0),
        "coarser": torch.where(happens(0.5), uniform(1, config.coarser), 1.0),
        "light": torch.where(happens(0.5).view(-1, *[1] * (dims + 1)), light, 0.0),
        "sign": torch.where(happens(0.5 if config.invert else 0.0), -1.0, 1.0),
        "mix": torch.where(happens(config.grey).view(-1, 1, 1), grey, mix),
    }


def alter(images: Tensor, draw: dict[str, Tensor], spacing: Sequence[float]) -> Tensor:
    """Change sharpness, light and colours of (N, C, *S), each sample by its own draw.

    Args:
        images: Normalised.
        draw: From `draw_alterations`.
        spacing: Size of a voxel per axis.
    """
    images = sharpness(images, draw["blur"], draw["coarser"], spacing)
    if bool(draw["light"].any()):
        images = shine(images, draw["light"])
    channels = images.shape[1]
    if bool((draw["mix"] != torch.eye(channels)).any()):
        images = torch.einsum("nij,nj...->ni...", draw["mix"].to(images), images)
    return images * draw["sign"].to(images).view(-1, *[1] * (images.ndim - 1))


def shine(images: Tensor, light: Tensor) -> Tensor:
    """Uneven light: distance from each sample's darkest value, times exp of a smooth field.

    Args:
        images: (N, C, *S).
        light: (N, 1, *P), logarithm of the light at control points spread over the sample.
    """
    over = tuple(range(2, images.ndim))
    mode = "bilinear" if len(over) == 2 else "trilinear"
    field = F.interpolate(light.to(images), images.shape[2:], mode=mode, align_corners=True).exp()
    dark = images.amin(over, keepdim=True)
    return dark + (images - dark) * field


def sharpness(images: Tensor, blur: Tensor, coarser: Tensor, spacing: Sequence[float]) -> Tensor:
    """Blur, then sample more coarsely and interpolate: along each axis one matrix a sample.

    Args:
        images: (N, C, *S).
        blur: (N,) standard deviations, voxels of the finest axis.
        coarser: (N,) factors, 1 = as fine as it is.
        spacing: Size of a voxel per axis.
    """
    if not bool((blur > 0).any() or (coarser > 1).any()):
        return images
    shares = [min(spacing) / s for s in spacing]
    kinds = list(zip(images.shape[2:], shares, strict=True))
    matrices = {
        (n, s): _smoothing(n, (blur * s).to(images), (coarser * s).clamp_min(1).to(images))
        for n, s in set(kinds)
    }
    for axis, (length, share) in enumerate(kinds):
        matrix = matrices[length, share]
        lines = images.movedim(axis + 2, -1)
        flat = lines.reshape(len(images), -1, length)
        images = (flat @ matrix.transpose(1, 2)).view(lines.shape).movedim(-1, axis + 2)
    return images


def _smoothing(length: int, blur: Tensor, coarser: Tensor) -> Tensor:
    """(N, length, length), rows sum to 1; the identity where blur is 0 and coarser 1."""
    at = torch.arange(length, device=blur.device, dtype=blur.dtype)
    step = coarser.view(-1, 1, 1)
    away = ((at.view(-1, 1) - at) / blur.view(-1, 1, 1).clamp_min(0.05)) ** 2
    # tails so thin that numbers become denormal would make every product ten times slower
    gauss = torch.exp(-0.5 * away.clamp_max(30)) * (away < 30)
    samples = (at + 0.5) * step - 0.5  # (N, 1, length): where the coarse samples lie, some past the end
    distance = (at.view(-1, 1) - samples).abs() / step  # (N, length, samples)
    inside = samples < length - 0.5
    spread = (1 - distance).clamp_min(0) * inside  # samples -> voxels
    collect = (1 - distance).clamp_min(0).transpose(1, 2)  # voxels -> samples
    return _rows(spread) @ _rows(collect) @ _rows(gauss)


def _rows(weights: Tensor) -> Tensor:
    return weights / weights.sum(-1, keepdim=True).clamp_min(1e-6)
