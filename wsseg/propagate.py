"""Walks from the strokes of an image, and masks that follow them; docs/sparse.md has their worth.

A walk from the strokes labels much of an image well. How far it may be trusted depends on what they mean:

- *marked*: every object there is has been marked, say the one kidney. Then walks may go anywhere.
- *alike*: some of many objects have been marked, say four of forty nuclei, and all of the kind are wanted. A
  walk alone then calls the unmarked ones background; it ends in what a head or a network says.

The strokes tell which it is: see `wsseg.meaning`.
"""

from collections.abc import Generator, Sequence
from typing import Literal

import numpy as np
import torch

from wsseg.patches import Sample
from wsseg.steps import Step, finish
from wsseg.walker import coarser, enlarge, halve, halve_seeds, halving, random_walker

Objects = Literal["marked", "alike"]
Meaning = Literal["auto", "marked", "alike", "off"]  # as asked for: auto finds out, off implies nothing
TOLD = {
    "marked": "Strokes were taken to mark every object there is: around them, only they count.",
    "alike": "Strokes were taken as examples: more of the same is found elsewhere.",
}
# Share of a walk that ends at each voxel in what a network says, by dimensions: in 3D far more ways lead
# into an object.
PULL = {2: 1e-2, 3: 1e-1}
# How sure a network must be of what it found in a volume, mean of 2·max p − 1, to be asked where strokes mark
# every object. Of hippocampi, which it helps, it was 0.90 and more; of one body of neurons, which it can't
# tell from the others, 0.77 and less.
KNOWS = 0.85
COARSE = 2**15  # voxels at which strokes are hidden and found again, and answers come first
VOXELS = 2**19  # larger images are walked at a coarser resolution: 1 s and not 20 s for a brain at 2 mm


def scribbled(sample: Sample) -> bool:
    """Whether an image has strokes or clicks of two classes, and no mask, finished slices or boxes."""
    return by_strokes(sample) and len(sample.labels.counts()) > 1


def by_strokes(sample: Sample) -> bool:
    """Whether an image has no mask, finished slices or boxes, but strokes or clicks alone."""
    if sample.boxed:
        return False
    known = sample.labels.known
    axes = range(known.ndim) if known.ndim == 3 else ()
    finished = any(known.all(tuple(a for a in axes if a != axis)).any() for axis in axes)
    return not known.all() and not finished


def walk(
    sample: Sample,
    classes: int,
    lost: float | np.ndarray,
    device: torch.device,
    prior: np.ndarray | None = None,
    *,
    voxels: int | None = None,
) -> Generator[Step, None, np.ndarray]:
    """Probabilities float32 (K, *S) of a walk from what is known; see `wsseg.walker.random_walker`.

    An image of more than `voxels`, or `VOXELS`, is walked at a coarser resolution; what is known stays as it
    is even so. `lost` and `prior` may be given there: at every `walked_every`-th voxel. What is lost is of a
    step between voxels of the image.
    """
    labels, image = sample.labels, sample.image
    values = torch.from_numpy(sample.statistics.apply(np.asarray(image.data[:]))).to(device)
    seeds = torch.from_numpy(np.where(labels.known, labels.target, -1)).to(device)
    gamma = torch.as_tensor(lost, dtype=torch.float32, device=device)
    ends = None if prior is None else torch.from_numpy(prior).to(device)
    spacing, size = list(image.spacing), seeds.shape
    while seeds.numel() > (voxels or VOXELS):
        now, step = seeds.shape, halving(seeds.shape)
        values, seeds = halve(values, step), halve_seeds(seeds, classes, step)
        ends = halve(ends, step) if ends is not None and ends.shape[1:] == now else ends
        gamma = halve(gamma[None], step)[0] if gamma.shape == now else gamma
        wider = [s * t for s, t in zip(spacing, step, strict=True)]
        gamma, spacing = coarser(gamma, spacing, wider), wider
    chances = yield from random_walker(values, seeds, classes, spacing=spacing, lost=gamma, prior=ends)
    if seeds.shape == size:
        return chances.cpu().numpy()
    out = enlarge(chances, size).cpu().numpy()
    out[:, labels.known] = np.eye(classes, dtype=np.float32)[labels.target[labels.known]].T
    return out


def walked_every(size: Sequence[int], voxels: int) -> tuple[int, ...]:
    """Every how many voxels, along each axis, lies one of those that an image is walked at: powers of 2."""
    left, every = list(size), [1] * len(size)
    while np.prod(left) > voxels:
        step = halving(left)
        left = [-(-n // t) for n, t in zip(left, step, strict=True)]
        every = [e * t for e, t in zip(every, step, strict=True)]
    return tuple(every)


def says_all(sample: Sample, objects: Objects | None) -> bool:
    """Whether the strokes mark every object of an image, so that no model need be asked.

    Of a volume it is: slices between the marked ones gain from a network that knows the object (`KNOWS`).
    """
    if objects != "marked" or not scribbled(sample):
        return False
    return sample.image.ndim == 2 or sample.labels.target.size > VOXELS


def honour(
    sample: Sample,
    probabilities: np.ndarray | None,
    objects: Objects | None,
    device: torch.device,
    classes: int,
) -> np.ndarray:
    """What a model says of an image that a person has marked, changed to what the person said.

    Painted voxels keep their class. Around strokes the mask follows the image's edges, by a walk that ends in
    the model's word (Grady 2005). Where every object is marked it is the walk's alone, except in a volume of
    which the model `knows` what it found.

    Args:
        sample: The image and its labels.
        probabilities: float32 (K, *S), the model's word; None only where the strokes say all (`says_all`).
        objects: What strokes mean; None counts as "alike".
        device: Where to compute.
        classes: K.

    Returns:
        float32 (K, *S).
    """
    strokes = scribbled(sample)
    if says_all(sample, objects) or (objects == "marked" and strokes and not knows(probabilities)):
        return finish(walk(sample, classes, 0.0, device))
    assert probabilities is not None
    if strokes and probabilities[0].size <= VOXELS:
        return finish(walk(sample, classes, PULL[sample.image.ndim], device, prior=probabilities))
    known = sample.labels.known
    out = probabilities.copy()
    out[:, known] = np.eye(classes, dtype=np.float32)[sample.labels.target[known]].T
    return out


def knows(probabilities: np.ndarray | None) -> bool:
    """Whether a model is sure of what it found, of the probabilities of each class (K, *S)."""
    if probabilities is None:
        return False
    found = probabilities.argmax(0) > 0
    return bool(found.any()) and float((2 * probabilities.max(0)[found] - 1).mean()) >= KNOWS
