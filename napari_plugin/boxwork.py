"""What the worker does with boxes: masks at once, labels to train on, and the network's word in the end.

Knows neither Qt nor napari. Docs/napari.md and docs/boxes.md tell how; the parts are in `wsseg.boxmasks`.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_plugin.backend import loading
from napari_plugin.events import Event, Objects, Preview, Work, in_bytes
from wsseg.guidance import doubt_of
from wsseg.hints import Hints
from wsseg.images import Image
from wsseg.steps import Step

if TYPE_CHECKING:
    from wsseg.boximages import BoxImage
    from wsseg.boxmasks import Found
    from wsseg.model import Model
    from wsseg.patches import Sample


FAINT = 0.05  # weight of background that nobody spoke of; see with_faint_background


@dataclass(frozen=True, eq=False)
class Learnt:
    """What the hints of an image say, ready to train on.

    Attributes:
        sample: The image with labels.
        boxed: The image with its boxes, None where there are none.
        objects: What was found in them.
    """

    sample: "Sample"
    boxed: "BoxImage | None" = None
    objects: Objects = field(default_factory=lambda: Objects((), {}))


def find_objects(image: Image, hints: Hints, name: str, found: Mapping[int, "Found"]) -> Work:
    """The masks of all boxes of an image, from the image alone.

    Args:
        image: The image.
        hints: Its boxes, and what is painted.
        name: Of the image, for messages.
        found: What was found before; boxes that nothing has changed for are not done again.

    Raises:
        InputError: The image is constant or not finite.
    """
    yield from loading()
    yield from _found(_open(image, hints, name), found)
    return None


def learn_from(
    image: Image, hints: Hints, classes: Mapping[int, str], name: str, found: Mapping[int, "Found"]
) -> Generator[Event, None, Learnt]:
    """Make an image and its hints ready for training; boxes are turned into masks first.

    Where boxes are, the more certain hint wins: paint and clicks, then boxes.

    Raises:
        InputError: See `wsseg.fit.make_sample`.
    """
    from wsseg.fit import make_sample
    from wsseg.normalise import Normalisation

    if not hints.boxes:
        return Learnt(make_sample(image, hints, classes, Normalisation(), name))
    hints.check(classes, name)
    boxed = _open(image, hints, name)
    objects = yield from _found(boxed, found)
    return Learnt(boxed.sample(objects.segments, _outputs(classes)), boxed, objects)


def with_faint_background(sample: "Sample", learnt: Learnt) -> "Sample":
    """Where boxes are some of many, what nobody spoke of is background, very faintly.

    Else a network never sees what is far from all boxes, and fills it. Objects without a box lie there too,
    but what looks like an object counts far more where it has a box.
    """
    from wsseg.weak import WeakLabels

    labels = sample.labels
    if learnt.boxed is None or labels.known.all():
        return sample
    return replace(
        sample,
        labels=WeakLabels(
            np.where(labels.known, labels.target, 0),
            np.where(labels.known, labels.weight, np.float32(FAINT)),
        ),
    )


def refine_objects(model: "Model", learnt: Learnt) -> Generator[Event, None, None]:
    """Predict the image, take the network's word for the masks of the boxes, and show both as one mask.

    The mask is the network's; what is painted and the objects in boxes are kept as they are, and where all
    objects have a box there is nothing outside of the boxes.
    """
    from wsseg.boxmasks import refine_masks, spoken, to_segments
    from wsseg.predict import Predictor

    sample, boxed = learnt.sample, learnt.boxed
    assert boxed is not None
    predictor = Predictor(model)
    prediction = yield from predictor.steps(
        sample.image, keep_probabilities=True, statistics=sample.statistics, name=sample.name
    )
    assert prediction.probabilities is not None
    said = spoken(boxed.hints, boxed.image.spacing)
    ids = model.config.class_ids
    found = refine_masks(boxed.view, said, learnt.objects.found, prediction.probabilities, ids)
    segments = tuple(to_segments(boxed.boxes, found, said))
    yield Objects(segments, found)
    if model.config.objects == "alike":
        prediction = predictor.honour(prediction, sample)
    assert prediction.mask is not None
    labels = boxed.sample(segments, _outputs(model.config.classes)).labels
    certain = labels.known
    if not boxed.hints.all_boxed:  # what is beside an object in its box may be one without a box
        certain = (
            certain & (labels.target > 0) if said is None else certain & ((labels.target > 0) | (said > 0))
        )
    mask = np.where(certain, np.array(ids, np.uint8)[labels.target], prediction.mask)
    assert prediction.probabilities is not None
    doubt = in_bytes(np.where(certain, 0, doubt_of(prediction.probabilities)))
    yield Preview(tuple(slice(0, n) for n in sample.image.shape), mask, model, doubt)


def _open(image: Image, hints: Hints, name: str) -> "BoxImage":
    from wsseg.boximages import BoxImage
    from wsseg.normalise import Normalisation

    return BoxImage(name, image, Normalisation().measure(image, name), hints, ())


def _found(boxed: "BoxImage", before: Mapping[int, "Found"]) -> Generator[Event, None, Objects]:
    """Masks of the boxes, shown as they come."""
    from wsseg.boxmasks import find_masks, spoken, to_segments

    said = spoken(boxed.hints, boxed.image.spacing)
    objects, total = Objects((), {}), 0
    for found, left in find_masks(boxed.view, said, before):
        total = max(total, left)
        objects = Objects(tuple(to_segments(boxed.boxes, found, said)), found)
        yield objects
        yield Step("boxes", total - left, total)
    return objects


def _outputs(classes: Mapping[int, str]) -> dict[int, int]:
    return {k: output for output, k in enumerate(sorted(classes), 1)}
