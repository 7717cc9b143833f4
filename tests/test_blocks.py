"""Strokes are taken back block by block: as napari's own undo does it, in bounded memory."""

import numpy as np
import pytest
import zarr
from napari.layers import Labels

from napari_plugin.blocks import NAPARI_BYTES, Strokes, _bytes_of, forget, stroke_of, swap, write
from napari_plugin.timeline import Timeline
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND


def followed(data):
    """A layer of hints, and the timeline of what is painted in it."""
    layer = Labels(data)
    timeline = Timeline([layer], lambda: None, lambda: None)
    strokes = Strokes(timeline.record, lambda: {1: "cell", 2: "ring"})
    layer.events.paint.connect(lambda event: strokes.note(event.source, event.value))
    return layer, timeline


def any_stroke(layer, rng) -> None:
    """One of the ways to paint, at any place."""
    place, label = tuple(int(rng.integers(n)) for n in layer.data.shape), int(rng.choice([0, 1, 2, 255]))
    layer.brush_size, layer.n_edit_dimensions = int(rng.integers(1, 8)), int(rng.integers(2, layer.ndim + 1))
    kind = rng.integers(4)
    if kind == 0:
        layer.paint(place, label)
    elif kind == 1:
        layer.fill(place, label)
    elif kind == 2:  # as the mouse does it
        with layer.block_history():
            for _ in range(5):
                place = [
                    min(max(p + int(rng.integers(-2, 3)), 0), n - 1)
                    for p, n in zip(place, layer.data.shape, strict=True)
                ]
                layer.paint(place, label)
    else:
        where = tuple(rng.integers(0, n, 20) for n in layer.data.shape)
        where = tuple(np.unique(np.stack(where), axis=1))
        layer.data_setitem(where, rng.integers(0, 3, len(where[0])).astype(np.uint8))


@pytest.mark.parametrize("kind", ["numpy", "zarr", "int32"])
@pytest.mark.parametrize("shape", [(24, 20), (9, 16, 14)])
def test_every_way_to_paint_is_taken_back_and_done_again(shape, kind, tmp_path):
    data = np.zeros(shape, np.int32 if kind == "int32" else np.uint8)
    if kind == "zarr":
        data = zarr.create_array(tmp_path / "z", data=data, chunks=tuple(n // 2 for n in shape))
    layer, timeline = followed(data)
    rng, states = np.random.default_rng(0), [np.array(layer.data)]
    for _ in range(10 if kind == "zarr" else 25):  # a file a chunk takes time
        before = np.array(layer.data)
        any_stroke(layer, rng)
        if not np.array_equal(before, layer.data):
            states.append(np.array(layer.data))
    assert len(states) > 5
    for _ in range(2):
        for state in states[-2::-1]:
            timeline.undo()
            np.testing.assert_array_equal(layer.data, state)
        with pytest.raises(InputError):
            timeline.undo()
        for state in states[1:]:
            timeline.redo()
            np.testing.assert_array_equal(layer.data, state)


def test_words_and_place_tell_what_was_painted():
    layer, timeline = followed(np.zeros((8, 8), np.uint8))
    layer.brush_size = 1
    layer.paint((2, 3), 1)
    assert timeline.words()[0] == "stroke of cell"
    layer.paint((2, 4), BACKGROUND)
    assert timeline.words()[0] == "stroke of background"
    layer.paint((2, 4), 7)
    assert timeline.words()[0] == "stroke of label 7"
    layer.data_setitem((np.array([0, 5]), np.array([1, 6])), np.array([1, 2], np.uint8))
    assert timeline.words()[0] == "stroke"
    assert timeline.undo().changes[0].place == ((0, 1), (5, 6))
    layer.paint((2, 4), 0)
    assert timeline.words()[0] == "eraser"


def test_a_stroke_in_two_pieces_has_one_block():
    data = np.full((6, 6), 9, np.uint8)
    pieces = [
        ((slice(0, 2), slice(0, 2)), np.eye(2, dtype=bool), np.array([1, 2], np.uint8), 9),
        ((slice(1, 3), slice(1, 2)), None, np.array([[9], [3]], np.uint8), 9),
    ]
    stroke = stroke_of(data, pieces)
    assert stroke.where == (slice(0, 3), slice(0, 2))
    np.testing.assert_array_equal(stroke.before, [[1, 9], [9, 2], [9, 3]])
    np.testing.assert_array_equal(stroke.after, np.full((3, 2), 9))
    np.testing.assert_array_equal(stroke.painted, [[True, False], [False, True], [False, True]])
    assert (data == 9).all()


def test_a_block_is_swapped():
    layer = Labels(np.arange(12, dtype=np.uint8).reshape(3, 4))
    layer.editable = False
    old = layer.data.copy()
    before = write(layer, (slice(1, 3), slice(0, 2)), np.zeros((2, 2), np.uint8))
    assert layer.data[1:, :2].sum() == 0
    after = swap(layer, before)
    np.testing.assert_array_equal(layer.data, old)
    swap(layer, after)
    assert layer.data[1:, :2].sum() == 0
    assert not layer.editable


def test_naparis_own_undo_is_emptied_and_the_brush_stays():
    layer, timeline = followed(np.zeros((8, 8), np.uint8))
    layer.mode = "paint"
    layer.paint((2, 2), 1)
    layer.paint((5, 5), 2)
    timeline.undo()
    state = layer.data.copy()
    layer.undo()  # or it would take back the stroke that is gone, and with it what came later
    np.testing.assert_array_equal(layer.data, state)
    assert layer.mode == "paint"
    layer.mode = "polygon"
    forget(layer)
    assert layer.mode == "polygon"


def test_fifty_large_strokes_come_back_and_take_little_memory():
    """Balls drawn through 96³ of noise, which can't be packed."""
    rng = np.random.default_rng(0)
    layer, timeline = followed(rng.integers(0, 255, (96, 96, 96), np.uint8))
    layer.n_edit_dimensions, layer.brush_size = 3, 44
    napari: list[int] = []  # bytes of each stroke that it keeps
    kept, states = [], [layer.data.copy()]
    layer.events.paint.connect(lambda event: napari.append(sum(_bytes_of(atom) for atom in event.value)))
    layer.events.editable.connect(lambda event: napari.clear())
    for step in range(50):
        with layer.block_history():
            for x in range(20, 80, 20):
                layer.paint((23 + step, 48, x), 1 + step % 2)
        kept.append(sum(napari))
        states.append(layer.data.copy())
    assert timeline.size() < 16 * 2**20
    assert max(kept) < NAPARI_BYTES + max(np.diff([0, *kept]))
    for state in states[-2::-1]:
        timeline.undo()
        np.testing.assert_array_equal(layer.data, state)
    assert timeline.size() < 32 * 2**20
    assert timeline.words()[0] == ""
