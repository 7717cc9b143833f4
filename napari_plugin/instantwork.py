"""What a worker does while one draws: features once, then an answer to each stroke. No Qt, no napari."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_plugin.backend import loading, take_cores
from napari_plugin.events import in_bytes
from wsseg.guidance import doubt_of
from wsseg.hints import Hints
from wsseg.images import Image
from wsseg.steps import Step, finish

if TYPE_CHECKING:
    from wsseg.encoder import SavedEncoder
    from wsseg.features import Features, Region
    from wsseg.instant import Focus, Head
    from wsseg.normalise import Statistics
    from wsseg.patches import Sample
    from wsseg.propagate import Meaning, Objects


@dataclass(frozen=True, eq=False)
class Answer:
    """A piece of the mask.

    Attributes:
        region: Where.
        mask: uint8 class ids (*region).
        doubt: As many bytes, see `events.in_bytes`; None = all is said.
        meant: What the mask takes strokes for: `alike` where the head leads, `marked` where the walk does.
        more: What hidden strokes say of the head, see `wsseg.trust.finds_more`.
        ids: uint8 (K,): background and the classes that are marked; where chances are asked for.
        chances: float32 (K, *region): how likely each of these is.
    """

    region: tuple[slice, ...]
    mask: np.ndarray
    doubt: np.ndarray | None = None
    meant: "Objects | None" = None
    more: float | None = None
    ids: np.ndarray | None = None
    chances: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Asked:
    """What an answer was asked for: all that it takes to give it again."""

    looked: "Looked"
    hints: Hints
    objects: "Meaning"


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
    looked: Looked,
    hints: Hints,
    focus: "Focus",
    objects: "Meaning" = "auto",
    before: float | None = None,
    *,
    chances: bool = False,
) -> Generator[Answer | Step, None, None]:
    """Learn from what is painted, and answer: first what is looked at, then the rest of the image.

    A head learns what the strokes look like; walks from them follow the edges of the image and end in the
    head's word as far as that is to be trusted (`wsseg.trust`). Where the head leads it is shown first, piece
    by piece; else a walk is, soon and coarse, then fine. What hidden strokes say of the head costs two walks,
    so at first what they said a stroke ago is taken for so. Where fewer than two classes are painted,
    background among them, there is nothing to tell apart, and the answer is an empty mask.

    Args:
        looked: The image.
        hints: What is marked now.
        focus: What is on screen; may change meanwhile.
        objects: What strokes mean, as the user says: `marked` trusts walks alone, `alike` the head wherever
            it is sure, `off` asks no walk.
        before: `Answer.more` of the answer before.
        chances: Whether pieces tell them.
    """
    import torch

    from wsseg.instant import fit_head
    from wsseg.patches import Sample
    from wsseg.propagate import scribbled
    from wsseg.trust import finds_more
    from wsseg.weak import weak_labels

    take_cores("answers")
    features = looked.features
    labels = weak_labels(hints, spacing=looked.image.spacing)
    classes = sorted(labels.counts())
    if len(classes) < 2:
        yield Answer(_whole(features), np.zeros(features.shape, np.uint8))
        return
    # outputs are background and the classes that are painted: ids may go up to 254
    ids = np.array([0, *(k for k in classes if k)], np.uint8)
    labels, count = replace(labels, target=np.searchsorted(ids, labels.target)), len(ids)
    sample = Sample(looked.image, labels, looked.statistics)
    reply = _Reply(sample, features, fit_head(features, labels, count), ids, focus, chances)
    if objects == "off" or not scribbled(sample):
        yield from reply.pieces(None, None)
        return
    asks = objects == "auto"
    more = before
    if asks and before is None:
        more = yield from finds_more(sample, features, count, torch.device("cpu"))
    word = reply.word(objects, more)
    said = yield from reply.soon(word)
    if asks and before is not None:
        more = yield from finds_more(sample, features, count, torch.device("cpu"))
        led, word = word.leads, reply.word(objects, more)
        if word.leads != led:
            said = yield from reply.soon(word)
    yield from reply.fine(word, said)


@dataclass(frozen=True)
class _Word:
    """How far the head's word is trusted, and what hidden strokes said of it."""

    trusted: float
    more: float | None

    @property
    def leads(self) -> bool:
        """Whether the head's word is shown first."""
        from wsseg.trust import LEADS

        return self.trusted >= LEADS


@dataclass(frozen=True, eq=False)
class _Reply:
    """What an answer is made of: the image with its labels, its features, and the head fitted to them."""

    sample: "Sample"
    features: "Features"
    head: "Head"
    ids: np.ndarray  # of the classes, output by output
    focus: "Focus"
    tells: bool  # chances

    @cached_property
    def sparse(self) -> np.ndarray:
        """The head's word at the voxels of a coarse walk."""
        from wsseg.propagate import COARSE, walked_every

        return finish(self.head.sparse(self.features, walked_every(self.features.shape, COARSE)))

    def word(self, objects: "Meaning", more: float | None) -> _Word:
        """How far the head is trusted."""
        from wsseg.trust import SAID, sureness, trust

        said = SAID.get(objects)
        return _Word(trust(float(sureness(self.sparse).mean()), more) if said is None else said, more)

    def soon(self, word: _Word) -> Generator[Answer | Step, None, np.ndarray | None]:
        """What can be shown at once; returns the head's word (K, *S), where it is known and needed."""
        from wsseg.propagate import COARSE, VOXELS

        if not word.leads:
            yield from self._walked(self.sparse, COARSE, word)
            return None
        small = np.prod(self.features.shape) <= VOXELS
        chances = np.zeros((len(self.ids), *self.features.shape), np.float32) if small else None
        yield from self.pieces(word, chances)
        return chances

    def fine(self, word: _Word, chances: np.ndarray | None) -> Generator[Answer | Step, None, None]:
        """The walk at the full resolution; of a large image where the head leads, its word is the answer."""
        from wsseg.propagate import VOXELS, walked_every

        if chances is None and not word.leads:
            chances = yield from self.head.sparse(self.features, walked_every(self.features.shape, VOXELS))
        if chances is not None:
            yield from self._walked(chances, VOXELS, word)

    def pieces(self, word: _Word | None, into: np.ndarray | None) -> Generator[Answer, None, None]:
        """The head's word, piece by piece, written down too where that is asked for."""
        from wsseg.instant import answer

        for region, part in answer(self.features, self.head, self.sample.labels, self.focus):
            yield self._answer(region, part, word)
            if into is not None:
                into[(slice(None), *region)] = part

    def _walked(self, chances: np.ndarray, voxels: int, word: _Word) -> Generator[Answer | Step, None, None]:
        import torch

        from wsseg.propagate import walk
        from wsseg.trust import pull

        drawn, cpu = pull(chances, word.trusted), torch.device("cpu")
        said = yield from walk(self.sample, len(self.ids), drawn, cpu, chances, voxels=voxels)
        yield self._answer(_whole(self.features), said, word)

    def _answer(self, region: "Region", chances: np.ndarray, word: _Word | None) -> Answer:
        meant: Objects | None = None if word is None else "alike" if word.leads else "marked"
        doubt, more = in_bytes(doubt_of(chances)), None if word is None else word.more
        answer = Answer(region, self.ids[chances.argmax(0)], doubt, meant, more)
        return replace(answer, ids=self.ids, chances=chances) if self.tells else answer


def _whole(features: "Features") -> "Region":
    return tuple(slice(0, n) for n in features.shape)
