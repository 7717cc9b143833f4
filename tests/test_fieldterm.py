"""The field's term of the loss against a slow loop, and what it does to stray voxels and to edges."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from test_train import setting

from wsseg.fieldterm import ITERATIONS, POSITION, PULL, RADIUS, VALUE, field_loss
from wsseg.train import TrainConfig, Trainer


def _slow(scores, image, spacing):
    """One image, voxel by voxel: scores (K, *S), image (C, *S)."""
    said = np.exp(scores - scores.max(0))
    said /= said.sum(0)
    size = image.shape[1:]
    places = list(np.ndindex(size))
    value = VALUE * len(image) ** 0.5
    alike = np.zeros((len(places), len(places)))
    for i, a in enumerate(places):
        for j, b in enumerate(places):
            apart = np.subtract(a, b)
            if (abs(apart) > RADIUS).any():
                continue
            millimetres = apart * np.array(spacing) / min(spacing)
            near = (millimetres**2).sum() / POSITION**2
            if near > 9:
                continue
            like = ((image[(slice(None), *a)] - image[(slice(None), *b)]) ** 2).sum() / value**2
            alike[i, j] = np.exp(-0.5 * (near + like))
    scale = 1 / np.sqrt(alike.sum(1))
    alike *= scale[:, None] * scale[None]
    word = said.reshape(len(said), -1)
    chance = word.copy()
    for _ in range(ITERATIONS):
        chance = np.exp(np.log(word) + PULL * chance @ alike)
        chance /= chance.sum(0)
    return (chance * (np.log(chance) - np.log(word))).sum(0).mean()


@pytest.mark.parametrize(
    ("size", "channels", "spacing"),
    [((6, 7), 1, (1.0, 1.0)), ((5, 6), 3, (0.5, 1.2)), ((4, 5, 4), 1, (2.5, 1.0, 1.0))],
)
def test_it_is_what_a_loop_over_pairs_gives(size, channels, spacing):
    generator = torch.Generator().manual_seed(0)
    scores = 2 * torch.randn((2, 3, *size), generator=generator)
    images = torch.randn((2, channels, *size), generator=generator)
    slow = np.mean(
        [_slow(s.double().numpy(), i.double().numpy(), spacing) for s, i in zip(scores, images, strict=True)]
    )
    assert float(field_loss(scores, images, spacing)) == pytest.approx(slow, rel=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_word_that_knows_nothing_is_left_alone(dims):
    """Equal chances stay equal in any field: no loss and no gradient."""
    scores = torch.zeros((1, 2, *[8] * dims), requires_grad=True)
    images = torch.randn((1, 1, *[8] * dims), generator=torch.Generator().manual_seed(0))
    loss = field_loss(scores, images, [1.0] * dims)
    (gradient,) = torch.autograd.grad(loss, scores)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert gradient.abs().max() < 1e-6


@pytest.mark.parametrize("dims", [2, 3])
def test_stray_voxels_go_and_an_edge_of_the_image_stays(dims):
    half = torch.zeros([12] * dims)
    half[6:] = 2.0  # four standard deviations of like intensity
    truth = (half > 1).long()
    wrong = truth.clone()
    for place in product((2, 9), repeat=dims):
        wrong[place] = 1 - wrong[place]
    sure = 2.0 * torch.nn.functional.one_hot(wrong, 2).movedim(-1, 0)[None].float()
    scores = sure.clone().requires_grad_()
    descent = torch.optim.SGD([scores], lr=float(wrong.numel()))
    for _ in range(40):
        descent.zero_grad()
        field_loss(scores, half[None, None], [1.0] * dims).backward()
        descent.step()
    assert torch.equal(scores.argmax(1)[0], truth)


@pytest.mark.parametrize("dims", [2, 3])
def test_training_hears_it_more_and_more(ball_image, dims):
    """Nothing at the first step, so that the second starts from the same weights and differs by its share."""
    sample, _, config = setting(ball_image, dims)
    losses = {}
    for weight in (0.0, 0.3, 0.6):
        plan = TrainConfig(steps=3, seed=0, device="cpu", field_weight=weight)
        losses[weight] = [step.loss for step in Trainer([sample], config, plan).steps()]
    assert losses[0.3][0] == losses[0.0][0]
    gained = [losses[weight][1] - losses[0.0][1] for weight in (0.3, 0.6)]
    assert gained[0] > 0
    assert gained[1] == pytest.approx(2 * gained[0], rel=1e-3)
    walked = replace(config, objects="alike")  # the labels follow the edges already
    plan = TrainConfig(steps=3, seed=0, device="cpu", field_weight=0.6)
    assert [step.loss for step in Trainer([sample], walked, plan).steps()] == losses[0.0]
