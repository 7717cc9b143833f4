"""An encoder as features: tiles join, directions are the principal ones, voxels find their values."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import wsseg.encoderfeatures
from wsseg.encoder import SavedEncoder
from wsseg.encoderfeatures import COMPONENTS, encoder_steps, principal
from wsseg.features import Features
from wsseg.images import Image
from wsseg.normalise import Normalisation
from wsseg.steps import finish
from wsseg.unet import Encoder, EncoderConfig, plan_encoder

CPU = torch.device("cpu")


class Plain(nn.Module):
    """Convolutions and nothing else, so that what a tile gives does not depend on the tile."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        widths, kind = (config.channels_in, *config.channels), (nn.Conv2d, nn.Conv3d)[config.dims - 2]
        self.levels = nn.ModuleList(
            kind(widths[i], widths[i + 1], 3, stride, padding=1) for i, stride in enumerate(config.strides)
        )

    def forward(self, image):
        return Encoder.forward(self, image)


def _setting(dims, *, kind=Plain, channels=(4, 6), size=None):
    size = size or ((45, 38) if dims == 2 else (21, 18, 23))  # no multiples of the strides
    config = plan_encoder(channels_in=1, spacing=(1.0,) * dims, size=size, channels=channels)
    torch.manual_seed(0)
    values = np.random.default_rng(0).normal(100, 20, (1, *size)).astype(np.float32)
    image = Image(values, (1.0,) * dims)
    return image, Normalisation().measure(image), SavedEncoder(kind(config))


@pytest.mark.parametrize("dims", [2, 3])
def test_tiles_join_without_a_seam(monkeypatch, dims):
    image, statistics, saved = _setting(dims, channels=(4, 6, 6))
    (whole,) = {len(list(encoder_steps(image, statistics, saved, CPU)))}
    untiled = finish(encoder_steps(image, statistics, saved, CPU))
    monkeypatch.setattr(wsseg.encoderfeatures, "TILE", {2: 16, 3: 8})
    tiled = list(encoder_steps(image, statistics, saved, CPU))
    assert whole == 1 < len(tiled) == tiled[-1].total
    for one, other in zip(untiled, finish(encoder_steps(image, statistics, saved, CPU)), strict=True):
        assert one.step == other.step
        np.testing.assert_allclose(one.values, other.values, atol=5e-3)


@pytest.mark.parametrize("dims", [2, 3])
def test_they_hold_what_the_encoder_says_at_the_voxels_of_its_grid(dims):
    """As many directions as channels: a turned and stretched copy, so a linear map leads back to it."""
    image, statistics, saved = _setting(dims, kind=Encoder, channels=(4, COMPONENTS))
    (level,) = finish(encoder_steps(image, statistics, saved, CPU))
    assert level.step == (2,) * dims
    assert level.values.dtype == np.float16
    features = Features(image.shape, (level,))
    places = np.argwhere(np.ones([n // 2 - 1 for n in image.shape])) * 2
    found = features.at(places)
    divisor, border = 2, 4
    size = [-(-n // divisor) * divisor + 2 * border for n in image.shape]
    margins = [(border, s - n - border) for s, n in zip(size, image.shape, strict=True)]
    padded = np.pad(statistics.apply(image.data), [(0, 0), *margins], mode="edge")
    with torch.inference_mode():
        said = saved.encoder(torch.from_numpy(padded)[None])[1][0].numpy()
    said = said[(slice(None), *(places.T // 2 + border // 2))].T
    rows = np.column_stack([found, np.ones(len(found))])
    back = rows @ np.linalg.lstsq(rows, said, rcond=None)[0]
    assert np.abs(back - said).max() < 0.02 * said.std()


def test_principal_directions_of_values_that_vary_in_two():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(2, 40, 30)) * np.array([5.0, 1.0]).reshape(2, 1, 1)
    turn, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    values = (np.tensordot(turn[:, :2], hidden, 1) + 7).astype(np.float16)
    found = principal(values).astype(np.float64)
    assert found.shape == (COMPONENTS, 40, 30)
    assert np.abs(np.corrcoef(found[0].ravel(), hidden[0].ravel())[0, 1]) > 0.999
    assert np.abs(np.corrcoef(found[1].ravel(), hidden[1].ravel())[0, 1]) > 0.99
    np.testing.assert_allclose(found[:2].reshape(2, -1).std(1), 1, rtol=0.01)


def test_a_level_with_few_channels_and_one_that_says_nothing_are_kept_as_they_are():
    values = np.zeros((3, 8, 8), np.float16)
    values[0] = np.arange(8)
    found = principal(values)
    assert found.shape == (3, 8, 8)
    assert np.isfinite(found).all()
    assert (found[1:] == 0).all()


@pytest.mark.parametrize("dims", [2, 3])
def test_an_image_smaller_than_the_coarsest_voxel(dims):
    image, statistics, saved = _setting(dims, channels=(4, 6, 6))
    small = replace(image, data=image.data[(slice(None), *[slice(0, 3)] * dims)])
    levels = finish(encoder_steps(small, statistics, saved, CPU))
    assert [level.values.shape[1:] for level in levels] == [(2,) * dims, (1,) * dims]
