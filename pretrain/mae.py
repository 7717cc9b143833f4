"""Masked autoencoder for convolutional networks: hide most blocks of a crop and restore them.

He et al. 2022, "Masked Autoencoders Are Scalable Vision Learners", sections 3 and 4.1 (random blocks, loss on
what was hidden, targets normalised); with a whole U-Net instead of a transformer, skips included, as in Wald
et al. 2025, "Revisiting MAE Pre-training for 3D Medical Image Segmentation". Encoder and decoder are handed
over.
Differs from them in: a block is what one cell of the deepest level sees (`divisor`), hidden blocks are set to
the crop's mean without sparse convolutions, crops (not blocks) are normalised, since the network's instance
norm could not tell their brightness, and blocks that are constant (padding, blanked faces) cost nothing.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pretrain.method import Method
from pretrain.parts import exact, standardised
from wsseg.unet import Encoder, UNet

CONSTANT = 1e-3  # a block whose deviation is less than this share of the crop's holds nothing


class MAE(Method):
    """See the head of the file.

    Args: as of `Method`, and
        hidden: Least and largest share of blocks that are hidden; drawn for each crop.
    """

    SUMMARY = "restores hidden blocks; trains the decoder too, needs neither large batches nor many scans"
    advice = (
        "The masked autoencoder restores no more than the mean where crops show only noise or background: "
        "check the images, use larger crops, or train for more steps."
    )
    SHARE = 1.0
    BATCH: ClassVar[dict[int, int]] = {2: 12, 3: 2}  # a decoder at full size costs more than two views

    def __init__(
        self,
        encoder: Encoder,
        size: tuple[int, ...],
        spacing: tuple[float, ...],
        modality: str,
        steps: int,
        seed: int,
        *,
        hidden: tuple[float, float] = (0.6, 0.75),
    ) -> None:
        super().__init__(encoder, size, spacing, modality, steps, seed)
        # mirrored and turned by right angles only: nothing is interpolated or lies outside of the crop
        self.views.geometry = replace(self.views.geometry, rotation=0, scaling=1)
        self.hidden, self.block = hidden, encoder.config.divisor
        unet = UNet(encoder, encoder.config.channels_in)
        self.ups, self.head = unet.ups, unet.head

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch, see `Method`; about 1 where the mean is guessed."""
        with torch.no_grad():
            images = self.views.take(images, self.views.draw_places(images))
            images = standardised(images, range(2, images.ndim))
            hidden = self.draw_hidden(images)
        restored = self.restore(images * ~hidden)
        loss, guessed = masked_error(restored, images, hidden & ~constant(images, self.block))
        self.note(explained=1 - loss / guessed.clamp_min(1e-6))
        return loss

    def draw_hidden(self, images: Tensor) -> Tensor:
        """Which voxels of a batch are hidden, bool (N, 1, *S)."""
        blocks = [n // b for n, b in zip(images.shape[2:], self.block, strict=True)]
        count, total = len(images), torch.Size(blocks).numel()
        low, high = self.hidden
        share = low + (high - low) * torch.rand(count, 1, generator=self.views.generator)
        order = torch.rand(count, total, generator=self.views.generator).argsort(1).argsort(1)
        hidden = (order < (share * total).round().clamp(1, total)).view(count, 1, *blocks)
        return _spread(hidden.to(images.device), self.block)

    def restore(self, images: Tensor) -> Tensor:
        """(N, C, *S) -> (N, C, *S), the U-Net's way from encoder to head."""
        *skips, deepest = self.encoder(images)
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            deepest = up(deepest, skip)
        return self.head(deepest)

    def decoder_state(self) -> dict[str, Tensor]:
        """The decoder without its last layer, which has an output a channel here and a class there."""
        return {f"ups.{name}": tensor for name, tensor in self.ups.state_dict().items()}


def masked_error(restored: Tensor, images: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared error over hidden voxels, and that of guessing the mean, 0.

    Args:
        restored, images: (N, C, *S).
        where: bool (N, C or 1, *S), voxels that count.
    """
    weight = where.expand_as(images).to(exact(restored))
    total = weight.sum().clamp_min(1)
    error = (exact(restored) - images).square()
    return (error * weight).sum() / total, (images.square() * weight).sum() / total


def constant(images: Tensor, block: Sequence[int]) -> Tensor:
    """Which voxels lie in blocks of one value, bool (N, C, *S)."""
    blocks = [n // b for n, b in zip(images.shape[2:], block, strict=True)]
    mean = _spread(F.interpolate(images, blocks, mode="area"), block)
    variance = F.interpolate((images - mean).square(), blocks, mode="area")
    return _spread(variance < CONSTANT**2, block)


def _spread(values: Tensor, block: Sequence[int]) -> Tensor:
    for axis, n in enumerate(block):
        values = values.repeat_interleave(n, axis + 2)
    return values
