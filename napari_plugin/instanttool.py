"""Answers while one draws: what is due, what came of it, and which mask is on show. Knows no Qt.

Each answer is asked for under a number, the generation; a stroke asks anew, and what an older answer still
sends is dropped.
"""

import time
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_plugin.agreement import Agreement
from napari_plugin.encodertool import EncoderTool
from napari_plugin.heldtool import mean_of
from napari_plugin.instantwork import Answer, Asked, Looked, look, respond
from napari_plugin.layers import KEY, on_screen, to_image
from napari_plugin.maskbrush import MaskBrush
from napari_plugin.patching import Windows, around, changed, grown
from napari_plugin.results import find
from napari_plugin.timeline import Action, Change
from napari_plugin.twomasks import MAKERS, Choice, Maker, TwoMasks
from wsseg.errors import InputError
from wsseg.features import memory_needed
from wsseg.hints import Hints
from wsseg.memory import in_words

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer
    from napari.layers import Labels

    from napari_plugin.blocks import Region
    from napari_plugin.events import Preview
    from napari_plugin.marks import Marks
    from wsseg.encoder import SavedEncoder
    from wsseg.instant import Focus
    from wsseg.propagate import Meaning, Objects
    from wsseg.steps import Step

PAUSE = 0.15  # seconds after the last change until an answer begins
PREVIEW = 1 / 3  # of the training, until which the network's mask is taken for worse than the answer
ON_SHOW = {
    None: "On show: the answer to what is drawn.",
    "marked": "On show: the answer to what is drawn: the marked objects.",
    "alike": "On show: the answer to what is drawn: all that looks alike.",
}
LIMIT = 512 * 2**20  # bytes of features up to which it is on by itself


