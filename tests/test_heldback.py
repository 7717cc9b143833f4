"""Held-back hints: what is held is not trained on, nothing is lost, and the estimate is plain Dice."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_predict import Voxelwise
from test_unet import SMALL

from wsseg.heldback import estimate, hold_back
from wsseg.images import Image
from wsseg.model import Model, ModelConfig
from wsseg.normalise import Normalisation
from wsseg.patches import Sample
from wsseg.weak import WeakLabels


def _sample(shape, lines, name="a", seed=0):
    rng = np.random.default_rng(seed)
    image = Image(rng.normal(size=(1, *shape)).astype(np.float32), (1.0,) * len(shape))
    target = rng.integers(0, 3, shape)
    weight = np.zeros(shape, np.float32)
    weight[list(lines)] = 1
    return Sample(image, WeakLabels(target, weight), Normalisation().measure(image), name)


@pytest.mark.parametrize("shape", [(20, 12), (20, 8, 9)])
def test_slices_of_one_image_are_split_without_loss_or_overlap(shape):
    sample = _sample(shape, [2, 6, 10, 14, 18])
    kept, held, words = hold_back([sample], seed=0)
    assert words == "1 of 5 slices or strokes"
    assert np.array_equal(kept[0].labels.weight + held[0].labels.weight, sample.labels.weight)
    assert len(np.unique(np.argwhere(held[0].labels.weight)[:, 0])) == 1


@pytest.mark.parametrize("shape", [(20, 12), (20, 8, 9)])
def test_of_many_images_whole_ones_are_held(shape):
    samples = [_sample(shape, [3, 9], name=str(i), seed=i) for i in range(10)]
    kept, held, words = hold_back(samples, seed=0)
    assert words == "2 of 10 images"
    names = {s.name for s in kept} | {s.name for s in held}
    assert len(kept) + len(held) == len(names) == 10
    again = [s.name for s in hold_back(samples, seed=0)[1]]
    assert again == [s.name for s in held]
    assert any([s.name for s in hold_back(samples, seed=seed)[1]] != again for seed in range(1, 5))


def test_a_class_is_never_left_without_hints():
    sample = _sample((20, 12), [2, 10])
    sample.labels.target[2], sample.labels.target[10] = 1, 2  # each class in one stroke alone
    kept, held, words = hold_back([sample], seed=0)
    assert held == []
    assert words == "0 of 2 slices or strokes"
    assert np.array_equal(kept[0].labels.weight, sample.labels.weight)
    single = _sample((20, 12), [4])
    assert hold_back([single], seed=0)[1] == []


@pytest.mark.parametrize("dims", [2, 3])
def test_the_estimate_is_dice_over_the_held_voxels(dims):
    shape = (14, 10, 9)[:dims]
    encoder = replace(SMALL[dims], channels_in=1)
    config = ModelConfig(encoder, {1: "a", 4: "b"}, Normalisation(), (1.0,) * dims, (6,) * dims)
    samples = [_sample(shape, [2, 3, 9], seed=seed) for seed in range(2)]
    result = estimate(Model(config, Voxelwise()), samples, "cpu")
    said, truth = [], []
    for sample in samples:
        x = torch.from_numpy(sample.statistics.apply(sample.image.data))[None]
        said.append(Voxelwise()(x)[0].argmax(0).numpy()[sample.labels.known])
        truth.append(sample.labels.target[sample.labels.known])
    said, truth = np.concatenate(said), np.concatenate(truth)
    for k, name in ((1, "1"), (2, "4")):
        dice = 2 * ((said == k) & (truth == k)).sum() / ((said == k).sum() + (truth == k).sum())
        assert result["dice"][name] == pytest.approx(dice, abs=0.02)  # bfloat16 may move a tie
    assert result["mean"] == pytest.approx(np.mean(list(result["dice"].values())))
