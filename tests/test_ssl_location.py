"""Location: it is told from what is seen, in the scan's own measure, and the decoder is handed over."""

import torch
from test_ssl_parts import tiny_encoder

from pretrain.crops import coordinates
from pretrain.location import Location
from pretrain.method import Setting
from wsseg.unet import UNet, take_weights


def make(dims, size=16, steps=50):
    return Location(tiny_encoder(dims), Setting((size,) * dims, (1.0,) * dims, "other", steps, 0))


def located(dims, size=16):
    """Crops with their coordinates: the first 16 voxels of scans of 32."""
    where = torch.from_numpy(coordinates((0,) * dims, (size,) * dims, (size,) * dims, (32,) * dims))
    images = torch.randn(3, 1, *(size,) * dims, generator=torch.Generator().manual_seed(0))
    return torch.cat([images, where.expand(3, *where.shape)], 1)


def test_a_perfect_answer_costs_nothing(dims, monkeypatch):
    """The answer is the coordinates where the view's voxels come from, turned and scaled with them."""
    method, images = make(dims), located(dims)
    views = method.views.get_extra_state()
    moved = method.views.take(images, method.views.draw_places(images))
    method.views.set_extra_state(views)
    monkeypatch.setattr("pretrain.whole.decode", lambda ups, features: moved[:, 1:])
    method.head = torch.nn.Identity()
    assert float(method(images, torch.arange(3))) == 0
    assert method.metrics["explained"] == 1
    method.views.set_extra_state(views)
    monkeypatch.setattr("pretrain.whole.decode", lambda ups, features: 0 * moved[:, 1:])
    loss = float(method(images, torch.arange(3)))
    error = moved[:, 1:].abs()
    assert torch.isclose(torch.tensor(loss), torch.where(error < 1, error.square() / 2, error - 0.5).mean())
    assert abs(method.metrics["explained"]) < 1e-6


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
