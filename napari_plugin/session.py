"""What the worker does: train, and show the mask on the way. Knows neither Qt nor napari.

The main thread hands in plain values (`Job`) and drops wishes into `Wishes` while the work goes on; the work
yields events, between which it can be stopped.
"""

import math
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_plugin.backend import loading, take_cores
from napari_plugin.boxwork import learn_from, refine_objects, with_faint_background
from napari_plugin.encodertool import told_of
from napari_plugin.events import Event, Note, Preview, Work, in_bytes
from napari_plugin.memorywork import told_prediction, told_training
from napari_plugin.previewing import preview
from wsseg.errors import InputError
from wsseg.guidance import doubt_of
from wsseg.hints import Box, Hints
from wsseg.images import Image, in_colour, read_image
from wsseg.steps import Step

if TYPE_CHECKING:
    from wsseg.boxmasks import Found
    from wsseg.encoder import SavedEncoder
    from wsseg.model import Model
    from wsseg.patches import Sample
    from wsseg.propagate import Meaning
    from wsseg.train import TrainConfig

FIRST = 1.5  # seconds of training before the first preview
SHARE = 3.0  # training takes at least this many times the time of previews
REST = 3.0  # and a preview comes at most every so many seconds, but for one where the user has just moved to
WHOLE = 2.0  # the whole image is previewed if that takes no longer than this; else what is on screen
HAND = 2.0  # seconds after somebody last drew, for which training leaves a core to the window
WARM_STEPS = 0.5  # a share of the usual steps for a model that goes on
WARM_RATE = 0.25  # and of the usual learning rate


@dataclass(frozen=True, eq=False)
class Job:
    """What to learn: snapshots, which nobody changes any more.

    Attributes:
        image: The image; its lazy parts are only read.
        hints: What was marked when the user pressed the button.
        classes: Class id to name, those that are marked.
        name: The image's name, for messages.
        model: A model to go on from, or None.
        steps: Optimiser steps; None = as many as suit the hints.
        objects: What the strokes mean: auto, marked, alike or off (see `wsseg.propagate`). Beside boxes,
            auto is off: strokes correct there.
        found: What was found in boxes before.
        seed: Of the run.
        encoder: A pretrained encoder to start from where there is no model, or None.
    """

    image: Image
    hints: Hints
    classes: Mapping[int, str]
    name: str
    model: "Model | None" = None
    steps: int | None = None
    objects: "Meaning" = "auto"
    found: Mapping[int, "Found"] = field(default_factory=dict)
    seed: int = 0
    encoder: "SavedEncoder | None" = None


@dataclass
class Wishes:
    """What the main thread says to the running work; each change is one atomic operation.

    Attributes:
        focus: The part of the image on screen, predicted first where the image is big.
        touched: When somebody last drew or turned to another slice, by `time.monotonic`.
        hints: The newest hints, at most one entry; older ones fall out.
    """

    focus: tuple[slice, ...] | None = None
    touched: float = -math.inf
    hints: deque[Hints] = field(default_factory=lambda: deque(maxlen=1))


