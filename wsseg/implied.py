"""Labels that strokes imply around them, to train a network from; docs/sparse.md has their worth.

A network that learns from what strokes imply does far better than one that sees the strokes alone. Where they
mark every object, that is what walks from them reach. Where they mark some of many, it is the answer that a
person gets while drawing: walks that end in a head's word as far as it is to be trusted (`wsseg.trust`).
Of an image whose features would take too much memory it is less: a small share of each walk is lost at each
voxel, and few arrive in what no stroke is near, which stays unknown.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np
import torch

from wsseg.features import feature_steps, memory_needed
from wsseg.instant import fit_head
from wsseg.patches import Sample
from wsseg.propagate import VOXELS, Meaning, Objects, scribbled, walk, walked_every
from wsseg.steps import Step, told_as
from wsseg.trust import LIMIT, SAID, finds_more, how_sure, pull, trust
from wsseg.weak import WeakLabels

# Share of a walk that is lost at each voxel, by dimensions: in 3D far more ways lead into an object. At these
# a walk was right about 97 % of what it labelled on nuclei in 2D, 95 % in 3D.
LOST = {2: 1e-4, 3: 3e-3}
WEIGHT = 0.5  # an implied label counts at most half of what a person said


def propagate(
    samples: Sequence[Sample],
    classes: int,
    objects: Objects | None,
    device: torch.device,
    said: Meaning = "auto",
) -> Generator[Step, None, list[Sample]]:
    """Add what strokes imply to the labels of every image that has strokes; Steps count these images.

    The weight of an implied label grows from 0, where the likeliest class has half of all walks, to `WEIGHT`,
    where it has all.

    Args:
        samples: Images with labels.
        classes: Network outputs K, background among them.
        objects: What the strokes mean; None = add nothing.
        device: Where to compute.
        said: What the user says that they mean: with "alike" a head is trusted wherever it is sure.
    """
    out = list(samples)
    which = [i for i, sample in enumerate(samples) if scribbled(sample)] if objects else []
    for done, index in enumerate(which, 1):
        sample = samples[index]
        if objects == "marked":
            steps = walk(sample, classes, 0.0, device)
        elif memory_needed(sample.image) > LIMIT:
            steps = walk(sample, classes, LOST[sample.image.ndim], device)
        else:
            steps = _answer(sample, classes, device, SAID.get(said))
        chances = yield from told_as(Step("propagate", done - 1, len(which)), steps)
        out[index] = replace(sample, labels=_with(sample.labels, chances))
        yield Step("propagate", done, len(which))
    return out


def _answer(
    sample: Sample, classes: int, device: torch.device, trusted: float | None
) -> Generator[Step, None, np.ndarray]:
    """Walks that end in the word of a head of this image, float32 (K, *S); `trusted` None = measured."""
    features = yield from feature_steps(sample.image, sample.statistics)
    head = fit_head(features, sample.labels, classes)
    if trusted is None:
        more = yield from finds_more(sample, features, classes, device)
        trusted = trust(how_sure(head, features), more)
    word = yield from head.sparse(features, walked_every(features.shape, VOXELS))
    return (yield from walk(sample, classes, pull(word, trusted), device, word))


def _with(labels: WeakLabels, chances: np.ndarray) -> WeakLabels:
    weight = WEIGHT * np.clip(2 * chances.max(0) - 1, 0, 1)
    return WeakLabels(
        np.where(labels.known, labels.target, chances.argmax(0)),
        np.where(labels.known, labels.weight, weight).astype(np.float32),
    )
