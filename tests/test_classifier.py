"""The classifier: the linear layer as a convolution, norms, levels, folders."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from wsseg.classifier import (
    Classifier,
    ClassifierConfig,
    TagModel,
    build_classifier,
    convolution_of,
    first_levels,
    load_classifier,
    probabilities,
    with_batch_norm,
)
from wsseg.errors import InputError
from wsseg.images import Image
from wsseg.normalise import Normalisation
from wsseg.pooling import pool
from wsseg.unet import Encoder, EncoderConfig, SampleNorm, plan_encoder

SIZE = {2: (16, 12), 3: (8, 12, 8)}


def config_of(dims, *, pooling="average", exclusive=False, axis=None):
    shape = plan_encoder(channels_in=2, spacing=(1.0,) * dims, size=SIZE[dims], channels=(4, 6))
    classes = {2: "cat", 5: "dog", 9: "owl"}
    return ClassifierConfig(
        shape, classes, Normalisation(), (1.0,) * dims, SIZE[dims], pooling, exclusive, axis
    )


def noise(dims, count=2, seed=0):
    return torch.randn(count, 2, *SIZE[dims], generator=torch.Generator().manual_seed(seed))


def test_a_linear_layer_behind_the_pooling_is_a_convolution_before_it(dims):
    torch.manual_seed(0)
    net = build_classifier(config_of(dims)).eval()
    linear = nn.Linear(6, 3)
    features = net.features(noise(dims))
    pooled_first = linear(features.flatten(2).mean(2))
    pooled_last = pool(convolution_of(linear, dims)(features), "average")
    assert torch.allclose(pooled_first, pooled_last, atol=1e-5)
    without = convolution_of(nn.Linear(6, 3, bias=False), dims)
    assert without.bias is None


def test_any_size_goes_in_and_the_map_of_a_part_is_a_part_of_the_map():
    torch.manual_seed(0)
    net = build_classifier(config_of(2)).eval()
    image = torch.randn(1, 2, 64, 48)
    assert net(image).shape == (1, 3)
    whole = net.places(image)
    part = net.places(image[:, :, 16:, :32])
    assert torch.allclose(whole[:, :, 16:, :8], part[:, :, 8:, :8], atol=1e-5)  # beyond the reach of borders


def test_batch_norm_keeps_what_instance_norm_takes_out(dims):
    """Two images that differ in brightness alone: after instance norm their pooled features are the same."""
    torch.manual_seed(0)
    # kernels of 1, because the zeros around an image are not brighter in the bright one
    shape = EncoderConfig(dims, 2, (4, 6), ((1,) * dims, (2,) * dims), ((1,) * dims, (1,) * dims))
    image = noise(dims, 1)
    both = torch.cat([image, 3 * image + 2])
    encoder = Encoder(shape).eval()
    instance = encoder(both)[0].flatten(2).mean(2)
    batch = with_batch_norm(encoder).eval()(both)[0].flatten(2).mean(2)
    assert torch.allclose(instance[0], instance[1], atol=1e-3)
    assert (batch[0] - batch[1]).abs().max() > 0.1


def test_norms_are_exchanged_with_their_weights(dims):
    encoder = Encoder(config_of(dims).architecture)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    after = with_batch_norm(encoder)
    assert not [m for m in after.modules() if isinstance(m, SampleNorm)]
    assert {name for name in after.state_dict() if "running" not in name and "num" not in name} == set(before)
    assert all(torch.equal(after.state_dict()[name], value) for name, value in before.items())


def test_levels_end_where_the_stride_would_be_too_large():
    deep = plan_encoder(channels_in=1, spacing=(1, 1, 1), size=(64, 64, 64), channels=(4, 6, 8, 10))
    assert first_levels(deep, 4).channels == (4, 6, 8)
    assert first_levels(deep, 4).divisor == (4, 4, 4)
    assert first_levels(deep).channels == (4, 6)
    flat = plan_encoder(channels_in=1, spacing=(5, 1, 1), size=(8, 64, 64), channels=(4, 6, 8, 10))
    assert first_levels(flat, 4).divisor == (1, 4, 4)


def test_probabilities_of_one_class_or_several():
    scores = torch.tensor([[0.0, 2.0, -1.0]])
    assert torch.allclose(probabilities(scores, exclusive=False), scores.sigmoid())
    one = probabilities(scores, exclusive=True)
    assert torch.allclose(one, scores.exp() / (1 + scores.exp().sum()))
    assert one.sum() < 1  # the rest is "none of them"


def test_a_folder_comes_back(tmp_path, dims):
    torch.manual_seed(1)
    config = config_of(dims, pooling="rank", axis=1)
    net = build_classifier(config)
    net(noise(dims))  # moves the running means
    TagModel(config, net.eval()).save(tmp_path / "tags")
    back = load_classifier(tmp_path / "tags")
    assert back.config == config
    assert back.config.class_ids == (2, 5, 9)
    assert isinstance(back.net, Classifier)
    assert torch.equal(back.net(noise(dims)), net(noise(dims)))


def test_what_all_images_are_measured_by_comes_back(tmp_path, dims):
    image = Image(noise(dims)[0].numpy(), (1.0,) * dims)
    own = config_of(dims)
    assert (own.measure(image, "x").mean == Normalisation().measure(image).mean).all()
    lists = {"low": [-9.0, -9.0], "high": [9.0, 9.0], "mean": [0.5, -0.5], "deviation": [2.0, 4.0]}
    shared = replace(own, statistics=lists)
    TagModel(shared, build_classifier(shared)).save(tmp_path / "tags")
    values = load_classifier(tmp_path / "tags").config.measure(image, "x").apply(image.data)
    assert np.allclose(values[0], (image.data[0] - 0.5) / 2)
    assert np.allclose(values[1], (image.data[1] + 0.5) / 4)
    flat = Image(np.zeros((2, *SIZE[dims]), np.float32), (1.0,) * dims)
    with pytest.raises(InputError, match="x is constant"):
        shared.measure(flat, "x")


def test_a_folder_with_a_mistake(tmp_path):
    net = build_classifier(config_of(2))
    TagModel(config_of(2), net).save(tmp_path / "tags")
    path = tmp_path / "tags" / "config.json"
    values = json.loads(path.read_text())
    del values["pooling"], values["architecture"]
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match="lacks or misspells"):
        load_classifier(tmp_path / "tags")
    with pytest.raises(InputError, match="is no classifier folder"):
        load_classifier(tmp_path)
