"""From images and hints to a trained model: samples, a plan, the run with its checkpoints, the estimate."""

import hashlib
import json
import platform
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wsseg.budget import steps_for
from wsseg.checkpoint import load_checkpoint, save_checkpoint
from wsseg.device import choose_device
from wsseg.encoder import SavedEncoder
from wsseg.errors import InputError
from wsseg.heldback import estimate, hold_back
from wsseg.hints import Hints
from wsseg.images import Image
from wsseg.implied import propagate
from wsseg.meaning import what_is_meant
from wsseg.model import Model, ModelConfig, outputs_of
from wsseg.normalise import Normalisation
from wsseg.patches import Sample, plan_patch
from wsseg.propagate import Objects
from wsseg.steps import Step, told_as
from wsseg.symmetry import flip_axes, turn_planes
from wsseg.train import Term, TrainConfig, Trainer
from wsseg.unet import EncoderConfig, plan_encoder
from wsseg.weak import WeakLabels, over, weak_labels

BUDGET = {2: 2**14, 3: 2**17}  # voxels in a patch; with the batch sizes about 0.3 s a step on 2 slow cores
SPARSE = 0.05  # share of known voxels below which most patches hold places that nobody spoke of
RELEASE = 0.5  # share of the steps after which the held-back hints are estimated on and join the training
CHECKPOINT_SECONDS = 60.0


def make_sample(
    image: Image,
    hints: Hints,
    classes: Mapping[int, str],
    normalisation: Normalisation,
    name: str = "The image",
    *,
    below: WeakLabels | None = None,
    boxed: bool = False,
) -> Sample:
    """Check one image and its hints and make them ready for training.

    Args:
        image: Its values.
        hints: What is marked; boxes and tags among it say nothing by themselves.
        classes: Class id to name.
        normalisation: Recipe for intensities.
        name: For messages.
        below: What less certain hints say, as network outputs; see `wsseg.boxlabels` and `wsseg.tagrounds`.
        boxed: Whether boxes are among them.

    Raises:
        InputError: Shapes differ, a class is unknown, nothing is marked, the image is constant or not finite.
    """
    if hints.shape != image.shape:
        raise InputError(
            f"{name}: the hints have shape {hints.shape}, the image {image.shape}; both must agree."
        )
    hints.check(classes, name)
    labels = output_labels(hints, image, classes)
    if below is not None:
        labels = over(below, labels)
    if not labels.weight.any():
        raise InputError(f"{name}: nothing is marked; paint scribbles, finish a slice or set clicks first.")
    return Sample(image, labels, normalisation.measure(image, name), name, boxed=boxed)


def output_labels(hints: Hints, image: Image, classes: Mapping[int, str]) -> WeakLabels:
    """What hints say of single voxels, as network outputs."""
    labels = weak_labels(hints, spacing=image.spacing)
    target = outputs_of(torch.from_numpy(labels.target), (0, *sorted(classes))).numpy()
    return WeakLabels(target, labels.weight)


def plan_model(
    samples: Sequence[Sample], classes: Mapping[int, str], normalisation: Normalisation
) -> ModelConfig:
    """Choose architecture and patch from the data.

    Raises:
        InputError: Axes or channels differ between images, or only one class (background counts) is marked.
    """
    if not samples:
        raise InputError(
            "No image has hints to learn from; paint scribbles, finish slices or set clicks first."
        )
    _check_alike(samples, "spatial axes", lambda sample: sample.image.ndim)
    _check_alike(samples, "channels", lambda sample: sample.image.channels)
    _check_classes(samples, classes)
    spacing = tuple(float(v) for v in np.median([sample.image.spacing for sample in samples], axis=0))
    sizes = [sample.image.shape for sample in samples]
    shape = plan_encoder(
        channels_in=samples[0].image.channels,
        spacing=spacing,
        size=[int(v) for v in np.median(sizes, axis=0)],
    )
    return ModelConfig(
        architecture=shape,
        classes=dict(classes),
        normalisation=normalisation,
        spacing=spacing,
        patch=plan_patch(sizes, shape.divisor, BUDGET[shape.dims]),
        rgb=samples[0].image.rgb,
        tone=_known(samples) < SPARSE,
        flip_axes=flip_axes([sample.labels for sample in samples], len(classes) + 1),
    )


def _known(samples: Sequence[Sample]) -> float:
    """How much of an image is known, what is half believed by half; 0 to 1, mean over the images."""
    return float(np.mean([np.minimum(sample.labels.weight, 1).mean() for sample in samples]))


def _check_alike(samples: Sequence[Sample], what: str, count: Any) -> None:
    first = samples[0]
    for other in samples[1:]:
        if count(other) != count(first):
            raise InputError(
                f"{first.name} has {count(first)} {what}, {other.name} has {count(other)}; "
                "all images of one run must have the same."
            )


