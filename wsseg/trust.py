"""How far the word of a head is to be trusted against walks from the strokes, while one draws.

A head (`wsseg.instant`) finds what looks like the strokes, anywhere in an image; a walk from the strokes
(`wsseg.walker`) finds what they reach without crossing edges. Of dozens of nuclei, a few marked, the head is
right; of an organ that looks like its surroundings, the walk. What a person draws tells which, in two ways:

- Where the head is right it is sure: what is neither this nor that in its eyes is a voxel or two at borders.
- Hidden strokes are found by one and not by the other.

Both are a matter of degree, and so is the answer: a walk that ends in the head's word (Grady 2005) with a
share that grows with the trust in it, so that another stroke changes the mask a little and not altogether.
Ours; docs/sparse.md has its worth.
"""

from collections.abc import Generator
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage

from wsseg.features import Features
from wsseg.instant import Head, fit_head
from wsseg.patches import Sample
from wsseg.propagate import COARSE, walk, walked_every
from wsseg.steps import Step, finish
from wsseg.weak import WeakLabels

PULL = 0.1  # share of a walk that ends in the word of a head that is trusted, at each voxel where it is sure
SURE = 0.95  # such a head is so sure in the mean over the image
POWER = 16  # of what a head is less sure, where hidden strokes say nothing for it or against it
SAID = {"marked": 0.0, "alike": 1.0}  # how far a head is trusted where the user says what strokes mean
LIMIT = 2**29  # bytes of features up to which an image is looked at without being asked to
LEADS = 0.015  # how far a head is trusted, from where on its word counts for more than the walk's


def sureness(chances: np.ndarray) -> np.ndarray:
    """How sure a head is at each voxel, 0 to 1, of the chances of each class (K, *S): float32 (*S)."""
    return np.clip(2 * chances.max(0) - 1, 0, 1)


def how_sure(head: Head, features: Features) -> float:
    """In the mean over the image, 0 to 1."""
    return float(sureness(finish(head.sparse(features, walked_every(features.shape, COARSE)))).mean())


def finds_more(
    sample: Sample, features: Features, classes: int, device: torch.device
) -> Generator[Step, None, float | None]:
    """By what share of hidden strokes the head finds more of them than a walk does, −1 to 1.

    Half of the strokes of each class that has two or more are hidden, both learn from the others; then the
    other half. Strokes on background are not hidden: a walk would find each of them from the next one.

    Args:
        sample: The image and what is painted in it.
        features: Of the image.
        classes: K, background among them.
        device: Where to walk.

    Returns:
        None where no class has two strokes.
    """
    found, asked = np.zeros(2), 0
    for hidden in halves(sample.labels):
        left = replace(sample.labels, weight=np.where(hidden, 0, sample.labels.weight).astype(np.float32))
        places = np.argwhere(hidden)
        truth = sample.labels.target[hidden]
        head = fit_head(features, left, classes).at(features, places).argmax(0)
        reached = yield from walk(replace(sample, labels=left), classes, 0.0, device, voxels=COARSE)
        found += (head == truth).sum(), (reached.argmax(0)[hidden] == truth).sum()
        asked += len(truth)
    return float(found[0] - found[1]) / asked if asked else None


def halves(labels: WeakLabels) -> list[np.ndarray]:
    """Half the strokes of each class but background that has two, and the others: bool (*S) each, or none."""
    rng = np.random.default_rng(0x7A15)
    out = [np.zeros(labels.target.shape, bool) for _ in range(2)]
    for k in labels.counts():
        marks, count = ndimage.label(labels.known & (labels.target == k), np.ones((3,) * labels.target.ndim))
        if k and count >= 2:
            order = rng.permutation(count) + 1
            out[0] |= np.isin(marks, order[: count // 2])
            out[1] |= np.isin(marks, order[count // 2 :])
    return out if out[0].any() else []


def trust(sure: float, more: float | None) -> float:
    """How far a head is trusted, 0 to 1.

    Args:
        sure: How sure it is in the mean over the image (`sureness`), 0 to 1.
        more: What `finds_more` says: where the head finds all that walks do not, it need not be sure.
    """
    return min(1.0, sure / SURE) ** (POWER * (1 - (more or 0.0)))


def pull(chances: np.ndarray, trusted: float) -> np.ndarray:
    """The share of a walk that ends at each voxel, float32 (*S): `lost` of `wsseg.propagate.walk`.

    Args:
        chances: The head's word, (K, *S), in which it ends.
        trusted: 0 to 1; 0 = the walk alone.
    """
    return np.float32(PULL * trusted) * sureness(chances) ** 2
