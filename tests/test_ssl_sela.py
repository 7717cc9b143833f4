"""Self-labelling: labels are even, kept for a round and given anew; crops come again."""

from itertools import permutations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_pretrain_crops import ramps
from test_ssl_parts import tiny_encoder

from pretrain.codes import sinkhorn
from pretrain.crops import LEAST, CropSampler
from pretrain.method import Setting
from pretrain.sela import EPSILON, NONE, SETTLED, TEMPERATURE, SeLa


def make(dims, monkeypatch, repeat=2, batch=3, clusters=3):
    monkeypatch.setattr(SeLa, "REPEAT", repeat)
    setting = Setting((16,) * dims, (1.0,) * dims, "other", 40, 0, batch)
    return SeLa(tiny_encoder(dims), setting, clusters=clusters)


def crops(dims, turn, count=3, start=0):
    numbers = torch.zeros(count, 3, dtype=torch.int64)
    numbers[:, 1], numbers[:, 2] = turn, torch.arange(start, start + count)
    return torch.randn(count, 1, *(16,) * dims), numbers


def test_labels_are_the_best_even_ones():
    """Against all ways to share six crops out among three clusters, two each."""
    scores = torch.rand(6, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    best = max(set(permutations([0, 0, 1, 1, 2, 2])), key=lambda way: scores[range(6), list(way)].sum())
    codes = sinkhorn(scores, epsilon=EPSILON, iterations=SETTLED)
    assert codes.argmax(1).tolist() == list(best)
    assert codes.argmax(1).tolist() != scores.argmax(1).tolist()  # which is not even


def test_a_label_stays_for_its_round_and_is_then_given_anew(dims, monkeypatch):
    method = make(dims, monkeypatch)
    method(*crops(dims, 0))
    assert (method.labels == NONE).all()  # only once the step is done
    method.after_step()
    first = method.labels.clone()
    assert (first[:3] != NONE).all()
    assert (first[3:] == NONE).all()
    for parameter in method.parameters():  # another network, which would label otherwise
        torch.nn.init.normal_(parameter)
    method(*crops(dims, 0))
    assert torch.equal(method._waiting[-1][2], first[:3])
    method(*crops(dims, 1))
    method.after_step()  # the end of the round, with two parts
    expected = sinkhorn(method.scores, epsilon=EPSILON, iterations=SETTLED)
    assert torch.equal(method.labels, expected.argmax(1))
    assert torch.allclose(expected.sum(0), torch.full((3,), 2.0), atol=0.02)


def test_labels_are_even_though_all_crops_are_alike(monkeypatch):
    method = make(2, monkeypatch, repeat=100, batch=3, clusters=5)
    method.labels[:] = 0
    drawn = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    drawn[:, 0] += 3  # all one way
    method.scores = F.cosine_similarity(drawn.unsqueeze(1), torch.eye(5, 8), dim=2)
    assert method.scores.argmax(1).bincount(minlength=5).max() > 150
    method.label()
    assert (method.labels.bincount(minlength=5) - 60).abs().max() < 15


def test_what_is_learned_is_the_label_from_both_views(dims, monkeypatch):
    method = make(dims, monkeypatch)
    method.labels[:3] = torch.tensor([2, 0, 1])
    seen = {}
    method.head.register_forward_hook(lambda _module, _inputs, output: seen.update(embedded=output))
    loss = method(*crops(dims, 0)).detach()
    scores = F.cosine_similarity(seen["embedded"].unsqueeze(1), method.clusters, dim=2).detach()
    logs = (scores / TEMPERATURE).log_softmax(1)
    slow = -sum(logs[row, label] for row, label in enumerate([2, 0, 1] * 2)) / 6
    assert float(loss) == pytest.approx(float(slow), abs=1e-6)
    hits = (scores.argmax(1) == torch.tensor([2, 0, 1] * 2)).float().mean()
    assert method.metrics["agreement"] == pytest.approx(float(hits))


def test_how_many_labels_were_kept_is_told(monkeypatch):
    method = make(2, monkeypatch, repeat=1)
    images, numbers = crops(2, 0)
    method(images, numbers)
    method._waiting[-1] = (numbers[:, 2], 9 * torch.eye(3), torch.tensor([0, 2, 1]))
    method.after_step()
    assert method.labels.tolist() == [0, 1, 2]
    assert float(method.kept) == pytest.approx(1 / 3)


def test_crops_come_again_and_say_which_they_are(dims):
    scans = ramps(LEAST, (40, 24, 20)[:dims])
    sampler = CropSampler(scans, (1.0,) * dims, (8,) * dims, seed=0, repeat=3)
    plain = CropSampler(scans, (1.0,) * dims, (8,) * dims, seed=0)
    images, numbers = sampler.draw(1, range(2, 6))
    again, same = sampler.draw(7, range(2, 6))
    assert np.array_equal(images, again)
    assert np.array_equal(numbers, same)
    assert numbers[:, 1:].tolist() == [[1, 2], [1, 3], [1, 4], [1, 5]]
    assert np.array_equal(numbers[:, 0], plain.draw(1, range(2, 6))[1])
    assert np.array_equal(images, plain.draw(1, range(2, 6))[0])
    assert not np.array_equal(images, sampler.draw(2, range(2, 6))[0])
