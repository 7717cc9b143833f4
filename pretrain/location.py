"""Location: where in the scan is each voxel? The whole U-Net says it for every voxel of a crop.

Bai et al. 2019, "Self-Supervised Learning for Cardiac MR Image Segmentation by Anatomical Position
Prediction": bodies are scanned alike, so where something lies says much about what it is. Differs from it in:
the paper's classes are boxes about landmarks known from the scanner's protocol; here the coordinates
themselves are predicted, in parts of the scan, with a smooth L1 loss (Lei et al. 2021, "Contrastive Learning
of Relative Position Regression", do so for the distance of two patches). Crops are turned and scaled, so that
borders and the grid say nothing. Encoder and decoder are handed over.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pretrain.method import Setting
from pretrain.parts import exact
from pretrain.whole import WholeUNet
from wsseg.unet import Encoder


class Location(WholeUNet):
    """See the head of the file; its crops carry their coordinates in further channels (`LOCATED`)."""

    SUMMARY = (
        "tells where in the scan each voxel is; trains the decoder too, for organs that are scanned alike"
    )
    advice = (
        "Where in the scan something lies can't be told where scans show random places: use --method mae for "
        "cells, tissue sections and materials."
    )
    BATCH: ClassVar[dict[int, int]] = {2: 16, 3: 4}
    LOCATED: ClassVar[bool] = True

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting, encoder.config.dims)
        self.channels = encoder.config.channels_in

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch; images: (N, C + d, *S), the last d channels are coordinates."""
        with torch.no_grad():
            moved = self.views.take(images, self.views.draw_places(images))
            views, where = moved[:, : self.channels], moved[:, self.channels :]
            views = self.views.recolour(views)
        said = exact(self.predict(views))
        loss = F.smooth_l1_loss(said, where)
        self.note(explained=1 - loss / F.smooth_l1_loss(torch.zeros_like(where), where).clamp_min(1e-6))
        return loss
