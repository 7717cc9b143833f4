"""Hints are checked when made; weak labels follow from them by the documented order of certainty."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wsseg.errors import InputError
from wsseg.hints import BACKGROUND, Box, Click, Hints, Tag, leave_out
from wsseg.weak import CLICK_RADIUS, WeakLabels, weak_labels

CLASSES = {1: "cell", 2: "wall"}


def test_shapes_must_agree():
    with pytest.raises(InputError, match=r"\(3, 4\).*\(4, 4\)"):
        Hints((4, 4), scribbles=np.zeros((3, 4), np.uint8))
    with pytest.raises(InputError, match="2 or 3 spatial axes"):
        Hints((4,))


def test_a_hint_map_holds_whole_numbers():
    with pytest.raises(InputError, match="float32"):
        Hints((4, 4), scribbles=np.zeros((4, 4), np.float32))
    with pytest.raises(InputError, match="int64"):
        Hints((4, 4), mask=np.full((4, 4), -1))


@pytest.mark.parametrize("position", [(4.0, 0.0), (-0.6, 0.0), (1.0,), (np.nan, 1.0)])
def test_clicks_lie_inside(position):
    with pytest.raises(InputError, match="outside the image"):
        Hints((4, 4), clicks=(Click(position, 1),))


@pytest.mark.parametrize(("start", "stop"), [((0, 0), (0, 2)), ((0, 0), (2, 5)), ((-1, 0), (2, 2))])
def test_boxes_lie_inside_and_hold_something(start, stop):
    with pytest.raises(InputError, match="Box 7"):
        Hints((4, 4), boxes=(Box(start, stop, 1, 7),))


def test_empty_means_that_nothing_is_said():
    assert Hints((4, 4)).is_empty()
    assert Hints((4, 4), scribbles=np.zeros((4, 4), np.uint8)).is_empty()
    assert not Hints((4, 4), tags=frozenset()).is_empty()  # "none of the classes" says something
    assert not Hints((4, 4), clicks=(Click((0, 0), 0),)).is_empty()


def test_class_ids_of_every_kind():
    scribbles = np.zeros((4, 4), np.uint8)
    scribbles[0, 0], scribbles[1, 1] = 2, BACKGROUND
    hints = Hints(
        (4, 4),
        scribbles=scribbles,
        mask=np.full((4, 4), 3, np.uint16),
        clicks=(Click((0, 0), 0), Click((0, 0), 4)),
        boxes=(Box((0, 0), (1, 1), 5, 1),),
        tags=frozenset({Tag(6)}),
    )
    assert hints.class_ids() == {2, 3, 4, 5, 6}


def test_an_unknown_class_is_named():
    hints = Hints((4, 4), scribbles=np.full((4, 4), 254, np.uint8))
    with pytest.raises(InputError, match=r"scan\.nii: value 254 .* 1 \(cell\), 2 \(wall\).*--unknown"):
        hints.check(CLASSES, "scan.nii")


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=3, max_side=6)))
def test_a_hint_map_becomes_labels_voxel_by_voxel(scribbles):
    labels = weak_labels(Hints(scribbles.shape, scribbles=scribbles))
    for place in np.ndindex(*scribbles.shape):
        said = int(scribbles[place])
        assert labels.weight[place] == (0 if said == 0 else 1)
        if said:
            assert labels.target[place] == (0 if said == BACKGROUND else said)
    assert labels.share() == pytest.approx(np.count_nonzero(scribbles) / scribbles.size)
    assert sum(labels.counts().values()) == np.count_nonzero(scribbles)


def test_the_more_certain_kind_wins():
    shape = (9, 9)
    scribbles = np.zeros(shape, np.uint8)
    scribbles[4, 4] = BACKGROUND
    clicks = (Click((4, 4), 1),)
    labels = weak_labels(Hints(shape, scribbles=scribbles, clicks=clicks))
    assert labels.target[4, 4] == 0  # scribble before click
    assert labels.target[3, 4] == 1
    assert labels.weight[3, 4] == 1
    mask = np.full(shape, 2, np.uint8)
    labels = weak_labels(Hints(shape, scribbles=scribbles, mask=mask, clicks=clicks))
    assert (labels.target == 2).all()
    assert (labels.weight == 1).all()


@settings(deadline=None)
@given(
    st.integers(2, 3).flatmap(lambda d: st.tuples(*[st.integers(0, 6)] * d)),
    st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=3, max_size=3),
)
def test_a_click_is_a_ball_in_the_world(place, spacing):
    shape, spacing = (7,) * len(place), spacing[: len(place)]
    labels = weak_labels(Hints(shape, clicks=(Click(tuple(map(float, place)), 1),)), spacing=spacing)
    for other in np.ndindex(*shape):
        distance = np.linalg.norm((np.array(other) - place) * spacing) / min(spacing)
        assert (labels.weight[other] > 0) == (distance <= CLICK_RADIUS)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_click_beside_what_is_held_out_says_nothing_of_it(ndim):
    shape, held = (9,) * ndim, np.zeros((9,) * ndim, np.uint8)
    held[4] = BACKGROUND
    clicks = tuple(Click((at, *(4.0,) * (ndim - 1)), 1) for at in (3.0, 4.0, 5.0))
    everywhere = weak_labels(Hints(shape, clicks=clicks)).known
    assert everywhere[4].any()
    known = weak_labels(leave_out(Hints(shape, clicks=clicks), held)).known
    for place in np.ndindex(*shape):
        near = any(
            np.linalg.norm(np.subtract(place, click.position)) <= CLICK_RADIUS for click in clicks[::2]
        )
        assert known[place] == (near and place[0] != 4)
    with pytest.raises(InputError, match="unknown has shape"):
        Hints(shape, unknown=np.zeros((9,), bool))


def test_weak_labels_check_themselves():
    with pytest.raises(ValueError, match="differ in shape"):
        WeakLabels(np.zeros((2, 2), np.int64), np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match="≥ 0"):
        WeakLabels(np.zeros((2, 2), np.int64), np.full((2, 2), -1, np.float32))


def test_hints_are_the_same_only_if_all_is():
    scribbles = np.zeros((4, 4), np.uint8)
    one = Hints((4, 4), scribbles, boxes=(Box((0, 0), (2, 2), 1, 1),))
    assert one.same(Hints((4, 4), scribbles.copy(), boxes=(Box((0, 0), (2, 2), 1, 1),)))
    painted = scribbles.copy()
    painted[0, 0] = 1
    for other in (
        Hints((4, 4), painted, boxes=one.boxes),
        Hints((4, 4), None, boxes=one.boxes),
        Hints((4, 4), scribbles, boxes=one.boxes, unknown=np.ones((4, 4), bool)),
        Hints((4, 4), scribbles, boxes=(Box((0, 0), (2, 2), 1, 2),)),
        Hints((4, 4), scribbles, boxes=one.boxes, all_boxed=False),
        Hints((4, 4), scribbles, boxes=one.boxes, clicks=(Click((1.0, 1.0), 1),)),
    ):
        assert not one.same(other)
        assert not other.same(one)
