"""Measures of shapes whose volume, middle and brightness are known in closed form."""

import math

import numpy as np
import pytest

from wsseg.hints import BACKGROUND, Click, Hints
from wsseg.measure import Cleaning, clean, measure_classes, measure_objects
from wsseg.world import World


def world(spacing, *, origin=0.0, unit="mm") -> World:
    n = len(spacing)
    matrix = np.hstack([np.diag(spacing), np.full((n, 1), float(origin))])
    return World(matrix, tuple(spacing), (unit,) * n)


def ball(dims: int, size: int, radius: float) -> np.ndarray:
    """A disk or ball of class 1 in the middle."""
    grid = np.indices((size,) * dims) - (size - 1) / 2
    return (np.linalg.norm(grid, axis=0) <= radius).astype(np.uint8)


def test_a_ball_has_the_volume_of_a_ball(dims):
    mask, spacing = ball(dims, 41, 15.0), (0.5,) * dims
    (row,) = measure_classes(mask, world(spacing, origin=7))
    radius = 7.5
    truth = math.pi * radius**2 if dims == 2 else 4 / 3 * math.pi * radius**3
    assert row["volume"] == pytest.approx(truth, rel=0.01)
    assert row["voxels"] == mask.sum()
    assert row["unit"] == ("mm²" if dims == 2 else "mm³")
    assert row["objects"] == 1
    for i in range(dims):
        assert row[f"centroid-{i}"] == pytest.approx(7 + 20 * 0.5)
        assert (row[f"start-{i}"], row[f"stop-{i}"]) == (5, 36)


def test_a_box_with_voxels_longer_than_wide():
    mask = np.zeros((10, 20, 30), np.uint16)
    mask[2:5, 4:10, 10:20] = 300
    (row,) = measure_classes(mask, world((5.0, 1.0, 0.5)))
    assert row["class"] == 300
    assert row["volume"] == 15 * 6 * 5
    assert [row[f"centroid-{i}"] for i in range(3)] == [15, 6.5, 7.25]
    assert [row[f"start-{i}"] for i in range(3)] == [2, 4, 10]
    assert [row[f"stop-{i}"] for i in range(3)] == [5, 10, 20]


def test_a_turned_grid_puts_the_middle_in_the_world():
    turned = World(np.array([[0, -2.0, 100], [3, 0, 50]]), (3.0, 2.0), ("mm", "mm"))
    mask = np.zeros((4, 4), np.uint8)
    mask[1, 3] = 1
    (row,) = measure_classes(mask, turned)
    assert (row["centroid-0"], row["centroid-1"]) == (94, 53)
    assert row["volume"] == 6


def test_classes_are_counted_apart(dims):
    mask = np.zeros((12,) * dims, np.uint8)
    mask[1:3], mask[5], mask[8] = 1, 1, 2
    one, two, three = measure_classes(mask, world((1.0,) * dims), classes=[1, 2, 3])
    assert (one["class"], one["objects"], one["voxels"]) == (1, 2, 3 * 12 ** (dims - 1))
    assert (two["objects"], two["voxels"]) == (1, 12 ** (dims - 1))
    assert (three["objects"], three["voxels"], three["volume"]) == (0, 0, 0)
    assert "centroid-0" not in three


def test_corners_do_not_touch():
    assert measure_classes(np.eye(5, dtype=np.uint8), world((1.0, 1.0)))[0]["objects"] == 5


def test_intensities_of_one_channel_and_of_several():
    mask = np.zeros((4, 6), np.uint8)
    mask[1, 1:5] = 1
    values = np.full((4, 6), 100.0)
    values[1, 1:5] = [1, 2, 3, 6]
    (row,) = measure_classes(mask, world((1.0, 1.0)), image=values[None])
    assert (row["mean"], row["min"], row["max"]) == (3, 1, 6)
    assert row["sd"] == pytest.approx(math.sqrt(3.5))
    (row,) = measure_classes(mask, world((1.0, 1.0)), image=np.stack([values, -values]))
    assert (row["mean-0"], row["mean-1"], row["min-1"], row["max-1"]) == (3, -3, -6, -1)
    assert row["sd-1"] == pytest.approx(math.sqrt(3.5))


