"""What a worker does while one draws: features once, then an answer to each stroke. No Qt, no napari."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_plugin.backend import loading
from napari_plugin.events import in_bytes
from wsseg.hints import Hints
from wsseg.images import Image
from wsseg.steps import Step

if TYPE_CHECKING:
    from wsseg.features import Features
    from wsseg.instant import Focus


@dataclass(frozen=True, eq=False)
class Answer:
    """A piece of the mask: uint8 class ids (*region), and as many bytes of doubt, see `events.in_bytes`."""

    region: tuple[slice, ...]
    mask: np.ndarray
    doubt: np.ndarray | None = None


def look(image: Image, name: str) -> "Generator[Step, None, Features]":
    """Compute the features of an image.

    Raises:
        InputError: The image is constant or not finite.
    """
    yield from loading()
    from wsseg.features import feature_steps
    from wsseg.normalise import Normalisation

    return (yield from feature_steps(image, Normalisation().measure(image, name)))


def respond(
    features: "Features", hints: Hints, spacing: tuple[float, ...], focus: "Focus"
) -> Generator[Answer, None, None]:
    """Learn from what is painted, and answer: first what is looked at, then the rest of the image.

    Where fewer than two classes are painted, background among them, there is nothing to tell apart, and the
    answer is an empty mask.

    Args:
        features: Of the image.
        hints: What is marked now.
        spacing: Size of a voxel per axis.
        focus: What is on screen; may change meanwhile.
    """
    from wsseg.instant import answer, fit_head
    from wsseg.weak import weak_labels

    labels = weak_labels(hints, spacing=spacing)
    classes = sorted(labels.counts())
    if len(classes) < 2:
        yield Answer(tuple(slice(0, n) for n in features.shape), np.zeros(features.shape, np.uint8))
        return
    head = fit_head(features, labels, classes[-1] + 1)  # a class is its own output
    for region, mask, doubt in answer(features, head, labels, focus):
        yield Answer(region, mask, in_bytes(doubt))
