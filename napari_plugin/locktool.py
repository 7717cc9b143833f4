"""What was accepted of the mask: locked for training, for every later mask, and against strokes. Knows no Qt.

It stands in a layer of its own as a hint map, so that it counts like paint and is saved like it. The same
key that accepts something takes it back, and so does undo. What is rejected is accepted as background. Any
region can be accepted with the brush or a polygon, see `napari_plugin.maskbrush`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_plugin.blocks import Region, block_change, write
from napari_plugin.keymap import told
from napari_plugin.layers import make_labels, slice_on_screen
from napari_plugin.results import find
from napari_plugin.timeline import Change
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Image as ImageLayer
    from napari.layers import Labels

REACH = 32  # voxels around the cursor in which an object is looked for first


class LockTool:
    """What the controller knows of it.

    Args:
        layers: The viewer's.
        changed: Called when something was accepted or taken back.
        record: Takes each change, for undo.
    """

    def __init__(
        self, layers: "LayerList", changed: Callable[[], None], record: Callable[[Change], None]
    ) -> None:
        self.layers, self._changed, self._record = layers, changed, record

    def layer_of(self, image: "ImageLayer | None") -> "Labels | None":
        """The layer that shows what was accepted on an image, or None."""
        return find(self.layers, image, "locked")

    def map_of(self, image: "ImageLayer | None") -> np.ndarray | None:
        """What was accepted on an image: uint8 hint map (*S), or None where nothing ever was."""
        layer = self.layer_of(image)
        return None if layer is None else layer.data

    def uses(self, image: "ImageLayer | None", class_id: int) -> bool:
        """Whether something of this class is accepted."""
        locked = self.map_of(image)
        return locked is not None and bool((locked == class_id).any())

    def toggle_object(
        self,
        image: "ImageLayer",
        point: Sequence[float],
        displayed: Sequence[int],
        colours: Mapping[int, str],
    ) -> str:
        """Accept the object under the cursor, all of the mask that hangs together and has its class.

        Background that touches it is accepted too: else later masks could grow from it. On an accepted object
        it takes both back.

        Args:
            image: The image at work.
            point: The cursor in world coordinates, one for each spatial axis.
            displayed: The image's spatial axes on screen.
            colours: Of the classes.

        Returns:
            What was done, in words.

        Raises:
            InputError: There is no mask, or no object there.
        """
        mask = self._mask_of(image, displayed)
        place = self._place_in(mask, point)
        locked = self.map_of(image)
        if locked is None:
            locked = np.broadcast_to(np.uint8(0), mask.data.shape)
        taken_back = locked[place] not in (0, BACKGROUND)
        if not taken_back and not mask.data[place]:
            raise InputError("There is no object under the cursor; put it on one of the mask.")
        where, piece = component(locked if taken_back else mask.data, place)
        where, piece, rim = with_rim(where, piece, mask.data.shape)
        old, said = locked[where], mask.data[where]
        if taken_back:
            others = (old > 0) & (old != BACKGROUND) & ~piece
            theirs = ndimage.binary_dilation(others, np.ones((3,) * old.ndim))
            new = np.where(piece | (rim & (old == BACKGROUND) & ~theirs), 0, old)
        else:
            new = np.where(piece, said, np.where(rim & (said == 0) & (old == 0), BACKGROUND, old))
        self._write(image, where, new, colours, "taking back an object" if taken_back else "accepted object")
        count = f"{np.count_nonzero(piece):,} voxels"
        return (
            f"Taken back: {count} are no longer locked." if taken_back else f"Accepted: {count} are locked."
        )

    def reject_object(
        self,
        image: "ImageLayer",
        point: Sequence[float],
        displayed: Sequence[int],
        colours: Mapping[int, str],
    ) -> str:
        """The object under the cursor is none: it becomes background, and is locked as such.

        What was accepted of it stays. Arguments, words and errors as of `toggle_object`.

        Raises:
            InputError: Also where all of the object was accepted.
        """
        mask = self._mask_of(image, displayed)
        place = self._place_in(mask, point)
        if not mask.data[place]:
            raise InputError("There is no object under the cursor; put it on one of the mask.")
        where, piece = component(mask.data, place)
        locked = self.map_of(image)
        old = np.zeros(piece.shape, np.uint8) if locked is None else locked[where]
        wrong = piece & (old == 0)
        if not wrong.any():
            key = told("accept_object")
            raise InputError(f"This object is accepted; {key} takes that back, then it can be rejected.")
        self._write(image, where, np.where(wrong, BACKGROUND, old), colours, "rejected object")
        return f"Rejected: {np.count_nonzero(wrong):,} voxels are background and locked."

    def toggle_slice(
        self,
        image: "ImageLayer",
        point: Sequence[float],
        displayed: Sequence[int],
        colours: Mapping[int, str],
    ) -> str:
        """Accept the mask of the slice on screen, background included; of an accepted slice take that back.

        Args:
            image, colours: As in `toggle_object`.
            point: The viewer's point in world coordinates, one for each spatial axis.
            displayed: The image's spatial axes on screen.

        Returns:
            What was done, in words.

        Raises:
            InputError: There is no mask, or a volume is on screen.
        """
        mask = self._mask_of(image, displayed)
        where = slice_on_screen(mask, point, displayed)
        locked, said = self.map_of(image), mask.data[where]
        old = np.zeros(said.shape, np.uint8) if locked is None else locked[where]
        if old.all():
            self._write(image, where, np.zeros_like(old), colours, "taking back a slice")
            return "Taken back: this slice is no longer locked."
        if not said.any() and not old.any():
            key = told("finish_slice")
            raise InputError(f"The mask of this slice is empty; press {key} if all of it is background.")
        new = np.where(old > 0, old, np.where(said == 0, BACKGROUND, said))
        self._write(image, where, new, colours, "accepted slice")
        return f"Accepted: this slice is locked, {np.count_nonzero(old == 0):,} voxels."

    def ready(self, image: "ImageLayer", displayed: Sequence[int], colours: Mapping[int, str]) -> "Labels":
        """The layer of what was accepted, empty where nothing was, to paint on.

        Raises:
            InputError: There is no mask, or a volume is on screen.
        """
        self._mask_of(image, displayed)
        return self._layer(image, colours)

    def put_back(self, image: "ImageLayer", locked: np.ndarray, colours: Mapping[int, str]) -> None:
        """Take over what was accepted before; it replaces what is accepted now."""
        self._write(image, tuple(slice(0, n) for n in locked.shape), locked, colours, "restoring")

    def _mask_of(self, image: "ImageLayer", displayed: Sequence[int]) -> "Labels":
        mask = find(self.layers, image, "mask")
        if mask is None:
            raise InputError("There is no mask to accept yet: mark two classes, or press Segment.")
        if len(displayed) != 2:
            raise InputError("Accept in the 2D view; leave the 3D view first.")
        return mask

    def _place_in(self, mask: "Labels", point: Sequence[float]) -> tuple[int, ...]:
        """The voxel under the cursor."""
        place = tuple(int(v) for v in np.round(mask.world_to_data(point)))
        if not all(0 <= p < n for p, n in zip(place, mask.data.shape, strict=True)):
            raise InputError("The cursor is outside of the image; put it on an object of the mask.")
        return place

    def _write(
        self, image: "ImageLayer", where: Region, values: np.ndarray, colours: Mapping[int, str], words: str
    ) -> None:
        layer = self._layer(image, colours)
        self._record(block_change(words, "accepted", layer, write(layer, where, values.astype(np.uint8))))
        self._changed()

    def _layer(self, image: "ImageLayer", colours: Mapping[int, str]) -> "Labels":
        layer = self.layer_of(image)
        if layer is None:
            layer = make_labels(image, "locked", colours)
            layer.contour = 1
            active = self.layers.selection.active
            mask = find(self.layers, image, "mask")
            self.layers.insert(list(self.layers).index(image if mask is None else mask) + 1, layer)
            if active is not None:
                self.layers.selection.active = active
        return layer


def component(values: np.ndarray, place: tuple[int, ...]) -> tuple[Region, np.ndarray]:
    """The voxels that hang together with one, corners included, and have its value.

    Looked for in a window that grows until the object lies inside, so that a small object in a large volume
    takes no longer than in a small one.

    Args:
        values: Whole numbers (*S).
        place: The voxel.

    Returns:
        Its bounding box, and bool (*box): which voxels of it.
    """
    reach = REACH
    while True:
        window = tuple(
            slice(max(0, p - reach), min(n, p + reach + 1)) for p, n in zip(place, values.shape, strict=True)
        )
        pieces, _ = ndimage.label(values[window] == values[place], np.ones((3,) * values.ndim))
        inner = tuple(p - w.start for p, w in zip(place, window, strict=True))
        own = pieces == pieces[inner]
        (box,) = ndimage.find_objects(own.astype(np.uint8))
        inside = all(
            (b.start > 0 or w.start == 0) and (b.stop < own.shape[axis] or w.stop == values.shape[axis])
            for axis, (b, w) in enumerate(zip(box, window, strict=True))
        )
        if inside:
            where = tuple(
                slice(w.start + b.start, w.start + b.stop) for w, b in zip(window, box, strict=True)
            )
            return where, own[box]
        reach *= 2


def with_rim(where: Region, piece: np.ndarray, shape: Sequence[int]) -> tuple[Region, np.ndarray, np.ndarray]:
    """What touches an object, in a box that also holds whatever else touches that.

    Args:
        where: The object's bounding box.
        piece: bool (*box).
        shape: Of the image.

    Returns:
        The box, two voxels larger on each side as far as the image goes; the object in it and the voxels
        that touch it, corners included, bool (*box).
    """
    larger = tuple(slice(max(0, w.start - 2), min(n, w.stop + 2)) for w, n in zip(where, shape, strict=True))
    more = [(w.start - v.start, v.stop - w.stop) for w, v in zip(where, larger, strict=True)]
    piece = np.pad(piece, more)
    return larger, piece, ndimage.binary_dilation(piece, np.ones((3,) * piece.ndim)) & ~piece
