"""Where slices imply that an object ends, on shapes whose ends are known, and on real organs with truth."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from tiny import small_plans, write_any, wsseg_

from wsseg.commands.fit import NO_END
from wsseg.extent import (
    DEPTH,
    REACH,
    SAFETY,
    WEIGHT,
    beside,
    crossing,
    empty_slices,
    imply_background,
    shows_no_end,
)
from wsseg.weak import WeakLabels

UNIT = (1.0, 1.0, 1.0)
HIPPOCAMPUS = Path(__file__).parents[2] / "shared/data/hippocampus/labelsTr"


def _annotated(truth, axis, slices):
    weight = np.zeros(truth.shape, np.float32)
    np.moveaxis(weight, axis, 0)[list(slices)] = 1
    return WeakLabels(truth.astype(np.int64), weight)


def _ellipsoid(shape, centre, radii):
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    return (((grid - centre) / radii) ** 2).sum(-1) < 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_ends_of_an_ellipsoid_are_found_with_the_safety_margin(axis):
    shape, centre, radii = (50, 50, 50), np.array([24.0, 26.0, 25.0]), np.array([15.0, 14.0, 16.0])
    truth = _ellipsoid(shape, centre, radii)
    ends = centre[axis] + np.array([-1, 1]) * radii[axis] * (1 + 2 * SAFETY)
    found = empty_slices(_annotated(truth, axis, [18, 25, 32]), axis)
    expected = [i for i in range(50) if i < ends[0] or i > ends[1]]
    assert len(set(found) ^ set(expected)) <= 2  # a voxelised area is not exactly the ellipse's
    assert not truth.take(found, axis).any()


def test_implied_background_adds_to_what_was_said_and_changes_nothing_else():
    truth = _ellipsoid((40, 30, 30), (20, 15, 15), (10, 9, 9))
    labels = _annotated(truth, 0, [15, 20, 25])
    more = imply_background(labels, UNIT)
    new = (more.weight > 0) & ~labels.known
    assert new.any()
    assert np.array_equal(more.weight[labels.known], labels.weight[labels.known])
    assert np.array_equal(more.target[labels.known], labels.target[labels.known])
    assert set(more.weight[new]) == {WEIGHT}
    assert (more.target[new] == 0).all()
    assert not truth[new].any()
    assert labels.weight.sum() == 3 * 900  # the labels given were not touched


def _cylinder(shape):
    return np.broadcast_to(_ellipsoid(shape[1:], np.array(shape[1:]) / 2, (6, 6)), shape)


@pytest.mark.parametrize(
    ("truth", "slices"),
    [
        (_cylinder((40, 30, 30)), [10, 20, 30]),  # a shaft leaves through both ends
        (_ellipsoid((40, 30, 30), (20, 15, 15), (10, 16, 16)), [15, 20, 25]),  # touches the sides
        (_ellipsoid((40, 30, 30), (20, 15, 15), (10, 9, 9)), [5, 20, 25]),  # an empty slice was shown
        (_ellipsoid((40, 30, 30), (20, 15, 15), (10, 9, 9)), [20]),  # one slice says nothing of another
        (_ellipsoid((40, 30, 30), (20, 15, 15), (10, 9, 16)), [17, 23]),  # two, and it touches the sides
    ],
)
def test_nothing_is_implied_where_slices_do_not_say_so(truth, slices):
    labels = _annotated(truth, 0, slices)
    assert imply_background(labels, UNIT).weight.sum() == labels.weight.sum()


def test_scribbles_dense_masks_and_pictures_imply_nothing():
    truth = _ellipsoid((40, 30, 30), (20, 15, 15), (10, 9, 9))
    strokes = _annotated(truth, 0, [15, 20, 25])
    strokes.weight[:, :, 14] = 0  # not one slice is finished
    assert imply_background(strokes, UNIT).weight.sum() == strokes.weight.sum()
    dense = WeakLabels(truth.astype(np.int64), np.ones(truth.shape, np.float32))
    assert imply_background(dense, UNIT) is dense
    flat = WeakLabels(np.zeros((9, 9), np.int64), np.zeros((9, 9), np.float32))
    assert imply_background(flat, UNIT) is flat


def _sausage(shape, radius, length, axis=1):
    """All that is nearer than `radius` to a line of this length along an axis, in the middle."""
    grid = np.indices(shape) - (np.array(shape).reshape(3, 1, 1, 1) // 2).astype(float)
    grid[axis] -= np.clip(grid[axis], -length / 2, length / 2)
    return np.linalg.norm(grid, axis=0) < radius


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("unit", [1.0, 2.5])
def test_beside_two_slices_of_a_sausage_is_what_its_cones_leave_free(axis, unit):
    """Radius 9, slices along it at ±3 show what is within √(81 − 9) of a line: all has a closed form."""
    lies = 2 if axis == 1 else 1
    truth = _sausage((61, 61, 61), 9, 40, lies)
    found = beside(_annotated(truth, axis, [27, 33]), axis, (unit,) * 3)
    assert not found[np.moveaxis(truth, axis, 0)].any()
    grid = np.moveaxis(np.indices((61, 61, 61)) - 30.0, axis + 1, 1)  # planes' axes stay in their order
    along, radius = abs(grid[axis]), np.sqrt(81 - 9)
    across = next(a for a in range(3) if a not in (axis, lies))
    aside = np.hypot(grid[across], np.maximum(abs(grid[lies]) - 20, 0)) - radius
    # between the slices the farther one decides, beyond them the nearer one
    reach, beyond = np.where(along < 3, 3 + along, along - 3), along - 3
    assert found[(aside > reach + 2) | (beyond > DEPTH * (radius + 1))].all()  # a voxel's width is left open
    assert not found[(aside < reach) & (beyond < DEPTH * radius)].any()
    assert found.mean() > 0.4


def test_round_slices_may_cross_a_long_object_so_nothing_is_said_of_its_ends():
    """A shaft of 4 across two slices; beside it both say the same, beyond it nothing but 45° holds."""
    truth = _cylinder((40, 30, 30))
    found = beside(_annotated(truth, 0, [18, 22]), 0, UNIT)
    assert not found[truth].any()
    assert found[20, 2, 2]
    assert not found[0].any()


def test_beside_counts_in_the_world_and_not_in_voxels():
    """The same object, cut into slices twice as thick, leaves the same places free."""
    fine = _sausage((81, 67, 67), 9, 40)
    found = beside(_annotated(fine, 0, [34, 46]), 0, UNIT)
    assert found.mean() > 0.3
    assert np.array_equal(found[::2], beside(_annotated(fine[::2], 0, [17, 23]), 0, (2.0, 1.0, 1.0)))


@pytest.mark.parametrize("unit", [1.0, 2.5])
def test_what_crossing_slices_of_a_ball_leave_free(unit):
    """Radius 9, one slice through the middle along each axis, each a disc of 9: closed form."""
    truth = _ellipsoid((49, 49, 49), (24, 24, 24), (9, 9, 9))
    weight = np.zeros(truth.shape, np.float32)
    for axis in range(3):
        np.moveaxis(weight, axis, 0)[24] = 1
    found = crossing(WeakLabels(truth.astype(np.int64), weight), (unit,) * 3)
    grid = np.indices(truth.shape) - 24.0
    aside = [np.linalg.norm(np.delete(grid, a, 0), axis=0) - 9 > abs(grid[a]) + 1 for a in range(3)]
    expected = np.sum(aside, 0) >= 2
    expected |= (abs(grid) > 8 + REACH * 17).any(0)
    assert np.mean(found != expected) < 0.02
    assert not found[truth].any()


@pytest.mark.parametrize("case", ["two axes", "an empty slice", "touches", "another object"])
def test_slices_that_cross_say_nothing_where_they_do_not_show_the_object(case):
    truth = _ellipsoid((60, 40, 40), (20, 20, 20), (9, 9, 9))
    slices = {0: [20], 1: [20], 2: [20]}
    if case == "two axes":
        del slices[2]
    elif case == "an empty slice":
        slices[1] = [20, 38]
    elif case == "touches":
        truth = truth | _ellipsoid(truth.shape, (20, 20, 33), (5, 5, 9))
    else:
        slices[0] = [20, 50]
        truth = truth | _ellipsoid(truth.shape, (50, 27, 27), (5, 6, 6))
    weight = np.zeros(truth.shape, np.float32)
    for axis, chosen in slices.items():
        np.moveaxis(weight, axis, 0)[chosen] = 1
    labels = WeakLabels(truth.astype(np.int64), weight)
    assert not crossing(labels, UNIT).any()


def _crossed(truth):
    """One slice along each axis, through the middle of the object's extent there."""
    weight = np.zeros(truth.shape, np.float32)
    for axis in range(3):
        inside = np.flatnonzero((truth > 0).any(tuple(a for a in range(3) if a != axis)))
        np.moveaxis(weight, axis, 0)[inside[len(inside) // 2]] = 1
    return WeakLabels(truth.astype(np.int64), weight)


@pytest.mark.skipif(not HIPPOCAMPUS.is_dir(), reason="the shared hippocampus volumes are not here")
def test_on_real_organs_slices_that_cross_tell_half_of_the_background_and_are_seldom_wrong():
    found = wrong = empty = full = 0
    for file in sorted(HIPPOCAMPUS.glob("*.nii.gz"))[:20]:
        truth = np.asanyarray(nibabel.load(file).dataobj).astype(np.int64)
        said = crossing(_crossed(truth), UNIT)
        found, wrong = found + (said & (truth == 0)).sum(), wrong + (said & (truth > 0)).sum()
        empty, full = empty + (truth == 0).sum(), full + (truth > 0).sum()
    assert found > 0.4 * empty
    assert wrong < 0.03 * full


@pytest.mark.skipif(not HIPPOCAMPUS.is_dir(), reason="the shared hippocampus volumes are not here")
def test_on_real_organs_two_slices_across_their_length_do_not_cut_it_short():
    wrong = full = 0
    for file in sorted(HIPPOCAMPUS.glob("*.nii.gz"))[:20]:
        truth = np.asanyarray(nibabel.load(file).dataobj).astype(np.int64)
        inside = np.flatnonzero((truth > 0).any((0, 2)))
        said = beside(_annotated(truth, 1, inside[[len(inside) // 3, 2 * len(inside) // 3]]), 1, UNIT)
        wrong, full = wrong + (said & (np.moveaxis(truth, 1, 0) > 0)).sum(), full + (truth > 0).sum()
    assert wrong < 0.06 * full


def test_objects_that_come_and_go_between_slices_imply_nothing():
    """The second slice shows what the first could not tell of, so there may be more of that elsewhere."""
    truth = _ellipsoid((40, 60, 30), (17, 15, 15), (9, 7, 7))
    more = truth | _ellipsoid((40, 60, 30), (24, 45, 15), (5, 7, 7))
    assert beside(_annotated(truth, 0, [14, 22]), 0, UNIT).any()
    assert not beside(_annotated(more, 0, [14, 22]), 0, UNIT).any()


@pytest.mark.skipif(not HIPPOCAMPUS.is_dir(), reason="the shared hippocampus volumes are not here")
def test_on_real_organs_two_slices_tell_much_of_the_background_and_are_hardly_ever_wrong():
    found = wrong = empty = full = 0
    for file in sorted(HIPPOCAMPUS.glob("*.nii.gz"))[:20]:
        truth = np.asanyarray(nibabel.load(file).dataobj).astype(np.int64)
        said = beside(_annotated(truth, 0, [8, 24]), 0, UNIT)
        found, wrong = found + (said & (truth == 0)).sum(), wrong + (said & (truth > 0)).sum()
        empty, full = empty + (truth == 0).sum(), full + (truth > 0).sum()
    assert found > 0.35 * empty
    assert wrong < 0.02 * full


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_inside_alone_show_no_end(axis):
    """Two slices fit any parabola; a third, or an empty one, tells."""
    truth = np.moveaxis(_ellipsoid((40, 30, 30), (20, 15, 15), (10, 9, 9)), 0, axis)
    for slices, silent in (([18, 22], True), ([14, 20, 26], False), ([18, 22, 38], False), ([38], False)):
        assert shows_no_end(_annotated(truth, axis, slices), UNIT) is silent
    labels = _annotated(truth, axis, [18, 22])
    painted = np.indices(truth.shape).sum(0) % 9 == 0
    strokes = WeakLabels(labels.target, painted.astype(np.float32))
    assert not shows_no_end(strokes, UNIT)
    assert not shows_no_end(WeakLabels(labels.target, np.ones(truth.shape, np.float32)), UNIT)
    assert not shows_no_end(WeakLabels(labels.target[0], labels.weight[0]), UNIT)
    assert not shows_no_end(_crossed(truth.astype(np.int64)), UNIT)


def test_fit_warns_of_slices_inside_alone(tmp_path, monkeypatch):
    small_plans(monkeypatch)
    truth = _ellipsoid((24, 16, 16), (12, 8, 8), (7, 5, 5))
    write_any(tmp_path / "data/images", "a", (truth * 50 + 60).astype(np.uint8))
    hints = np.zeros(truth.shape, np.uint8)
    for index in (10, 14):
        hints[index] = np.where(truth[index] > 0, 1, 255)
    write_any(tmp_path / "data/hints", "a", hints)
    arguments = ("fit", tmp_path / "data", "--steps", 1, "--device", "cpu", "--out")
    assert NO_END in wsseg_(*arguments, tmp_path / "one").output
    hints[0] = 255
    write_any(tmp_path / "data/hints", "a", hints)
    assert NO_END not in wsseg_(*arguments, tmp_path / "two").output


@pytest.mark.skipif(not HIPPOCAMPUS.is_dir(), reason="the shared hippocampus volumes are not here")
def test_on_real_organs_it_finds_most_empty_slices_and_is_hardly_ever_wrong():
    right = wrong = empty = 0
    for file in sorted(HIPPOCAMPUS.glob("*.nii.gz"))[:20]:
        truth = np.asanyarray(nibabel.load(file).dataobj).astype(np.int64)
        there = np.flatnonzero((truth > 0).any((1, 2)))
        low, length = there[0], there[-1] + 1 - there[0]
        slices = [int(low + (i + 0.5) / 3 * length) for i in range(3)]
        found = empty_slices(_annotated(truth, 0, slices), 0)
        hit = (truth[found] > 0).any((1, 2))
        right, wrong = right + (~hit).sum(), wrong + hit.sum()
        empty += truth.shape[0] - len(there)
    assert right > 0.5 * empty
    assert wrong < 0.05 * right