def _check_classes(samples: Sequence[Sample], classes: Mapping[int, str]) -> None:
    marked = {k for sample in samples for k in sample.labels.counts()}
    marked |= {int(k) for sample in samples if sample.maps is not None for k in np.unique(sample.maps[0])}
    names = ["background", *(classes[k] for k in sorted(classes))]
    if len(marked) < 2:
        only = names[marked.pop()] if marked else "nothing"
        raise InputError(
            f"Only {only} is marked; a model needs hints of at least two classes, and background is one."
        )
    if 0 not in marked:
        raise InputError("No hint names background; mark some, 255 in hint maps, where no object is.")
    if unmarked := [names[k] for k in range(len(names)) if k not in marked]:
        raise InputError(
            f"No hint names {', '.join(unmarked)}; mark it somewhere, or leave it out of the classes."
        )


def prepare(
    samples: Sequence[Sample],
    classes: Mapping[int, str],
    config: TrainConfig,
    *,
    objects: Objects | None = None,
    init: Model | None = None,
    encoder: SavedEncoder | None = None,
    term: Term | None = None,
) -> Trainer:
    """A trainer that is ready to run on these samples, with flips and turns where they are harmless.

    Args:
        samples: Images with labels.
        classes: Class id to name.
        config: How to train.
        objects: What strokes mean, for the record; see `read_strokes`.
        init: A model to go on from.
        encoder: A pretrained encoder to start from; its architecture is taken with its weights.
        term: A further term of the loss.

    Raises:
        InputError: The data is not fit for training, or does not fit `init` or `encoder`.
    """
    plan = replace(plan_model(samples, classes, Normalisation()), objects=objects)
    if init is not None:
        plan = _with_architecture(plan, init.config.architecture, "--init: the model")
        plan = replace(plan, patch=init.config.patch, tone=init.config.tone)
    if encoder is not None:
        encoder = suited(encoder, plan.architecture.dims, plan.architecture.channels_in)
        shape = encoder.encoder.config
        sizes = [sample.image.shape for sample in samples]
        patch = plan_patch(sizes, shape.divisor, BUDGET[shape.dims])
        plan = replace(plan, architecture=shape, patch=patch)
    augment = replace(
        config.augment,
        flip_axes=plan.flip_axes,
        turn_planes=turn_planes(plan.flip_axes, plan.spacing, plan.patch),
    )
    return Trainer(samples, plan, replace(config, augment=augment), init=init, encoder=encoder, term=term)


def suited(encoder: SavedEncoder, dims: int, channels: int) -> SavedEncoder:
    """A pretrained encoder made to take images of these dimensions and channels.

    Raises:
        InputError: It is for images of other dimensions, or of channels that can't be changed.
    """
    own = encoder.encoder.config
    if own.dims != dims:
        raise InputError(
            f"--encoder: the encoder is for {own.dims}D images, these are {dims}D; pretrain one with "
            f"--dims {dims}, or leave it out."
        )
    return encoder.for_channels(channels)


def _with_architecture(plan: ModelConfig, shape: EncoderConfig, what: str) -> ModelConfig:
    """The plan with another architecture.

    Raises:
        InputError: It is for images of other dimensions or channels.
    """
    own = plan.architecture
    if (shape.dims, shape.channels_in) != (own.dims, own.channels_in):
        raise InputError(
            f"{what} is for {shape.dims}D images with {shape.channels_in} channels, these are {own.dims}D "
            f"with {own.channels_in}; leave it out."
        )
    return replace(plan, architecture=shape)


def read_strokes(
    samples: Sequence[Sample], classes: Mapping[int, str], config: TrainConfig
) -> Generator[Step, None, tuple[Objects | None, list[Sample]]]:
    """What strokes mean, and the samples with what they imply around them (see `wsseg.implied`)."""
    device, outputs = choose_device(config.device), len(classes) + 1
    if config.objects == "auto":
        finding_out = what_is_meant(samples, outputs, device=device)
        objects = yield from told_as(Step("propagate", 0, len(samples)), finding_out)
    else:
        objects = None if config.objects == "off" else config.objects
    return objects, (yield from propagate(samples, outputs, objects, device, config.objects))


