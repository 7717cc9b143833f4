"""Masked autoencoder for convolutional networks: hide most blocks of a crop and restore them.

He et al. 2022, "Masked Autoencoders Are Scalable Vision Learners", sections 3 and 4.1 (random blocks, loss on
what was hidden, targets normalised); with a whole U-Net instead of a transformer, skips included, as in Wald
et al. 2025, "Revisiting MAE Pre-training for 3D Medical Image Segmentation". Encoder and decoder are handed
over.
Differs from them in: a block is what one cell of the deepest level sees (`divisor`), hidden blocks are set to
the crop's mean without sparse convolutions, crops (not blocks) are normalised, and blocks that are constant
(padding, blanked faces) cost nothing.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pretrain.method import Setting
from pretrain.restoring import Restoring
from wsseg.unet import Encoder

CONSTANT = 1e-3  # a block whose deviation is less than this share of the crop's holds nothing


class MAE(Restoring):
    """See the head of the file.

    Args: as of `Method`, and
        hidden: Least and largest share of blocks that are hidden; drawn for each crop.
    """

    SUMMARY = "restores hidden blocks; trains the decoder too, needs neither large batches nor many scans"
    advice = (
        "The masked autoencoder restores no more than the mean where crops show only noise or background: "
        "check the images, use larger crops, or train for more steps."
    )

    def __init__(
        self, encoder: Encoder, setting: Setting, *, hidden: tuple[float, float] = (0.6, 0.75)
    ) -> None:
        super().__init__(encoder, setting)
        self.hidden, self.block = hidden, encoder.config.divisor

    def spoil(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden blocks become 0, the crop's mean; they count unless they are constant."""
        hidden = self.draw_hidden(images)
        return images * ~hidden, hidden & ~constant(images, self.block)

    def draw_hidden(self, images: Tensor) -> Tensor:
        """Which voxels of a batch are hidden, bool (N, 1, *S)."""
        blocks = [n // b for n, b in zip(images.shape[2:], self.block, strict=True)]
        count, total = len(images), torch.Size(blocks).numel()
        low, high = self.hidden
        share = low + (high - low) * torch.rand(count, 1, generator=self.views.generator)
        order = torch.rand(count, total, generator=self.views.generator).argsort(1).argsort(1)
        hidden = (order < (share * total).round().clamp(1, total)).view(count, 1, *blocks)
        return _spread(hidden.to(images.device), self.block)


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
