"""Touching balls come apart, single ones stay whole, at any size and spacing."""

import numpy as np
import pytest

from wsseg.split import split_objects


def balls(size, *given):
    """A mask of balls: (centre, radius) each."""
    grid = np.indices(size)
    mask = np.zeros(size, bool)
    for centre, radius in given:
        mask |= sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2
    return mask


@pytest.mark.parametrize("scale", [1, 2])
def test_two_balls_that_overlap_are_two(dims, scale):
    size = tuple(scale * n for n in (40, 24, 24)[:dims])
    left, right = ((scale * x,) + (scale * 12,) * (dims - 1) for x in (12, 25))
    parts = split_objects(balls(size, (left, 8 * scale), (right, 8 * scale)), (1.0,) * dims)
    assert parts.max() == 2
    assert parts[left] != parts[right]
    sizes = np.bincount(parts.ravel())[1:]
    assert sizes.min() > 0.9 * sizes.max()
    assert np.array_equal(parts > 0, balls(size, (left, 8 * scale), (right, 8 * scale)))


def test_a_ball_and_a_thick_rod_stay_whole(dims):
    size = (40, 24, 24)[:dims]
    assert split_objects(balls(size, ((16,) + (12,) * (dims - 1), 9)), (1.0,) * dims).max() == 1
    rod = np.zeros(size, bool)
    rod[(slice(4, 36),) + (slice(8, 16),) * (dims - 1)] = True
    assert split_objects(rod, (1.0,) * dims).max() == 1


def test_spacing_makes_a_flat_ball_round():
    size = (12, 40, 24)
    grid = np.indices(size)
    mask = np.zeros(size, bool)
    for x in (12, 25):
        mask |= (3 * (grid[0] - 6)) ** 2 + (grid[1] - x) ** 2 + (grid[2] - 12) ** 2 <= 64
    assert split_objects(mask, (3.0, 1.0, 1.0)).max() == 2


def test_single_voxels_and_nothing(dims):
    mask = np.zeros((9,) * dims, bool)
    assert split_objects(mask, (1.0,) * dims).max() == 0
    mask[(2,) * dims] = mask[(6,) * dims] = True
    parts = split_objects(mask, (1.0,) * dims)
    assert sorted(np.unique(parts)) == [0, 1, 2]