class TestCleaning:
    def shell(self, dims):
        """A hollow box of class 1 with a speck of class 2 in its hole, and a speck of class 1 outside."""
        mask = np.zeros((16,) * dims, np.uint8)
        mask[(slice(2, 10),) * dims] = 1
        mask[(slice(4, 8),) * dims] = 0
        mask[(5,) * dims] = 2
        mask[(14,) * dims] = 1
        return mask

    def test_holes_are_filled_but_for_other_classes(self, dims):
        mask = self.shell(dims)
        before = mask.copy()
        one, two = measure_classes(mask, world((2.0,) * dims), cleaning=Cleaning(fill_holes=True))
        assert one["voxels"] == 8**dims - 1 + 1
        assert two["voxels"] == 1
        assert one["objects"] == 2
        np.testing.assert_array_equal(mask, before)

    def test_a_hole_that_is_open_stays(self, dims):
        mask = self.shell(dims)
        mask[(slice(0, 6), *[5] * (dims - 1))] = 0
        assert (
            measure_classes(mask, world((1.0,) * dims), cleaning=Cleaning(fill_holes=True))[0]["voxels"]
            == (mask == 1).sum()
        )

    def test_specks_are_left_out_by_their_volume(self, dims):
        voxel = 2.0**dims
        for size, objects in ((voxel, [2, 1]), (voxel + 0.1, [1])):
            rows = measure_classes(self.shell(dims), world((2.0,) * dims), cleaning=Cleaning(min_size=size))
            assert [row["objects"] for row in rows] == objects

    def test_the_largest_part_of_each_class_stays(self, dims):
        one, two = measure_classes(self.shell(dims), world((1.0,) * dims), cleaning=Cleaning(largest=True))
        assert (one["voxels"], two["voxels"]) == (8**dims - 4**dims, 1)

    def test_all_together_on_objects(self, dims):
        objects = self.shell(dims).astype(np.int32) * 100_000_000
        cleaned = clean(self.shell(dims), world((1.0,) * dims), Cleaning(True, 2, True))
        assert set(np.unique(cleaned)) == {0, 1}
        (row,) = measure_objects(objects, world((1.0,) * dims), cleaning=Cleaning(True, 2, True))
        assert row["object"] == 100_000_000
        assert row["voxels"] == 8**dims - 1  # the speck in the hole was an object of its own

    def test_nothing_is_nothing(self, dims):
        empty = np.zeros((5,) * dims, np.uint8)
        assert measure_classes(empty, world((1.0,) * dims), cleaning=Cleaning(True, 1, True)) == []
        assert measure_objects(empty, world((1.0,) * dims), cleaning=Cleaning(True, 1, True)) == []


class TestHints:
    def test_each_class_and_background_agree_or_not(self):
        mask = np.zeros((10, 10), np.uint8)
        mask[:5] = 1
        painted = np.zeros((10, 10), np.uint8)
        painted[4:6, 0] = 1  # one of two is right
        painted[6:9, 5] = BACKGROUND  # all three are
        painted[0, :4] = 2  # none is
        zero, one, two = measure_classes(mask, world((1.0, 1.0)), hints=Hints((10, 10), painted))
        assert (zero["class"], zero["hinted"], zero["agreement"], zero["voxels"]) == (0, 3, 1.0, 50)
        assert (one["hinted"], one["agreement"]) == (2, 0.5)
        assert (two["class"], two["hinted"], two["agreement"], two["voxels"]) == (2, 4, 0.0, 0)
        assert zero["objects"] is None

    def test_clicks_count_and_what_is_not_hinted_has_no_agreement(self):
        mask = np.ones((9, 9, 9), np.uint8)
        rows = measure_classes(mask, world((1.0,) * 3), hints=Hints((9, 9, 9), clicks=(Click((4, 4, 4), 1),)))
        assert rows[0] == {
            **{"class": 0, "objects": None, "voxels": 0, "volume": 0.0, "unit": "mm³"},
            **{"hinted": 0, "agreement": None},
        }
        assert rows[1]["agreement"] == 1.0
        assert rows[1]["hinted"] >= 1

    def test_objects_have_the_class_of_most_of_their_voxels(self):
        objects, mask = np.zeros((8, 8), np.uint16), np.zeros((8, 8), np.uint8)
        objects[1:4, 1:4], objects[5, 5:8] = 7, 9
        mask[1:4, 1:4], mask[1, 1], mask[5, 5:8] = 2, 1, 1
        painted = np.zeros((8, 8), np.uint8)
        painted[2, 1:5], painted[5, 5] = 2, BACKGROUND
        seven, nine = measure_objects(objects, world((1.0, 1.0)), mask=mask, hints=Hints((8, 8), painted))
        assert (seven["object"], seven["class"], seven["voxels"]) == (7, 2, 9)
        assert (seven["hinted"], seven["agreement"]) == (3, 1.0)
        assert (nine["object"], nine["class"]) == (9, 1)
        assert (nine["hinted"], nine["agreement"]) == (1, 0.0)
        assert measure_objects(objects, world((1.0, 1.0)))[0]["class"] is None
