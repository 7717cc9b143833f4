"""Location: it is told from what is seen, in the scan's own measure, and the decoder is handed over."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from test_ssl_parts import tiny_encoder

from pretrain.alter import AlterConfig
from pretrain.crops import coordinates
from pretrain.location import WEIGHT, Location
from pretrain.method import Setting
from wsseg.augment import AugmentConfig
from wsseg.unet import UNet, take_weights


def make(dims, size=16, steps=50):
    setting = Setting((size,) * dims, (1.0,) * dims, "other", steps, 0)
    return Location(tiny_encoder(dims), setting, groups=4)


def located(dims, size=16):
    """Crops with their coordinates: the first 16 voxels of scans of 32."""
    where = torch.from_numpy(coordinates((0,) * dims, (size,) * dims, (size,) * dims, (32,) * dims))
    images = torch.randn(3, 1, *(size,) * dims, generator=torch.Generator().manual_seed(0))
    return torch.cat([images, where.expand(3, *where.shape)], 1)


def test_a_perfect_answer_costs_nothing(dims, monkeypatch):
    """The answer is the coordinates where the view's voxels come from, moved with them, and their groups."""
    method, images = make(dims), located(dims)
    views = method.views.get_extra_state()
    moved = method.views.take(images, method.views.draw_places(images))
    where = moved[:, 1:]
    groups = method.regions.label(method.known(moved[:, :1], where), torch.Generator().manual_seed(0))
    scores = F.one_hot(groups, 4).movedim(-1, 1).float()
    method.views.set_extra_state(views)
    monkeypatch.setattr("pretrain.whole.decode", lambda ups, features: torch.cat([where, 1e3 * scores], 1))
    method.head = torch.nn.Identity()
    assert float(method(images, torch.arange(3))) == 0
    assert method.metrics == {"explained": 1, "agreement": 1}
    method.views.set_extra_state(views)
    monkeypatch.setattr("pretrain.whole.decode", lambda ups, features: torch.cat([0 * where, 0 * scores], 1))
    loss = float(method(images, torch.arange(3)))
    error = where.abs()
    placed = torch.where(error < 1, error.square() / 2, error - 0.5).mean()
    assert loss == pytest.approx(float(placed) + WEIGHT * math.log(4), rel=1e-5)
    assert abs(method.metrics["explained"]) < 1e-6


def test_groups_are_of_what_is_there_and_not_of_what_is_shown(dims, monkeypatch):
    """Brightness counts as it is in the scan: recolouring changes the input, never the answer."""
    asked = []
    for change in (lambda views: views, lambda views: 5 - 3 * views):
        method, images = make(dims), located(dims)
        monkeypatch.setattr(method.views, "recolour", change)
        label = method.regions.label
        monkeypatch.setattr(
            method.regions, "label", lambda *given, f=label: asked.append(f(*given)) or asked[-1]
        )
        method(images, torch.arange(3))
    assert torch.equal(*asked)
    assert len(asked[0].unique()) > 1


def test_crops_vary_as_in_fit_whatever_the_modality(dims):
    for modality in ("mr", "em"):
        setting = Setting((16,) * dims, (1.0,) * dims, modality, 50, 0)
        views = Location(tiny_encoder(dims), setting).views
        assert views.config.augment == AugmentConfig()
        assert views.config.alter == AlterConfig()
        assert views.geometry == replace(
            AugmentConfig(), shift=0
        )  # nothing is mirrored: it would lose its place


def test_brightness_is_varied_and_coordinates_are_not(dims, monkeypatch):
    method, images = make(dims), located(dims)
    seen = []
    recolour = method.views.recolour
    monkeypatch.setattr(method.views, "recolour", lambda views: seen.append(views) or recolour(views))
    method(images, torch.arange(3))
    assert [view.shape[1] for view in seen] == [1]


def test_it_finds_out_where_a_crop_is(dims):
    """Scans with a stripe whose width tells the place: unseen crops are located better than by the mean."""
    torch.manual_seed(0)
    method = make(dims, size=16, steps=80)
    optimiser = torch.optim.AdamW(method.parameters(), lr=5e-3)
    line = torch.linspace(0, 1, 64)
    scan = torch.sin(40 * line**2).view(-1, *[1] * (dims - 1)).expand(64, *[16] * (dims - 1))
    explained = []
    generator = torch.Generator().manual_seed(0)
    for _ in range(80):
        crops = []
        for start in torch.randint(0, 49, (6,), generator=generator).tolist():
            where = coordinates(
                (start, *[0] * (dims - 1)), (16,) * dims, (16,) * dims, (64, *[16] * (dims - 1))
            )
            crops.append(torch.cat([scan[None, start : start + 16], torch.from_numpy(where)]))
        loss = method(torch.stack(crops), torch.arange(6))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        explained.append(method.metrics["explained"])
    assert sum(explained[:10]) / 10 < 0.15
    assert sum(explained[-10:]) / 10 > 0.35  # along the other axes there is nothing to go by


def test_its_decoder_fits_a_unet(dims):
    method = make(dims)
    net = UNet(tiny_encoder(dims), 2)
    taken = take_weights(net, {**method.decoder_state()})
    assert set(taken.loaded) == set(method.decoder_state())
    key = next(iter(method.decoder_state()))
    assert torch.equal(net.state_dict()[key], method.decoder_state()[key])
