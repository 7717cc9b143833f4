"""The rules between rounds, one by one, in 2D and 3D."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.boxes import (
    Segment,
    agreed,
    core,
    ellipse,
    filled,
    least_fills,
    place_of,
    render,
    render_objects,
    reset,
    segment,
    settle,
    unknown,
    voted,
)
from wsseg.hints import Box


def box(dims, start=2, stop=12, class_id=1, id=1):
    return Box((start,) * dims, (stop,) * dims, class_id, id)


OUTPUTS = {1: 1, 2: 2}


def test_outside_of_all_boxes_is_background_and_nothing_else(dims):
    one = box(dims)
    labels = render((20,) * dims, [filled(one)], OUTPUTS)
    assert (labels.weight == 1).all()
    assert labels.target.sum() == 10**dims
    assert (labels.target[place_of(one)] == 1).all()


def test_the_small_box_is_in_front(dims):
    large, small = box(dims), box(dims, 4, 8, 2, 2)
    for order in ([filled(large), filled(small)], [filled(small), filled(large)]):
        labels = render((20,) * dims, order, OUTPUTS)
        assert (labels.target[place_of(small)] == 2).all()
        assert np.count_nonzero(labels.target == 1) == 10**dims - 4**dims


def test_a_ring_around_a_disc_keeps_both(dims):
    large, small = box(dims, 0, 12, 1, 1), box(dims, 3, 9, 2, 2)
    ball, disc = ellipse(large).mask, ellipse(small).mask
    hollow = ball.copy()
    hollow[place_of(small)] &= ~disc
    labels = render((12,) * dims, [segment(large, hollow), segment(small, disc)], OUTPUTS)
    assert np.count_nonzero(labels.target == 1) == hollow.sum()
    assert np.count_nonzero(labels.target == 2) == disc.sum()
    # what the small box calls “not the object” may well be the large one's
    assert (labels.target[place_of(small)] == 1).any()


def test_the_core_has_a_fifth_of_the_area_and_the_rest_is_unknown(dims):
    one = Box((0,) * dims, (40,) * dims, 1, 1)
    inner = core(one)
    assert inner.fill == pytest.approx(0.2, abs=0.03)
    labels = render((44,) * dims, [inner], OUTPUTS)
    assert np.count_nonzero(labels.weight == 0) == 40**dims - inner.mask.sum()
    assert (labels.weight[-4:] == 1).all()
    assert (labels.target[labels.weight > 0] == 1).sum() == inner.mask.sum()


def test_the_ellipse_fills_what_geometry_says(dims):
    expected = {2: np.pi / 4, 3: np.pi / 6}[dims]
    assert ellipse(Box((0,) * dims, (60, 40, 50)[:dims], 1, 1)).fill == pytest.approx(expected, abs=0.01)


def test_what_fills_too_little_is_reset(dims):
    one = box(dims)
    mask = np.zeros((10,) * dims, bool)
    mask[:4] = True
    little = segment(one, mask)
    assert reset(little, {1: 0.5}, filled(one)).fill == 1
    assert not reset(little, {1: 0.5}, unknown(one)).known.any()
    assert reset(little, {1: 0.4}, filled(one)) is little
    assert reset(little, {}, filled(one)).fill == 1  # half, where nothing was learned


def test_the_least_fill_is_learned_for_thin_objects_only():
    least = least_fills({1: [0.9, 0.8], 2: [0.2, 0.2, 0.3]})
    assert least == {1: 0.5, 2: pytest.approx(0.6 * 0.2)}


def test_votes_make_object_rest_and_unknown(dims):
    one = box(dims)
    votes = np.zeros((10, *(10,) * dims), bool)
    votes[:7, 0], votes[:6, 1], votes[:3, 2], votes[:2, 3] = True, True, True, True
    result = voted(one, votes)
    assert result.mask[0].all()
    assert result.mask.sum() == 10 ** (dims - 1)
    assert not result.known[1:3].any()
    assert result.known[[0, 3, 4]].all()


def test_agreement_keeps_what_all_say(dims):
    one = box(dims)
    a, b = np.zeros((2, *(10,) * dims), bool)
    a[:6], b[4:8] = True, True
    result = agreed([segment(one, a), segment(one, b)])
    assert result.mask[4:6].all()
    assert result.mask.sum() == 2 * 10 ** (dims - 1)
    assert not result.known[:4].any()
    assert not result.known[6:8].any()
    assert result.known[8:].all()


def test_a_shared_voxel_goes_to_the_surest_box_of_a_class(dims):
    left = Box((0,) * dims, (8,) + (4,) * (dims - 1), 1, 1)
    right = Box((6,) + (0,) * (dims - 1), (14,) + (4,) * (dims - 1), 1, 2)
    sure, unsure = np.full((8,) + (4,) * (dims - 1), 0.9), np.full((8,) + (4,) * (dims - 1), 0.8)
    first, second = settle([sure, unsure], [left, right])
    assert first.mask.all()
    assert not second.mask[:2].any()
    assert second.mask[2:].all()
    first, second = settle([sure, unsure], [left, Box(right.start, right.stop, 2, 2)])
    assert first.mask.all()
    assert second.mask.all()  # another class: both keep it


def test_the_smaller_box_wins_where_both_are_as_sure(dims):
    large, small = box(dims), box(dims, 4, 8, 1, 2)
    ones = [np.ones((10,) * dims), np.ones((4,) * dims)]
    first, second = settle(ones, [large, small])
    assert second.mask.all()
    assert first.mask.sum() == 10**dims - 4**dims
    objects = render_objects((20,) * dims, [first, second])
    assert {int(v): int((objects == v).sum()) for v in (1, 2)} == {1: 10**dims - 4**dims, 2: 4**dims}


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_settled_masks_never_overlap_within_a_class_and_never_leave_their_box(data):
    count = data.draw(st.integers(1, 5))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    boxes = []
    for i in range(count):
        start = rng.integers(0, 8, 2)
        stop = start + rng.integers(1, 8, 2)
        boxes.append(Box(tuple(map(int, start)), tuple(map(int, stop)), 1, i + 1))
    probabilities = [rng.random(np.subtract(b.stop, b.start)) for b in boxes]
    segments = settle(probabilities, boxes, 0.5)
    total, union = np.zeros((16, 16), int), np.zeros((16, 16), bool)
    for one, probability in zip(segments, probabilities, strict=True):
        total[place_of(one.box)] += one.mask
        union[place_of(one.box)] |= probability > 0.5
        assert not (one.mask & (probability <= 0.5)).any()
    assert total.max() <= 1
    if len(boxes) < 3:  # with three, a voxel may go to one that loses it to the next
        assert np.array_equal(total > 0, union)
    labels = render((16, 16), segments, OUTPUTS)
    assert np.array_equal(labels.target > 0, total > 0)


def test_a_segment_is_known_everywhere_unless_told(dims):
    one = box(dims)
    assert isinstance(segment(one, np.ones((10,) * dims, bool)), Segment)
    assert segment(one, np.ones((10,) * dims, bool)).known.all()
