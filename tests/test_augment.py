"""Augmentation undone, against closed forms, one draw a sample."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from wsseg.augment import AugmentConfig, draw_geometry, draw_intensity, recolour, warp

STILL = AugmentConfig(rotation=0, scaling=1, shift=0, elastic=0, contrast=1, brightness=0, noise=0)
SIZES = [(6, 8), (5, 7, 6)]


def _draw(size, config, *, count=2, spacing=None, seed=0):
    return draw_geometry(
        count, size, spacing or (1.0,) * len(size), config, torch.Generator().manual_seed(seed)
    )


@pytest.mark.parametrize("size", SIZES)
def test_no_movement_gives_the_patch_back(size):
    values = torch.randn(2, 3, *size)
    positions = _draw(size, STILL)
    assert torch.allclose(warp(values, positions), values, atol=1e-5)
    labels = torch.randint(0, 5, (2, 1, *size)).float()
    assert torch.equal(warp(labels, positions, nearest=True, outside="zeros"), labels)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("axis", [0, 1])
def test_flips_mirror_the_chosen_axis_of_about_half_the_samples(size, axis):
    values = torch.randn(40, 1, *size)
    moved = warp(values, _draw(size, replace(STILL, flip_axes=(axis,)), count=40))
    mirrored = [torch.allclose(m, v.flip(axis + 1), atol=1e-5) for m, v in zip(moved, values, strict=True)]
    kept = [torch.allclose(m, v, atol=1e-5) for m, v in zip(moved, values, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert 8 <= sum(mirrored) <= 32  # one draw a sample, not one for the batch


def test_right_angle_turns_are_those_of_numpy():
    values = torch.randn(40, 1, 5, 6, 6)
    moved = warp(values, _draw((5, 6, 6), replace(STILL, turn_planes=((1, 2),)), count=40))
    turns = set()
    for m, v in zip(moved, values, strict=True):
        fits = [k for k in range(4) if torch.allclose(m, torch.rot90(v, k, (2, 3)), atol=1e-4)]
        assert len(fits) == 1
        turns.add(fits[0])
    assert turns == {0, 1, 2, 3}


def test_a_turn_happens_in_the_world_and_not_in_the_array():
    """With voxels twice as long along axis 0, distances in millimetres from the centre are kept."""
    spacing = torch.tensor([2.0, 1.0])
    positions = _draw((9, 17), replace(STILL, rotation=40), spacing=tuple(spacing.tolist()), count=1, seed=1)[
        0
    ]
    centre = torch.tensor([4.0, 8.0])
    grid = torch.stack(torch.meshgrid(torch.arange(9.0), torch.arange(17.0), indexing="ij"), -1)
    before = ((grid - centre) * spacing).norm(dim=-1)
    after = ((positions - centre) * spacing).norm(dim=-1)
    assert torch.allclose(before, after, atol=1e-4)
    assert (positions - grid).abs().max() > 0.5


def test_far_apart_slices_are_not_mixed_by_turns_or_bending():
    config = replace(AugmentConfig(), scaling=1, shift=0, rotation=30)
    positions = _draw((5, 16, 16), config, spacing=(5.0, 1.0, 1.0))
    own = torch.arange(5.0).view(1, 5, 1, 1).expand(2, 5, 16, 16)
    assert torch.allclose(positions[..., 0], own, atol=1e-4)
    assert (positions[..., 1:] - _draw((5, 16, 16), STILL)[..., 1:]).abs().max() > 0.5


@pytest.mark.parametrize("size", SIZES)
def test_moves_stay_within_what_is_configured(size):
    still = _draw(size, STILL, count=50)
    shifted = _draw(size, replace(STILL, shift=0.1), count=50) - still
    assert (shifted.abs().amax((0, *range(1, len(size) + 1))) <= 0.1 * torch.tensor(size) + 1e-4).all()
    assert shifted.flatten(1).std(0).max() > 0  # differs between samples
    centre = (torch.tensor(size) - 1) / 2
    ratio = (_draw(size, replace(STILL, scaling=1.5), count=50) - centre) / (still - centre)
    ratio = ratio[ratio.isfinite()]
    assert 1 / 1.5 - 1e-3 <= ratio.min() < 0.9
    assert 1.1 < ratio.max() <= 1.5 + 1e-3


def test_labels_keep_their_values_and_the_outside_is_unknown():
    labels = torch.full((1, 1, 8, 8), 7.0)
    moved = warp(labels, _draw((8, 8), replace(STILL, shift=0.5), count=1), nearest=True, outside="zeros")
    assert set(moved.unique().tolist()) == {0.0, 7.0}


@pytest.mark.parametrize("size", SIZES)
def test_the_same_seed_draws_the_same(size):
    config = AugmentConfig(flip_axes=(0,))
    assert torch.equal(_draw(size, config), _draw(size, config))
    assert not torch.equal(_draw(size, config), _draw(size, config, seed=1))


@pytest.mark.parametrize("size", SIZES)
def test_recolouring_each_sample_by_its_own_draw(size):
    images = torch.randn(3, 2, *size)
    draw = {
        "contrast": torch.tensor([1.0, 2.0, 1.0]),
        "gamma": torch.tensor([1.0, 1.0, 2.0]),
        "brightness": torch.tensor([0.5, 0.0, 0.0]),
        "noise": torch.zeros(3),
        "seed": torch.tensor([0]),
    }
    out = recolour(images, draw)
    assert torch.allclose(out[0], images[0] + 0.5, atol=1e-5)
    mean = images[1].mean(tuple(range(1, len(size) + 1)), keepdim=True)
    assert torch.allclose(out[1], (images[1] - mean) * 2 + mean, atol=1e-4)
    order = images[2, 0].flatten().argsort()
    assert (out[2, 0].flatten()[order].diff() >= -1e-5).all()  # gamma keeps the order of intensities
    over = tuple(range(1, len(size) + 1))
    assert torch.allclose(out[2].amax(over), images[2].amax(over), atol=1e-4)
    assert torch.allclose(out[2].amin(over), images[2].amin(over), atol=1e-4)


def test_drawn_intensities_are_in_range_and_half_are_left_alone():
    draw = draw_intensity(400, AugmentConfig(), torch.Generator().manual_seed(0))
    for name, neutral, low, high in (
        ("contrast", 1, 1 / 1.3, 1.3),
        ("gamma", 1, 1 / 1.3, 1.3),
        ("brightness", 0, -0.3, 0.3),
        ("noise", 0, 0, 0.15),
    ):
        values = draw[name].numpy()
        assert (values >= low - 1e-6).all()
        assert (values <= high + 1e-6).all()
        assert 0.4 < np.mean(values == neutral) < 0.6
