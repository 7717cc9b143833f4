"""Losses against slow loops and known values; what is unknown must not matter."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.losses import DiceLoss

from wsseg.losses import SMOOTH, weak_loss, weighted_cross_entropy, weighted_dice_loss

SHAPES = [(2, 5, 6), (2, 4, 5, 3)]


def _batch(shape, seed=0, classes=3):
    g = torch.Generator().manual_seed(seed)
    scores = torch.randn(shape[0], classes, *shape[1:], generator=g, dtype=torch.float64).float()
    target = torch.randint(0, classes, shape, generator=g)
    weight = torch.rand(shape, generator=g) * (torch.rand(shape, generator=g) < 0.4)
    return scores.requires_grad_(True), target, weight


@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy_equals_a_slow_loop(shape):
    scores, target, weight = _batch(shape)
    total, weights = 0.0, 0.0
    for place in np.ndindex(*shape):
        n, *at = place
        row = scores.detach()[(n, slice(None), *at)].double().numpy()
        log = row - np.log(np.exp(row).sum())
        total += -log[int(target[place])] * float(weight[place])
        weights += float(weight[place])
    assert weighted_cross_entropy(scores, target, weight).item() == pytest.approx(total / weights, rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_dice_equals_a_slow_loop(shape):
    scores, target, weight = _batch(shape)
    p = scores.detach().softmax(1).double().numpy()
    losses = []
    for k in (1, 2):
        both = predicted = true = 0.0
        for place in np.ndindex(*shape):
            n, *at = place
            w, t = float(weight[place]), float(target[place] == k)
            said = p[(n, k, *at)]
            both, predicted, true = both + w * said * t, predicted + w * said, true + w * t
        losses.append(1 - (2 * both + SMOOTH) / (predicted + true + SMOOTH))
    assert weighted_dice_loss(scores, target, weight).item() == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_with_all_known_they_are_the_libraries_losses(shape):
    scores, target, _ = _batch(shape)
    ones = torch.ones(shape)
    assert torch.allclose(weighted_cross_entropy(scores, target, ones), F.cross_entropy(scores, target))
    monai = DiceLoss(
        include_background=False,
        to_onehot_y=True,
        softmax=True,
        batch=True,
        smooth_nr=SMOOTH,
        smooth_dr=SMOOTH,
    )
    assert torch.allclose(weighted_dice_loss(scores, target, ones), monai(scores, target[:, None]), atol=1e-6)


@pytest.mark.parametrize("loss", [weighted_cross_entropy, weighted_dice_loss, weak_loss])
@pytest.mark.parametrize("shape", SHAPES)
def test_unknown_voxels_have_no_gradient_and_no_say(loss, shape):
    scores, target, weight = _batch(shape)
    value = loss(scores, target, weight)
    value.backward()
    unknown = (weight == 0).unsqueeze(1).expand_as(scores)
    assert (scores.grad[unknown] == 0).all()
    assert (scores.grad[~unknown] != 0).any()
    changed = torch.where(unknown, torch.randn_like(scores) * 50, scores.detach())
    nonsense = torch.where(weight == 0, 77, target)  # whatever an unknown voxel's target says
    assert torch.allclose(loss(changed, nonsense, weight), value, atol=1e-6)


@pytest.mark.parametrize("loss", [weighted_cross_entropy, weighted_dice_loss])
def test_ten_times_more_unlabelled_volume_changes_nothing(loss):
    scores, target, weight = _batch((1, 4, 6))
    more = F.pad(scores, (0, 54)), F.pad(target, (0, 54)), F.pad(weight, (0, 54))
    assert torch.allclose(loss(*more), loss(scores, target, weight), atol=1e-6)


@pytest.mark.parametrize("loss", [weighted_cross_entropy, weighted_dice_loss, weak_loss])
@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_known_costs_nothing(loss, shape):
    scores, target, weight = _batch(shape)
    value = loss(scores, target, torch.zeros_like(weight))
    value.backward()
    assert value.item() == 0
    assert (scores.grad == 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_perfect_prediction_costs_nothing_however_little_is_labelled(shape):
    _, target, _ = _batch(shape)
    weight = torch.zeros(shape)
    weight.view(-1)[:3] = 1
    perfect = F.one_hot(target, 3).movedim(-1, 1) * 60.0
    assert weak_loss(perfect, target, weight).item() == pytest.approx(0, abs=1e-6)


def test_a_class_of_which_nothing_is_known_is_left_out_of_dice():
    scores, _, _ = _batch((1, 4, 4))
    target = torch.ones((1, 4, 4), dtype=torch.int64)
    weight = torch.ones((1, 4, 4))
    p = scores.detach().softmax(1)[:, 1]
    expected = 1 - (2 * p.sum() + SMOOTH) / (p.sum() + 16 + SMOOTH)
    assert torch.allclose(weighted_dice_loss(scores, target, weight), expected)
