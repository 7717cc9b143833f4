"""Undo and redo for boxes, which napari (0.9) has for labels alone. Knows no Qt."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Shapes

STEPS = 100


class BoxHistory:
    """What a layer of boxes was like before each change.

    Args:
        layer: It gets the keys Ctrl+Z and Ctrl+Shift+Z.
        restored: Called when an earlier or later state is back.

    Attributes:
        restoring: Whether a state is being put back; what the layer says meanwhile is half done.
    """

    def __init__(self, layer: "Shapes", restored: Callable[[], None]) -> None:
        self.layer, self.restored = layer, restored
        self.restoring = False
        self._states = [self._state()]
        self._at = 0
        layer.bind_key("Control-Z", lambda layer: self.undo(), overwrite=True)
        layer.bind_key("Control-Shift-Z", lambda layer: self.redo(), overwrite=True)

    def note(self) -> None:
        """Remember the layer as it is now, if that is new."""
        now, before = self._state(), self._states[self._at]
        same = len(now[0]) == len(before[0]) and all(map(np.array_equal, now[0], before[0]))
        if same and now[1] == before[1] and now[2].equals(before[2]):
            return
        self._states = [*self._states[: self._at + 1], now][-STEPS:]
        self._at = len(self._states) - 1

    def undo(self) -> None:
        """Go back by one change."""
        self._go(self._at - 1)

    def redo(self) -> None:
        """Go forth by one change."""
        self._go(self._at + 1)

    def _go(self, at: int) -> None:
        if not 0 <= at < len(self._states):
            return
        self._at = at
        data, types, features = self._states[at]
        self.restoring = True
        try:
            width = self.layer.current_edge_width
            self.layer.data = [(corners, kind) for corners, kind in zip(data, types, strict=True)]
            self.layer.features = features.copy()
            if data:
                self.layer.edge_width = width
        finally:
            self.restoring = False
        self.restored()

    def _state(self) -> tuple[list[np.ndarray], list[str], Any]:
        layer = self.layer
        return [np.array(one) for one in layer.data], list(layer.shape_type), layer.features.copy()
