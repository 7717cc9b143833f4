"""Finished slices that are held out: nothing learns from them, and each mask is scored on them. Knows no Qt.

Their paint stands in a layer of its own, so that it is shown, saved and undone like other paint. No brush
changes that layer; the key that holds a slice out gives its paint back.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_plugin.blocks import Packed, block_change, swap, write
from napari_plugin.layers import as_hint_map, check_grid, make_labels, slice_on_screen
from napari_plugin.results import find
from napari_plugin.timeline import Change
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Image as ImageLayer
    from napari.layers import Labels

NOTHING = "Nothing is painted in this slice: finish it, then hold it out."


def mean_of(dice: Mapping[int, float]) -> float:
    """The mean Dice over classes; 0 where there is none."""
    return sum(dice.values()) / len(dice) if dice else 0.0


class HeldTool:
    """What the controller knows of held-out slices.

    Args:
        layers: The viewer's.
        changed: Called when a slice was held out or given back.
        record: Takes each change, for undo.
        locked: Gives what was accepted on an image, a hint map (*S) or None.
        new_hints: Makes a layer of hints for the image at work.
    """

    def __init__(
        self,
        layers: "LayerList",
        changed: Callable[[], None],
        record: Callable[[Change], None],
        locked: "Callable[[ImageLayer | None], np.ndarray | None]",
        new_hints: "Callable[[], Labels]",
    ) -> None:
        self.layers, self._changed, self._record, self._locked = layers, changed, record, locked
        self._new_hints = new_hints
        self._points: dict[Hashable, float] = {}  # of whose mask, and its mean Dice
        self._dice: dict[int, float] | None = None  # of the mask on show; None = there is no mask
        # A look at all of a large volume takes a while: it is done anew after each of our own writes, not at
        # the event `set_data` of napari, which comes with every slice looked at, and never of a hidden layer.
        self._voxels: tuple[np.ndarray, np.ndarray] | None = None  # of this map, those that are held out
        self._noted: np.ndarray | None = None  # the map that the newest score is of
        self._again = False  # whether something that was scored has changed since

    @property
    def values(self) -> list[float]:
        """Mean Dice on held-out slices of the image at work, of each answer and run; the last is on show."""
        return list(self._points.values())

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
            hints: Where its paint is; None = a slice is given back to a new layer.
            point: The viewer's point in world coordinates, one for each spatial axis.
            displayed: The image's spatial axes on screen.
            colours: Of the classes.

        Returns:
            What was done, in words.

        Raises:
            InputError: Nothing is painted there, or nothing that can be a hint, or a volume is on screen.
        """
        if self.is_held(image, point, displayed):
            hints = self._new_hints() if hints is None else hints
            self._give_back(image, hints, point, displayed, colours)
            return "Given back: the next run learns from this slice."
        if hints is None:
            raise InputError(NOTHING)
        check_grid(hints, image)
        where = slice_on_screen(hints, point, displayed)
        paint = as_hint_map(hints, np.array(hints.data[where]))  # a copy, as it is erased
        if not paint.any():
            raise InputError(NOTHING)
        self._write(image, hints, where, np.zeros_like(paint), paint, colours)
        locked = self._locked(image)
        rest = np.count_nonzero((paint == 0) if locked is None else (paint == 0) | (locked[where] > 0))
        less = f" {rest:,} voxels of it are unpainted, or accepted, and not counted." if rest else ""
        return f"Held out: nothing learns from this slice, each mask is scored on it.{less}"

    def put_back(self, image: "ImageLayer", held: np.ndarray, colours: Mapping[int, str]) -> None:
        """Take over what was held out before; it replaces what is held out now."""
        layer = self._layer(image, colours)
        write(layer, tuple(slice(0, n) for n in held.shape), held)
        self._written()
        self._changed()

    def change(self, words: str, layer: "Labels", before: Packed) -> Change:
        """As `block_change`, of what is held out."""
        return replace(block_change(words, "held out", layer, before), exchange=partial(self._swap, layer))

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
        held = layer.data
        if self._voxels is None or self._voxels[0] is not held:
            self._voxels = held, np.flatnonzero(held)
        voxels = self._voxels[1]
        locked = self._locked(image)
        if locked is not None:
            voxels = voxels[locked.ravel()[voxels] == 0]
        truth, said = held.ravel()[voxels], mask.ravel()[voxels]
        counts = {
            int(k): (int((said == k).sum()), int((truth == k).sum()), int(((said == k) & (truth == k)).sum()))
            for k in np.unique(truth)
            if k not in (0, BACKGROUND)
        }
        return {k: 2 * both / (found + true) for k, (found, true, both) in counts.items()}

    def look_again(self) -> None:
        """What is scored may have changed, such as what was accepted."""
        self._again = True

    def is_new(self, image: "ImageLayer") -> bool:
        """Whether what is scored may have changed since the newest score, or there was no mask."""
        return self._again or self.map_of(image) is not self._noted

    def note(self, image: "ImageLayer | None", dice: dict[int, float] | None, of: Hashable) -> None:
        """Take note of the score of the mask on show.

        Args:
            image: Of which image.
            dice: As `dice` gives it; None = there is no mask.
            of: Whose it is; a mask that still grows, or is shown again, has one value.
        """
        self._noted, self._again, self._dice = self.map_of(image), dice is None, dice
        if not dice:
            self._points = {}
            return
        self._points.pop(of, None)
        self._points[of] = mean_of(dice)

    def forget(self) -> None:
        """The scores begin anew."""
        self._points, self._dice, self._voxels, self._noted = {}, None, None, None

    def told(self, names: Mapping[int, str]) -> str:
        """The newest score in words; "" where there is none."""
        if self._dice is None:
            return ""
        if not self._dice:
            nothing = self._voxels is not None and len(self._voxels[1]) > 0
            return "No Dice: what is held out is background, or was accepted." if nothing else ""
        parts = ", ".join(f"{names.get(k, k)} {value:.2f}" for k, value in self._dice.items())
        return f"Dice on what is held out: {parts}."

    def _give_back(
        self,
        image: "ImageLayer",
        hints: "Labels",
        point: Sequence[float],
        displayed: Sequence[int],
        colours: Mapping[int, str],
    ) -> None:
        layer = self._layer(image, colours)
        where = slice_on_screen(layer, point, displayed)
        check_grid(hints, image)
        held, paint = np.array(layer.data[where]), np.asarray(hints.data[where])
        if held.max() > np.iinfo(paint.dtype).max:
            raise InputError(f"{hints.name}: its {paint.dtype} can't hold the label {held.max()}; press New.")
        paint = np.where(paint != 0, paint, held.astype(paint.dtype))
        self._write(image, hints, where, paint, np.zeros_like(held), colours)

    def _written(self) -> None:
        self._voxels, self._again = None, True

    def _swap(self, layer: "Labels", kept: Packed) -> Packed:
        """What undo and redo do."""
        self._written()
        return swap(layer, kept)

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
        before = write(layer, where, held)
        self._written()
        self._record(self.change(words, layer, before))
        self._record(block_change(words, "strokes", hints, write(hints, where, paint)))
        self._changed()

    def _layer(self, image: "ImageLayer", colours: Mapping[int, str]) -> "Labels":
        layer = self.layer_of(image)
        if layer is None:
            layer = make_labels(image, "held", colours)
            layer.name, layer.contour = f"{image.name} held out", 1
            active = self.layers.selection.active
            self.layers.insert(list(self.layers).index(image) + 1, layer)
            if active is not None:
                self.layers.selection.active = active
        return layer
