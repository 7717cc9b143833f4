"""What a worker answers to strokes: the walk alone, or the head's word with the walk around the strokes."""

import numpy as np

from napari_plugin.instantwork import Answer, look, respond
from wsseg.hints import BACKGROUND, Hints
from wsseg.images import Image
from wsseg.instant import Focus
from wsseg.steps import finish


def blobs(dims: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Values (1, *S) of so many squares or cubes in a row, in noise, and which one a voxel belongs to."""
    shape = (16,) * (dims - 1) + (16 * count,)
    truth = np.zeros(shape, np.uint8)
    for index in range(count):
        truth[(*[slice(5, 11)] * (dims - 1), slice(16 * index + 5, 16 * index + 11))] = index + 1
    noise = np.random.default_rng(0).normal(0, 0.2, shape)
    return ((truth > 0) * 2 + noise)[None].astype(np.float32), truth


def strokes(truth: np.ndarray, which: tuple[int, ...]) -> Hints:
    """A short line in each of these blobs, and a long one of background along an edge."""
    painted = np.zeros(truth.shape, np.uint8)
    painted[(0,) * (painted.ndim - 1)] = BACKGROUND
    for index in which:
        place = tuple(int(a) for a in np.argwhere(truth == index).mean(0).round())
        painted[(*place[:-1], slice(place[-1] - 1, place[-1] + 2))] = 1
    return Hints(painted.shape, scribbles=painted)


def answers(values: np.ndarray, hints: Hints, before=None) -> list[np.ndarray]:
    """The mask after each piece that arrives."""
    looked = finish(look(Image(values, (1.0,) * (values.ndim - 1)), "blobs"))
    mask, out = np.zeros(values.shape[1:], np.uint8), []
    for piece in respond(looked, hints, Focus(tuple(slice(0, n) for n in mask.shape)), before):
        if isinstance(piece, Answer):
            mask[piece.region] = piece.mask
            out.append(mask.copy())
    return out


def test_where_every_object_is_marked_the_walk_answers_and_finds_no_other(dims):
    values, truth = blobs(dims, 3)
    coarse, fine = answers(values, strokes(truth, (1,)))
    for mask in (coarse, fine):
        assert np.mean(mask[truth == 1] == 1) > 0.95
        assert not mask[truth > 1].any()  # looks the same, and is not marked
        assert mask[truth == 0].mean() < 0.05
    *_, last = answers(values, strokes(truth, (1,)), "alike")  # whatever the strokes before seemed to mean
    assert np.array_equal(last, fine)


def test_where_some_of_many_are_marked_the_others_are_found(dims):
    values, truth = blobs(dims, 8)
    *pieces, last = answers(values, strokes(truth, (1, 3, 5, 7)))
    assert pieces  # the head's word comes first
    for index in (2, 4, 6, 8):
        assert np.mean(last[truth == index] == 1) > 0.7
    both = 2 * np.sum((last == 1) & (truth > 0)) / (np.sum(last == 1) + np.sum(truth > 0))
    head = 2 * np.sum((pieces[-1] == 1) & (truth > 0)) / (np.sum(pieces[-1] == 1) + np.sum(truth > 0))
    assert both >= head
    *_, again = answers(values, strokes(truth, (1, 3, 5, 7)), "alike")
    assert np.array_equal(again, last)


def test_one_class_alone_tells_nothing(dims):
    values, truth = blobs(dims, 2)
    hints = strokes(truth, (1, 2))
    hints.scribbles[hints.scribbles == BACKGROUND] = 0
    (only,) = answers(values, hints)
    assert not only.any()


def test_what_strokes_meant_before_is_shown_at_once_and_put_right(dims):
    values, truth = blobs(dims, 8)
    some = strokes(truth, (1, 3, 5, 7))
    *_, kept = answers(values, some, "alike")
    first, *_, last = answers(values, some, "marked")  # as if a stroke ago every object had been marked
    assert not first[np.isin(truth, (2, 4, 6, 8))].any()
    assert np.array_equal(last, kept)
    one = strokes(truth, (1,))
    first, *_, last = answers(values, one, "alike")
    assert first[truth > 1].any()
    assert np.array_equal(last, answers(values, one, "marked")[-1])
