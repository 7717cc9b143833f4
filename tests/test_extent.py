"""Where slices imply that an object ends, on shapes whose ends are known, and on real organs with truth."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from tiny import small_plans, write_any, wsseg_

from wsseg.commands.fit import NO_END
from wsseg.extent import DEPTH, SAFETY, WEIGHT, beside, empty_slices, imply_background, shows_no_end
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


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("unit", [1.0, 2.5])
def test_beside_two_slices_of_a_ball_is_what_its_cones_leave_free(axis, unit):
    """A ball of 9 with slices at ±3: both show discs of √(81 − 9), so the cones have a closed form."""
    truth = _ellipsoid((41, 41, 41), (20, 20, 20), (9, 9, 9))
    found = beside(_annotated(truth, axis, [17, 23]), axis, (unit,) * 3)
    assert not found[np.moveaxis(truth, axis, 0)].any()
    grid = np.indices((41, 41, 41)) - 20.0
    aside, radius = np.hypot(grid[1], grid[2]), np.sqrt(81 - 9)
    depth = DEPTH * radius
    expected = np.maximum(abs(grid[0]) - 3, 0) > depth  # beyond its ends
    between = abs(grid[0]) <= 3
    # between the slices the farther one decides, beyond them the nearer one
    reach = np.where(between, 3 + abs(grid[0]), abs(grid[0]) - 3)
    expected |= aside - radius > reach + 1
    assert np.mean(found != expected) < 0.03  # a disc of voxels is not exactly a disc
    assert found.mean() > 0.4


def test_beside_counts_in_the_world_and_not_in_voxels():
    """The same ball, cut into slices half as thick, leaves the same place free."""
    thin, coarse = (_ellipsoid((n, 41, 41), (n // 2, 20, 20), (r, 9, 9)) for n, r in ((81, 18), (41, 9)))
    fine = beside(_annotated(thin, 0, [34, 46]), 0, (0.5, 1.0, 1.0))
    rough = beside(_annotated(coarse, 0, [17, 23]), 0, UNIT)
    assert np.mean(fine[::2] != rough) < 0.03


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
        assert shows_no_end(_annotated(truth, axis, slices)) is silent
    labels = _annotated(truth, axis, [18, 22])
    painted = np.indices(truth.shape).sum(0) % 9 == 0
    strokes = WeakLabels(labels.target, painted.astype(np.float32))
    assert not shows_no_end(strokes)
    assert not shows_no_end(WeakLabels(labels.target, np.ones(truth.shape, np.float32)))
    assert not shows_no_end(WeakLabels(labels.target[0], labels.weight[0]))


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
