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

from pretrain.method import Method, Setting
from pretrain.parts import Contrast, exact, gather, mlp, pooled, product, project, unit
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


def alike(tags: Tensor) -> Tensor:
    """How far samples belong together by their tags, (N, N) from 0 to 1; 0 where one has not been tagged.

    Args:
        tags: int64 (N, K): 1 the tag is there, 0 it is not, −1 throughout = not tagged.
    """
    there = (tags == 1).float()
    common = there @ there.T
    either = there.sum(1) + there.sum(1, keepdim=True) - common
    known = (tags >= 0).all(1)
    share = torch.where(either > 0, common / either.clamp_min(1), 1.0)
    return share * (known & known.view(-1, 1))


def supervised_contrast(first: Tensor, second: Tensor, scans: Tensor, temperature: float) -> Contrast:
    """−Σ_p w_p·log softmax_p / Σ_p w_p over the positives p of a view, mean over views; w as `alike` says.

    The softmax is over a view's positives and negatives, and rows without a choice say nothing.

    Args:
        first, second: (N, D), any length; the rows of a place belong together.
        scans: int64 (N, 1 + K), which scan and its tags.
        temperature: τ.
    """
    views, scans = unit(torch.cat([first, second])), scans.repeat(2, 1)
    rows = torch.arange(len(views), device=views.device)
    weight = alike(scans[:, 1:]).to(views)
    weight[rows, rows.roll(len(first))] = 1  # the other view of the place
    weight[rows, rows] = 0
    other = scans[:, :1] != scans[:, 0]
    known = other | (weight > 0)
    used = known.sum(1) > 1
    logits = exact(product(views, views) / temperature).masked_fill(~known, -torch.inf)
    logs = torch.where(weight > 0, logits.log_softmax(1), 0.0)
    losses = -(weight * logs).sum(1) / weight.sum(1)
    count = used.sum().clamp_min(1)
    with torch.no_grad():
        hit = (weight.gather(1, logits.argmax(1, keepdim=True)).squeeze(1) > 0) & used
        luck = torch.where(used, (weight > 0).sum(1) / known.sum(1).clamp_min(1), 0.0)
    return Contrast(torch.where(used, losses, 0.0).sum() / count, hit.sum() / count, luck.sum() / count)
