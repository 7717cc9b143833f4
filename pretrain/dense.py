"""Dense contrast: places of a scan are recognised in another view, each by itself, beside SimCLR's loss.

Wang et al. 2021, "Dense Contrastive Learning", section 3.3 (sum of the two losses, λ = 0.5), with positives
by position as in Xie et al. 2021, "Propagate Yourself" (PixPro), section 3.1: where both views were taken
from is known, so that what belongs together need not be guessed from features that are still random.
Differs from them in: negatives are places of the same crop that are more than two cells of the features away
(distances are in cells, whose strides follow spacing), no queue and no propagation; features of the level
before the deepest, which a U-Net hands to its decoder.
"""

import torch
import torch.nn.functional as F
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from pretrain.method import Method, Setting
from pretrain.parts import Contrast, contrast, exact, gather, mlp, nt_xent, pool, pooled
from wsseg.unet import Encoder

CELLS = 256  # places of a crop that are compared
NEAR, FAR = 0.5, 2.0  # cells: a positive is nearer, a negative further away


class Dense(Method):
    """See the head of the file.

    Args: as of `Method`, and
        temperature: τ.
        share: λ, of the dense loss.
    """

    SUMMARY = "contrastive by place: SimCLR plus recognising single places; for segmentation with many scans"
    advice = (
        "Dense contrast needs views that overlap and show more than one kind of thing: use larger crops, "
        "check --modality, or use --method mae."
    )

    def __init__(
        self, encoder: Encoder, setting: Setting, *, temperature: float = 0.2, share: float = 0.5
    ) -> None:
        super().__init__(encoder, setting)
        self.temperature, self.share = temperature, share
        config = encoder.config
        self.level = max(len(config.channels) - 2, 0)
        convolution = Conv[Conv.CONV, config.dims]
        width = config.channels[self.level]
        self.dense_head = nn.Sequential(convolution(width, 256, 1), nn.ReLU(), convolution(256, 128, 1))
        self.head = mlp(pooled(encoder), 512, 128)

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch, see `Method`."""
        places = [self.views.draw_places(images) for _ in range(2)]
        with torch.no_grad():
            views = torch.cat([self.views.recolour(self.views.take(images, at)) for at in places])
        features = self.encoder(views)
        first, second = self.head(pool(features[-1])).chunk(2)
        whole = nt_xent(gather(first), gather(second), gather(scans), self.temperature)
        here, there = self.dense_head(features[self.level]).chunk(2)
        local = self.compare(here, there, *places)
        self.note(
            accuracy=local.accuracy, chance=local.chance, whole=whole.accuracy, whole_chance=whole.chance
        )
        return (1 - self.share) * whole.loss + self.share * local.loss

    def compare(self, here: Tensor, there: Tensor, from_here: Tensor, from_there: Tensor) -> Contrast:
        """Each place of one view against the places of the other.

        Args:
            here, there: (N, D, *F) features of the two views.
            from_here, from_there: (N, *V, d), where in the crop the views' voxels lie.
        """
        stride = torch.tensor(self.encoder.config.strides[: self.level + 1], device=here.device).prod(0)
        positions = [_coarse(at, here.shape[2:]) / stride for at in (from_here, from_there)]  # (N, cells, d)
        pick = torch.rand(positions[0].shape[1], generator=self.views.generator).argsort()[:CELLS]
        pick = pick.to(here.device)
        vectors = [F.normalize(exact(values).flatten(2), dim=1).transpose(1, 2) for values in (here, there)]
        with torch.autocast(here.device.type, enabled=False):
            logits = vectors[0][:, pick] @ vectors[1].transpose(1, 2) / self.temperature
        distance = torch.cdist(positions[0][:, pick], positions[1])
        nearest, positive = distance.min(2)
        found = nearest < NEAR  # the other view shows this place
        negative = (distance > FAR) & found.unsqueeze(2)
        return contrast(logits.flatten(0, 1), positive.flatten(), negative.flatten(0, 1))

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, *S) -> (N, 128), the projection of the whole crop."""
        return self.head(pool(self.encoder(images)[-1]))


def _coarse(positions: Tensor, size: torch.Size) -> Tensor:
    """(N, *V, d) -> (N, cells, d): the mean position of the voxels of each cell."""
    moved = positions.movedim(-1, 1)
    return F.interpolate(moved, list(size), mode="area").flatten(2).transpose(1, 2)
