"""Losses of weak labels: weight 0 gives no gradient.

Non-linearity first, then weights, then division by the sum of weights: L' = Σ w·l / Σ w (Çiçek et al. 2016,
section 2.2). Multiplying scores by a mask instead, as some libraries do, shrinks the gradient by the
labelled share and makes a perfect prediction cost. A batch in which nothing is known costs 0.
"""

import torch.nn.functional as F
from torch import Tensor

SMOOTH = 1.0  # voxels; keeps Dice of a class with a handful of known voxels from jumping


def weighted_cross_entropy(scores: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean cross-entropy over what is known.

    Args:
        scores: (N, K, *S) before the softmax.
        target: int64 (N, *S), 0 ≤ target < K wherever weight > 0.
        weight: float (N, *S), ≥ 0; 0 = unknown.

    Returns:
        A number; 0 with zero gradient where nothing is known.
    """
    known = weight > 0
    loss = F.cross_entropy(scores.float(), target.where(known, 0), reduction="none")
    return (loss * weight).sum() / weight.sum().clamp_min(1e-8)


def weighted_dice_loss(scores: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """1 − soft Dice over what is known, one Dice a class over the whole batch, mean over classes present.

    Background is left out. A class of which nothing is known in this batch is left out too: its Dice would be
    0 whatever is predicted, and cross-entropy already says what it is not.

    Args and Returns: as in `weighted_cross_entropy`.
    """
    classes = scores.shape[1]
    known = weight > 0
    probabilities = scores.float().softmax(1)[:, 1:]
    truth = F.one_hot(target.where(known, 0), classes).movedim(-1, 1)[:, 1:].to(probabilities.dtype)
    weights = weight.unsqueeze(1)
    over = [0, *range(2, scores.ndim)]
    both = (weights * probabilities * truth).sum(over)  # (K-1,)
    predicted = (weights * probabilities).sum(over)
    true = (weights * truth).sum(over)
    dice = (2 * both + SMOOTH) / (predicted + true + SMOOTH)
    present = (true > 0).to(dice.dtype)
    return ((1 - dice) * present).sum() / present.sum().clamp_min(1)


def weak_loss(scores: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross-entropy plus weighted Dice loss, the training loss of weak labels."""
    return weighted_cross_entropy(scores, target, weight) + weighted_dice_loss(scores, target, weight)
