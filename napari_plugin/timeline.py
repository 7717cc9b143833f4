"""One undo for everything: in which order things changed, and what was there before each change. Knows no Qt.

Whoever changes something hands in a `Change`: what was there before, and how to exchange it with what is
there now. Undo and redo are the same exchange. Strokes, clicks, boxes, tags, what is accepted, classes, masks
and settings all stand in one row, so that Ctrl+Z takes back whatever came last.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wsseg.errors import InputError

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Layer

STEPS = 100
BYTES = 128 * 2**20  # of all that is kept for undo and redo; beyond it the oldest steps go


@dataclass(eq=False)
class Change:
    """One change of one part, which can be taken back.

    Attributes:
        words: What was done, as the end of "Undo: …".
        part: What it changed: "strokes", "clicks", "boxes", "tags", "accepted", "classes", "mask" or
            "settings".
        kept: What was there before; once taken back, what was there after.
        exchange: Puts what is kept in its place and gives back what was there.
        layer: The layer that it changed; without that layer it can't be taken back.
        place: The first and last voxel that changed, in the layer's data coordinates; None = no one place.
        weigh: Tells the bytes of what is kept; they may change while it is packed.
    """

    words: str
    part: str
    kept: Any
    exchange: Callable[[Any], Any]
    layer: "Layer | None" = None
    place: tuple[Sequence[float], Sequence[float]] | None = None
    weigh: Callable[[Any], int] = lambda kept: 1000

    @property
    def size(self) -> int:
        """Bytes of what is kept."""
        return self.weigh(self.kept)

    def region(self, shape: tuple[int, ...]) -> tuple[slice, ...] | None:
        """Which part of its layer has changed; None where that is no map of this shape, or no one place."""
        if self.layer is None or self.place is None or self.layer.data.shape != shape:
            return None
        return tuple(slice(int(a), int(b) + 1) for a, b in zip(*self.place, strict=True))


@dataclass(eq=False)
class Action:
    """What the user did: one change, or several that go together.

    Attributes:
        words: As `Change.words`.
        image: Name of the image that was at work, or None.
        changes: In the order in which they are exchanged next.
    """

    words: str
    image: str | None
    changes: list[Change] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes that it keeps."""
        return sum(change.size for change in self.changes)


class Timeline:
    """All actions in their order; those of an image can be taken back while it is at work.

    Args:
        layers: The viewer's.
        at_work: Gives the name (`layers.identity`) of the image at work, or None.
        changed: Called after each undo and redo.

    Attributes:
        recorded: Called with each new change; what it changes may be written a moment later.
        going: Called before each undo and redo.
        gone: Called after each, with the action.
    """

    def __init__(
        self, layers: "LayerList", at_work: Callable[[], str | None], changed: Callable[[], None]
    ) -> None:
        self.layers, self._at_work, self._changed = layers, at_work, changed
        self.recorded: list[Callable[[Change], None]] = []
        self.going: list[Callable[[], None]] = []
        self.gone: list[Callable[[Action], None]] = []
        self._past: list[Action] = []
        self._future: list[Action] = []  # the one to be done again next stands last
        self._open: Action | None = None
        self._exchanging = False

    def record(self, change: Change, *, goes_on: bool = False) -> None:
        """Something has changed; what was undone on the same image can't be done again after that.

        Args:
            change: What.
            goes_on: Whether it only goes on where the newest action is one of the same words, as while an
                arrow is held down: one undo takes back all of it.
        """
        if self._exchanging:
            return
        image = self._at_work()
        last = next((one for one in reversed(self._past) if one.image == image), None)
        if goes_on and last is not None and [one.words for one in last.changes] == [change.words]:
            self._future = [one for one in self._future if one.image != image]
            return
        if self._open is not None:
            self._open.changes.insert(0, change)
        else:
            self._append(Action(change.words, self._at_work(), [change]))
        for call in self.recorded:
            call(change)

    @contextmanager
    def as_one(self, words: str) -> Iterator[None]:
        """All that is recorded meanwhile is one action; within another one it is a part of that."""
        if self._open is not None:
            yield
            return
        self._open = Action(words, self._at_work())
        try:
            yield
        finally:
            action, self._open = self._open, None
            if action.changes:
                self._append(action)

    def withdraw(self, change: Change) -> None:
        """What was recorded did not come to pass."""
        for action in self._past:
            action.changes = [one for one in action.changes if one is not change]
        self._past = [action for action in self._past if action.changes]

    def undo(self, part: str | None = None) -> Action:
        """Take back the newest action on this image, or the newest of one part on any image.

        Raises:
            InputError: There is none, or it can't be taken back now.
        """
        return self._go(self._past, self._future, part, "There is nothing to undo.")

    def redo(self) -> Action:
        """Do again what was taken back last on this image.

        Raises:
            InputError: There is nothing, or it can't be done now.
        """
        return self._go(self._future, self._past, None, "There is nothing to redo.")

    def words(self) -> tuple[str, str]:
        """What undo and redo would do next, each "" where there is nothing."""
        past, future = self._newest(self._past), self._newest(self._future)
        return "" if past is None else past.words, "" if future is None else future.words

    def size(self) -> int:
        """Bytes that all actions keep."""
        return sum(action.size for action in (*self._past, *self._future))

    def replace(self, image: str | None, past: Sequence[Action], future: Sequence[Action]) -> None:
        """Forget what was done on an image; undo takes back these actions in its place.

        Args:
            image: As `Action.image`.
            past: In their order.
            future: Taken back already; the one to be done again next stands last.
        """
        self._past = [*(one for one in self._past if one.image != image), *past]
        self._future = [*(one for one in self._future if one.image != image), *future]
        self._trim()

    def _append(self, action: Action) -> None:
        self._past.append(action)
        self._future = [one for one in self._future if one.image != action.image]
        self._trim()

    def _go(self, source: list[Action], target: list[Action], part: str | None, nothing: str) -> Action:
        for settle in self.going:
            settle()
        action = self._newest(source, part)
        if action is None:
            raise InputError(nothing)
        self._exchanging = True
        try:
            for change in action.changes:
                change.kept = change.exchange(change.kept)
        finally:
            self._exchanging = False
        action.changes.reverse()
        source.remove(action)
        target.append(action)
        self._trim()
        self._changed()
        for call in self.gone:
            call(action)
        return action

    def _newest(self, actions: list[Action], part: str | None = None) -> Action | None:
        """The one whose turn it is; those of layers that are gone are forgotten."""
        layers, image = {None, *self.layers}, self._at_work()
        actions[:] = [one for one in actions if all(change.layer in layers for change in one.changes)]
        for action in reversed(actions):
            if action.image == image if part is None else action.changes[0].part == part:
                return action
        return None

    def _trim(self) -> None:
        """Let go of the oldest actions, or of those that would be done again last."""
        total = self.size()
        while len(self._past) > STEPS or (total > BYTES and self._past):
            total -= self._past.pop(0).size
        while total > BYTES and self._future:
            total -= self._future.pop(0).size