def default_steps(samples: Sequence[Sample]) -> int:
    """Optimiser steps: a fixed function of the data, never of the clock; more for more to learn from."""
    return steps_for(sum(int(np.count_nonzero(sample.labels.weight)) for sample in samples))


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a run leaves: the model and its curve."""

    model: Model
    losses: list[float]


def fit_steps(
    samples: Sequence[Sample],
    classes: Mapping[int, str],
    config: TrainConfig,
    *,
    out: Path | None = None,
    init: Model | None = None,
    encoder: SavedEncoder | None = None,
    term: Term | None = None,
    resume: bool = False,
    command: str = "",
    asked: Mapping[str, Any] | None = None,
) -> Generator[Step, None, Fitted]:
    """Train on samples, estimate quality on held-back hints on the way, and write the model folder.

    Args:
        samples: Images with labels.
        classes: Class id to name.
        config: How to train.
        out: Model folder to write; while the run lasts it holds `checkpoint/`. None = write nothing.
        init: A model to go on from.
        encoder: A pretrained encoder to start from.
        term: A further term of the loss.
        resume: Go on from `out`/checkpoint where there is one; the result is that of an unbroken run.
        command: What the user typed, for the record.
        asked: For the record too, see `wsseg.asked.asked_for`.

    Raises:
        InputError: The data is not fit for training, or a checkpoint is of another run.
    """
    plan = plan_model(samples, classes, Normalisation())  # bad input is told before minutes of walks
    if encoder is not None:
        suited(encoder, plan.architecture.dims, plan.architecture.channels_in)
    objects, implied = yield from read_strokes(samples, classes, config)
    trainer = prepare(implied, classes, config, objects=objects, init=init, encoder=encoder, term=term)
    early, held, words = hold_back(samples, config.seed)
    release = max(1, round(RELEASE * config.steps))
    checkpoint = out / "checkpoint" if out else None
    hints = [(sample.name, _checksum(sample)) for sample in samples]
    measured = [[v.tolist() for v in vars(sample.statistics).values()] for sample in samples]
    exact = replace(config, learning_rate=trainer.rate)  # what is usual may change from version to version
    key = _fingerprint(hints, measured, classes, exact, init, encoder, term)
    losses: list[float] = []
    quality: dict[str, Any] | None = None
    if resume and checkpoint is not None and checkpoint.is_dir():
        losses, quality = load_checkpoint(checkpoint, trainer, key)
    if held and quality is None:
        whole = {id(sample): done for sample, done in zip(samples, implied, strict=True)}
        thinned = [sample for sample in early if id(sample) not in whole]
        rest = yield from propagate(thinned, len(classes) + 1, objects, trainer.device, config.objects)
        trainer.set_samples([whole[id(sample)] for sample in early if id(sample) in whole] + rest)
    saved = time.monotonic()
    run = trainer.steps()
    try:
        while trainer.done < config.steps:
            if held and quality is None and trainer.done == release:
                yield Step("estimate", 0, 1)
                found = estimate(trainer.model, held, config.device)
                quality = {**found, "held_back": words, "at_step": release}
                trainer.set_samples(implied)
                yield Step("estimate", 1, 1)
            step = next(run)
            losses.append(step.loss or 0.0)
            yield step
            if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
                save_checkpoint(checkpoint, trainer, key, losses, quality)
                saved = time.monotonic()
    except GeneratorExit:  # stopped between two steps: nothing that was learnt is lost
        if checkpoint is not None and trainer.done:
            save_checkpoint(checkpoint, trainer, key, losses, quality)
        raise
    model = trainer.model
    record = _provenance(samples, hints, trainer, command)
    record["encoder"] = dict(encoder.record) if encoder else None
    record["asked"] = asked
    model = Model(replace(model.config, quality=quality, provenance=record), model.net)
    if out is not None:
        model.save(out, extra={"history.json": json.dumps({"loss": losses})})
    return Fitted(model, losses)


def _fingerprint(
    hints: Sequence[tuple[str, str]],
    measured: Sequence[list[list[float]]],
    classes: Mapping[int, str],
    config: TrainConfig,
    init: Model | None,
    encoder: SavedEncoder | None,
    term: Term | None,
) -> str:
    """A short code for everything that decides the result of a run on one machine.

    Images count by their statistics, which are there already.
    """
    tensors = init.net.state_dict() if init else {}
    if encoder is not None:
        tensors = tensors | encoder.encoder.state_dict() | dict(encoder.decoder)
    start = {k: float(v.double().sum()) for k, v in tensors.items()}
    parts = [asdict(config), dict(classes), list(hints), list(measured), start, repr(term)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _checksum(sample: Sample) -> str:
    known = np.where(sample.labels.known, sample.labels.target + 1, 0).astype(np.uint8)
    return hashlib.sha256(known.tobytes() + str((sample.name, sample.image.shape)).encode()).hexdigest()[:16]


def _provenance(
    samples: Sequence[Sample], hints: Sequence[tuple[str, str]], trainer: Trainer, command: str
) -> dict[str, Any]:
    return {
        "command": command,
        "seed": trainer.config.seed,
        "steps": trainer.config.steps,
        "learning_rate": trainer.rate,
        "device": str(trainer.device),
        "versions": {name: version(name) for name in ("wsseg", "torch", "monai", "numpy")},
        "python": platform.python_version(),
        "init": str(trainer.taken) if trainer.taken else None,
        "hints": dict(hints),
        "annotated_share": float(np.mean([sample.labels.share() for sample in samples])),
    }
