"""VICReg: two views agree, every feature varies over the batch, no two features say the same.

Bardes et al. 2022, "VICReg: Variance-Invariance-Covariance Regularization", section 4.1 (equations 1 to 6),
with the halved variance term of the reference code.
Differs from the paper in: views by modality, and an expander of 128 instead of 8192 features: N samples have
at most N − 1 features that do not correlate, so a wide expander and a batch of 8 would be at odds.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from pretrain.method import Method, Setting
from pretrain.parts import exact, gather, mlp, off_diagonal, pooled, product, project
from wsseg.unet import Encoder

INVARIANCE, VARIANCE, COVARIANCE = 25.0, 25.0, 1.0  # section 4.2


class VICReg(Method):
    """See the head of the file."""

    SUMMARY = "two views agree while features vary: no negatives, and collapse costs; for one or few scans"
    advice = (
        "VICReg's features vary only as much as its batch does: raise --batch to 16 or more, check "
        "--modality, or use --method mae."
    )

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting)
        self.head = mlp(pooled(encoder), 512, 128)

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch, see `Method`."""
        views = torch.cat([self.views(images), self.views(images)])
        first, second = project(self.encoder, self.head, views).chunk(2)
        invariance, variance, covariance = vicreg_terms(gather(first), gather(second))
        self.note(invariance=invariance, variance=variance, covariance=covariance)
        return INVARIANCE * invariance + VARIANCE * variance + COVARIANCE * covariance

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, *S) -> (N, 128), the expanded features."""
        return project(self.encoder, self.head, images)


def vicreg_terms(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Invariance, variance and covariance, not weighted.

    Args:
        first, second: (N, D) of the two views, N ≥ 2.
    """
    first, second = exact(first), exact(second)
    with torch.autocast(first.device.type, enabled=False):
        invariance = F.mse_loss(first, second)
        variance, covariance = first.new_zeros(()), first.new_zeros(())
        for view in (first, second):
            count, width = view.shape
            deviation = (view.var(0) + 1e-4).sqrt()
            variance = variance + F.relu(1 - deviation).mean() / 2
            centred = view - view.mean(0)
            matrix = product(centred.T, centred.T) / (count - 1)
            covariance = covariance + off_diagonal(matrix).square().sum() / width
    return invariance, variance, covariance
