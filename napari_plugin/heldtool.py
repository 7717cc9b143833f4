"""Finished slices that are held out: nothing learns from them, and each mask is scored on them. Knows no Qt.

Their paint stands in a layer of its own, so that it is shown, saved and undone like other paint. No brush
changes that layer; the key that holds a slice out gives its paint back.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_plugin.blocks import block_change, write
from napari_plugin.layers import make_labels, slice_on_screen
from napari_plugin.results import find
from napari_plugin.timeline import Change
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Image as ImageLayer
    from napari.layers import Labels


class HeldTool:
    """What the controller knows of held-out slices.

    Args:
        layers: The viewer's.
        changed: Called when a slice was held out or given back.
        record: Takes each change, for undo.
        locked: Gives what was accepted on an image, a hint map (*S) or None.

    Attributes:
        values: Mean Dice on the held-out slices of the image at work, one for each answer and each run.
    """

    def __init__(
        self,
        layers: "LayerList",
        changed: Callable[[], None],
        record: Callable[[Change], None],
        locked: "Callable[[ImageLayer | None], np.ndarray | None]",
    ) -> None:
        self.layers, self._changed, self._record, self._locked = layers, changed, record, locked
        self.values: list[float] = []
        self._dice: dict[int, float] = {}
        self._of: tuple[Hashable, ...] = ()  # whose mask the newest value is of
        self._voxels: tuple[Labels, np.ndarray] | None = None  # of this layer, those that are held out

    def layer_of(self, image: "ImageLayer | None") -> "Labels | None":
        """The layer that shows what is held out of an image, or None."""
        return find(self.layers, image, "held")

    def map_of(self, image: "ImageLayer | None") -> np.ndarray | None:
        """What is held out of an image: uint8 hint map (*S), or None where nothing ever was."""
        layer = self.layer_of(image)
        return None if layer is None else layer.data

    def uses(self, image: "ImageLayer | None", class_id: int) -> bool:
        """Whether something of this class is held out."""
        held = self.map_of(image)
        return held is not None and bool((held == class_id).any())

    def is_held(self, image: "ImageLayer | None", point: Sequence[float], displayed: Sequence[int]) -> bool:
        """Whether the slice on screen is held out; arguments as of `toggle`."""
        layer = self.layer_of(image)
        return layer is not None and bool(layer.data[slice_on_screen(layer, point, displayed)].any())

    def toggle(
        self,
        image: "ImageLayer",
        hints: "Labels | None",
        point: Sequence[float],
        displayed: Sequence[int],
        colours: Mapping[int, str],
    ) -> str:
        """Hold out the paint of the slice on screen; of a held-out slice give it back to the hints.

        What was painted there since stays as it is then.

        Args:
            image: The image at work.
            hints: Where its paint is.
            point: The viewer's point in world coordinates, one for each spatial axis.
            displayed: The image's spatial axes on screen.
            colours: Of the classes.

        Returns:
            What was done, in words.

        Raises:
            InputError: Nothing is painted there, or a volume is on screen.
        """
        layer = self.layer_of(image)
        if hints is None:
            raise InputError("Nothing is painted in this slice: finish it, then hold it out.")
        where = slice_on_screen(hints, point, displayed)
        paint = np.asarray(hints.data[where]).astype(np.uint8)
        held = np.zeros_like(paint) if layer is None else np.array(layer.data[where])
        if held.any():
            self._write(image, hints, where, np.where(paint > 0, paint, held), np.zeros_like(held), colours)
            return "Given back: the next run learns from this slice."
        if not (paint > 0).any():
            raise InputError("Nothing is painted in this slice: finish it, then hold it out.")
        self._write(image, hints, where, np.zeros_like(paint), paint, colours)
        locked = self._locked(image)
        rest = np.count_nonzero((paint == 0) if locked is None else (paint == 0) | (locked[where] > 0))
        less = f" {rest:,} voxels of it are unpainted, or accepted, and not counted." if rest else ""
        return f"Held out: nothing learns from this slice, each mask is scored on it.{less}"

    def put_back(self, image: "ImageLayer", held: np.ndarray, colours: Mapping[int, str]) -> None:
        """Take over what was held out before; it replaces what is held out now."""
        layer = self._layer(image, colours)
        write(layer, tuple(slice(0, n) for n in held.shape), held)
        self._changed()

    def dice(self, image: "ImageLayer | None", mask: np.ndarray) -> dict[int, float]:
        """Dice of each class that is held out, over its slices together; what was accepted is not counted.

        Args:
            image: Of which image.
            mask: Class ids (*S).

        Returns:
            Empty where nothing is held out.
        """
        layer = self.layer_of(image)
        if layer is None:
            self._voxels = None
            return {}
        if self._voxels is None or self._voxels[0] is not layer:
            self._voxels = layer, np.flatnonzero(layer.data)  # a look at all of a large volume
        held, voxels = layer.data, self._voxels[1]
        locked = self._locked(image)
        if locked is not None:
            voxels = voxels[locked.ravel()[voxels] == 0]
        truth, said = held.ravel()[voxels], mask.ravel()[voxels]
        counts = {
            int(k): (int((said == k).sum()), int((truth == k).sum()), int(((said == k) & (truth == k)).sum()))
            for k in np.unique(truth)
            if k != BACKGROUND
        }
        return {k: 2 * both / (found + true) for k, (found, true, both) in counts.items()}

    def score(self, image: "ImageLayer | None", mask: np.ndarray) -> float:
        """The mean over classes of `dice`; 0 where nothing is held out."""
        return float(np.mean(list(self.dice(image, mask).values()) or [0.0]))

    def is_new(self, image: "ImageLayer") -> bool:
        """Whether what is held out may have changed since it was last looked at."""
        layer = self.layer_of(image)
        if layer is None:
            return bool(self.values)  # it was deleted
        return self._voxels is None or self._voxels[0] is not layer

    def note(self, image: "ImageLayer | None", mask: np.ndarray, of: tuple[Hashable, ...]) -> None:
        """Score the mask on show.

        Args:
            image: Of which image.
            mask: Class ids (*S).
            of: Whose it is; the score of a mask that still grows replaces its earlier one.
        """
        self._dice = self.dice(image, mask)
        if not self._dice:
            self.values = []
            return
        if self.values and self._of == of:
            self.values.pop()
        self.values.append(float(np.mean(list(self._dice.values()))))
        self._of = of

    def forget(self) -> None:
        """The scores begin anew."""
        self.values, self._dice, self._of, self._voxels = [], {}, (), None

    def told(self, names: Mapping[int, str]) -> str:
        """The newest score in words; "" where there is none."""
        if not self._dice:
            nothing = self._voxels is not None and len(self._voxels[1]) > 0
            return "No Dice: what is held out is background, or was accepted." if nothing else ""
        parts = ", ".join(f"{names.get(k, k)} {value:.2f}" for k, value in self._dice.items())
        return f"Dice on what is held out: {parts}."

    def _forget_voxels(self) -> None:
        self._voxels = None

    def _write(
        self,
        image: "ImageLayer",
        hints: "Labels",
        where: tuple[slice, ...],
        paint: np.ndarray,
        held: np.ndarray,
        colours: Mapping[int, str],
    ) -> None:
        layer = self._layer(image, colours)
        words = "slice held out" if held.any() else "slice given back"
        self._record(block_change(words, "held out", layer, write(layer, where, held)))
        self._record(block_change(words, "strokes", hints, write(hints, where, paint)))
        self._changed()

    def _layer(self, image: "ImageLayer", colours: Mapping[int, str]) -> "Labels":
        layer = self.layer_of(image)
        if layer is None:
            layer = make_labels(image, "held", colours)
            layer.name, layer.contour = f"{image.name} held out", 1
            layer.events.set_data.connect(self._forget_voxels)  # whoever writes, undo too
            active = self.layers.selection.active
            self.layers.insert(list(self.layers).index(image) + 1, layer)
            if active is not None:
                self.layers.selection.active = active
        return layer
