"""BYOL: from one view, predict what a slowly following copy says of the other. No negatives.

Grill et al. 2020, "Bootstrap Your Own Latent", section 3.1 (equation 2), schedule of section 3.2.
Differs from the paper in: the start of the schedule is fitted to the run's length (`momentum_start`), views
by modality, smaller heads; both views are normalised together, since small batches need all the statistics
there are. As in the reference code the copy normalises by the batch's own statistics, and both directions are
summed.
"""

import torch
from torch import Tensor

from pretrain.method import Method, Setting
from pretrain.parts import Momentum, mlp, pooled, project, unit
from wsseg.unet import Encoder


class BYOL(Method):
    """See the head of the file."""

    SUMMARY = "predicts a slow copy of itself: no negatives, good with few scans and middling batches"
    advice = (
        "BYOL collapses where batches are small or views hardly differ: raise --batch to 16 or more, check "
        "--modality, or use --method vicreg, whose loss forbids collapse."
    )

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting)
        self.head = mlp(pooled(encoder), 512, 128)
        self.predictor = mlp(128, 512, 128)
        self.target = Momentum(encoder, self.head, setting.steps)

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch, 0 to 8; 4 where prediction and target have nothing to do with each other.

        Args:
            images: (N, C, *S), normalised.
            scans: Not used.
        """
        views = torch.cat([self.views(images), self.views(images)])
        predicted = self.predictor(project(self.encoder, self.head, views))
        target = self.target(views).roll(len(images), 0)  # of the other view
        loss = 2 * byol_loss(predicted, target)
        self.note(similarity=1 - loss / 4)
        return loss

    def after_step(self) -> None:
        """The copy follows."""
        self.target.follow(self.encoder, self.head)

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, *S) -> (N, 128), the projection."""
        return project(self.encoder, self.head, images)


def byol_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """2 − 2·cos, mean over rows (equation 2): 0 where they point the same way, 4 where opposite.

    Args:
        predicted, target: (N, D); no gradient goes into the target.
    """
    return 2 - 2 * (unit(predicted) * unit(target.detach())).sum(1).mean()
