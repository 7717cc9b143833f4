"""Where to mark next: closed forms, a slow loop, and what must not matter."""

import numpy as np
import pytest

from wsseg.features import Features, Level
from wsseg.guidance import NEAR, Situation, doubt_of, likeness, suggest


def finished(shape, axis, *indices) -> np.ndarray:
    """Marks: these slices along an axis."""
    known = np.zeros(shape, bool)
    for index in indices:
        known[(slice(None),) * axis + (index,)] = True
    return known


def slow_score(known, doubt, spacing, region) -> float:
    """The same by loops over all voxels and all marks, for one place."""
    marks = np.argwhere(known) * spacing
    total, count = 0.0, 0
    for voxel in np.ndindex(known.shape):
        if all(part.start <= v < part.stop for v, part in zip(voxel, region, strict=True)):
            count += 1
            if not known[voxel]:
                away = np.sqrt(((marks - np.multiply(voxel, spacing)) ** 2).sum(1)).min()
                total += doubt[voxel] * away / (away + NEAR * min(spacing))
    return total / count


def test_doubt_is_one_minus_the_margin():
    said = np.array([[1, 0.5, 0.2], [0, 0.5, 0.7], [0, 0, 0.1]])
    np.testing.assert_allclose(doubt_of(said), [0, 1, 0.5], atol=1e-6)
    assert not doubt_of(np.ones((1, 3, 2))).any()


def test_before_anything_is_predicted_doubt_goes_by_intervals():
    now = Situation(finished((21, 4, 4), 0, 10), (1.0,) * 3)
    doubt, intervals = (suggest(now, rule, count=6) for rule in ("doubt", "intervals"))
    assert doubt == intervals


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_intervals_bisect_the_widest_gap_whatever_the_spacing(axis):
    shape = [4, 4, 4]
    shape[axis] = 35
    spacing = [0.5, 3.0, 1.0]
    now = Situation(np.zeros(shape, bool), tuple(spacing))
    (first,) = suggest(now, "intervals", axes=[axis])
    assert (first.axis, first.index) == (axis, 17)
    known = finished(shape, axis, 17)
    # a border counts twice: 2 · (5 + ½) before 17 − 5
    chosen = [
        place.index for place in suggest(Situation(known, tuple(spacing)), "intervals", axes=[axis], count=4)
    ]
    assert chosen[:2] in ([5, 29], [29, 5], [6, 28], [28, 6], [5, 28], [6, 29])
    assert set(chosen[2:]) <= {11, 12, 22, 23}


def test_a_list_of_intervals_spreads_over_all_of_the_volume():
    places = suggest(Situation(np.zeros((64, 8, 8), bool), (1.0,) * 3), "intervals", axes=[0], count=15)
    gaps = np.diff(sorted(place.index for place in places))
    assert gaps.min() >= 2
    assert gaps.max() <= 8


@pytest.mark.parametrize("shape", [(9, 7, 8), (12, 11)])
def test_scores_are_those_of_a_slow_loop(shape):
    rng = np.random.default_rng(0)
    spacing = (2.0, 0.5, 1.0)[: len(shape)]
    known = np.zeros(shape, bool)
    known.ravel()[rng.choice(known.size, 12, replace=False)] = True
    doubt = rng.random(shape)
    places = suggest(Situation(known, spacing, doubt), count=1000)
    expected = slow_score(known, doubt, spacing, places[0].region)
    assert places[0].score == pytest.approx(expected, rel=1e-4)
    if len(shape) == 3:  # the first is the best of all slices
        every = []
        for axis, n in enumerate(shape):
            for index in range(n):
                region = [slice(0, m) for m in shape]
                region[axis] = slice(index, index + 1)
                every.append(slow_score(known, doubt, spacing, region))
        assert expected == pytest.approx(max(every))
    assert len({str(place.region) for place in places}) == len(places)


def test_the_slice_in_doubt_is_chosen_and_not_one_that_is_finished():
    doubt = np.zeros((20, 10, 10))
    doubt[7, 2:8, 2:8] = 1
    doubt[12] = 0.9
    known = finished(doubt.shape, 0, 12)
    first, second = suggest(Situation(known, (1.0,) * 3, doubt), axes=[0], count=2)
    assert first.index == 7
    assert first.doubt == pytest.approx(0.36)
    assert first.distance == pytest.approx(5)
    assert first.centre == (7, 5, 5)
    assert (second.index, second.doubt) == (2, 0)  # nothing else is in doubt: the widest gap


