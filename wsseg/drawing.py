"""What is marked on an image, and how it changes: the state that a journal's entries build up."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wsseg.errors import InputError
from wsseg.hints import Box, Click, Hints, Tag, leave_out, with_locked
from wsseg.journal import Entry
from wsseg.patches import slabs

MAPS = ("hints", "mask", "locked", "held")  # kinds of entries with a block
SLAB = 2**22  # voxels compared at once


@dataclass(eq=False)
class Drawing:
    """All that a person marked on one image, and what was found.

    Attributes:
        shape: The image's spatial shape S.
        hints, mask: uint8 (*S), or None where there is none yet.
        locked: Hint map (*S) of what was accepted of the mask, or None.
        held: Hint map (*S) of what is held out of training, or None.
        clicks, boxes, tags: As in `Hints`; tags None = not tagged.
        all_boxed: Whether every object has a box.
        classes: Class id to name.
        colours: Class id to "#RRGGBB".
        settings: What was said of the training, names and JSON values; empty = nothing.
    """

    shape: tuple[int, ...]
    hints: np.ndarray | None = None
    mask: np.ndarray | None = None
    locked: np.ndarray | None = None
    held: np.ndarray | None = None
    clicks: tuple[Click, ...] = ()
    boxes: tuple[Box, ...] = ()
    tags: frozenset[Tag] | None = None
    all_boxed: bool = False
    classes: Mapping[int, str] = field(default_factory=dict)
    colours: Mapping[int, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def is_empty(self) -> bool:
        """Whether nothing is marked."""
        return self.to_hints().is_empty() and (self.held is None or not self.held.any())

    def to_hints(self) -> Hints:
        """The marks as hints for training."""
        hints = Hints(
            self.shape,
            with_locked(self.hints, self.locked),
            clicks=self.clicks,
            boxes=self.boxes,
            tags=self.tags,
            all_boxed=self.all_boxed,
        )
        return leave_out(hints, self.held)

    def apply(self, entry: Entry) -> None:
        """Make one change; kinds that are no marks change nothing.

        Raises:
            InputError: It does not fit the image.
        """
        try:
            if entry.kind in MAPS:
                self._paint(entry)
            elif entry.kind == "clicks":
                self.clicks = tuple(Click(tuple(position), k) for k, *position in entry.values["clicks"])
            elif entry.kind == "boxes":
                self.boxes = tuple(
                    Box(tuple(start), tuple(stop), k, number)
                    for number, k, start, stop in entry.values["boxes"]
                )
                self.all_boxed = bool(entry.values["all_boxed"])
            elif entry.kind == "tags":
                told = entry.values["tags"]
                self.tags = None if told is None else frozenset(Tag(*tag) for tag in told)
            elif entry.kind == "classes":
                self.classes = {int(k): name for k, name in entry.values["names"].items()}
                self.colours = {int(k): colour for k, colour in entry.values["colours"].items()}
            elif entry.kind == "settings":
                self.settings = dict(entry.values)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise InputError(
                f"A change of {entry.kind} does not fit an image of shape {self.shape}."
            ) from error

    def _paint(self, entry: Entry) -> None:
        assert entry.block is not None
        values = getattr(self, entry.kind)
        if values is None:
            values = np.zeros(self.shape, np.uint8)
            setattr(self, entry.kind, values)
        values[entry.place] = entry.block


def differences(before: Drawing, now: Drawing) -> Iterator[tuple[str, dict[str, Any], np.ndarray | None]]:
    """The changes that lead from one drawing to another: kind, values and block of each entry.

    Args:
        before: Compared with `now`; it is not changed.
        now: Of the same image.
    """
    if (before.classes, before.colours) != (now.classes, now.colours):
        names, colours = ({str(k): v for k, v in table.items()} for table in (now.classes, now.colours))
        yield "classes", {"names": names, "colours": colours}, None
    if before.settings != now.settings:
        yield "settings", dict(now.settings), None
    for kind in MAPS:
        new = getattr(now, kind)
        if new is not None and (found := changed(getattr(before, kind), new)) is not None:
            start, block = found
            yield kind, {"start": list(start)}, block
    if before.clicks != now.clicks:
        yield "clicks", {"clicks": [[click.class_id, *click.position] for click in now.clicks]}, None
    if (before.boxes, before.all_boxed) != (now.boxes, now.all_boxed):
        boxes = [[box.id, box.class_id, list(box.start), list(box.stop)] for box in now.boxes]
        yield "boxes", {"boxes": boxes, "all_boxed": now.all_boxed}, None
    if before.tags != now.tags:
        tags = (
            None if now.tags is None else sorted(([t.class_id, t.axis, t.slice] for t in now.tags), key=str)
        )
        yield "tags", {"tags": tags}, None


def changed(before: np.ndarray | None, now: np.ndarray) -> tuple[tuple[int, ...], np.ndarray] | None:
    """The smallest block of a map (*S) that holds all that differs: where it starts, and a copy of it.

    Args:
        before: The same map, earlier; None = all 0.
        now: It may be painted on meanwhile; what comes too late is in the next difference.

    Returns:
        None where nothing differs.
    """
    low, high = list(now.shape), [0] * now.ndim
    for slab in slabs(now.shape, SLAB):
        unlike = now[slab] != (0 if before is None else before[slab])
        if not unlike.any():
            continue
        for axis in range(now.ndim):
            other = tuple(a for a in range(now.ndim) if a != axis)
            found = np.flatnonzero(unlike.any(other)) + (slab.start if axis == 0 else 0)
            low[axis], high[axis] = min(low[axis], int(found[0])), max(high[axis], int(found[-1]) + 1)
    if low[0] >= high[0]:
        return None
    return tuple(low), now[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].copy()
