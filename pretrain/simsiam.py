"""SimSiam: BYOL without the slow copy; the other view's own projection is the target, gradient stopped.

Chen & He 2021, "Exploring Simple Siamese Representation Learning", section 3 (equations 1 to 4).
Differs from the paper in: smaller heads, one learning rate for all parts, views by modality.
"""

import torch
from torch import Tensor

from pretrain.method import Method, Setting
from pretrain.parts import mlp, pooled, project, unit
from wsseg.unet import Encoder


class SimSiam(Method):
    """See the head of the file."""

    SUMMARY = "as BYOL without the copy: cheap, and the first to collapse"
    advice = (
        "SimSiam collapses easily with small batches and similar views: raise --batch to 64 or more, or use "
        "--method byol or vicreg."
    )

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting)
        self.head = mlp(pooled(encoder), 512, 512, 512, last_norm=True)
        self.predictor = mlp(512, 128, 512)

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch, −1 to 1, see `Method`."""
        views = torch.cat([self.views(images), self.views(images)])
        projected = project(self.encoder, self.head, views)
        loss = simsiam_loss(self.predictor(projected), projected.roll(len(images), 0))
        self.note(similarity=-loss)
        return loss

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, *S) -> (N, 512), the projection."""
        return project(self.encoder, self.head, images)


def simsiam_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """−cos, mean over rows (equation 1); no gradient goes into the target."""
    return -(unit(predicted) * unit(target.detach())).sum(1).mean()
