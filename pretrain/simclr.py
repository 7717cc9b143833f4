"""SimCLR: two views of a place are nearer to each other than to views of other scans.

Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations", section 2.1.
Differs from the paper in: crops of the same scan are not negatives of each other; views by modality.
"""

import torch
from torch import Tensor

from pretrain.method import Method, Setting
from pretrain.parts import gather, mlp, nt_xent, pooled, project
from wsseg.unet import Encoder


class SimCLR(Method):
    """See the head of the file.

    Args: as of `Method`, and
        temperature: τ.
        decoupled: Leave the positive out of the denominator (DCL, Yeh et al. 2022), for small batches.
    """

    SUMMARY = "contrastive: two views of a place against those of other scans; wants large batches"
    advice = (
        "SimCLR needs many crops of different scans in a batch: raise --batch to 64 or more, or use "
        "--method moco, whose queue takes the place of a large batch."
    )

    def __init__(
        self, encoder: Encoder, setting: Setting, *, temperature: float = 0.2, decoupled: bool = False
    ) -> None:
        super().__init__(encoder, setting)
        self.temperature, self.decoupled = temperature, decoupled
        self.head = mlp(pooled(encoder), 512, 128)

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch, see `Method`."""
        views = torch.cat([self.views(images), self.views(images)])
        first, second = project(self.encoder, self.head, views).chunk(2)
        result = nt_xent(
            gather(first), gather(second), gather(scans), self.temperature, decoupled=self.decoupled
        )
        self.note(accuracy=result.accuracy, chance=result.chance)
        return result.loss

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, *S) -> (N, 128), the projection."""
        return project(self.encoder, self.head, images)
