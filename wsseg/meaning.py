"""What strokes mean: all objects are marked, or some of many alike (`wsseg.propagate` has why it matters).

A head learns what the strokes look like, as while one draws. Where it is to be trusted, because it is sure of
the image or finds strokes that are hidden from it and that walks don't find (`wsseg.trust`), what it finds is
meant; else what walks reach.
"""

from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np
import torch

from wsseg.features import feature_steps, memory_needed
from wsseg.images import Image
from wsseg.instant import fit_head
from wsseg.patches import Sample
from wsseg.propagate import Objects, scribbled
from wsseg.steps import Step
from wsseg.trust import LIMIT, finds_more, how_sure, trust
from wsseg.walker import halve, halve_seeds, halving
from wsseg.weak import WeakLabels

ALIKE = 0.003  # how far a head is trusted, from where on strokes are taken for examples
IMAGES = 8  # images that are asked at most


def what_is_meant(
    samples: Sequence[Sample], classes: int, *, device: torch.device
) -> Generator[Step, None, Objects | None]:
    """Whether every object has been marked, or some of many that look alike; None where there are no strokes.

    The Steps are those of the features and walks.

    Args:
        samples: Images with labels; those without strokes don't matter.
        classes: Network outputs K.
        device: Where to compute.
    """
    strokes = [sample for sample in samples if scribbled(sample)]
    if not strokes:
        return None
    sure, more = [], []
    for sample in strokes[:IMAGES]:
        small = to_look_at(sample, classes)
        features = yield from feature_steps(small.image, small.statistics)
        head = fit_head(features, small.labels, classes)
        sure.append(how_sure(head, features))
        more.append((yield from finds_more(small, features, classes, device)) or 0.0)
    return "alike" if trust(float(np.mean(sure)), float(np.mean(more))) >= ALIKE else "marked"


def to_look_at(sample: Sample, classes: int) -> Sample:
    """The image at half the resolution, or half of that, until its features take no more than `LIMIT`."""
    while memory_needed(sample.image) > LIMIT:
        image, labels = sample.image, sample.labels
        step = halving(image.shape)
        values = halve(torch.from_numpy(np.asarray(image.data[:], np.float32)), step)
        seeds = halve_seeds(torch.from_numpy(np.where(labels.known, labels.target, -1)), classes, step)
        known = (seeds >= 0).numpy()
        sample = replace(
            sample,
            image=Image(values.numpy(), tuple(s * t for s, t in zip(image.spacing, step, strict=True))),
            labels=WeakLabels(np.where(known, seeds.numpy(), 0), known.astype(np.float32)),
        )
    return sample