def segment(job: Job, wishes: Wishes) -> Work:
    """Train on all hints, previewing on the way, and predict the whole image at the end.

    Raises:
        InputError: The hints or the image are not fit for training.
    """
    yield from loading()
    from wsseg.fit import default_steps, prepare, read_strokes
    from wsseg.propagate import TOLD, says_all
    from wsseg.train import TrainConfig, usual_rate

    image = coloured(job.model, job.image)
    learnt = yield from learn_from(image, job.hints, job.classes, job.name, job.found)
    yield Step("load", 1, 1)
    config = TrainConfig(steps=job.steps or default_steps([learnt.sample]), seed=job.seed)
    if job.model is not None:
        steps = job.steps or round(WARM_STEPS * config.steps)
        config = replace(config, steps=steps, learning_rate=WARM_RATE * usual_rate(image.ndim, steps))
    config = _asked(config, job, job.hints)
    objects, (implied,) = yield from read_strokes([learnt.sample], job.classes, config)
    encoder = job.encoder if job.model is None else None
    sample = with_faint_background(implied, learnt)
    trainer = prepare([sample], job.classes, config, objects=objects, init=job.model, encoder=encoder)
    if encoder is not None:
        yield from told_of(encoder, trainer.model_config)
    yield from told_training(trainer.model_config, image)
    pace = _Pace()
    if objects and config.objects == "auto":
        yield Note(TOLD[objects])
    if objects == "marked":
        yield _walked(implied, trainer.model)
    for step in trainer.steps():
        yield step
        take_cores("answers" if time.monotonic() - wishes.touched < HAND else "networks")
        pace.trained()
        if wishes.hints:
            try:
                newest = wishes.hints.pop()
                learnt = yield from learn_from(image, newest, job.classes, job.name, learnt.objects.found)
                asked = _asked(config, job, newest)
                objects, (implied,) = yield from read_strokes([learnt.sample], job.classes, asked)
                trainer.set_samples([with_faint_background(implied, learnt)], objects)
                if objects == "marked":
                    yield _walked(implied, trainer.model)
            except InputError as error:
                yield Note(str(error))
        if objects != "marked" and pace.due(wishes.focus) and step.index < step.total:
            model, focus = trainer.model, wishes.focus
            region = pace.region(job.image.shape, model.config.patch, focus)
            if region is not None:
                started = time.monotonic()
                yield from preview(model, learnt.sample, region, "preview")
                pace.previewed(focus, time.monotonic() - started)
    take_cores("networks")
    model = trainer.model
    if objects == "marked" and (job.objects == "marked" or says_all(learnt.sample, objects)):
        yield _walked(implied, model)
    elif learnt.boxed is not None:
        yield from refine_objects(model, learnt)
    else:
        yield from _predict(model, learnt.sample, wishes)
    return model


def _asked(config: "TrainConfig", job: Job, hints: Hints) -> "TrainConfig":
    """The plan with what strokes are taken to mean: beside boxes they correct, unless the user says more."""
    corrects = job.objects == "auto" and hints.boxes
    return replace(config, objects="off" if corrects else job.objects)


def apply_model(model: "Model", image: Image, name: str, wishes: Wishes) -> Work:
    """Predict an image with a model that is there already.

    Raises:
        InputError: The image is constant, not finite, or has other axes or channels than the model.
    """
    yield from loading()
    from wsseg.patches import Sample
    from wsseg.weak import WeakLabels

    check_fits(model, image, name)
    image = coloured(model, image)
    nothing = np.broadcast_to(np.zeros((), np.float32), image.shape)
    statistics = model.config.normalisation.measure(image, name)
    sample = Sample(image, WeakLabels(nothing.astype(np.int64), nothing), statistics, name)
    yield Step("load", 1, 1)
    tile = yield from told_prediction(model.config, image)
    yield from _predict(model, sample, wishes, tile)
    return model


def read_model(folder: Path) -> Work:
    """Read a model folder.

    Raises:
        InputError: It is none.
    """
    yield from loading()
    from wsseg.model import load_model

    return load_model(folder)


def check_fits(model: "Model", image: Image, name: str) -> None:
    """Raise an InputError where image and model differ in axes or channels; grey will do for colour."""
    encoder = model.config.architecture
    grey = model.config.rgb and image.channels == 1
    if encoder.dims != image.ndim or (encoder.channels_in != image.channels and not grey):
        raise InputError(
            f"The model was trained on {encoder.dims}D images with {encoder.channels_in} channels; {name} is "
            f"{image.ndim}D with {image.channels}. Press Forget model, or choose another image."
        )


def coloured(model: "Model | None", image: Image) -> Image:
    """The image with as many channels as the model wants; see `check_fits`."""
    return in_colour(image) if model and model.config.architecture.channels_in > image.channels else image


def save_boxes(
    path: Path,
    boxes: tuple[Box, ...],
    classes: Mapping[int, str],
    image: Image,
    source: Path | None,
    name: str,
) -> Generator[Step, None, None]:
    """Write boxes as COCO.

    Args:
        path, boxes, classes: As of `wsseg.boxfile.save_boxes`.
        image: The image as the layer shows it.
        source: The file of the layer, or None for an image made in memory.
        name: The layer's name.

    Raises:
        InputError: The layer shows a NIfTI file in another order of axes, the file there is no COCO or has
            other classes, or the disk refuses.
    """
    from wsseg.boxfile import save_boxes

    yield Step("save", 0, 1)
    if source is not None:
        stored(image, source, name)
    save_boxes(path, name if source is None else source.name, image.shape, boxes, classes)
    yield Step("save", 1, 1)


