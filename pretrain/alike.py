"""Contrast where several are alike, by tags; `pretrain.supcon` tells what is the paper's and what is not."""

import torch
from torch import Tensor

from pretrain.parts import Contrast, exact, product, unit


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
