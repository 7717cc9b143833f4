"""Undo of boxes and clicks, which napari (0.9) has for labels alone. Knows no Qt."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_plugin.timeline import Change

if TYPE_CHECKING:
    from napari.layers import Points, Shapes

HEAD, CELL = 112, 64  # bytes of an array besides its values, and of an entry of a table


class Items(NamedTuple):
    """What a layer holds: corners of each shape or the place of each point, kinds of shapes, features."""

    data: list[np.ndarray]
    kinds: list[str]
    features: Any

    def same(self, other: "Items") -> bool:
        """Whether nothing differs."""
        return (
            len(self.data) == len(other.data)
            and all(map(np.array_equal, self.data, other.data))
            and self.kinds == other.kinds
            and self.features.equals(other.features)
        )

    def begins_with(self, other: "Items") -> bool:
        """Whether these are the other ones, with more after them; features are not compared."""
        same = all(np.array_equal(mine, its) for mine, its in zip(self.data, other.data, strict=False))
        return same and self.kinds[: len(other.kinds)] == other.kinds

    def size(self) -> int:
        """Bytes in memory, about."""
        return sum(one.nbytes + HEAD for one in self.data) + CELL * int(self.features.size)


class ItemHistory:
    """What the layer of boxes or clicks at work was like before each change.

    Args:
        part: "boxes" or "clicks".
        record: Takes each change.
        restored: Called when an earlier or later state is back.

    Attributes:
        restoring: Whether a state is being put back; what the layer says meanwhile is half done.
    """

    def __init__(self, part: str, record: Callable[[Change], None], restored: Callable[[], None]) -> None:
        self.part, self._record, self._restored = part, record, restored
        self.restoring = False
        self.layer: Points | Shapes | None = None
        self._state: Items | None = None

    def follow(self, layer: "Points | Shapes | None") -> None:
        """Work with this layer; it is taken as it is now."""
        self.layer = layer
        self._state = None if layer is None else items_of(layer)

    def note(self) -> None:
        """Take note of the layer as it is now, if that is new."""
        if self.layer is None or self.restoring:
            return
        before, now = self._known(), items_of(self.layer)
        if now.same(before):
            return
        self._state = now
        self._record(self.change(self.layer, before, now))

    def change(self, layer: "Points | Shapes", before: Items, now: Items) -> Change:
        """The change of a layer from one state to another."""
        words, place = told(self.part, before, now), span(before, now)
        return Change(words, self.part, before, partial(self._exchange, layer), layer, place, Items.size)

    def has_other_features(self) -> bool:
        """Whether more than places differs from what it was."""
        return self.layer is not None and not self._known().features.equals(self.layer.features)

    def _exchange(self, layer: "Points | Shapes", state: Items) -> Items:
        before = items_of(layer)
        self.restoring = True
        try:
            put_items(layer, state)
        finally:
            self.restoring = False
        self._restored()
        if layer is self.layer:
            self._state = items_of(layer)
        return before

    def _known(self) -> Items:
        assert self._state is not None
        return self._state


def items_of(layer: "Points | Shapes") -> Items:
    """What a layer holds now, copied."""
    kinds = list(layer.shape_type) if hasattr(layer, "shape_type") else []
    return Items([np.array(one) for one in layer.data], kinds, layer.features.copy())


def put_items(layer: Any, state: Items) -> None:
    """Make a layer hold this."""
    if not hasattr(layer, "shape_type"):
        layer.selected_data = set()
        layer.data = np.array(state.data).reshape(-1, layer.ndim)
        layer.features = state.features.copy()
        return
    width, count = layer.current_edge_width, len(state.data)
    if count < len(layer.data) and items_of(layer).begins_with(state):
        layer.remove(list(range(count, len(layer.data))))  # much faster than to make all of them anew
    else:
        layer.data = [(corners, kind) for corners, kind in zip(state.data, state.kinds, strict=True)]
    layer.features = state.features.copy()
    if state.data:
        layer.edge_width = width


def told(part: str, before: Items, now: Items) -> str:
    """What happened to boxes or clicks, in a few words."""
    count = len(now.data) - len(before.data)
    if part == "clicks":
        if count > 0:
            return "click" if count == 1 else f"{count} clicks"
        return "change of clicks" if count == 0 else f"deletion of {-count} click{'s' if count < -1 else ''}"
    old, new = ([str(v) for v in items.features["box"]] for items in (before, now))
    if set(new) - set(old):
        return _boxes([n for n in dict.fromkeys(new) if n not in old])
    if set(old) - set(new):
        return f"deletion of {_boxes([n for n in dict.fromkeys(old) if n not in new])}"
    touched = [n for n in dict.fromkeys(new) if not _of(before, n).same(_of(now, n))]
    return f"{'other end' if count > 0 else 'change'} of {_boxes(touched)}"


def span(before: Items, now: Items) -> tuple[Sequence[float], Sequence[float]] | None:
    """The lowest and highest coordinates of all that came, moved or went."""
    kept = {one.tobytes() for one in before.data} & {one.tobytes() for one in now.data}
    moved = [np.atleast_2d(one) for one in (*before.data, *now.data) if one.tobytes() not in kept]
    if not moved:
        return None
    every = np.concatenate(moved)
    return tuple(every.min(0)), tuple(every.max(0))


def _boxes(numbers: Sequence[str]) -> str:
    return f"box {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} boxes"


def _of(items: Items, number: str) -> Items:
    """The shapes of one box."""
    own = [index for index, other in enumerate(items.features["box"]) if str(other) == number]
    table = items.features.iloc[own].reset_index(drop=True)
    return Items([items.data[i] for i in own], [items.kinds[i] for i in own], table)