def stored(image: Image, source: Path, name: str) -> Image:
    """The image as its file has it, so that the file's geometry comes back on the mask."""
    stored = read_image(source)
    if (stored.shape, stored.channels) == (image.shape, image.channels):
        middle = (slice(None), *[slice(n // 2, n // 2 + 1) for n in image.shape[:-2]])
        if np.allclose(np.asarray(stored.data[middle]), np.asarray(image.data[middle]), equal_nan=True):
            return stored
    if stored.kind in ("nifti", "dicom"):
        raise InputError(
            f"{name}: shows {source.name} in another order of axes or with other values; open the file with "
            "the reader “wsseg”, or the mask would lose its place in the scanner."
        )
    return image


def _walked(sample: "Sample", model: "Model") -> Preview:
    """The mask that strokes imply where they mark every object, there before any training."""
    whole = tuple(slice(0, n) for n in sample.image.shape)
    return Preview(whole, np.array(model.config.class_ids, np.uint8)[sample.labels.target], model)


def _honoured(model: "Model", sample: "Sample") -> Generator[Event, None, None]:
    """The whole image, following edges around the strokes."""
    from wsseg.predict import Predictor

    predictor = Predictor(model)
    steps = predictor.steps(
        sample.image, keep_probabilities=True, statistics=sample.statistics, name=sample.name
    )
    prediction = predictor.honour((yield from steps), sample)
    assert prediction.mask is not None
    assert prediction.probabilities is not None
    whole = tuple(slice(0, n) for n in sample.image.shape)
    yield Preview(whole, prediction.mask, model, in_bytes(doubt_of(prediction.probabilities)))


def _predict(
    model: "Model", sample: "Sample", wishes: Wishes, tile: tuple[int, ...] | None = None
) -> Generator[Event, None, None]:
    """The whole image, each block shown when it is done; what is on screen first where there are several."""
    from wsseg.propagate import VOXELS, scribbled

    if model.config.objects and scribbled(sample) and np.prod(sample.image.shape) <= VOXELS:
        yield from _honoured(model, sample)
        return
    whole = tuple(slice(0, n) for n in sample.image.shape)
    focus = wishes.focus
    if focus is not None and np.prod(sample.image.shape) > 16 * np.prod(model.config.patch):
        yield from preview(model, sample, focus, "preview")
    yield from preview(model, sample, whole, "predict", tile)


class _Pace:
    """When to preview, and how much: training must not starve, and the user should not wait."""

    def __init__(self) -> None:
        self.started = self.last_end = time.monotonic()
        self.last: float | None = None  # seconds the last preview took
        self.focus: tuple[slice, ...] | None = None
        self.steps = 0
        self.step_seconds = 0.0
        self._before = self.started

    def trained(self) -> None:
        """A training step is done."""
        now = time.monotonic()
        self.step_seconds = now - max(self._before, self.last_end)
        self._before, self.steps = now, self.steps + 1

    def previewed(self, focus: tuple[slice, ...] | None, seconds: float) -> None:
        """A preview is done."""
        self.last_end, self.last, self.focus = time.monotonic(), seconds, focus

    def due(self, focus: tuple[slice, ...] | None) -> bool:
        """Whether it is time for a preview."""
        now = time.monotonic()
        if self.last is None:
            return now - self.started >= FIRST and self.steps >= 3
        moved = focus != self.focus
        return now - self.last_end >= max(1.0 if moved else REST, SHARE * self.last)

    def region(
        self, shape: Sequence[int], tile: Sequence[int], focus: tuple[slice, ...] | None
    ) -> tuple[slice, ...] | None:
        """What to preview: the whole image if that is quick, else what is on screen; None if nothing is."""
        tiles = np.prod([max(1, np.ceil((n - t) / (0.75 * t)) + 1) for n, t in zip(shape, tile, strict=True)])
        # a step is forward and backward of a batch: much more than one tile forward
        if tiles * self.step_seconds / 5 <= WHOLE:
            return tuple(slice(0, n) for n in shape)
        return focus
