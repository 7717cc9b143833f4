"""Prediction on exactly known networks: tiled equals untiled, whatever the sizes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_model import small_model
from torch import nn

from wsseg import predict as predict_module
from wsseg.errors import InputError
from wsseg.images import Image
from wsseg.model import Model
from wsseg.normalise import Statistics
from wsseg.predict import Prediction, Predictor
from wsseg.steps import finish

PLAIN = Statistics(np.array([-1e9]), np.array([1e9]), np.array([0.0]), np.array([1.0]))


class Voxelwise(nn.Module):
    """Scores that depend on the voxel alone: softmax of (0, 3x, -2x)."""

    def forward(self, image):
        return torch.cat([torch.zeros_like(image), 3 * image, -2 * image], 1)


def _predictor(dims, tile, **options):
    model = small_model(dims)
    config = replace(model.config, architecture=replace(model.config.architecture, channels_in=1))
    return Predictor(Model(config, Voxelwise()), tile=tile, device="cpu", **options)


def _expected(values):
    scores = np.stack([np.zeros_like(values), 3 * values, -2 * values])
    powers = np.exp(scores - scores.max(0))
    return powers / powers.sum(0)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 23), min_size=2, max_size=3),
    st.integers(2, 12),
    st.floats(0, 0.75),
    st.booleans(),
)
def test_tiled_equals_untiled_on_a_known_network(shape, tile, overlap, flips):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    image = Image(values[None], (1.0,) * len(shape))
    predictor = _predictor(len(shape), (tile,) * len(shape), overlap=overlap, flips=flips)
    out = predictor.predict(image, keep_probabilities=True, statistics=PLAIN)
    expected = _expected(values)
    tolerance = 1e-4
    assert np.abs(out.probabilities - expected).max() < tolerance
    sure = np.sort(expected, 0)[-1] - np.sort(expected, 0)[-2] > 2 * tolerance
    assert np.array_equal(out.mask[sure], np.array([0, 1, 7])[expected.argmax(0)][sure])


@pytest.mark.parametrize("shape", [(19, 23), (9, 17, 14)])
def test_blocks_change_nothing(shape, monkeypatch):
    values = np.random.default_rng(1).normal(size=(1, *shape)).astype(np.float32)
    image = Image(values, (1.0,) * len(shape))
    predictor = _predictor(len(shape), (6,) * len(shape))
    whole = predictor.predict(image, keep_probabilities=True)
    monkeypatch.setattr(predict_module, "BLOCK", 3 * 150)
    monkeypatch.setattr(predict_module, "SLAB", 40)
    into = np.full(shape, 99, np.uint8)
    parts = finish(predictor.steps(image, keep_probabilities=True, into=into))
    assert np.array_equal(whole.probabilities, parts.probabilities)
    assert np.array_equal(whole.mask, into)
    assert parts.mask is None
    assert whole.uncertainty == pytest.approx(parts.uncertainty)


def test_progress_counts_every_tile_and_can_be_stopped():
    image = Image(np.random.default_rng(0).normal(size=(1, 20, 20)), (1.0, 1.0))
    run = _predictor(2, (8, 8)).steps(image)
    first = next(run)
    assert (first.stage, first.index) == ("predict", 1)
    assert sum(1 for _ in run) == first.total - 1
    run = _predictor(2, (8, 8)).steps(image)
    next(run)
    run.close()  # cancel between two tiles


@pytest.mark.parametrize("dims", [2, 3])
def test_uncertainty_is_that_of_a_slow_loop(dims):
    shape = (6,) * dims
    values = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    image, written = Image(values[None], (1.0,) * dims), np.full(shape, 9, np.float32)
    steps = _predictor(dims, (8,) * dims).steps(
        image, keep_probabilities=True, doubt_into=written, statistics=PLAIN
    )
    out = finish(steps)
    doubts = []
    for place in np.ndindex(*shape):
        p = sorted(out.probabilities[(slice(None), *place)])
        assert written[place] == pytest.approx(1 - (p[-1] - p[-2]), abs=1e-5)
        if out.probabilities[(0, *place)] < 0.95:
            doubts.append(1 - (p[-1] - p[-2]))
    assert out.uncertainty == pytest.approx(np.mean(doubts), abs=1e-5)


def test_flips_average_mirrored_views():
    """A network that looks at position is made symmetric by flips along the allowed axis only."""

    class Ramp(nn.Module):
        def forward(self, image):
            ramp = torch.linspace(-4, 4, image.shape[2]).view(1, 1, -1, 1).expand_as(image)
            return torch.cat([ramp, -ramp, 0 * ramp - 9], 1)

    model = small_model(2)
    shape = replace(model.config.architecture, channels_in=1)
    config = replace(model.config, architecture=shape, flip_axes=(0,))
    image = Image(np.random.default_rng(0).normal(size=(1, 8, 8)), (1.0, 1.0))
    for flips in (False, True):
        predictor = Predictor(Model(config, Ramp()), tile=(8, 8), device="cpu", flips=flips)
        said = predictor.predict(image, keep_probabilities=True).probabilities[1]
        assert np.allclose(said, said[::-1], atol=1e-3) == flips


def test_constant_and_infinite_images_are_refused():
    predictor = _predictor(2, (8, 8))
    with pytest.raises(InputError, match="slide\\.png is constant"):
        predictor.predict(Image(np.ones((1, 9, 9)), (1.0, 1.0)), name="slide.png")
    values = np.random.default_rng(0).normal(size=(1, 9, 9))
    values[0, 3, 3] = np.inf
    with pytest.raises(InputError, match="NaN or infinite"):
        predictor.predict(Image(values, (1.0, 1.0)))


def test_hints_can_only_be_honoured_with_probabilities():
    with pytest.raises(ValueError, match="keep_probabilities"):
        Predictor(small_model(2)).honour(Prediction(None, None, 0.0), None)
    with pytest.raises(ValueError, match="keep_probabilities"):
        Predictor(small_model(2)).honour(None, None)
