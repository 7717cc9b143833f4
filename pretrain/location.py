"""Location: where in the scan is each voxel, and to which kind of place does it belong?

Bai et al. 2019, "Self-Supervised Learning for Cardiac MR Image Segmentation by Anatomical Position
Prediction": bodies are scanned alike, so where something lies says much about what it is. The whole U-Net
answers twice for every voxel of a crop: with its coordinates, and with its group of place and brightness (see
`pretrain.regions`), which is a segmentation with borders at the image's own edges. Encoder and decoder are
handed over.

Differs from the paper in: its classes are boxes about landmarks known from the scanner's protocol; here the
coordinates themselves are predicted, in parts of the scan, with a smooth L1 loss (Lei et al. 2021,
"Contrastive Learning of Relative Position Regression", do so for the distance of two patches), and groups
found in the scans take the place of boxes. Crops are turned, stretched and recoloured as `fit` does it, not
as views that must be recognised: what such a view hides (contrast upside down, blur, uneven light) is what
the network would need for the answer, and what it will see later.
"""

from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pretrain.alter import AlterConfig
from pretrain.method import Setting
from pretrain.parts import exact
from pretrain.regions import Regions, about
from pretrain.views import ViewConfig
from pretrain.whole import WholeUNet
from wsseg.augment import AugmentConfig
from wsseg.unet import Encoder

WEIGHT = 0.3  # of the groups' cross-entropy, which is about as many times as large as the coordinates' loss
REST = 0.1  # share of the steps after which the groups stay as they are: the warm-up


class Location(WholeUNet):
    """See the head of the file; its crops carry their coordinates in further channels (`LOCATED`).

    Args: as of `Method`, and
        groups: Of place and brightness.
    """

    SUMMARY = (
        "tells where in the scan each voxel is, and in which group of place and brightness; trains the "
        "decoder too, for organs that are scanned alike"
    )
    advice = (
        "Where in the scan something lies can't be told where scans show random places: use --method mae for "
        "cells, tissue sections and materials."
    )
    BATCH: ClassVar[dict[int, int]] = {2: 16, 3: 4}
    LOCATED: ClassVar[bool] = True

    def __init__(self, encoder: Encoder, setting: Setting, *, groups: int = 32) -> None:
        dims, channels = encoder.config.dims, encoder.config.channels_in
        super().__init__(encoder, setting, dims + groups)
        self.dims, self.channels = dims, channels
        self.views.config = ViewConfig(AugmentConfig(), AlterConfig())
        self.views.geometry = replace(AugmentConfig(), shift=0)  # a view is at a random place as it is
        self.regions = Regions(groups, channels + dims, rest=max(1, round(REST * setting.steps)))

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch; images: (N, C + d, *S), the last d channels are coordinates."""
        with torch.no_grad():
            moved = self.views.take(images, self.views.draw_places(images))
            views, where = moved[:, : self.channels], moved[:, self.channels :]
            groups = self.regions.label(self.known(views, where), self.views.generator)
            views = self.views.recolour(views)
        said = exact(self.predict(views))
        place, scores = said[:, : self.dims], said[:, self.dims :]
        loss = F.smooth_l1_loss(place, where)
        mean = F.smooth_l1_loss(torch.zeros_like(where), where).clamp_min(1e-6)
        right = (scores.argmax(1) == groups).float().mean()
        self.note(explained=1 - loss / mean, agreement=right)
        return loss + WEIGHT * F.cross_entropy(scores, groups)

    def known(self, views: Tensor, where: Tensor) -> Tensor:
        """What groups are made of, (N, C + d, *S): brightness about each voxel, all channels count as one."""
        kernel = self.encoder.config.kernels[0]
        return torch.cat([about(views, kernel) / self.channels**0.5, where], 1)

    def after_step(self) -> None:
        """The groups settle."""
        self.regions.after_step()
