"""What a worker does while one draws: features once, then an answer to each stroke. No Qt, no napari."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_plugin.backend import loading, take_cores
from napari_plugin.events import in_bytes
from wsseg.guidance import doubt_of
from wsseg.hints import Hints
from wsseg.images import Image
from wsseg.steps import Step

if TYPE_CHECKING:
    from wsseg.encoder import SavedEncoder
    from wsseg.features import Features, Region
    from wsseg.instant import Focus
    from wsseg.normalise import Statistics
    from wsseg.propagate import Objects


@dataclass(frozen=True, eq=False)
class Answer:
    """A piece of the mask.

    Attributes:
        region: Where.
        mask: uint8 class ids (*region).
        doubt: As many bytes, see `events.in_bytes`; None = all is said.
        meant: What strokes mean, where that is known by now.
    """

    region: tuple[slice, ...]
    mask: np.ndarray
    doubt: np.ndarray | None = None
    meant: "Objects | None" = None


@dataclass(frozen=True, eq=False)
class Looked:
    """An image that was looked at: all that an answer needs before a stroke is drawn."""

    image: Image
    statistics: "Statistics"
    features: "Features"


def look(image: Image, name: str, encoder: "SavedEncoder | None" = None) -> Generator[Step, None, Looked]:
    """Compute the features of an image, and what a pretrained encoder sees in it.

    Raises:
        InputError: The image is constant or not finite, or of other axes or channels than the encoder's.
    """
    yield from loading("answers" if encoder is None else "networks")
    from wsseg.features import feature_steps
    from wsseg.normalise import Normalisation

    statistics = Normalisation().measure(image, name)
    features = yield from feature_steps(image, statistics)
    if encoder is not None:
        from wsseg.device import choose_device
        from wsseg.encoderfeatures import encoder_steps
        from wsseg.features import Features
        from wsseg.fit import suited

        own = suited(encoder, image.ndim, image.channels)
        levels = yield from encoder_steps(image, statistics, own, choose_device("auto"))
        features = Features(features.shape, features.levels + levels)
    return Looked(image, statistics, features)


def respond(
    looked: Looked, hints: Hints, focus: "Focus", before: "Objects | None" = None
) -> Generator[Answer | Step, None, None]:
    """Learn from what is painted, and answer: first what is looked at, then the rest of the image.

    Where strokes mark every object there is, the answer is what walks from them reach (`wsseg.propagate`),
    soon and coarse, then fine. Else the head's word comes first, piece by piece, and around the strokes it
    then follows the edges of the image. What the strokes meant a stroke ago is taken for so until something
    is shown: to find out costs a walk. Where fewer than two classes are painted, background among them,
    there is nothing to tell apart, and the answer is an empty mask.

    Args:
        looked: The image.
        hints: What is marked now.
        focus: What is on screen; may change meanwhile.
        before: What the strokes of the answer before meant.
    """
    import torch

    from wsseg.instant import PULL, answer, fit_head
    from wsseg.patches import Sample
    from wsseg.propagate import COARSE, VOXELS, scribbled, walk, what_is_meant
    from wsseg.weak import weak_labels

    take_cores("answers")
    features, cpu = looked.features, torch.device("cpu")
    whole = tuple(slice(0, n) for n in features.shape)
    labels = weak_labels(hints, spacing=looked.image.spacing)
    classes = sorted(labels.counts())
    if len(classes) < 2:
        yield Answer(whole, np.zeros(features.shape, np.uint8))
        return
    count = classes[-1] + 1  # a class is its own output
    sample = Sample(looked.image, labels, looked.statistics)
    walked, small = scribbled(sample), labels.target.size <= VOXELS
    chances = np.zeros((count, *features.shape), np.float32) if walked and small else None

    def soon(meant: "Objects | None") -> Generator[Answer | Step, None, None]:
        if meant == "marked":
            yield _answer(whole, (yield from walk(sample, count, 0.0, cpu, voxels=COARSE)), meant)
            return
        head = fit_head(features, labels, count)
        for region, part in answer(features, head, labels, focus):
            yield _answer(region, part, meant)
            if chances is not None:
                chances[(slice(None), *region)] = part

    def find_out() -> Generator[Step, None, "Objects | None"]:
        return (yield from what_is_meant([sample], count, seed=0, device=cpu))

    meant = None if not walked else before or (yield from find_out())
    yield from soon(meant)
    if walked and before is not None and (now := (yield from find_out())) != meant:
        meant = now
        yield from soon(meant)
    if meant == "marked":
        yield _answer(whole, (yield from walk(sample, count, 0.0, cpu)), meant)
    elif chances is not None:
        yield _answer(whole, (yield from walk(sample, count, PULL, cpu, prior=chances)), meant)


def _answer(region: "Region", chances: np.ndarray, meant: "Objects | None" = None) -> Answer:
    return Answer(region, chances.argmax(0).astype(np.uint8), in_bytes(doubt_of(chances)), meant)
