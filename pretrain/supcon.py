"""Supervised contrast: crops of scans with the same tags are drawn together, beside the two views of a place.

Khosla et al. 2020, "Supervised Contrastive Learning", section 3.2.2 (equation 2, L_out).
Differs from the paper in: a scan may have several tags, or none. How far two scans belong together is the
share of their tags that they have in common (the Jaccard index: tagged alike 1, nothing in common 0; two that
are tagged as having nothing are alike), and a positive counts by it; with one tag each that is the paper's
loss. Scans without tags have SimCLR's positives, the two views of a place, and its negatives. Crops of the
same scan are positives or nothing to each other, as with SimCLR; views by modality.
"""

from typing import ClassVar

import torch
from torch import Tensor

from pretrain.alike import supervised_contrast
from pretrain.method import Method, Setting
from pretrain.parts import gather, mlp, pooled, project
from wsseg.unet import Encoder


class SupCon(Method):
    """See the head of the file.

    Args: as of `Method`, and
        temperature: τ.
    """

    SUMMARY = "as simclr, and scans with the same tags belong together; learns from tags.csv"
    advice = (
        "Supervised contrast needs crops that show what their scans are tagged with: use larger crops, raise "
        "--batch to 32 or more, or use --method simclr, which needs no tags."
    )
    TAGGED: ClassVar[bool] = True

    def __init__(self, encoder: Encoder, setting: Setting, *, temperature: float = 0.1) -> None:
        super().__init__(encoder, setting)
        self.temperature = temperature
        self.head = mlp(pooled(encoder), 512, 128)

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            images: (N, C, *S), normalised.
            scans: int64 (N, 1 + K): which scan, and of each tag whether it is there, see `Method`.
        """
        views = torch.cat([self.views(images), self.views(images)])
        first, second = project(self.encoder, self.head, views).chunk(2)
        result = supervised_contrast(gather(first), gather(second), gather(scans), self.temperature)
        self.note(accuracy=result.accuracy, chance=result.chance)
        return result.loss

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, *S) -> (N, 128), the projection."""
        return project(self.encoder, self.head, images)
