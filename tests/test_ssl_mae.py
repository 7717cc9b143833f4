"""Methods that restore: what is hidden, what counts, and a decoder that fits a U-Net."""

import pytest
import torch
from test_ssl_parts import tiny_encoder

from pretrain.denoising import Denoising
from pretrain.inpainting import Inpainting
from pretrain.mae import MAE, constant
from pretrain.method import Setting
from pretrain.restoring import masked_error
from wsseg.unet import UNet, take_weights


def make(dims: int, **options) -> MAE:
    return MAE(tiny_encoder(dims), Setting((16,) * dims, (1.0,) * dims, "other", 50, 0), **options)


def test_whole_blocks_are_hidden_in_the_share_asked_for(dims):
    method = make(dims, hidden=(0.5, 0.8))
    hidden = method.draw_hidden(torch.zeros(40, 1, *(16,) * dims))
    assert hidden.shape == (40, 1, *(16,) * dims)
    blocks = hidden.float()
    for axis, n in enumerate(method.block):
        assert n == 2
        blocks = blocks.unflatten(axis + 2, (-1, n)).movedim(axis + 3, -1)
    inside = blocks.flatten(2 + dims)
    assert ((inside == 0).all(-1) | (inside == 1).all(-1)).all()
    share = hidden.flatten(1).float().mean(1)
    assert 0.48 < share.min() < 0.6
    assert 0.7 < share.max() < 0.82
    assert len({h.numpy().tobytes() for h in hidden}) == 40  # one draw a crop


def test_the_network_does_not_see_what_is_hidden_and_the_loss_only_that(dims, monkeypatch):
    method = make(dims)
    images = torch.randn(3, 1, *(16,) * dims) * 5 + 2
    hidden = method.draw_hidden(images)
    monkeypatch.setattr(method, "draw_hidden", lambda images: hidden)
    seen = {}

    def restore(given):
        seen["given"] = given
        return given + 100 * ~hidden  # nonsense where nothing is hidden

    monkeypatch.setattr(method, "predict", restore)
    loss = method(images, torch.arange(3))
    assert not seen["given"][hidden].any()
    assert 0.8 < loss.item() < 1.2  # 0 is guessed, the crops are normalised
    assert abs(method.metrics["explained"]) < 1e-4


def test_masked_error_by_hand():
    images = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    where = torch.tensor([[[[True, False], [False, True]]]])
    assert masked_error(torch.zeros_like(images), images, where).item() == pytest.approx((1 + 16) / 2)
    assert masked_error(images, images, where).item() == 0
    assert masked_error(images + 1, images, where & False).item() == 0


def test_constant_blocks_cost_nothing(dims):
    images = torch.randn(2, 1, *(8,) * dims)
    corner = (0, 0, *[slice(0, 4)] * dims)
    images[corner] = 0.7  # padding
    expected = torch.zeros_like(images, dtype=torch.bool)
    expected[corner] = True
    assert torch.equal(constant(images, (2,) * dims), expected)


def test_restoring_is_the_way_of_a_unet(dims):
    """Encoder and decoder put into a U-Net give the same pictures; all but its head and tone are taken."""
    method = make(dims)
    torch.manual_seed(5)
    unet = UNet(tiny_encoder(dims), 1)
    state = {f"encoder.{k}": v for k, v in method.encoder.state_dict().items()} | method.decoder_state()
    taken = take_weights(unet, state)
    assert all(name.startswith("head.") for name in taken.missing)
    assert not taken.unused
    unet.head.load_state_dict(method.head.state_dict())
    images = torch.randn(2, 1, *(16,) * dims)
    assert torch.allclose(unet(images), method.predict(images), atol=1e-5)


def test_crops_are_moved_by_right_angles_only():
    method = MAE(tiny_encoder(2), Setting((16, 16), (1.0, 1.0), "em", 50, 0))
    images = torch.randn(20, 1, 16, 16)
    moved = method.views.take(images, method.views.draw_places(images))
    for image, out in zip(images, moved, strict=True):
        turned = [torch.rot90(f, k, (1, 2)) for f in (image, image.flip(1)) for k in range(4)]
        assert sum(torch.allclose(out, t, atol=1e-4) for t in turned) == 1


def test_noise_is_put_in_at_its_own_strength_and_coarseness(dims):
    method = Denoising(tiny_encoder(dims), Setting((16,) * dims, (1.0,) * dims, "other", 50, 0))
    images = torch.randn(30, 1, *(16,) * dims)
    noisy, where = method.spoil(images)
    assert where.all()
    noise = noisy - images
    strength = noise.flatten(1).std(1)
    assert 0.2 < strength.min() < 0.7
    assert 1.1 < strength.max() < 1.8
    alike = ((noise[..., 1:] - noise[..., :-1]).abs() < 1e-5).flatten(1).float().mean(1)
    assert alike.min() < 0.3  # as fine as the voxels
    assert alike.max() > 0.55  # blocks of three or four
    assert noise.flatten(1).mean(1).abs().mean() < 0.3


def test_one_box_of_its_own_is_cut_out_of_each_crop(dims):
    method = Inpainting(tiny_encoder(dims), Setting((24,) * dims, (1.0,) * dims, "other", 50, 0))
    images = torch.randn(30, 1, *(24,) * dims)
    given, missing = method.spoil(images)
    assert not given[missing].any()
    assert torch.equal(given[~missing], images[~missing])
    places = set()
    for one in missing[:, 0]:
        inside = one.nonzero()
        side = inside.amax(0) - inside.amin(0) + 1
        assert len(inside) == side.prod()  # a box
        assert ((side >= 8) & (side <= 12)).all()
        places.add((*inside.amin(0).tolist(), *side.tolist()))
    assert len(places) > 25


@pytest.mark.parametrize("cls", [Denoising, Inpainting])
def test_explained_is_what_is_better_than_leaving_it_as_it_is(cls, monkeypatch):
    method = cls(tiny_encoder(2), Setting((16, 16), (1.0, 1.0), "other", 50, 0))
    monkeypatch.setattr(method, "predict", lambda given: given)
    method(torch.randn(4, 1, 16, 16), torch.arange(4))
    assert method.metrics["explained"] == pytest.approx(0, abs=1e-5)
