"""What a worker answers to strokes: the walk alone, or the head's word with the walk around the strokes."""

import numpy as np
import pytest

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
    """A dab in each of these blobs, and a long line of background along an edge."""
    painted = np.zeros(truth.shape, np.uint8)
    painted[(0,) * (painted.ndim - 1)] = BACKGROUND
    for index in which:
        place = tuple(int(a) for a in np.argwhere(truth == index).mean(0).round())
        painted[tuple(slice(p - 1, p + 2) for p in place)] = 1
    return Hints(painted.shape, scribbles=painted)


def chamber(dims: int) -> tuple[np.ndarray, np.ndarray]:
    """Values (1, *S) of noise, a bright wall around what looks like everything else, and what lies inside."""
    shape = (40,) * dims
    truth, wall = np.zeros(shape, np.uint8), np.zeros(shape, bool)
    wall[(slice(9, 31),) * dims] = True
    wall[(slice(10, 30),) * dims] = False
    truth[(slice(10, 30),) * dims] = 1
    noise = np.random.default_rng(0).normal(0, 0.2, shape)
    return np.where(wall, 3, noise)[None].astype(np.float32), truth


def inside_and_outside(truth: np.ndarray, count: int) -> Hints:
    """So many short lines within the chamber, one outside."""
    painted = np.zeros(truth.shape, np.uint8)
    painted[(3,) * (painted.ndim - 1)] = BACKGROUND
    for place in (15, 20, 25)[:count]:
        painted[(*(place,) * (painted.ndim - 1), slice(15, 25))] = 1
    return Hints(painted.shape, scribbles=painted)


def pieces(values: np.ndarray, hints: Hints, objects="auto", before=None) -> list[tuple[Answer, np.ndarray]]:
    """Each piece that arrives, and the mask after it."""
    looked = finish(look(Image(values, (1.0,) * (values.ndim - 1)), "blobs"))
    mask, out = np.zeros(values.shape[1:], np.uint8), []
    for piece in respond(looked, hints, Focus(tuple(slice(0, n) for n in mask.shape)), objects, before):
        if isinstance(piece, Answer):
            mask[piece.region] = piece.mask
            out.append((piece, mask.copy()))
    return out


def answers(values: np.ndarray, hints: Hints, objects="auto", before=None) -> list[np.ndarray]:
    """The mask after each piece that arrives."""
    return [mask for _, mask in pieces(values, hints, objects, before)]


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    return 2 * np.sum((mask > 0) & (truth > 0)) / (np.sum(mask > 0) + np.sum(truth > 0))


def test_where_the_user_says_that_every_object_is_marked_the_walk_answers_and_finds_no_other(dims):
    values, truth = blobs(dims, 3)
    coarse, fine = answers(values, strokes(truth, (1,)), "marked")
    for mask in (coarse, fine):
        assert np.mean(mask[truth == 1] == 1) > 0.95
        assert not mask[truth > 1].any()  # looks the same, and is not marked
        assert mask[truth == 0].mean() < 0.05


@pytest.mark.parametrize(("dims", "marked"), [(2, (1,)), (2, (1, 5)), (3, (1, 5))])
def test_what_looks_alike_and_like_nothing_else_is_found_from_the_first_strokes_on(dims, marked):
    values, truth = blobs(dims, 8)  # in 3D a head is not sure of anything after one dab
    *_, (last, mask) = pieces(values, strokes(truth, marked))
    assert last.meant == "alike"
    for index in range(2, 9):
        assert np.mean(mask[truth == index] == 1) > 0.7


def test_where_some_of_many_are_marked_the_others_are_found(dims):
    values, truth = blobs(dims, 8)
    found = pieces(values, strokes(truth, (1, 3, 5, 7)))
    assert [piece.meant for piece, _ in found] == ["alike"] * len(found)
    assert found[-1][0].more > 0.5  # hidden strokes are found by the head and by no walk
    *first, (_, last) = found
    assert first  # the head's word comes first
    for index in (2, 4, 6, 8):
        assert np.mean(last[truth == index] == 1) > 0.7
    assert dice(last, truth) >= dice(first[-1][1], truth)


@pytest.mark.parametrize("count", [1, 3])
def test_what_looks_like_its_surroundings_is_what_walks_reach_however_often_it_is_marked(dims, count):
    values, truth = chamber(dims)
    for piece, mask in pieces(values, inside_and_outside(truth, count)):
        assert piece.meant == "marked"
        assert dice(mask, truth) > 0.9
    first, *_ = answers(values, inside_and_outside(truth, count), "alike")
    assert dice(first, truth) < 0.9  # the head's word


def test_the_user_may_ask_for_no_walk(dims):
    values, truth = chamber(dims)
    found = pieces(values, inside_and_outside(truth, 3), "off")
    assert [piece.meant for piece, _ in found] == [None] * len(found)
    assert dice(found[-1][1], truth) < 0.9


def test_one_class_alone_tells_nothing(dims):
    values, truth = blobs(dims, 2)
    hints = strokes(truth, (1, 2))
    hints.scribbles[hints.scribbles == BACKGROUND] = 0
    (only,) = answers(values, hints)
    assert not only.any()


def test_what_hidden_strokes_said_before_is_taken_for_so_until_they_are_asked(dims):
    values, truth = chamber(dims)
    hints = inside_and_outside(truth, 3)
    *_, kept = answers(values, hints)
    (first, rough), *_, (last, put_right) = pieces(values, hints, before=1.0)  # as if the head had found all
    assert first.meant == "alike"
    assert dice(rough, truth) < 0.9
    assert last.meant == "marked"
    assert np.array_equal(put_right, kept)


def test_class_ids_may_be_any_and_cost_nothing(dims):
    values, truth = blobs(dims, 8)
    hints = strokes(truth, (1, 5))
    high = Hints(truth.shape, scribbles=np.where(hints.scribbles == 1, 200, hints.scribbles))
    np.testing.assert_array_equal(answers(values, high)[-1], 200 * answers(values, hints)[-1])


def test_two_classes_and_no_background_share_the_image(dims):
    values, truth = blobs(dims, 8)
    hints = strokes(truth, (1, 5))
    hints = Hints(truth.shape, scribbles=np.select([hints.scribbles == 1, hints.scribbles > 1], [9, 4]))
    mask = answers(values, hints)[-1]
    assert set(np.unique(mask)) == {4, 9}
    assert (mask[truth == 2] == 9).mean() > 0.7
