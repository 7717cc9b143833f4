"""Encoder and U-Net, 2D and 3D in one code, from MONAI's blocks.

The encoder is an object of its own: it can be saved, loaded and handed to another head. Layout after the
3D U-Net (Çiçek et al. 2016, section 2.1) with the changes of nnU-Net (Isensee et al. 2021): strided
convolutions for pooling, instance norm for batch norm (a batch is 2), leaky ReLU, and no pooling along an
axis until the others have become as coarse.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from monai.networks.blocks.dynunet_block import UnetBasicBlock, UnetOutBlock, UnetUpBlock
from monai.networks.layers.factories import Conv, Norm
from torch import Tensor, nn

from wsseg.resnet import resnet_levels

# Group norm (8 channels a group) was as fast a step, but needed far more steps.
NORM = ("sample", {"affine": True})
COARSE = 1.6  # an axis this many times coarser than the finest is left alone until the others catch up


class SampleNorm(nn.Module):
    """Instance norm that stays channels-last on a CPU.

    PyTorch's instance norm copies a channels-last batch to channels-first, and the next convolution copies
    it back: a quarter of a training step. Batch norm of one sample at a time is the same function without
    the copies. Names of tensors are those of instance norm.
    """

    def __init__(self, num_features: int, *, affine: bool = True, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        parts = [
            F.batch_norm(one, None, None, self.weight, self.bias, training=True, eps=self.eps)
            for one in x.split(1)
        ]
        return torch.cat(parts)


@Norm.factory_function("sample")
def _sample_norm(dims: int) -> type[nn.Module]:
    return SampleNorm


@dataclass(frozen=True)
class EncoderConfig:
    """What is needed to build an encoder again.

    Attributes:
        dims: 2 or 3 spatial axes.
        channels_in: Channels of the image.
        channels: Feature channels a level, finest first.
        strides: Per level and axis; the first level has stride 1.
        kernels: Convolution kernel per level and axis.
        backbone: Another network whose levels these are, a key of `wsseg.resnet.BLOCKS`; None = our own.
    """

    dims: int
    channels_in: int
    channels: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]
    backbone: str | None = None

    @property
    def divisor(self) -> tuple[int, ...]:
        """A patch's size must be a multiple of this along each axis."""
        total = [1] * self.dims
        for stride in self.strides:
            total = [t * s for t, s in zip(total, stride, strict=True)]
        return tuple(total)