def test_any_axis_may_be_the_best():
    for axis in range(3):
        doubt = np.full((12, 13, 14), 0.1)
        doubt[(slice(None),) * axis + (4,)] = 0.8
        (place,) = suggest(Situation(np.zeros(doubt.shape, bool), (1.0, 2.0, 3.0), doubt))
        assert (place.axis, place.index) == (axis, 4)


def test_beside_a_mark_doubt_counts_half():
    doubt = np.zeros((30, 4, 4))
    doubt[11], doubt[20] = 0.9, 0.6
    known = finished(doubt.shape, 0, 10)
    assert suggest(Situation(known, (1.0,) * 3, doubt), axes=[0])[0].index == 20
    assert suggest(Situation(known * False, (1.0,) * 3, doubt), axes=[0])[0].index == 11


def features_of(values: np.ndarray) -> Features:
    """(F, *S), on one grid."""
    return Features(values.shape[1:], (Level((1,) * (values.ndim - 1), values.astype(np.float16)),))


def test_likeness_of_two_kinds_of_slices():
    values = np.zeros((1, 10, 3, 3))
    values[:, 8:] = 1  # two of ten look otherwise
    regions = [(slice(i, i + 1), slice(0, 3), slice(0, 3)) for i in range(10)]
    alike = likeness(features_of(values), regions)
    # squared distances are 0 or d, on average 0.32 d
    other = np.exp(-1 / 0.32)
    np.testing.assert_allclose(alike[:8], 0.8 + 0.2 * other, rtol=1e-3)
    np.testing.assert_allclose(alike[8:], 0.2 + 0.8 * other, rtol=1e-3)


def test_of_two_slices_in_the_same_doubt_the_usual_one_comes_first():
    values = np.zeros((1, 10, 4, 4))
    values[:, 2] = 5
    doubt = np.zeros((10, 4, 4))
    doubt[2] = doubt[6] = 0.5
    known = np.zeros(doubt.shape, bool)
    assert suggest(Situation(known, (1.0,) * 3, doubt), axes=[0])[0].index == 2
    now = Situation(known, (1.0,) * 3, doubt, features_of(values))
    assert suggest(now, axes=[0])[0].index == 6


def test_windows_cover_a_picture_and_find_the_doubt():
    doubt = np.zeros((70, 90))
    doubt[60:70, 60:76] = 1
    now = Situation(np.zeros(doubt.shape, bool), (1.0, 1.0), doubt)
    covered = np.zeros(doubt.shape, bool)
    places = suggest(now, count=10_000)
    for place in places:
        covered[place.region] = True
        assert all(part.stop - part.start >= 16 for part in place.region)
    assert covered.all()
    rows, columns = places[0].region
    assert rows.stop > 60
    assert columns.start < 76
    assert columns.stop > 60
    assert places[0].axis is None
    assert places[0].index is None


def test_random_takes_what_is_not_finished_and_keeps_to_its_seed():
    known = finished((6, 5, 5), 0, 0, 1, 2)
    now = Situation(known, (1.0,) * 3)
    drawn = {suggest(now, "random", axes=[0], seed=seed)[0].index for seed in range(30)}
    assert drawn == {3, 4, 5}
    places = suggest(now, "random", axes=[0], count=9, seed=3)
    assert [p.region for p in places] == [p.region for p in suggest(now, "random", axes=[0], count=9, seed=3)]
    assert {place.index for place in places} == {3, 4, 5}


@pytest.mark.parametrize("rule", ["doubt", "intervals", "random"])
def test_where_all_is_marked_there_is_nothing_to_suggest(rule):
    assert suggest(Situation(np.ones((4, 4, 4), bool), (1.0,) * 3), rule) == []
    assert suggest(Situation(np.ones((9, 9), bool), (1.0,) * 2), rule) == []


def test_what_does_not_fit_is_refused():
    known = np.zeros((4, 4, 4), bool)
    with pytest.raises(ValueError, match="differ in shape"):
        Situation(known, (1.0,) * 3, np.zeros((4, 4)))
    with pytest.raises(ValueError, match="two or three axes"):
        Situation(known, (1.0,) * 2)
    with pytest.raises(ValueError, match="random is right"):
        suggest(Situation(known, (1.0,) * 3), "clever")
    with pytest.raises(ValueError, match="has the axes"):
        suggest(Situation(known, (1.0,) * 3), axes=[3])
