"""Heat maps of whole images: by blocks as at once, at any size, mirrored, of every kind."""

import numpy as np
import pytest
import torch
from test_classifier import config_of

import wsseg.heat
from wsseg.cam import KINDS
from wsseg.classifier import TagModel, build_classifier
from wsseg.heat import Heater, reach_of
from wsseg.images import Image
from wsseg.normalise import Normalisation
from wsseg.unet import EncoderConfig

SIZE = {2: (45, 38), 3: (21, 18, 15)}  # no multiples of the stride


def setting(dims, *, pooling="average"):
    torch.manual_seed(0)
    config = config_of(dims, pooling=pooling)
    net = build_classifier(config)
    for _ in range(3):
        net(torch.randn(4, 2, *[16] * dims))  # running means that are not 0 and 1
    values = np.random.default_rng(0).normal(size=(2, *SIZE[dims])).astype(np.float32)
    image = Image(values, (1.0,) * dims)
    return TagModel(config, net.eval()), image, Normalisation().measure(image)


def test_blocks_give_what_the_whole_image_gives(dims, monkeypatch):
    model, image, statistics = setting(dims)
    whole = Heater(model, device="cpu")
    heat, score = whole.heat(image, statistics), whole.score(image, statistics)
    assert heat.shape == (3, *SIZE[dims])
    monkeypatch.setattr(wsseg.heat, "BLOCK", 2**8)
    assert np.allclose(whole.heat(image, statistics), heat, atol=1e-4)
    assert np.allclose(whole.score(image, statistics), score, atol=1e-4)


def test_the_score_of_an_image_is_the_networks(dims):
    model, image, statistics = setting(dims, pooling="rank")
    cropped = Image(image.data[(slice(None), *[slice(12)] * dims)], image.spacing)
    values = torch.from_numpy(statistics.apply(cropped.data))[None]
    with torch.no_grad():
        expected = model.net(values)[0]
    assert np.allclose(Heater(model, device="cpu").score(cropped, statistics), expected, atol=5e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_map_for_each_class(dims, kind):
    model, image, statistics = setting(dims)
    heat = Heater(model, device="cpu", kind=kind).heat(image, statistics)
    assert heat.shape == (3, *SIZE[dims])
    assert np.isfinite(heat).all()
    assert (heat.std((*range(1, dims + 1),)) > 0).any()


def test_grad_cam_is_cam_less_the_offset(dims):
    model, image, statistics = setting(dims)
    cam = Heater(model, device="cpu").heat(image, statistics)
    offset = model.net.head.bias.detach().numpy().reshape(-1, *[1] * dims)
    gradient = Heater(model, device="cpu", kind="gradcam").heat(image, statistics)
    # ReLU comes before the enlargement there, so only places well above 0 agree
    clear = cam - offset > 0.5 * (cam - offset).max()
    assert np.allclose((cam - offset)[clear], gradient[clear], atol=0.25 * gradient.max())


def test_mirrored_views_make_the_map_of_a_mirrored_image_the_mirrored_map(dims):
    model, image, statistics = setting(dims)
    heater = Heater(model, device="cpu", flips=True, scales=(1.0, 1.5))
    assert len(heater.views) == 2**dims
    even = tuple(slice(n - n % 4) for n in image.shape)
    values = image.data[(slice(None), *even)]
    one = heater.heat(Image(values, image.spacing), statistics)
    other = heater.heat(Image(values[:, ::-1].copy(), image.spacing), statistics)
    assert np.allclose(one, other[:, ::-1], atol=0.02)  # some CPUs compute in half precision


def test_a_scale_of_one_is_the_plain_map_and_several_are_their_mean(dims):
    model, image, statistics = setting(dims)
    plain, half = (Heater(model, device="cpu", scales=(s,)).heat(image, statistics) for s in (1.0, 0.5))
    both = Heater(model, device="cpu", scales=(1.0, 0.5)).heat(image, statistics)
    assert np.allclose(both, (plain + half) / 2, atol=1e-4)


def test_reach_is_how_far_a_place_sees():
    config = EncoderConfig(2, 1, (2, 2, 2), ((1, 1), (2, 2), (1, 2)), ((3, 3), (3, 3), (1, 3)))
    assert reach_of(config) == (2 + 3, 2 + 3 + 6)
