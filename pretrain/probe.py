"""Is an encoder worth anything? Frozen and fine-tuned on few labels, beside controls that keep it honest.

The controls: a random start; a random start trained as long as pretraining and fine-tuning together; and the
encoder's own weights, shuffled within each tensor, which keep their scale and lose what was learned. All arms
share images, seeds and recipe; what counts is the difference seed by seed.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pretrain.frozen import balanced_accuracy, columns, linear_probe, nearest_probe
from wsseg.device import choose_device
from wsseg.encoder import SavedEncoder
from wsseg.errors import InputError
from wsseg.fit import plan_model, prepare, suited
from wsseg.normalise import Normalisation
from wsseg.patches import Sample
from wsseg.predict import Predictor
from wsseg.steps import Step
from wsseg.train import BATCH, TrainConfig
from wsseg.unet import Encoder

TESTED = 8  # images that Dice is measured on
RESAMPLES = 10_000
PRETRAINED, RANDOM, LONGER, SHUFFLED = "pretrained", "random", "random, longer", "shuffled"
ARMS = (PRETRAINED, RANDOM, LONGER, SHUFFLED)


@dataclass(frozen=True)
class ProbeConfig:
    """What to try.

    Attributes:
        labels: Numbers of labelled images to fine-tune on.
        seeds: How many times, each with other images and other fresh weights.
        steps: Of each fine-tuning.
        longest: Steps of the longer random start, as a multiple of `steps`, at most; None = as many as
            pretraining cost, whatever they are.
        device: auto, cpu, cuda or mps.
    """

    labels: tuple[int, ...] = (1, 2, 4, 8)
    seeds: int = 5
    steps: int = 100
    longest: int | None = 4
    device: str = "auto"


def probe_steps(
    saved: SavedEncoder, samples: Sequence[Sample], classes: Mapping[int, str], config: ProbeConfig
) -> Generator[Step, None, dict[str, Any]]:
    """Measure an encoder on images with finished masks; gives back a JSON-ready report.

    Args:
        saved: The encoder.
        samples: Images with dense labels; half of them, but no more than `TESTED`, are only tested on.
        classes: Class id to name.
        config: What to try.

    Raises:
        InputError: Too few images, or they do not fit the encoder.
    """
    if len(samples) < 2:
        raise InputError("A probe needs at least 2 images with finished masks, one to learn and one to test.")
    plan = plan_model(samples, classes, Normalisation())
    saved = suited(saved, plan.architecture.dims, plan.architecture.channels_in)
    order = np.random.default_rng(0).permutation(len(samples))
    count = min(TESTED, len(samples) // 2)
    tested, pool = ([samples[i] for i in part] for part in (order[:count], order[count:]))
    plan_model(pool, classes, Normalisation())  # every class is among them
    least = max(shuffle_covering(pool, seed)[1] for seed in range(config.seeds))
    labels = [n for n in config.labels if least <= n <= len(pool)]
    if not labels:
        raise InputError(
            f"--labels {', '.join(map(str, config.labels))}: {len(pool)} images can be learned from, and "
            f"{least} are needed to show every class; a number between is right."
        )
    longer = longer_steps(saved.record, plan.patch, config)
    total = config.seeds * (1 + len(labels) * len(ARMS))
    done = 0
    frozen: dict[str, dict[str, list[float]]] = {"linear": {}, "nearest": {}}
    few: dict[str, dict[str, list[float]]] = {str(n): {arm: [] for arm in ARMS} for n in labels}
    for seed in range(config.seeds):
        for arm, encoder in _frozen_arms(saved, seed).items():
            for reader, score in _read(encoder, pool, tested, len(classes) + 1, plan.patch, seed, config):
                frozen[reader].setdefault(arm, []).append(score)
        done += 1
        yield Step("probe", done, total)
        ordered, _ = shuffle_covering(pool, seed)
        for n in labels:
            shown = ordered[:n]  # of n = 4 those of n = 2 are a half
            for arm in ARMS:
                steps = longer if arm == LONGER else config.steps
                start = {PRETRAINED: saved, SHUFFLED: shuffled(saved, seed)}.get(arm)
                score = yield from _fine_tune(shown, tested, classes, start, steps, seed, config.device)
                few[str(n)][arm].append(score)
                done += 1
                yield Step("probe", done, total, info={"labels": n, "arm": arm, "dice": score})
    names = set(saved.record.get("names", []))
    return {
        "labels": {n: {"dice": arms, "gain": gains(arms)} for n, arms in few.items()},
        "frozen": {reader: {"accuracy": arms, "gain": gains(arms)} for reader, arms in frozen.items()},
        "steps": config.steps,
        "longer_steps": longer,
        "matched": matched_steps(saved.record, plan.patch, config) <= longer,
        "tested": [sample.name for sample in tested],
        "tested_and_seen": sum(_name(sample) in names for sample in tested) if names else None,
    }


def longer_steps(record: Mapping[str, Any], patch: Sequence[int], config: ProbeConfig) -> int:
    """Steps of the longer random start."""
    matched = matched_steps(record, patch, config)
    return matched if config.longest is None else min(matched, config.longest * config.steps)


def matched_steps(record: Mapping[str, Any], patch: Sequence[int], config: ProbeConfig) -> int:
    """Steps of fine-tuning that cost as much as it and pretraining together, by voxels encoded."""
    extra = record.get("encoder_voxels", 0) / (BATCH[len(patch)] * float(np.prod(patch)))
    return config.steps + round(extra)


def shuffled(saved: SavedEncoder, seed: int) -> SavedEncoder:
    """The same numbers in each tensor, in another order: the scale stays, what was learned goes."""
    generator = torch.Generator().manual_seed(seed)

    def mixed(tensor: Tensor) -> Tensor:
        order = torch.randperm(tensor.numel(), generator=generator)
        return tensor.flatten()[order].reshape(tensor.shape)

    encoder = Encoder(saved.encoder.config)
    encoder.load_state_dict({name: mixed(t) for name, t in saved.encoder.state_dict().items()})
    return SavedEncoder(encoder, saved.record, {name: mixed(t) for name, t in saved.decoder.items()})


def gains(arms: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Any]]:
    """What the pretrained arm has over each other one: mean of the paired differences and 95 % interval.

    The interval is a percentile bootstrap over seeds. Where it contains 0, there is no gain to speak of.
    """
    found: dict[str, dict[str, Any]] = {}
    for arm, scores in arms.items():
        if arm == PRETRAINED:
            continue
        differences = np.subtract(arms[PRETRAINED], scores)
        drawn = np.random.default_rng(0).integers(len(differences), size=(RESAMPLES, len(differences)))
        low, high = np.percentile(differences[drawn].mean(1), [2.5, 97.5])
        verdict = "gain" if low > 0 else "loss" if high < 0 else "no gain"
        numbers = {"mean": float(differences.mean()), "low": float(low), "high": float(high)}
        found[arm] = {**numbers, "verdict": verdict}
    return found


def _frozen_arms(saved: SavedEncoder, seed: int) -> dict[str, Encoder]:
    torch.manual_seed(seed)
    fresh = Encoder(saved.encoder.config)
    return {PRETRAINED: saved.encoder, RANDOM: fresh, SHUFFLED: shuffled(saved, seed).encoder}


def _read(
    encoder: Encoder,
    pool: Sequence[Sample],
    tested: Sequence[Sample],
    outputs: int,
    patch: Sequence[int],
    seed: int,
    config: ProbeConfig,
) -> list[tuple[str, float]]:
    """Balanced accuracy of each simple reader of a frozen encoder."""
    device = choose_device(config.device)
    known, classes = columns(encoder, pool, patch, seed=seed, device=device)
    asked, truth = columns(encoder, tested, patch, seed=seed, device=device)
    encoder.cpu()
    readers = {"linear": linear_probe, "nearest": nearest_probe}
    return [
        (name, balanced_accuracy(reader(known, classes, asked, outputs), truth))
        for name, reader in readers.items()
    ]


def _fine_tune(
    shown: Sequence[Sample],
    tested: Sequence[Sample],
    classes: Mapping[int, str],
    start: SavedEncoder | None,
    steps: int,
    seed: int,
    device: str,
) -> Generator[Step, None, float]:
    """Train as `fit` does on a few images, and measure Dice on the others: mean over classes and images."""
    config = TrainConfig(steps=steps, seed=seed, device=device, objects="off")
    trainer = prepare(shown, classes, config, encoder=start)
    for step in trainer.steps():
        yield Step("fine-tune", step.index, step.total, step.loss)
    predictor = Predictor(trainer.model, device=device)
    scores = []
    for sample in tested:
        prediction = yield from predictor.steps(sample.image)
        said = np.searchsorted([0, *sorted(classes)], np.asarray(prediction.mask))
        scores += [_dice(said == k, sample.labels.target == k) for k in range(1, len(classes) + 1)]
    return float(np.mean(scores))


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    """2|A∩B| / (|A|+|B|); 1 where both are empty."""
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * np.count_nonzero(one & other) / total if total else 1.0


def shuffle_covering(pool: Sequence[Sample], seed: int) -> tuple[list[Sample], int]:
    """The images in another order for every seed, and how many of the first show every class.

    As few as can be found step by step: a network can't be trained on images that lack a class.
    """
    left = [pool[i] for i in np.random.default_rng((1, seed)).permutation(len(pool))]
    shows = {id(sample): set(sample.labels.counts()) for sample in left}
    missing = set().union(*shows.values())
    ordered: list[Sample] = []
    while missing:
        best = max(left, key=lambda sample: len(shows[id(sample)] & missing))
        left.remove(best)
        missing -= shows[id(best)]
        ordered.append(best)
    return ordered + left, len(ordered)


def _name(sample: Sample) -> str:
    return sample.image.path.name if sample.image.path else sample.name
