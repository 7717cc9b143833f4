"""The last steps of a session, found in its journal: what undo takes back after *Restore*. Knows no napari.

A journal tells how things were after each change, and a change that was taken back is one more change. So a
step that is the exact reverse of the one before it counts as that one taken back, and can be done again.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_plugin.blocks import Region, packed
from wsseg.drawing import Drawing
from wsseg.journal import Entry
from wsseg.replay import replay

# what a drawing has of each kind of change; a mask is found anew from the rest
VALUES = {
    "clicks": ("clicks",),
    "boxes": ("boxes", "all_boxed"),
    "tags": ("tags",),
    "classes": ("classes", "colours"),
    "settings": ("settings",),
}
MARKS = ("hints", "locked", "held")  # maps


@dataclass(frozen=True)
class Part:
    """One kind of change.

    Attributes:
        kind: As `Entry.kind`.
        before, after: What was there, and what was there then: the block `where` of a map, as `packed` makes
            it of uint8, or the values that a drawing has of the kind, in the order of `VALUES`.
        where: Of a map.
    """

    kind: str
    before: Any
    after: Any
    where: Region | None = None

    def reversed(self) -> "Part":
        """The change that takes this one back."""
        return replace(self, before=self.after, after=self.before)


Step = tuple[Part, ...]


class Steps:
    """Puts entries together to steps, while a journal is read.

    Args:
        count: How many are kept; the oldest go.

    Attributes:
        past: The steps, in their order.
        future: Those that were taken back; the one to be done again next stands last.
    """

    def __init__(self, count: int) -> None:
        self.past: deque[Step] = deque(maxlen=count)
        self.future: list[Step] = []
        self._parts: list[Part] = []
        self._time: float | None = None

    def add(self, entry: Entry, before: Drawing) -> None:
        """Take one entry; those of one moment are one step.

        Args:
            entry: The next one.
            before: The drawing, without it.
        """
        if entry.time != self._time:
            self.end()
        self._time = entry.time
        if entry.kind in MARKS:
            self._parts.append(_of_map(entry, before))
        elif entry.kind in VALUES:
            after = replace(before)  # shares the maps, of which this entry changes none
            after.apply(entry)
            old, new = (tuple(getattr(one, name) for name in VALUES[entry.kind]) for one in (before, after))
            self._parts.append(Part(entry.kind, old, new))

    def end(self) -> None:
        """What comes next is another step."""
        step, self._parts = tuple(self._parts), []
        if not step:
            return
        if self.past and step == _reversed(self.past[-1]):
            self.future.append(self.past.pop())
        elif self.future and step == self.future[-1]:
            self.past.append(self.future.pop())
        else:
            self.past.append(step)
            self.future.clear()


def recall(folder: Path, count: int) -> tuple[Drawing, list[Step], list[Step]]:
    """What is marked in the end of a session, its last steps, and those of them that were taken back.

    Args:
        folder: Of the session.
        count: Of steps; earlier ones are left out.

    Raises:
        InputError: There is none, or it is damaged.
    """
    steps = Steps(count)
    drawing = replay(folder, watch=steps.add).drawing
    steps.end()
    return drawing, list(steps.past), steps.future


def _of_map(entry: Entry, before: Drawing) -> Part:
    assert entry.block is not None
    own = getattr(before, entry.kind)
    old = np.zeros(entry.block.shape, np.uint8) if own is None else own[entry.place]
    return Part(entry.kind, packed(old), packed(entry.block), entry.place)


def _reversed(step: Sequence[Part]) -> Step:
    return tuple(part.reversed() for part in step)
