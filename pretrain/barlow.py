"""Barlow Twins: features of two views correlate each with itself and with no other.

Zbontar et al. 2021, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", section 2 (equations
1 and 2).
Differs from the paper in: views by modality, and a projector of 128 instead of 8192 features, which suits
batches of tens (see `pretrain.vicreg`).
"""

import torch
from torch import Tensor

from pretrain.method import Method, Setting
from pretrain.parts import exact, gather, mlp, off_diagonal, pooled, product, project
from wsseg.unet import Encoder


class BarlowTwins(Method):
    """See the head of the file.

    Args: as of `Method`, and
        off_weight: λ, weight of the correlations between different features.
    """

    SUMMARY = "features correlate with themselves only: no negatives; wants batches of 32 or more"
    advice = (
        "Barlow Twins measures correlations over the batch: raise --batch to 32 or more, or use --method "
        "vicreg or mae, which do with fewer."
    )

    def __init__(self, encoder: Encoder, setting: Setting, *, off_weight: float = 5e-3) -> None:
        super().__init__(encoder, setting)
        self.off_weight = off_weight
        self.head = mlp(pooled(encoder), 512, 128)

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch, see `Method`."""
        views = torch.cat([self.views(images), self.views(images)])
        first, second = project(self.encoder, self.head, views).chunk(2)
        matrix = correlation(gather(first), gather(second))
        self.note(agreement=matrix.diagonal().mean())
        return barlow_loss(matrix, self.off_weight)

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, *S) -> (N, 128), the projection."""
        return project(self.encoder, self.head, images)


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """(N, D) twice -> (D, D), −1 to 1. Deviations are those of the batch (division by N).

    With the unbiased ones the diagonal could not reach 1, and small batches would get another loss.
    """
    scaled = []
    for view in (exact(first), exact(second)):
        centred = view - view.mean(0)
        scaled.append(centred / (centred.square().mean(0) + 1e-5).sqrt())
    return product(scaled[0].T, scaled[1].T) / len(first)


def barlow_loss(matrix: Tensor, off_weight: float) -> Tensor:
    """Σ (1 − C_ii)² + λ Σ C_ij² (equation 1)."""
    on = (1 - matrix.diagonal()).square().sum()
    return on + off_weight * off_diagonal(matrix).square().sum()
