"""Paint on what is shown: on the mask, which corrects it, and on what is locked, which accepts. Knows no Qt.

Paint on the mask changes it at once, and what it changes becomes a hint: it counts as if it had been painted
there, is learnt from, saved and undone with the others, and later masks keep it. What is erased, or painted
as background, is a hint of background. What was accepted stays. Of paint where the mask said the same before,
napari tells nobody.

Paint on the layer of what is locked accepts what the mask says there, whatever label is painted; what is
erased there is taken back. So every tool that napari has for labels, the polygon among them, can accept.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_plugin.blocks import NapariUndo, Stroke, block_change, packed, stroke_of, write
from napari_plugin.layers import KEY, belongs
from napari_plugin.results import find
from wsseg.hints import BACKGROUND

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_plugin.marks import Marks

WORDS = "paint on the mask"


class MaskBrush:
    """Follows the layers of masks and of what is locked.

    Args:
        marks: What is marked; strokes go into its hints, what it accepts and its timeline.
    """

    def __init__(self, marks: "Marks") -> None:
        self._marks = marks
        self._followed: set[Any] = set()  # ids of layers
        self._napari = NapariUndo()
        self._due: list[tuple[Labels, Stroke]] = []  # see `settle`
        self._unscored: list[tuple[Labels, Stroke]] = []

    def follow(self, layer: "Labels") -> None:
        """Make something of what is painted on this layer from now on."""
        if layer.unique_id not in self._followed:
            self._followed.add(layer.unique_id)
            layer.events.paint.connect(self._painted)
            if layer.metadata[KEY]["role"] == "mask":
                layer.selected_label = self._marks.selected
                layer.events.selected_label.connect(self._marks.follow_label)

    def mask(self) -> "Labels | None":
        """The mask of the image at work, or None."""
        return find(self._marks.layers, self._marks.image, "mask")

    def settle(self, *, scored: bool) -> None:
        """Write strokes as they count: background is 0, and what was accepted is as it was.

        To be called soon after a stroke, not at its event: of some napari tells before it writes them.

        Args:
            scored: Whether somebody will ask what the mask said before, see `without`.
        """
        due, self._due = self._due, []
        self._unscored = self._unscored if scored else []
        for layer, stroke in due:
            _put(layer, stroke, stroke.after)
            layer.refresh(extent=False)

    @contextmanager
    def without(self, layer: "Labels | None") -> Iterator[None]:
        """Meanwhile the mask says what it said before the strokes since this was last asked for."""
        self.settle(scored=True)
        strokes, self._unscored = [one for at, one in self._unscored if at is layer], []
        for stroke in reversed(strokes):
            _put(layer, stroke, stroke.before)
        try:
            yield
        finally:
            for stroke in strokes:
                _put(layer, stroke, stroke.after)

    def _painted(self, event: Any) -> None:
        layer, marks, image = event.source, self._marks, self._marks.image
        stroke = stroke_of(layer.data, event.value)
        self._napari.limit(layer, event.value)
        if image is not None and belongs(layer, image, "mask"):
            after = self._corrected(layer, stroke)
        elif image is not None and belongs(layer, image, "locked"):
            after = self._accepted(layer, stroke)
        else:
            after = stroke.before
            marks.message = f"{layer.name} is of another image; choose that one before you paint on it."
        self._due.append((layer, stroke._replace(after=after)))

    def _corrected(self, layer: "Labels", stroke: Stroke) -> np.ndarray:
        """Note a stroke on a mask; gives what the mask is to say in its block."""
        where, painted, before, after = stroke
        locked = self._marks.lock.map_of(self._marks.image)
        allowed = painted if locked is None else painted & (locked[where] == 0)
        if not allowed.any():
            self._marks.message = "All of this is accepted already, so it stays."
            return before
        after = np.where(allowed, np.where(after == BACKGROUND, 0, after), before)
        stroke = Stroke(where, allowed, before, after)
        self._unscored.append((layer, stroke))
        self._to_hints(layer, stroke)
        return after

    def _accepted(self, layer: "Labels", stroke: Stroke) -> np.ndarray:
        """Note a stroke on what is locked; gives what is to be locked in its block."""
        where, painted, before, after = stroke
        mask, erased = self.mask(), painted & (after == 0)
        if mask is None:
            self._marks.message = "There is no mask to accept yet: mark two classes, or press Segment."
            return before
        said = np.asarray(mask.data[where]).astype(before.dtype)
        new = np.where(painted & (before == 0), np.where(said == 0, BACKGROUND, said), before)
        after = np.where(erased, 0, new)
        count = np.count_nonzero(after != before)
        words = "taking back a region" if erased.any() else "accepted region"
        self._marks.timeline.record(block_change(words, "accepted", layer, (where, packed(before))))
        self._marks.message = (
            f"Taken back: {count:,} voxels are no longer locked."
            if erased.any()
            else f"Accepted: {count:,} voxels are locked."
        )
        self._marks.mark_accepted()
        return after

    def _to_hints(self, layer: "Labels", stroke: Stroke) -> None:
        marks, where = self._marks, stroke.where
        hints = marks.hints
        if hints is None:
            hints = marks.new_hints()
            marks.layers.selection.active = layer
        old = np.asarray(hints.data[where])
        said = np.where(stroke.after == 0, BACKGROUND, stroke.after).astype(old.dtype)
        with marks.timeline.as_one(WORDS):
            below = write(hints, where, np.where(stroke.painted, said, old))
            marks.timeline.record(block_change(WORDS, "strokes", hints, below))
            kept = where, packed(stroke.before)
            marks.timeline.record(block_change(WORDS, "mask", layer, kept))
        marks.mark_changed()


def _put(layer: "Labels | None", stroke: Stroke, values: np.ndarray) -> None:
    """Write values wherever a stroke has painted."""
    if layer is not None:
        layer.data[stroke.where][stroke.painted] = values[stroke.painted]
