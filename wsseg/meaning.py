"""What strokes mean: all objects are marked, or some of many alike (`wsseg.propagate` has why it matters).

Where three or more places of a class are marked, some are hidden, and a walk starts from the others: does it
find the hidden ones? Where nowhere so many are marked, a head learns what the strokes look like, as while one
draws: is it sure of all the image, what it finds is meant, else what the walk does (`wsseg.trust`).
"""

from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage

from wsseg.features import feature_steps, memory_needed
from wsseg.instant import fit_head
from wsseg.patches import Sample
from wsseg.propagate import COARSE, Objects, scribbled, walk
from wsseg.steps import Step
from wsseg.trust import LEADS, LIMIT, finds_more, how_sure, trust
from wsseg.weak import WeakLabels

PLACES = 3  # strokes of a class in an image from which some are hidden to test the walk
RIGHT = 0.9  # share of hidden voxels that the walk must find to be trusted anywhere, mean over classes
IMAGES = 8  # images tested at most


def what_is_meant(
    samples: Sequence[Sample], classes: int, *, seed: int, device: torch.device
) -> Generator[Step, None, Objects | None]:
    """Whether every object has been marked, or some of many that look alike; None where there are no strokes.

    The Steps are those of the walks and features.

    Args:
        samples: Images with labels; those without strokes don't matter.
        classes: Network outputs K.
        seed: Chooses which strokes are hidden.
        device: Where to compute.
    """
    strokes = [sample for sample in samples if scribbled(sample)]
    if not strokes:
        return None
    found = yield from _share_found(strokes, classes, np.random.default_rng((seed, 0x5712)), device)
    if found is not None:
        return "marked" if found >= RIGHT else "alike"
    trusted = yield from _trusted(strokes, classes, device)
    return "alike" if trusted >= LEADS else "marked"


def _share_found(
    strokes: Sequence[Sample], classes: int, rng: np.random.Generator, device: torch.device
) -> Generator[Step, None, float | None]:
    """Which share of hidden voxels walks find, in the mean over classes; None where none are hidden."""
    right, asked, tested = np.zeros(classes), np.zeros(classes), 0
    for sample in strokes:
        hidden = hide_strokes(sample.labels, rng)
        if not hidden.any():
            continue
        left = replace(sample.labels, weight=np.where(hidden, 0, sample.labels.weight).astype(np.float32))
        left_alone = replace(sample, labels=left)
        found = (yield from walk(left_alone, classes, 0.0, device, voxels=COARSE)).argmax(0)
        truth = sample.labels.target[hidden]
        asked += np.bincount(truth, minlength=classes)
        right += np.bincount(truth[found[hidden] == truth], minlength=classes)
        tested += 1
        if tested == IMAGES:
            break
    seen = asked > 0
    return float((right[seen] / asked[seen]).mean()) if seen.any() else None


def _trusted(strokes: Sequence[Sample], classes: int, device: torch.device) -> Generator[Step, None, float]:
    """How far a head is trusted that is fitted to one image at a time; 0 where all are too large."""
    sure, more = [], []
    for sample in [s for s in strokes if memory_needed(s.image) <= LIMIT][:IMAGES]:
        features = yield from feature_steps(sample.image, sample.statistics)
        head = fit_head(features, sample.labels, classes)
        sure.append(how_sure(head, features))
        more.append((yield from finds_more(sample, features, classes, device)) or 0.0)
    return trust(float(np.mean(sure)), float(np.mean(more))) if sure else 0.0


def hide_strokes(labels: WeakLabels, rng: np.random.Generator) -> np.ndarray:
    """bool (*S): half the strokes of every class but background that has `PLACES` or more."""
    hidden = np.zeros(labels.target.shape, bool)
    for k in labels.counts():
        marks, count = ndimage.label(labels.known & (labels.target == k), np.ones((3,) * hidden.ndim))
        if k and count >= PLACES:
            hidden |= np.isin(marks, rng.permutation(count)[: count // 2] + 1)
    return hidden
