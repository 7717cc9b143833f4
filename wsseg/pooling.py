"""Many places, one score: how the score of a class at every place becomes that of the whole image.

Average: every place counts alike, and maps come out wide (Zhou et al. 2016). Maximum: the best place alone
counts, and maps come out as points. Between the two: log-sum-exp, (1/r)·log(mean exp(r·s)) (Pinheiro &
Collobert 2015), and the global weighted rank (Kolesnikov & Lampert 2016, section 3.3), Σ dʲ⁻¹ s₍ⱼ₎ / Σ dʲ⁻¹
with the scores s₍₁₎ ≥ s₍₂₎ ≥ … in order. Differs from the paper in: a decay d is that of 41 × 41 places, and
is taken to the power that makes the same share of the places count where there are more or fewer.
"""

import math
from typing import Literal

import torch
from torch import Tensor

Pooling = Literal["every", "average", "max", "log-sum-exp", "rank"]
SHARPNESS = 5.0  # r of log-sum-exp
DECAY = 0.996  # of ranks, that of classes that are there
PLACES = 41 * 41  # that decays are meant for


def pool(scores: Tensor, kind: Pooling) -> Tensor:
    """(N, K, *S) -> (N, K). For "every" place by itself, the image's score is the log-sum-exp of r = 1."""
    if kind == "average":
        return scores.flatten(2).mean(2)
    if kind == "max":
        return scores.flatten(2).amax(2)
    if kind == "rank":
        return ranked_mean(scores, DECAY)
    return log_mean_exp(scores, SHARPNESS if kind == "log-sum-exp" else 1.0)


def log_mean_exp(scores: Tensor, sharpness: float) -> Tensor:
    """(1/r)·log(mean exp(r·s)) over the places, (N, K, *S) -> (N, K)."""
    flat = scores.flatten(2)
    return (torch.logsumexp(sharpness * flat, 2) - math.log(flat.shape[2])) / sharpness


def ranked_mean(values: Tensor, decay: float) -> Tensor:
    """The global weighted rank over the places, (N, K, *S) -> (N, K).

    Args:
        values: Scores or probabilities.
        decay: Of the weights from rank to rank where there are `PLACES` of them, 0 to 1; 0 = the maximum.
    """
    flat = values.flatten(2)
    count = flat.shape[2]
    if decay == 0:
        return flat.amax(2)
    ranks = torch.arange(count, device=flat.device, dtype=flat.dtype)
    weights = torch.exp(ranks * (math.log(decay) * PLACES / count))
    return (flat.sort(2, descending=True).values * weights).sum(2) / weights.sum()
