"""The network's plan, its shapes, and what it takes from another."""

from dataclasses import replace

import pytest
import torch

from wsseg.device import memory_format
from wsseg.unet import Encoder, EncoderConfig, SampleNorm, UNet, plan_encoder, take_weights

SMALL = {
    2: EncoderConfig(2, 3, (4, 8), ((1, 1), (2, 2)), ((3, 3), (3, 3))),
    3: EncoderConfig(3, 1, (4, 8, 8), ((1, 1, 1), (1, 2, 2), (2, 2, 2)), ((1, 3, 3), (3, 3, 3), (3, 3, 3))),
}


@pytest.mark.parametrize("dims", [2, 3])
def test_output_has_the_shape_of_the_input_and_a_channel_a_class(dims):
    config = SMALL[dims]
    image = torch.randn(2, config.channels_in, *[8] * dims)
    features = Encoder(config)(image)
    assert [f.shape[1] for f in features] == list(config.channels)
    assert tuple(features[-1].shape[2:]) == tuple(8 // d for d in config.divisor)
    assert UNet(Encoder(config), 5)(image).shape == (2, 5, *[8] * dims)


def test_an_isotropic_plan_halves_all_axes():
    config = plan_encoder(channels_in=1, spacing=(1, 1, 1), size=(64, 64, 64))
    assert config.divisor == (8, 8, 8)
    assert config.kernels[0] == (3, 3, 3)


def test_a_coarse_axis_is_left_alone_until_the_others_catch_up():
    config = plan_encoder(channels_in=1, spacing=(4, 1, 1), size=(16, 256, 256))
    assert config.strides[1:] == ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    assert config.kernels == (
        (1, 3, 3),
        (1, 3, 3),
        (3, 3, 3),
        (3, 3, 3),
    )  # 4:1 and 4:2 are coarse, 4:4 is not


def test_a_flat_axis_is_never_halved():
    config = plan_encoder(channels_in=1, spacing=(1, 1, 1), size=(1, 64, 64))
    assert config.divisor[0] == 1
    tiny = plan_encoder(channels_in=1, spacing=(1, 1), size=(9, 5))
    assert tiny.divisor == (2, 1)
    UNet(Encoder(tiny), 2)(torch.randn(1, 1, 10, 5))


@pytest.mark.parametrize("dims", [2, 3])
def test_an_encoder_is_handed_over_tensor_by_tensor(dims):
    config = SMALL[dims]
    source, target = Encoder(config), UNet(Encoder(config), 3)
    before = {k: v.clone() for k, v in target.state_dict().items()}
    taken = take_weights(target.encoder, source.state_dict())
    assert (len(taken.loaded), taken.missing, taken.unused) == (len(source.state_dict()), (), ())
    assert str(taken) == f"loaded 100 %, {taken.total}/{taken.total} tensors"
    for name, tensor in target.state_dict().items():
        if name.startswith("encoder."):
            assert torch.equal(tensor, source.state_dict()[name.removeprefix("encoder.")])
        else:
            assert torch.equal(tensor, before[name])


def test_what_does_not_fit_is_reported_and_left_alone():
    two, five = UNet(Encoder(SMALL[2]), 2), UNet(Encoder(SMALL[2]), 5)
    head = five.state_dict()["head.conv.conv.bias"].clone()
    taken = take_weights(five, {**two.state_dict(), "strange": torch.zeros(1)})
    assert {name.split(".")[0] for name in taken.missing} == {"head"}
    assert taken.unused == ("strange",)
    assert torch.equal(five.state_dict()["head.conv.conv.bias"], head)
    assert torch.equal(
        five.state_dict()["encoder.levels.0.conv1.conv.weight"], two.encoder.levels[0].conv1.conv.weight
    )


@pytest.mark.parametrize("dims", [2, 3])
def test_sample_norm_is_instance_norm_and_stays_channels_last(dims):
    torch.manual_seed(0)
    ours = SampleNorm(5)
    theirs = {2: torch.nn.InstanceNorm2d, 3: torch.nn.InstanceNorm3d}[dims](5, affine=True)
    with torch.no_grad():
        ours.weight.normal_()
        ours.bias.normal_()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 5, *(4, 6, 7)[:dims]).to(memory_format=memory_format(dims))
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    out = ours(a)
    assert out.is_contiguous(memory_format=memory_format(dims))
    torch.testing.assert_close(out, theirs(b))
    push = torch.randn_like(x)
    out.backward(push)
    theirs(b).backward(push)
    torch.testing.assert_close(a.grad, b.grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


@pytest.mark.parametrize("dims", [2, 3])
def test_even_patches_are_told_apart_by_their_brightness(dims):
    torch.manual_seed(0)
    net = UNet(Encoder(replace(SMALL[dims], channels_in=1)), 2, tone=True)
    bright = torch.tensor([-1.0, 1.0]).view(2, 1, *[1] * dims)
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        patch = bright + 0.05 * torch.randn(2, 1, *[8] * dims)
        truth = (bright > 0).long()[:, 0].expand(2, *[8] * dims)
        loss = torch.nn.functional.cross_entropy(net(patch), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    unseen = bright + 0.05 * torch.randn(2, 1, *[8] * dims)
    assert (net(unseen).argmax(1) == truth).all()
    net.tone[2].weight.data.zero_()
    assert (net(unseen).argmax(1) == truth).float().mean() < 0.9  # without it the norms leave too little
