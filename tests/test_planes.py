"""Planes: chosen where there is something to see, turned as people look at them."""

import numpy as np
import pytest

from wsseg.planes import Plane, choose_planes, cut, extent


def ball(shape=(20, 24, 28), centre=(10, 12, 14), radius=6) -> np.ndarray:
    grid = np.indices(shape) - np.reshape(centre, (-1, 1, 1, 1))
    return ((grid**2).sum(0) <= radius**2).astype(np.uint8)


def test_planes_without_finished_slices_go_through_the_fullest_slice():
    planes = choose_planes(np.zeros((20, 24, 28), np.uint8), ball())
    assert [(p.axis, p.index) for p in planes] == [(2, 14), (1, 12), (0, 10)]


def test_finished_slices_are_avoided_and_the_nearest_is_shown_as_hint():
    truth = ball()
    hints = np.zeros_like(truth)
    for index in (8, 12):
        hints[index] = np.where(truth[index], 1, 255)
    by_axis = {p.axis: p for p in choose_planes(hints, truth)}
    assert by_axis[0].index == 10  # two slices away from both
    assert by_axis[0].hint_index in (8, 12)
    assert (by_axis[1].index, by_axis[2].index) == (12, 14)
    assert by_axis[1].hint_index == 12  # it crosses the finished slices


def test_a_small_class_counts_as_much_as_a_large_one():
    labels = np.zeros((30, 10, 10), np.uint8)
    labels[2:8] = 1
    labels[25, 4, 4] = 2
    labels[5, 2, 2] = 2
    assert choose_planes(np.zeros_like(labels), labels)[-1].index == 5


@pytest.mark.parametrize("all_finished", [True, False])
def test_nothing_to_see_gives_the_middle(all_finished):
    empty = np.zeros((9, 9, 9), np.uint8)
    hints = np.full_like(empty, 255 if all_finished else 0)
    assert [p.index for p in choose_planes(hints, empty)] == [4, 4, 4]


def test_objects_on_finished_slices_only_are_shown_there():
    labels = np.zeros((16, 8, 8), np.uint8)
    labels[6, 2:6, 2:6] = 1
    hints = np.where(labels, 1, 0).astype(np.uint8)
    hints[6][labels[6] == 0] = 255
    assert choose_planes(hints, labels)[-1].index == 6


def test_a_picture_is_its_own_plane():
    assert choose_planes(np.zeros((5, 6), np.uint8), np.zeros((5, 6), np.uint8)) == [Plane(None, 0, 0)]


def test_cut_puts_x_to_the_right_and_z_up_for_nifti():
    volume = np.zeros((4, 5, 6))  # x, y, z
    volume[3, 0, 5] = 1  # right, front, top
    front = cut(volume, Plane(1, 0, 0), "xyz")
    assert front.shape == (6, 4)
    assert front[0, 3] == 1  # first row is the top, last column the right
    above = cut(volume, Plane(2, 5, 5), "xyz")
    assert above.shape == (5, 4)
    assert above[4, 3] == 1  # y runs up the screen, so y = 0 is the last row


def test_cut_leaves_a_stack_and_a_picture_as_they_are():
    stack = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    np.testing.assert_array_equal(cut(stack, Plane(0, 1, 2), "zyx"), stack[1])
    np.testing.assert_array_equal(cut(stack, Plane(0, 1, 2), "zyx", at_hints=True), stack[2])
    np.testing.assert_array_equal(cut(stack, Plane(2, 3, 3), "zyx"), stack[:, :, 3])
    colour = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    np.testing.assert_array_equal(cut(colour, Plane(None, 0, 0), "yx"), colour)
    np.testing.assert_array_equal(cut(colour[0], Plane(None, 0, 0), "xy"), colour[0].T[::-1])


def test_extent_agrees_with_cut():
    for axes in ("xyz", "zyx"):
        for axis in range(3):
            plane = Plane(axis, 0, 0)
            rows, columns = cut(np.zeros((4, 5, 6)), plane, axes).shape
            assert extent((4, 5, 6), (1, 1, 1), plane, axes) == (rows, columns)
    assert extent((4, 5, 6), (2.0, 3.0, 0.5), Plane(0, 0, 0), "zyx") == (15.0, 3.0)
