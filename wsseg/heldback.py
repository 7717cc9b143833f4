"""An honest estimate of quality: some hints are held back, predicted, and compared.

They are held back for the first part of the run only. The estimate is taken when they join the training, so
no annotation is lost, and it errs on the low side: the model goes on to learn from more hints and more steps.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from wsseg.model import Model
from wsseg.patches import Sample
from wsseg.predict import Predictor
from wsseg.weak import WeakLabels

SHARE = 0.2  # of images, or of slices and strokes, that are held back
IMAGES = 5  # with fewer images, slices and strokes are held back instead
MOST = 8  # images whose hints are held back at most; more would only take time


def hold_back(samples: Sequence[Sample], seed: int) -> tuple[list[Sample], list[Sample], str]:
    """Split samples into those to train on first and those to be estimated on.

    With five images or more whole images are held back, so the estimate speaks of new images. With fewer,
    connected pieces of hints (slices, strokes) are held back, so it speaks of the rest of the same images.
    A piece is never held back when a class would have no hint left.

    Returns:
        Samples to train on; samples whose labels are the held-back ones (empty where nothing can be spared);
        a few words on what is held back.
    """
    rng = np.random.default_rng((seed, 0x4E1D))
    if len(samples) >= IMAGES:
        order = list(rng.permutation(len(samples)))
        count = min(MOST, max(1, round(SHARE * len(samples))))
        held = [i for i in order if _spared(samples, [i])][:count]
        while held and not _spared(samples, held):
            held.pop()
        kept = [sample for i, sample in enumerate(samples) if i not in held]
        words = f"{len(held)} of {len(samples)} images"
        return kept, [samples[i] for i in sorted(held)], words
    return _hold_pieces(samples, rng)


def _hold_pieces(
    samples: Sequence[Sample], rng: np.random.Generator
) -> tuple[list[Sample], list[Sample], str]:
    pieces = []  # (sample, bool array of the piece)
    for index, sample in enumerate(samples):
        marks, count = ndimage.label(sample.labels.known, np.ones((3,) * sample.labels.known.ndim))
        pieces += [(index, marks, number) for number in range(1, count + 1)]
    remaining = list(samples)
    held: dict[int, np.ndarray] = {}
    wanted = max(1, round(SHARE * len(pieces))) if len(pieces) > 1 else 0
    taken = 0
    for index, marks, number in (pieces[i] for i in rng.permutation(len(pieces))):
        if taken == wanted:
            break
        piece = marks == number
        labels = remaining[index].labels
        rest = replace(labels, weight=np.where(piece, 0, labels.weight).astype(np.float32))
        trial = [*remaining[:index], replace(remaining[index], labels=rest), *remaining[index + 1 :]]
        if _classes(trial) == _classes(samples):
            remaining, taken = trial, taken + 1
            held[index] = held.get(index, np.zeros(piece.shape, bool)) | piece
    out = []
    for index, where in held.items():
        labels = samples[index].labels
        weight = np.where(where, labels.weight, 0).astype(np.float32)
        out.append(replace(samples[index], labels=replace(labels, weight=weight)))
    kept = [sample for sample in remaining if sample.labels.weight.any()]
    return kept, out, f"{taken} of {len(pieces)} slices or strokes"


def _classes(samples: Sequence[Sample]) -> set[int]:
    return {k for sample in samples for k in sample.labels.counts()}


def _spared(samples: Sequence[Sample], held: Sequence[int]) -> bool:
    rest = [sample for i, sample in enumerate(samples) if i not in held]
    return bool(rest) and _classes(rest) == _classes(samples)


def estimate(model: Model, held: Sequence[Sample], device: str) -> dict[str, dict[str, float] | float]:
    """Dice per class on the held-back voxels.

    A class's voxels are pooled over all held-back hints, so that a stroke of five voxels doesn't count as
    much as a slice. Only the part of each image around its held-back hints is predicted.

    Returns:
        {"dice": {class id: Dice}, "mean": …}; classes without held-back voxels are left out.
    """
    classes = len(model.config.class_ids)
    both, sizes = np.zeros(classes), np.zeros(classes)
    predictor = Predictor(model, device=device)
    for sample in held:
        region = _around(sample.labels, predictor.tile)
        image = replace(sample.image, data=np.asarray(sample.image.data[(slice(None), *region)]))
        mask = predictor.predict(image, statistics=sample.statistics).mask
        assert mask is not None
        labels = WeakLabels(sample.labels.target[region], sample.labels.weight[region])
        truth = labels.target[labels.known]
        said = np.searchsorted(model.config.class_ids, mask[labels.known])
        both += np.bincount(truth[truth == said], minlength=classes)
        sizes += np.bincount(truth, minlength=classes) + np.bincount(said, minlength=classes)
    dice = {
        str(model.config.class_ids[k]): float(2 * both[k] / sizes[k])
        for k in range(1, classes)
        if sizes[k] > 0
    }
    return {"dice": dice, "mean": float(np.mean(list(dice.values())))} if dice else {}


def _around(labels: WeakLabels, tile: Sequence[int]) -> tuple[slice, ...]:
    """The bounding box of what is known, half a tile wider on every side."""
    where = np.argwhere(labels.known)
    low, high = where.min(0), where.max(0) + 1
    return tuple(
        slice(max(0, int(a) - t // 2), min(n, int(b) + t // 2))
        for a, b, t, n in zip(low, high, tile, labels.target.shape, strict=True)
    )