def plan_encoder(
    *,
    channels_in: int,
    spacing: Sequence[float],
    size: Sequence[int],
    channels: Sequence[int] = (16, 32, 64, 128),
) -> EncoderConfig:
    """Choose strides and kernels that suit voxel size and image size.

    An axis takes part in a level when its voxels are not much coarser than the finest axis' voxels there,
    and is halved only while at least 4 voxels are left of a typical image.

    Args:
        channels_in: Channels of the image.
        spacing: Size of a voxel per axis.
        size: Typical spatial size of an image, voxels.
        channels: Feature channels a level.
    """
    dims = len(spacing)
    now, left = list(map(float, spacing)), list(size)
    strides, kernels = [], []
    for level in range(len(channels)):
        step = tuple(
            2 if level and n >= 8 and s < COARSE * min(now) else 1 for s, n in zip(now, left, strict=True)
        )
        if level and max(step) == 1:
            break
        now = [s * t for s, t in zip(now, step, strict=True)]
        left = [n // t for n, t in zip(left, step, strict=True)]
        strides.append(step)
        kernels.append(tuple(3 if s < COARSE * min(now) else 1 for s in now))
    return EncoderConfig(dims, channels_in, tuple(channels[: len(strides)]), tuple(strides), tuple(kernels))


class Encoder(nn.Module):
    """Image -> features of every level.

    Input (N, C, *S), S a multiple of `config.divisor`; output a list of (N, channels[i], *S_i), finest first.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        if config.backbone is not None:
            levels = resnet_levels(config.backbone, config.channels_in)
            self.levels = nn.ModuleList(levels[: len(config.channels)])
            return
        widths = (config.channels_in, *config.channels)
        self.levels = nn.ModuleList(
            UnetBasicBlock(
                config.dims,
                widths[i],
                widths[i + 1],
                config.kernels[i],
                config.strides[i],
                NORM,
            )
            for i in range(len(config.channels))
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        features = []
        for level in self.levels:
            image = level(image)
            features.append(image)
        return features


class UNet(nn.Module):
    """Encoder plus decoder: (N, C, *S) -> class scores (N, classes, *S), before the softmax.

    Instance norm takes brightness out of a patch: one of nothing but air looks like one of nothing but
    tissue. `tone`, two convolutions past all norms, adds back what brightness alone says (docs/sparse.md).

    Args:
        encoder: Used as it is, not copied.
        classes: Channels of the scores.
        tone: Whether brightness goes past the norms.
    """

    def __init__(self, encoder: Encoder, classes: int, *, tone: bool = False) -> None:
        super().__init__()
        self.encoder = encoder
        config = encoder.config
        self.ups = nn.ModuleList(
            UnetUpBlock(
                config.dims,
                config.channels[i],
                config.channels[i - 1],
                config.kernels[i - 1],
                1,
                config.strides[i],
                NORM,
            )
            for i in range(len(config.channels) - 1, 0, -1)
        )
        self.head = UnetOutBlock(config.dims, config.channels[0], classes)
        self.tone = _tone(config, classes) if tone else None

    def forward(self, image: Tensor) -> Tensor:
        scores = self.head(decode(self.ups, self.encoder(image)))
        return scores if self.tone is None else scores + self.tone(image)


def decode(ups: nn.ModuleList, features: Sequence[Tensor]) -> Tensor:
    """Features of every level, finest first, up to those of the finest again: (N, channels[0], *S)."""
    *skips, deepest = features
    for up, skip in zip(ups, reversed(skips), strict=True):
        deepest = up(deepest, skip)
    return deepest


def _tone(config: EncoderConfig, classes: int) -> nn.Sequential:
    return nn.Sequential(
        _convolution(config.dims, config.channels_in, config.channels[0], config.kernels[0]),
        nn.LeakyReLU(0.01),
        _convolution(config.dims, config.channels[0], classes, (1,) * config.dims),
    )


def _convolution(dims: int, channels_in: int, channels_out: int, kernel: tuple[int, ...]) -> nn.Module:
    return Conv[Conv.CONV, dims](channels_in, channels_out, kernel, padding=tuple(k // 2 for k in kernel))


@dataclass(frozen=True)
class Taken:
    """Which tensors a network took from another's.

    Attributes:
        loaded: Names that were copied.
        missing: Names of the network that the source lacks or holds in another shape.
        unused: Names of the source that the network has no place for.
        decoder: Of an encoder that was handed over: names of its decoder's tensors that were copied too.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    decoder: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Tensors of the network."""
        return len(self.loaded) + len(self.missing)

    @property
    def counts(self) -> dict[str, int]:
        """How many were loaded, of how many; and of a decoder, where there was one."""
        found = {"loaded": len(self.loaded), "total": self.total}
        return found | ({"decoder": len(self.decoder)} if self.decoder else {})

    def __str__(self) -> str:
        share = 100 * len(self.loaded) / max(self.total, 1)
        words = f"loaded {share:.0f} %, {len(self.loaded)}/{self.total} tensors"
        return words + (f", and {len(self.decoder)} of the decoder" if self.decoder else "")


def take_weights(network: nn.Module, source: Mapping[str, Tensor]) -> Taken:
    """Copy every tensor that fits in name and shape; the report says which did not.

    Args:
        network: Changed in place.
        source: Name to tensor, as from `state_dict()`.
    """
    own = network.state_dict()
    fits = [name for name in own if name in source and source[name].shape == own[name].shape]
    with torch.no_grad():
        for name in fits:
            own[name].copy_(source[name])
    return Taken(
        loaded=tuple(fits),
        missing=tuple(name for name in own if name not in set(fits)),
        unused=tuple(name for name in source if name not in own),
    )
