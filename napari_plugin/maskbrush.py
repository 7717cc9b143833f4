"""Paint on what is shown: on the mask, which corrects it, and on what is locked, which accepts. Knows no Qt.

Paint on the mask becomes a hint: it counts as if it had been painted there, is learnt from, saved and undone
with the others, and every mask shows it. What is erased, or painted as background, is a hint of background.
What was accepted stays. Of paint where the mask said the same before, napari tells nobody.

Paint on the layer of what is locked accepts what the mask says there, whatever label is painted; what is
erased there is taken back. So every tool that napari has for labels, the polygon among them, can accept.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_plugin.blocks import NapariUndo, Region, Stroke, block_change, packed, stroke_of, write
from napari_plugin.layers import KEY, belongs, check_grid, identity, to_image
from napari_plugin.results import find
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer
    from napari.layers import Labels

    from napari_plugin.marks import Marks

WORDS = "paint on the mask"


class MaskBrush:
    """Follows the layers of masks and of what is locked.

    Args:
        marks: What is marked; strokes go into its hints, what it accepts and its timeline.
        draw: Draws a part of the mask at work as it is without the paint that is no hint.
    """

    def __init__(self, marks: "Marks", draw: Callable[[Region], None]) -> None:
        self._marks, self._draw = marks, draw
        self._followed: set[Any] = set()  # ids of layers
        self._napari = NapariUndo()
        self._due: list[tuple[Labels, Stroke]] = []  # see `settle`
        self._corrected: list[np.ndarray] = []  # see `corrected`

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

    def settle(self) -> None:
        """Write strokes as they count.

        To be called soon after a stroke, not at its event: of some napari tells before it writes them.
        """
        due, self._due = self._due, []
        for layer, stroke in due:
            layer.data[stroke.where][stroke.painted] = stroke.after[stroke.painted]
            layer.refresh(extent=False)
        if due:
            self._marks.mark_accepted()

    def corrected(self) -> np.ndarray:
        """Flat indices of what was painted on the mask since this was last asked for.

        All of it was wrong before: of paint where the mask was right napari tells nobody. So it says nothing
        of how often the mask is right.
        """
        found, self._corrected = self._corrected, []
        return np.concatenate(found) if found else np.zeros(0, np.intp)

    def said(self, image: "ImageLayer", region: tuple[slice, ...]) -> "Iterator[np.ndarray]":
        """What every mask of an image shows in a part of it: paint, and over it what was accepted.

        Seeds among the paint are guesses, and networks learn to do without some of them.
        """
        marks = self._marks
        hints = marks.hints if image is marks.image else None
        if hints is not None and hints.data.shape == to_image(image).shape:
            painted, seeds = np.asarray(hints.data[region]), marks.tags.view.painted.get(identity(image))
            yield painted if seeds is None else np.where(painted == seeds[region], 0, painted)
        if (locked := marks.lock.map_of(image)) is not None:
            yield locked[region]

    def _painted(self, event: Any) -> None:
        layer, marks, image = event.source, self._marks, self._marks.image
        stroke = stroke_of(layer.data, event.value)
        self._napari.limit(layer, event.value)
        if image is not None and belongs(layer, image, "mask"):
            self._correct(layer, image, stroke)
            return
        if image is not None and belongs(layer, image, "locked"):
            after = self._accepted(layer, stroke)
        else:
            after = stroke.before
            marks.message = f"{layer.name} is of another image; choose that one before you paint on it."
        self._due.append((layer, stroke._replace(after=after)))

    def _correct(self, layer: "Labels", image: "ImageLayer", stroke: Stroke) -> None:
        """Make a hint of a stroke on a mask."""
        marks, where = self._marks, stroke.where
        locked = marks.lock.map_of(image)
        allowed = stroke.painted if locked is None else stroke.painted & (locked[where] == 0)
        try:
            if not allowed.any():
                raise InputError("All of this is accepted already, so it stays.")
            hints = self._hints(layer, image)
        except InputError as error:
            marks.message = str(error)
            self._draw(where)
            return
        old = np.asarray(hints.data[where])
        said = np.where(stroke.after == 0, BACKGROUND, stroke.after).astype(old.dtype)
        below = write(hints, where, np.where(allowed, said, old))
        marks.timeline.record(block_change(WORDS, "strokes", hints, below))
        places = np.nonzero(allowed)
        inside = tuple(at + one.start for at, one in zip(places, where, strict=True))
        self._corrected.append(np.ravel_multi_index(inside, hints.data.shape))
        marks.mark_changed()

    def _hints(self, layer: "Labels", image: "ImageLayer") -> "Labels":
        """The layer that the stroke is for; a new one leaves this layer selected."""
        if (hints := self._marks.hints) is None:
            hints = self._marks.new_hints()
            self._marks.layers.selection.active = layer
        check_grid(hints, image)
        return hints

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
