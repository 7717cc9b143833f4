"""Sharpness, light and colours against closed forms and scipy; one draw a sample."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from pretrain.alter import AlterConfig, alter, draw_alterations, sharpness, shine

SIZES = [(12, 10), (8, 9, 10)]


def nothing(count: int, dims: int, channels: int = 1) -> dict[str, torch.Tensor]:
    return draw_alterations(count, dims, channels, AlterConfig(), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", SIZES)
def test_nothing_drawn_changes_nothing(size):
    images = torch.randn(3, 2, *size)
    assert torch.equal(alter(images, nothing(3, len(size), 2), (1.0,) * len(size)), images)


@pytest.mark.parametrize("size", SIZES)
def test_blur_is_a_gaussian(size):
    images = torch.randn(2, 1, *size, dtype=torch.float64)
    out = sharpness(images, torch.tensor([1.2, 0.0]), torch.ones(2), (1.0,) * len(size))
    middle = tuple(slice(3, -3) for _ in size)  # borders are treated differently
    expected = gaussian_filter(images[0, 0].numpy(), 1.2, truncate=8)
    assert np.allclose(out[0, 0].numpy()[middle], expected[middle], atol=1e-2)
    assert torch.allclose(out[1], images[1], atol=1e-12)  # the other sample has its own draw
    assert torch.allclose(
        sharpness(torch.ones(2, 1, *size), torch.ones(2), torch.ones(2), (1.0,) * len(size)),
        torch.ones(2, 1, *size),
        atol=1e-5,
    )


def test_coarse_sampling_keeps_ramps_and_takes_fine_detail():
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)
    checks = (torch.arange(16) % 2).float().expand(1, 1, 16, 16)
    for factor in (2.0, 1.7):
        low = sharpness(torch.cat([ramp, checks]), torch.zeros(2), torch.tensor([factor] * 2), (1.0, 1.0))
        inner = low[..., 3:-3]
        assert torch.allclose(inner[0], ramp[0, ..., 3:-3], atol=0.35)
        assert inner[1].std() < 0.5 * checks.std()


def test_far_apart_slices_are_not_smoothed_together():
    images = torch.randn(1, 1, 6, 12, 12)
    spacing = (10.0, 1.0, 1.0)
    out = sharpness(images, torch.tensor([1.0]), torch.tensor([2.0]), spacing)
    alone = torch.stack(
        [sharpness(images[:, :, i], torch.tensor([1.0]), torch.tensor([2.0]), (1.0, 1.0)) for i in range(6)],
        2,
    )
    assert torch.allclose(out, alone, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_light_scales_what_is_above_the_dark(size):
    images = torch.rand(2, 1, *size) + 3
    images[:, :, 0] = 3.0  # the darkest
    light = torch.zeros(2, 1, *(3,) * len(size))
    light[1] = np.log(2.0)
    out = shine(images, light)
    assert torch.allclose(out[0], images[0], atol=1e-5)
    assert torch.allclose(out[1], 3 + 2 * (images[1] - 3), atol=1e-4)


def test_channels_mix_by_the_matrix_and_grey_is_their_mean():
    images = torch.randn(2, 3, 6, 6)
    draw = nothing(2, 2, 3)
    draw["mix"] = torch.stack([torch.tensor([[0.0, 1, 0], [0, 0, 1], [2, 0, 0]]), torch.full((3, 3), 1 / 3)])
    draw["sign"] = torch.tensor([1.0, -1.0])
    out = alter(images, draw, (1.0, 1.0))
    assert torch.allclose(out[0], torch.stack([images[0, 1], images[0, 2], 2 * images[0, 0]]), atol=1e-6)
    assert torch.allclose(out[1], -images[1].mean(0).expand(3, 6, 6), atol=1e-6)


def test_draws_stay_in_range_half_are_left_alone_and_the_seed_decides():
    config = AlterConfig(blur=1.0, coarser=2.0, light=0.3, invert=True, mix=0.2, grey=0.1)

    def draw(seed):
        return draw_alterations(500, 2, 3, config, torch.Generator().manual_seed(seed))

    first = draw(0)
    assert all(torch.equal(value, draw(0)[name]) for name, value in first.items())
    assert not torch.equal(first["blur"], draw(1)["blur"])
    assert 0 <= first["blur"].min() <= first["blur"].max() <= 1
    assert 1 <= first["coarser"].min() <= first["coarser"].max() <= 2
    for name, neutral in (("blur", 0), ("coarser", 1), ("sign", 1)):
        assert 0.4 < (first[name] == neutral).float().mean() < 0.6
    assert 0.4 < (first["light"].flatten(1) == 0).all(1).float().mean() < 0.6
    grey = (first["mix"] == 1 / 3).all(2).all(1)
    assert 0.05 < grey.float().mean() < 0.16
    assert (first["mix"][~grey] - torch.eye(3)).abs().max() <= 0.2 + 1e-6
    quiet = draw_alterations(50, 2, 3, AlterConfig(), torch.Generator().manual_seed(0))
    assert (quiet["sign"] == 1).all()
    assert (quiet["mix"] == torch.eye(3)).all()
