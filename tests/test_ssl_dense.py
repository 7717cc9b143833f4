"""Dense contrast: what belongs together is what was taken from one place."""

import math

import pytest
import torch

from pretrain.dense import FAR, Dense, _coarse
from pretrain.method import Setting
from wsseg.unet import Encoder, plan_encoder


def make(dims: int, spacing=None, size=None) -> Dense:
    spacing, size = spacing or (1.0,) * dims, size or (16,) * dims
    torch.manual_seed(0)
    plan = plan_encoder(channels_in=1, spacing=spacing, size=size, channels=(4, 4, 8))
    return Dense(Encoder(plan), Setting(size, spacing, "other", 50, 0))


def grid(size: tuple[int, ...]) -> torch.Tensor:
    """(1, *S, d): every voxel at its own place."""
    axes = [torch.arange(float(n)) for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).unsqueeze(0)


def test_a_cells_place_is_the_mean_of_its_voxels(dims):
    places = _coarse(grid((8,) * dims), torch.Size((4,) * dims))
    assert places.shape == (1, 4**dims, dims)
    assert places[0, 0].tolist() == [0.5] * dims
    assert places[0, -1].tolist() == [6.5] * dims
    assert places[0, 1].tolist() == [0.5] * (dims - 1) + [2.5]


def test_features_that_tell_the_place_are_recognised_wherever_the_views_lie(dims):
    """One random vector a place of the crop; the second view is shifted by two cells of two voxels."""
    method = make(dims)
    generator = torch.Generator().manual_seed(1)
    crop = torch.randn(1, 16, *(10,) * dims, generator=generator)
    window = (slice(None), slice(None), *[slice(2, 8)] * dims)
    here = grid((12,) * dims)
    there = here + 4
    first = crop[(slice(None), slice(None), *[slice(0, 6)] * dims)]
    result = method.compare(first, crop[window], here, there)
    assert result.accuracy.item() == 1
    mirrored = method.compare(first, crop[window].flip(2), here, there.flip(1))  # mirrored, and known to be
    assert mirrored.accuracy.item() == 1
    assert mirrored.loss.item() == pytest.approx(result.loss.item(), abs=1e-5)
    wrong = method.compare(first, crop[window].flip(2), here, there)  # mirrored without a word
    assert wrong.accuracy.item() < 0.5


def test_places_near_by_are_no_negatives_and_places_not_shown_do_not_count():
    method = make(2)
    here = grid((12, 12))
    alike = torch.ones(1, 8, 6, 6)
    result = method.compare(alike, alike, here, here)
    cells = [(a, b) for a in range(6) for b in range(6)]
    counts = [sum(math.dist(c, other) > FAR for other in cells) for c in cells]
    assert result.chance.item() == pytest.approx(sum(1 / (1 + n) for n in counts) / 36)
    assert result.loss.item() == pytest.approx(sum(math.log(1 + n) for n in counts) / 36, abs=1e-4)
    nowhere = method.compare(alike, alike, here, here + 100)
    assert nowhere.loss.item() == nowhere.chance.item() == 0


def test_both_losses_reach_the_encoder(dims):
    method = make(dims)
    loss = method(torch.randn(4, 1, *(16,) * dims), torch.arange(4))
    loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in method.dense_head.parameters())
    assert all(p.grad is not None for p in method.parameters())
    assert set(method.metrics) == {"accuracy", "chance", "whole", "whole_chance"}


def test_far_apart_slices():
    method = make(3, spacing=(5.0, 1.0, 1.0), size=(4, 32, 32))
    loss = method(torch.randn(2, 1, 4, 32, 32), torch.arange(2))
    assert loss.isfinite()
    assert method.metrics["chance"] > 0  # places that both views show were found
