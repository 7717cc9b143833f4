"""Undo of what is painted: the block that a stroke changed, as it was before, packed. Knows no Qt.

napari's own undo (0.9) keeps a copy of what lies under the brush for every move of the mouse, a hundred
strokes of any size, and knows nothing of other layers.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_plugin.timeline import Change
from wsseg.hints import BACKGROUND

if TYPE_CHECKING:
    from napari.layers import Labels

Region = tuple[slice, ...]
Packed = tuple[Region, bytes]
NAPARI_BYTES = 16 * 2**20  # that napari's own undo of a layer may grow to


class Stroke(NamedTuple):
    """What was painted.

    Attributes:
        where: The smallest block that holds all of it.
        painted: bool (*block): which voxels.
        before, after: (*block): the values without the stroke and with it.
    """

    where: Region
    painted: np.ndarray
    before: np.ndarray
    after: np.ndarray


class NapariUndo:
    """Keeps what napari itself keeps of strokes in bounds."""

    def __init__(self) -> None:
        self._bytes: dict[Any, int] = {}  # of each layer, as far as is known

    def limit(self, layer: "Labels", atoms: Sequence[Any]) -> None:
        """Take note of a stroke; where strokes have become too much, napari forgets all of them."""
        kept = self._bytes.get(layer.unique_id, 0) + sum(_bytes_of(atom) for atom in atoms)
        if kept > NAPARI_BYTES:
            kept = 0
            forget(layer)
        self._bytes[layer.unique_id] = kept


class Strokes:
    """Records what is painted in layers of hints.

    Args:
        record: Takes each change.
        names: Class id to name.
    """

    def __init__(self, record: Callable[[Change], None], names: Callable[[], Mapping[int, str]]) -> None:
        self._record, self._names = record, names
        self._napari = NapariUndo()

    def note(self, layer: "Labels", atoms: Sequence[Any]) -> None:
        """A stroke is done: take note of what was there before.

        Args:
            layer: Where.
            atoms: What its event `paint` says: a few values of napari's for each move of the brush.
        """
        stroke = stroke_of(layer.data, atoms)
        kept = stroke.where, packed(stroke.before)
        self._record(block_change(self._words(atoms), "strokes", layer, kept))
        self._napari.limit(layer, atoms)

    def _words(self, atoms: Sequence[Any]) -> str:
        return words_of({int(value) for atom in atoms for value in np.unique(atom[-1])}, self._names())


def words_of(values: Set[int], names: Mapping[int, str]) -> str:
    """What was painted, in words.

    Args:
        values: Those that it left.
        names: Class id to name.
    """
    if len(values) != 1:
        return "stroke"
    (value,) = values
    names = {BACKGROUND: "background", **names}
    return f"stroke of {names.get(value, f'label {value}')}" if value else "eraser"


def block_change(words: str, part: str, layer: "Labels", before: Packed) -> Change:
    """The change of a block of a layer; `before` is where it lies and what was there."""
    low, high = zip(*((one.start, one.stop - 1) for one in before[0]), strict=True)
    return Change(words, part, before, partial(swap, layer), layer, (low, high), lambda kept: len(kept[1]))


def packed(values: np.ndarray) -> bytes:
    """The values of a map, which hangs together, in few bytes: 512 × 512 in 1 ms, 128³ in 8."""
    return zlib.compress(np.ascontiguousarray(values).tobytes(), 1)


def unpacked(values: bytes, kind: np.dtype, shape: Sequence[int]) -> np.ndarray:
    """A map that was packed; nobody can write into it."""
    return np.frombuffer(zlib.decompress(values), kind).reshape(shape)


def swap(layer: "Labels", before: Packed) -> Packed:
    """Put back what was in a block, and give what is there now."""
    where, old = before
    shape = [part.stop - part.start for part in where]
    values = unpacked(old, layer.data.dtype, shape)
    if layer.editable:
        forget(layer)  # napari would put back what was there before yet another change
    return write(layer, where, values)


def write(layer: "Labels", where: Region, values: np.ndarray) -> Packed:
    """Change a block of a layer, and give back what was there."""
    before = where, packed(np.asarray(layer.data[where]))
    layer.data[where] = values
    layer.refresh(extent=False)
    return before


def stroke_of(data: Any, atoms: Sequence[Any]) -> Stroke:
    """A stroke, from what napari keeps of it; whether the data have it already or not.

    Args:
        data: Of the layer; numpy, dask or Zarr.
        atoms: Each either a block with a mask, the values there before, and the new one (since napari 0.8),
            or the indices, values before and after.
    """
    boxes = [
        atom[0]
        if len(atom) == 4
        else tuple(slice(int(np.min(axis)), int(np.max(axis)) + 1) for axis in atom[0])
        for atom in atoms
    ]
    where = tuple(
        slice(min(one.start for one in parts), max(one.stop for one in parts))
        for parts in zip(*boxes, strict=True)
    )
    before = np.array(data[where])
    painted = np.zeros(before.shape, bool)
    for atom in reversed(atoms):
        _write_atom(before, where, atom, atom[-2])
        _write_atom(painted, where, atom, True)
    after = before.copy()
    for atom in atoms:
        _write_atom(after, where, atom, atom[-1])
    return Stroke(where, painted, before, after)


def _write_atom(block: np.ndarray, where: Region, atom: Any, values: Any) -> None:
    """Write values wherever an atom has changed something."""
    if len(atom) == 3:
        block[tuple(axis - w.start for axis, w in zip(atom[0], where, strict=True))] = values
    else:
        box, mask, _, _ = atom
        inner = tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, where, strict=True))
        block[inner][... if mask is None else mask] = values


def forget(layer: "Labels") -> None:
    """Empty napari's own undo of a layer: the one public way is to lock it and to unlock it.

    Not while a polygon is drawn, which that would end.
    """
    mode = str(layer.mode)
    if mode != "polygon":
        layer.editable = False
        layer.editable = True
        layer.mode = mode


def _bytes_of(atom: Any) -> int:
    values = [*atom[0], *atom[1:]] if len(atom) == 3 else atom[1:3]
    return sum(one.nbytes for one in values if isinstance(one, np.ndarray))
