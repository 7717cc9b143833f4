"""Expand and constrain: closed forms, a loop over patches, and what they do to a network's word."""

import math

import numpy as np
import pytest
import torch

from wsseg.bags import Bag
from wsseg.crf import LocalField
from wsseg.pooling import PLACES, ranked_mean
from wsseg.seeds import SeedConfig, kernels_of
from wsseg.tagterms import (
    ABSENT,
    GROUND,
    PRESENT,
    SEEDED,
    TagTerms,
    constrain_loss,
    decay_for,
    expand_loss,
    shares_of,
    tag_maps,
)
from wsseg.weak import WeakLabels

OUTPUTS = {3: 1, 7: 2}


def labels_of(target, known):
    return WeakLabels(target.astype(np.int64), known.astype(np.float32))


def seeded(dims):
    """An image with a corner of output 1 known, the far layer known to be background, the rest unknown."""
    target, known = np.zeros((8,) * dims, int), np.zeros((8,) * dims, bool)
    corner = (slice(0, 2),) * dims
    target[corner], known[corner], known[-1] = 1, True, True
    return labels_of(target, known)


def test_maps_tell_what_is_absent_present_and_seeded(dims):
    labels = seeded(dims)
    maps = tag_maps(labels, [Bag(None, frozenset({3}))], None, OUTPUTS)
    assert maps.shape == (3, *(8,) * dims)
    assert not maps[0].any()
    corner = labels.target == 1
    assert (maps[1][corner] == SEEDED).all()
    ground = labels.known & ~corner
    assert (maps[1][ground] == GROUND).all()
    assert (maps[1][~labels.known] == PRESENT).all()
    assert (maps[2] == ABSENT).all()
    assert not tag_maps(labels, [], None, OUTPUTS).any()


def test_slices_speak_for_themselves_alone():
    labels = seeded(3)
    bags = [Bag(None, frozenset({3}), 0), Bag(None, frozenset(), 5)]
    maps = tag_maps(labels, bags, 1, OUTPUTS)
    assert set(np.unique(maps[1][:, 0])) == {PRESENT, SEEDED, GROUND}
    assert (maps[1:, :, 5] == ABSENT).all()
    assert not maps[:, :, 1:5].any()


def test_shares_are_of_known_voxels_where_the_class_is_present():
    target = np.array([[1, 1, 0, 0], [0, 0, 0, 0]])
    labels = labels_of(target, np.array([[1, 1, 1, 0], [1, 1, 1, 1]]))
    maps = np.zeros((2, 2, 4), np.int32)
    maps[1, 0], maps[1, 1] = PRESENT, ABSENT
    shares = shares_of([labels], [maps])
    assert shares == {0: pytest.approx(1 / 3), 1: pytest.approx(2 / 3)}