class InstantTool:
    """What the controller knows of answers while one draws.

    Args:
        marks: What is marked.
        mask_of: Gives the layer that shows the mask of an image, and makes it where there is none.
        encoder: Which pretrained encoder is in use; what it sees are further features.

    Attributes:
        on: Whether the user wants answers on this image.
        brush: Makes hints of what is painted on the mask.
        masks: The instant one and the network's.
        agreement: How right they were where something was painted next.
        generation: Of the newest answer asked for.
        share: How much of the features is computed, 0 to 1.
        problem: Why there are no answers, or "".
    """

    def __init__(
        self, marks: "Marks", mask_of: "Callable[[ImageLayer], Labels]", encoder: EncoderTool
    ) -> None:
        self._marks, self._mask_of, self._encoder = marks, mask_of, encoder
        self.on = False
        self.brush = MaskBrush(marks, lambda region: self._touched.append(region))
        self.masks = TwoMasks(self.brush.said)
        self.agreement = Agreement()
        self.generation = 0
        self.share = 0.0
        self.problem = ""
        self._image: ImageLayer | None = None
        self._saved: SavedEncoder | None = None  # that the features are of
        self._needed = 0  # bytes
        self._looked: Looked | None = None
        self._looking = False
        self._numbers: dict[Maker, int] = {}  # of the newest answer and run
        self._meant: Objects | None = None  # by the strokes of the newest answer
        self._more: float | None = None  # what hidden ones among them say of its head
        self._ended = -1  # generation of the newest answer that is finished
        self._given: Hints | None = None  # what the newest answer was asked for
        self._answered: Meaning = "auto"  # and what was said that it means
        self._read = 0.0  # when the marks were last looked at
        self._windows = Windows()
        self._touched: list[Region] = []  # where marks have changed, or may be about to
        self._focus: Focus | None = None
        self._screen: tuple[slice, ...] | None = None
        marks.timeline.recorded.append(self._note)
        marks.timeline.going.append(self.settle)
        marks.timeline.gone.append(self._go_back)

    # what is due

    def follow(self) -> None:
        """Notice that another image or encoder is at work; it is on by itself where features are small."""
        image, saved = self._marks.image, self._encoder.saved
        if image is not None and (mask := self.brush.mask()) is not None:
            self.masks.adopt(image, mask)
        for layer in self._marks.layers:
            if layer.metadata.get(KEY, {}).get("role") in ("mask", "locked"):
                self.brush.follow(layer)
        self.settle()
        if self._windows.is_due():
            self._correct()
        if image is not None and image is self._image and self._marks.held.is_new(image):
            self._judge(image)
        if image is self._image and saved is self._saved:
            return
        self.drop()
        self._looked, self._given, self._focus, self._read, self.problem = None, None, None, 0.0, ""
        self._windows.clear()
        self._saved, self.share = saved, 0.0
        self._needed = self._memory(image)
        if image is not self._image:
            self._image, self._screen, self.agreement = image, None, Agreement()
            self._meant, self._more = None, None
            self._marks.held.forget()
            self.on = image is not None and self._needed <= LIMIT

    def settle(self) -> None:
        """Show what was marked since this was last called, as it counts."""
        self.brush.settle()
        touched, self._touched = self._touched, []
        for number, region in enumerate(touched, 1):
            self._draw(region, seen=number == len(touched))

    def _draw(self, region: "Region", *, seen: bool = True) -> None:
        if self._marks.image is not None:
            self.masks.draw(self._marks.image, region, seen=seen)

    def _note(self, change: Change) -> None:
        """Marks change: the mask has it at once, and again when napari has surely written it."""
        if (region := self._place_of(change)) is not None:
            self._draw(region, seen=False)
            self._touched.append(region)

    def _go_back(self, action: Action) -> None:
        """Marks were put back, or done again: the mask follows."""
        image, hints = self._marks.image, self._marks.hints
        for change in action.changes:
            if image is not None and (region := self._place_of(change)) is not None:
                self._draw(region)
                if hints is not None:
                    window = grown(region, hints.data.shape)
                    self.masks.follow(window, hints.data, self._marks.lock.map_of(image))

    def _place_of(self, change: Change) -> "Region | None":
        """Where a change writes into the hints at work, or what is accepted; None = nowhere."""
        image, layer = self._marks.image, change.layer
        if image is None or layer not in (self._marks.hints, self._marks.lock.layer_of(image)):
            return None
        return change.region(to_image(image).shape)

    def turn(self, on: bool) -> None:
        """The user wants answers, or none."""
        self.on, self.problem = on, ""
        self._given, self._read = None, 0.0
        if not on:
            self.drop()

    def due(self) -> Generator[Any, None, Any] | None:
        """Work for a worker, or None: features once an image, then an answer to what is new."""
        marks = self._marks
        if not self.on or self._image is None or (marks.hints is None and marks.clicks is None):
            return None
        if self._looked is None:
            return None if self._looking else self._look(self._image)
        if marks.touched <= self._read or time.monotonic() - marks.touched < PAUSE:
            return None
        self._read = time.monotonic()
        try:
            hints = marks.peek_hints()
        except InputError as error:
            self.problem = str(error)
            return None
        if self._given is None and not hints.name_voxels():
            return None
        objects = marks.settings.objects
        if self._given is not None and hints.same(self._given) and objects == self._answered:
            return None
        from wsseg.instant import Focus

        self._score(hints)
        self._given, self._answered, self.problem = hints, objects, ""
        self.generation += 1
        self._focus = Focus(self._screen or tuple(slice(0, n) for n in self._looked.image.shape))
        return respond(self._looked, hints, self._focus, objects, self._more)

    def _score(self, hints: Hints) -> None:
        """How right the mask on show was in what was painted since the last answer."""
        before, shown = None if self._given is None else self._given.scribbles, self.masks.on()
        seen = None if self._given is None or shown is None else self.masks.mask(self._image, shown)
        # one pass over the image, or the window would feel it: the rest is done for what has changed
        where = changed(before, hints.scribbles)
        self._windows.ask(around(where, hints.shape))
        where = np.setdiff1d(where, self.brush.corrected())
        self.agreement.note(where, before, hints.scribbles, seen, self._marks.lock.map_of(self._image))

    def look_at(self, point: Sequence[float], displayed: Sequence[int]) -> None:
        """Tell what is on screen; arguments as `layers.on_screen`."""
        if self._image is None or self._image not in self._marks.layers:
            return
        whole = tuple(slice(0, n) for n in to_image(self._image).shape)
        self._screen = on_screen(self._image, point, displayed) if len(displayed) == 2 else whole
        if self._focus is not None:
            self._focus.region = self._screen

    def asked(self) -> Asked | None:
        """What the answer on show was asked for; None where another mask is on show, or none.

        Raises:
            InputError: It can't be given again: answers are off, or it is not finished.
        """
        mask = find(self._marks.layers, self._marks.image, "mask")
        if mask is None or mask.metadata[KEY].get("maker") != "instant":
            return None
        if not self.on:
            raise InputError(
                "The mask on show is the answer's: for its probabilities turn Answer while drawing on again."
            )
        ready = self._ended == self.generation and self._image is self._marks.image
        if self._looked is None or self._given is None or not ready:
            raise InputError("The answer on show is not finished: export again in a moment, or draw first.")
        return Asked(self._looked, self._given, self._answered)

    # what came of it

    def take(self, event: Any, generation: int) -> None:
        """Take what a worker sent, on the main thread; what an older answer sends is dropped."""
        if generation != self.generation or self._image is None or self._image not in self._marks.layers:
            return
        if not isinstance(event, Answer):
            self.share = event.index / event.total if event.stage == "features" else 0.0
            return
        self._meant, self._more = event.meant, event.more
        self._numbers["instant"] = generation
        seen = self._screen is None or all(
            a.start < b.stop and b.start < a.stop for a, b in zip(event.region, self._screen, strict=True)
        )
        self.masks.put("instant", self._image, self._layer, event.region, event.mask, event.doubt, seen=seen)

    def keep(self, result: "Looked | None", generation: int) -> None:
        """Keep what a worker returned that looked at the image; an answer returns nothing."""
        if generation == self.generation and result is not None:
            self._looked = result

    def fail(self, sentence: str, generation: int) -> None:
        """It did not work: no answers on this image until the user asks again."""
        if generation == self.generation:
            self.problem, self.on = sentence, False

    def end(self, generation: int) -> None:
        """The worker is done, however it ended."""
        if generation == self.generation:
            self._looking = False
            answered = (
                self._numbers.get("instant") == generation
            )  # not where it only looked, or failed at once
            self._ended = generation if answered else self._ended
            if answered and self._image is not None and self._image in self._marks.layers:
                self._windows.answered()
                self._correct()
                self._judge(self._image)

    def learns(self, hints: Hints) -> None:
        """The network was given these hints: from now on its mask follows what is painted beside them."""
        self.masks.learns(hints.scribbles)
        self._windows.clear()

    def _correct(self) -> None:
        """Let the network's mask follow what was painted since it was given its hints."""
        behind = self._windows.take()
        painted = None if self._given is None else self._given.scribbles
        if painted is not None:
            for window in behind:
                self.masks.follow(window, painted, self._marks.lock.map_of(self._image))

    def drop(self) -> None:
        """Take no more from what is under way."""
        self.generation += 1
        self._looking = False

    # which mask is on show

    def choose(self, choice: Choice) -> None:
        """Show this mask from now on."""
        self.masks.choice = choice
        if self._marks.image is not None:
            self.masks.show(self._marks.image, self._layer)
            self._judge(self._marks.image)

    def show_network(
        self, image: "ImageLayer", event: "Preview", trained: "Step | None", run: int = 0
    ) -> None:
        """The network has predicted a piece; where strokes mark every object, what they reach.

        Args:
            image: Of which image.
            event: The piece.
            trained: How far its training is.
            run: Tells one run from another.
        """
        self.masks.put("network", image, lambda: self._mask_of(image), event.region, event.mask, event.doubt)
        self._windows.said(event.region)
        half_learnt = trained is not None and trained.index >= PREVIEW * trained.total
        self._numbers["network"] = run
        if half_learnt or event.model.config.objects == "marked":
            self.masks.settle(image)
            self._judge(image)
        else:
            self._marks.held.look_again()  # with the next pulse: there may be many pieces

    def put_back(self, image: "ImageLayer", mask: "np.ndarray | None", *, settled: bool) -> None:
        """Put back the network's mask as it was at another time; arguments as `TwoMasks.put_back`."""
        self.masks.put_back(image, lambda: self._mask_of(image), mask, settled=settled)
        self._judge(image)

    def end_of_run(self, image: "ImageLayer | None", run: int = 0) -> None:
        """The network's mask of this image is more than a rough preview; `run` tells one run from another."""
        self.masks.settle(image)
        if image is not None:
            self._numbers["network"] = run
            if image is self._image:
                self._correct()
            self._judge(image)

    def _judge(self, image: "ImageLayer") -> None:
        """Let the mask lead that is better on held-out slices, and note how good the one on show is there."""
        held = self._marks.held
        masks = ((maker, self.masks.mask(image, maker)) for maker in MAKERS)
        found = {maker: held.dice(image, mask) for maker, mask in masks if mask is not None}
        if len(found) == 2:
            self.masks.leader = max(MAKERS, key=lambda maker: mean_of(found[maker]))
        # a layer that the user has deleted comes back with the next mask, not because something is judged
        if found and self.masks.is_behind() and find(self._marks.layers, image, "mask") is not None:
            self.masks.show(image, lambda: self._mask_of(image))
        if (shown := self.masks.on()) is None or shown not in found:
            held.note(image, None, ())
        else:
            held.note(image, found[shown], (shown, self._numbers.get(shown)))

    def working(self) -> bool:
        """Whether there is an image to answer on."""
        return self._image is not None

    def two(self) -> bool:
        """Whether there are two masks to choose from."""
        return all(self.masks.has(maker, self._image) for maker in ("instant", "network"))

    def words(self) -> str:
        """What is offered, and what it costs."""
        cost = f" ({in_words(self._needed)})" if self._needed >= 1e6 else ""
        return f"Answer while drawing{cost}"

    def told(self) -> str:
        """What is going on, in a line."""
        if self.problem:
            return self.problem
        if self._looking:
            return f"Getting ready to answer: {100 * self.share:.0f} %"
        shown = self.masks.on() if self.masks.has("instant", self._image) else None
        if shown == "instant":
            return ON_SHOW[self._meant]
        if shown == "network":
            return "On show: the network’s mask; strokes since then change it around them."
        return ""

    def _look(self, image: "ImageLayer") -> Generator[Any, None, Any] | None:
        try:
            self._encoder.check(to_image(image), image.name)
        except InputError as error:
            self.problem, self.on = str(error), False
            return None
        self.generation += 1
        self._looking, self.share = True, 0.0
        return look(to_image(image), image.name, self._saved)

    def _memory(self, image: "ImageLayer | None") -> int:
        """Bytes that the features of an image take."""
        if image is None:
            return 0
        whole = to_image(image)
        if self._saved is None or self._saved.encoder.config.dims != whole.ndim:
            return memory_needed(whole)
        from wsseg.encoderfeatures import encoder_memory  # torch is there where an encoder is

        return memory_needed(whole) + encoder_memory(whole, self._saved.encoder.config)

    def _layer(self) -> "Labels":
        assert self._image is not None
        return self._mask_of(self._image)
