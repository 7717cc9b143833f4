"""Terms of the loss that know of tags: expand and constrain (Kolesnikov & Lampert 2016, SEC, 3.3 and 3.4).

Seeds say where a class surely is, and nothing of how far it reaches. Expand: as much of the image as the
class usually takes shall be it, and nothing of an image without it. Constrain: the network's word shall be
what a CRF makes of it, which follows the edges of the image.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsseg.bags import Bag, place_of
from wsseg.crf import LocalField
from wsseg.pooling import PLACES, ranked_mean
from wsseg.seeds import SeedConfig, kernels_of
from wsseg.weak import WeakLabels

TERMS = ("expand", "constrain")
ABSENT, PRESENT, SEEDED, GROUND = 1, 2, 3, 4
ITERATIONS = 3  # of mean field; the paper solves on 41 × 41, we on half the size of the patch
LEAST = 1e-3  # share of an image that a class takes, at least
FLOOR = 1e-6  # probabilities are no smaller, so that logarithms stay finite


def tag_maps(
    labels: WeakLabels, bags: Sequence[Bag], axis: int | None, outputs: Mapping[int, int]
) -> np.ndarray:
    """What the tags say of each class at each voxel.

    Args:
        labels: Seeds and what was painted; target (*S).
        bags: Of the image; none = it is not tagged.
        axis: The axis that tagged slices are counted along.
        outputs: Class id to network output, of the classes that tags tell apart.

    Returns:
        int32 (1 + largest output, *S): row k is 0 where nothing is said of output k, `ABSENT` or `PRESENT`;
        where it is present, `SEEDED` where a label says that it is here, and `GROUND` where one says that
        this is background. Row 0 is empty, see `wsseg.patches.Sample`.
    """
    maps = np.zeros((1 + max(outputs.values()), *labels.target.shape), np.int32)
    for bag in bags:
        here = place_of(bag, axis)
        for class_id, output in outputs.items():
            maps[output][here] = PRESENT if class_id in bag.classes else ABSENT
    for output in outputs.values():
        present = (maps[output] == PRESENT) & labels.known
        maps[output][present & (labels.target == output)] = SEEDED
        maps[output][present & (labels.target == 0)] = GROUND
    return maps


def shares_of(labels: Sequence[WeakLabels], maps: Sequence[np.ndarray]) -> dict[int, float]:
    """Share of the known voxels that each output takes where it is present; output 0 is background."""
    count = max(len(each) for each in maps)
    hits, known = np.zeros(count), np.zeros(count)
    for label, each in zip(labels, maps, strict=True):
        for output in range(len(each)):
            here = label.known & ((each[output] >= PRESENT) if output else (each[1:] >= PRESENT).any(0))
            hits[output] += np.count_nonzero(here & (label.target == output))
            known[output] += np.count_nonzero(here)
    return {k: float(np.clip(hits[k] / known[k], LEAST, 1)) for k in range(count) if known[k]}


def decay_for(share: float) -> float:
    """Of `ranked_mean`: the ranks that count are, in effect, this share of all.

    The weights dʲ have a sum of 1/(1 − d) ≈ −1/ln d ranks. The paper's 0.996 of 41 × 41 places is 15 %.
    """
    return math.exp(-1 / (PLACES * share))


def expand_loss(chances: Tensor, maps: Tensor, shares: Mapping[int, float]) -> Tensor:
    """−log of a class's ranked mean where it is, −log(1 − largest chance) where it is not, mean over both.

    Differs from the paper in: it is of patches, not of whole images, so a class counts as present in a patch
    where the patch holds a label of it; the share of the voxels that shall be a class is that of its labels,
    not 15 % for all; background has no term of its own, it is what the others leave.

    Args:
        chances: (N, K, *S), background first.
        maps: int64 (N, K, *S) of `tag_maps`.
        shares: Of `shares_of`.
    """
    total, count = chances.sum() * 0, 0
    for chance, of_patch in zip(chances, maps, strict=True):
        present = {output: of_patch[output] >= PRESENT for output in shares if output}
        labelled = {output: bool((of_patch[output] == SEEDED).any()) for output in present}
        if present:
            labelled[0] = bool((of_patch == GROUND).any())
            present[0] = torch.stack(list(present.values())).any(0)
        for output, here in present.items():
            if labelled[output]:
                pooled = ranked_mean(chance[output][here].view(1, 1, -1), decay_for(shares[output]))
                total, count = total - pooled.clamp_min(FLOOR).log().sum(), count + 1
            absent = chance[output][of_patch[output] == ABSENT]
            if len(absent):
                total, count = total - (1 - absent.max()).clamp_min(FLOOR).log(), count + 1
    return total / max(count, 1)


def constrain_loss(chances: Tensor, images: Tensor, maps: Tensor, spacing: Sequence[float]) -> Tensor:
    """Mean KL(R‖P) over the voxels that tags speak of; R is what a CRF makes of P, without absent classes.

    Differs from the paper in: R is a target, no gradient flows through it; the field sees a window, not the
    whole image, at half the size.

    Args:
        chances: P, (N, K, *S), background first.
        images: (N, C, *S).
        maps: int64 (N, K, *S) of `tag_maps`.
        spacing: Size of a voxel per axis.
    """
    half = [
        2 if n % 2 == 0 and s < 1.6 * min(spacing) else 1
        for n, s in zip(images.shape[2:], spacing, strict=True)
    ]
    small = _mean(chances, half).clamp_min(FLOOR)
    with torch.no_grad():
        absent = -_mean(-(maps == ABSENT).float(), half) > 0.5
        spoken = _mean((maps > 0).any(1, keepdim=True).float(), half) > 0.5
        coarse = [s * h for s, h in zip(spacing, half, strict=True)]
        scores = small.log().masked_fill(absent, math.log(FLOOR))
        sharper = LocalField(_mean(images, half), kernels_of(SeedConfig(), coarse)).solve(
            scores, iterations=ITERATIONS
        )
        sharper = sharper.masked_fill(absent, 0).clamp_min(FLOOR)
        sharper = sharper / sharper.sum(1, keepdim=True)
    apart = (sharper * (sharper.log() - small.log())).sum(1, keepdim=True)
    return (apart * spoken).sum() / spoken.sum().clamp_min(1)


@dataclass(frozen=True)
class TagTerms:
    """The sum of some terms, as a trainer wants it (`wsseg.train.Term`).

    Attributes:
        names: Of `TERMS`.
        shares: Of `shares_of`.
        spacing: Size of a voxel per axis.
    """

    names: tuple[str, ...]
    shares: Mapping[int, float]
    spacing: tuple[float, ...]

    def __call__(self, scores: Tensor, images: Tensor, maps: Tensor, progress: float) -> Tensor:
        chances = scores.softmax(1)
        total = scores.new_zeros(())
        if "expand" in self.names:
            total = total + expand_loss(chances, maps, self.shares)
        if "constrain" in self.names:
            total = total + constrain_loss(chances, images, maps, self.spacing)
        return total


def _mean(values: Tensor, cells: Sequence[int]) -> Tensor:
    return F.avg_pool2d(values, tuple(cells)) if len(cells) == 2 else F.avg_pool3d(values, tuple(cells))