def test_the_decay_is_the_papers_for_its_share():
    share = -1 / (PLACES * math.log(0.996))
    assert share == pytest.approx(0.148, abs=1e-3)
    assert decay_for(share) == pytest.approx(0.996)
    values = torch.zeros(1, 1, PLACES)
    values[..., : PLACES // 10] = 1
    # ranks beyond the tenth weigh e⁻¹ of all where the share is a tenth
    assert float(ranked_mean(values, decay_for(0.1))) == pytest.approx(1 - math.exp(-1), abs=0.01)


def test_expand_is_the_mean_over_patches_and_classes(dims):
    size = (4,) * dims
    chances = torch.rand(2, 3, *size).softmax(1)
    maps = torch.zeros(2, 3, *size, dtype=torch.long)
    maps[0, 1], maps[0, 2] = PRESENT, ABSENT
    maps[0, 1].view(-1)[0], maps[0, 1].view(-1)[1] = SEEDED, GROUND
    maps[1, 1] = PRESENT  # no label of it here: it may be in another part of the image
    maps[1, 2] = ABSENT
    shares = {0: 0.5, 1: 0.25, 2: 0.1}

    def pooled(output, share):
        weights = [math.exp(-rank / (share * 4**dims)) for rank in range(4**dims)]
        ordered = sorted(chances[0, output].flatten().tolist(), reverse=True)
        return sum(w * v for w, v in zip(weights, ordered, strict=True)) / sum(weights)

    parts = [math.log(pooled(0, 0.5)), math.log(pooled(1, 0.25))]
    parts += [math.log(1 - float(chances[n, 2].max())) for n in range(2)]
    assert float(expand_loss(chances, maps, shares)) == pytest.approx(-sum(parts) / 4, rel=1e-4)


def test_nothing_said_gives_no_loss_and_no_gradient(dims):
    scores = torch.randn(2, 3, *(8,) * dims, requires_grad=True)
    images = torch.randn(2, 1, *(8,) * dims)
    maps = torch.zeros(2, 3, *(8,) * dims, dtype=torch.long)
    terms = TagTerms(("expand", "constrain"), {0: 0.5, 1: 0.3, 2: 0.2}, (1.0,) * dims)
    loss = terms(scores, images, maps, 0.5)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not scores.grad.any()


def test_constrain_is_the_divergence_from_the_field_at_half_the_size(dims):
    torch.manual_seed(0)
    chances = torch.randn(1, 2, *(8,) * dims).softmax(1)
    images = torch.randn(1, 2, *(8,) * dims)
    maps = torch.full((1, 2, *(8,) * dims), PRESENT)

    def halved(values):
        for axis in range(2, dims + 2):
            values = (values.unflatten(axis, (-1, 2))).mean(axis + 1)
        return values

    small = halved(chances)
    field = LocalField(halved(images), kernels_of(SeedConfig(), (2.0,) * dims))
    target = field.solve(small.log(), iterations=3)
    expected = (target * (target / small).log()).sum(1).mean()
    found = float(constrain_loss(chances, images, maps, (1.0,) * dims))
    assert found == pytest.approx(float(expected), rel=1e-3)


def test_constrain_has_no_room_for_an_absent_class(dims):
    chances = torch.full((1, 3, *(8,) * dims), 1 / 3, requires_grad=True)
    maps = torch.full((1, 3, *(8,) * dims), PRESENT)
    maps[:, 2] = ABSENT
    constrain_loss(chances, torch.zeros(1, 1, *(8,) * dims), maps, (1.0,) * dims).backward()
    pull = -chances.grad.flatten(2).mean((0, 2))
    assert pull[0] == pytest.approx(float(pull[1]), rel=1e-4)
    assert float(pull[2]) < 1e-4 < float(pull[0])


def test_expansion_ends_at_the_edge_of_the_image(dims):
    """From a seed in the bright half, scores that are descended on fill that half and no more."""
    size = (8,) * dims
    images = torch.zeros(1, 1, *size)
    images[..., :4] = 3.0
    maps = torch.zeros(1, 2, *size, dtype=torch.long)
    maps[0, 1] = PRESENT
    maps[0, 1].view(-1)[0], maps[0, 1].view(-1)[-1] = SEEDED, GROUND
    target, known = torch.zeros(1, *size, dtype=torch.long), torch.zeros(1, *size)
    target.view(-1)[0], known.view(-1)[0], known.view(-1)[-1] = 1, 1, 1
    found = {}
    for names in ((), ("expand", "constrain")):
        terms = TagTerms(names, {0: 0.5, 1: 0.5}, (1.0,) * dims)
        scores = torch.zeros(1, 2, *size, requires_grad=True)
        optimiser = torch.optim.Adam([scores], lr=0.1)
        for _ in range(60):
            seed = (torch.nn.functional.cross_entropy(scores, target, reduction="none") * known).sum()
            loss = seed + terms(scores, images, maps, 0.5)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        found[names] = scores.detach().softmax(1)[0, 1] > 0.6
    bright = images[0, 0] > 0
    assert found[()].sum() == 1
    everywhere = found["expand", "constrain"]
    assert everywhere[bright].float().mean() > 0.9
    assert everywhere[~bright].float().mean() < 0.1
