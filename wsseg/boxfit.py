"""Masks of boxes from the image alone, or from a network's word and the image: a mixture, a shape, a field.

After GrabCut (Rother et al. 2004): colour models of object and surroundings and a pairwise term, in turns.
Differs in: mean field for the max-flow, all boxes in one batch, 2D and 3D, any channels; a soft ellipse says
where in its box an object is likely; what lies in another box does not count as surroundings.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from wsseg.appearance import mixture_log_likelihood
from wsseg.crf import Kernel, LocalField, dense_mean_field
from wsseg.crops import SIDES, Crops, radius

Solver = Literal["local", "dense"]
NEVER = -20.0  # score of the object outside its box


@dataclass(frozen=True)
class FitConfig:
    """How box masks are found.

    Attributes:
        shape: Score of the object at the box's centre, by the soft ellipse; minus as much at the corners.
        colour: Weight of the colour models' log ratio; 0 = no colour models.
        network: Weight of a network's scores, where there are some.
        smooth: Weight of the pairwise term.
        contrast: Its standard deviation of intensity, in standard deviations of the crop.
        turns: Colour models and field, in turns.
        iterations: Of mean field in each turn.
        solver: "local", a window around each voxel, in torch; "dense", the whole crop, by pydensecrf2.
    """

    shape: float = 3.0
    colour: float = 1.0
    network: float = 1.0
    smooth: float = 3.0
    contrast: float = 0.5
    turns: int = 4
    iterations: int = 5
    solver: Solver = "local"


def fit_boxes(
    crops: Crops,
    config: FitConfig = FitConfig(),
    *,
    evidence: Tensor | None = None,
    profile: Tensor | None = None,
) -> Tensor:
    """The probability of the object in and around each box.

    Args:
        crops: N boxes.
        config: Weights of the terms.
        evidence: (N, *G) scores of a network, log p/(1 − p), or None.
        profile: (N, *G) or (*G), where the object is likely, as 1 − r² is of the ellipse; None = the ellipse.

    Returns:
        float32 (N, *G), 0 outside of the box.
    """
    if profile is None:
        shape = soft_ellipse(crops.side, crops.guide.ndim - 2, config.shape)
    else:
        shape = (config.shape * profile).clamp(-6, 6)
    known = shape - config.shape * crops.rivals
    if evidence is not None:
        known = known + config.network * evidence
    never = torch.full((), NEVER)
    probability = torch.where(crops.inside, known, never).sigmoid()
    solve = _field_of(crops, config)
    for _ in range(config.turns if config.colour else 1):
        score = known
        if config.colour:
            score = known + config.colour * colour_score(crops, probability)
        score = torch.where(crops.inside, score, never)
        probability = solve(torch.stack([torch.zeros_like(score), score], 1))[:, 1]
    return probability * crops.inside


def _field_of(crops: Crops, config: FitConfig) -> Callable[[Tensor], Tensor]:
    """What turns (N, 2, *G) scores into probabilities by the pairwise terms."""
    kernels = kernels_of(crops.side, crops.guide.ndim - 2, config)
    if config.solver == "local":
        return partial(
            LocalField(crops.guide, kernels, valid=crops.valid).solve, iterations=config.iterations
        )

    def dense(scores: Tensor) -> Tensor:
        pairs = zip(scores.numpy(), crops.guide.numpy(), strict=True)
        found = [dense_mean_field(one, guide, kernels, iterations=config.iterations) for one, guide in pairs]
        return torch.from_numpy(np.stack(found))

    return dense


def soft_ellipse(side: int, dims: int, height: float) -> Tensor:
    """(*G): `height`·(1 − r²), cut at ±6, with r = 1 on the inscribed ellipse."""
    return (height * (1 - radius(side, dims).square())).clamp(-6, 6)


def colour_score(crops: Crops, probability: Tensor) -> Tensor:
    """(N, *G): log density ratio of object and surroundings under mixtures fitted to the present guess."""
    count = len(crops.boxes)
    values = crops.guide.flatten(2).transpose(1, 2)
    inside = (crops.inside & crops.valid).flatten(1).float()
    around = (~crops.inside & crops.valid).flatten(1)
    alone = around & ~crops.others.flatten(1)
    # Where neighbours cover all of the surroundings, they are better than nothing to compare with.
    enough = alone.sum(1, keepdim=True) > 0.1 * around.sum(1, keepdim=True)
    around = torch.where(enough, alone, around).float()
    object_ = probability.flatten(1) * inside
    rest = (1 - probability.flatten(1)) * inside + around
    ratio = mixture_log_likelihood(values, object_) - mixture_log_likelihood(values, rest)
    return ratio.clamp(-20, 20).reshape(count, *crops.guide.shape[2:])


def kernels_of(side: int, dims: int, config: FitConfig) -> Sequence[Kernel]:
    """Pairwise terms relative to the box: one that stops at edges, one that only smooths."""
    step = side // SIDES[dims][0]
    reach = 5 if dims == 2 else 2
    wide = Kernel(config.smooth, (side / 8,) * dims, config.contrast, (reach * step,) * dims, step)
    return wide, Kernel(1.0, (1.0,) * dims, None, (1,) * dims)
