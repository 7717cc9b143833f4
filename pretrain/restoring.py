"""What methods share that spoil a crop and restore it with a whole U-Net."""

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from pretrain.method import Setting
from pretrain.parts import exact, standardised
from pretrain.whole import WholeUNet
from wsseg.unet import Encoder


class Restoring(WholeUNet):
    """A U-Net around the encoder; a method says by `spoil` what it is given and where the loss counts.

    Crops are normalised each by its own mean and deviation, since the network's instance norm could not tell
    their brightness. They are mirrored and turned by right angles only: nothing is interpolated, and nothing
    lies outside of the crop.
    """

    SHARE = 1.0
    BATCH: ClassVar[dict[int, int]] = {2: 12, 3: 2}  # a decoder at full size costs more than two views

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting, encoder.config.channels_in)
        self.views.geometry = replace(self.views.geometry, rotation=0, scaling=1)

    @abstractmethod
    def spoil(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised crops (N, C, *S) -> what the network is given, and bool (N, C or 1, *S) what counts."""

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch, see `Method`; about 1 where the mean is guessed."""
        with torch.no_grad():
            images = self.views.take(images, self.views.draw_places(images))
            images = standardised(images, range(2, images.ndim))
            given, where = self.spoil(images)
        restored = self.predict(given)
        loss = masked_error(restored, images, where)
        self.note(explained=1 - loss / masked_error(given, images, where).clamp_min(1e-6))
        return loss


def masked_error(restored: Tensor, images: Tensor, where: Tensor) -> Tensor:
    """Mean squared error over the voxels that count, 0 where there are none.

    Args:
        restored, images: (N, C, *S).
        where: bool (N, C or 1, *S).
    """
    error = (exact(restored) - images).square()
    weight = where.expand_as(images).to(error)
    return (error * weight).sum() / weight.sum().clamp_min(1)
