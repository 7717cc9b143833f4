"""SwAV: codes against the algorithm by hand, prototypes that rest, queues that wait."""

import math

import pytest
import torch
from test_ssl_parts import tiny_encoder

from pretrain.codes import sinkhorn, swav_loss
from pretrain.method import Setting
from pretrain.parts import unit
from pretrain.swav import SwAV, used


def slow_sinkhorn(scores, epsilon, iterations):
    """Columns and rows divided by their sums in turn, one number after the other."""
    q = [[math.exp(value / epsilon) for value in row] for row in scores.tolist()]
    for _ in range(iterations):
        sums = [sum(row[k] for row in q) for k in range(len(q[0]))]
        q = [[value / total for value, total in zip(row, sums, strict=True)] for row in q]
        q = [[value / sum(row) for value in row] for row in q]
    return torch.tensor(q, dtype=torch.float64)


def slow_loss(first, second, temperature, earlier=None):
    total = 0.0
    for index, (own, other) in enumerate(((first, second), (second, first))):
        known = own if earlier is None else torch.cat([own, earlier[index]])
        codes = slow_sinkhorn(known, 0.05, 3)
        for code, row in zip(codes[: len(own)].tolist(), other.tolist(), strict=True):
            below = math.log(sum(math.exp(value / temperature) for value in row))
            total -= sum(q * (value / temperature - below) for q, value in zip(code, row, strict=True))
    return total / (2 * len(first))


def scores(seed, count=6, clusters=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, clusters, generator=generator, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("iterations", [1, 3, 50])
def test_codes_by_hand(iterations):
    found = sinkhorn(scores(0), epsilon=0.05, iterations=iterations)
    assert torch.allclose(found, slow_sinkhorn(scores(0), 0.05, iterations), atol=1e-12)
    assert torch.allclose(found.sum(1), torch.ones(6, dtype=torch.float64))


def test_clusters_get_equal_shares_where_everything_likes_one():
    alike = scores(1, 30, 5)
    alike[:, 2] += 10  # exp(220) would be too large a number without logarithms
    codes = sinkhorn(alike.float(), epsilon=0.05, iterations=300)
    assert torch.allclose(codes.sum(0), torch.full((5,), 6.0), atol=0.05)
    assert codes.isfinite().all()
    flat = sinkhorn(torch.zeros(7, 3), epsilon=0.05, iterations=3)
    assert torch.allclose(flat, torch.full((7, 3), 1 / 3))


@pytest.mark.parametrize("queue", [False, True])
def test_the_loss_is_the_slow_one(queue):
    earlier = [scores(5, 9), scores(6, 9)] if queue else None
    found = swav_loss(scores(2), scores(3), 0.1, earlier=earlier)
    assert float(found) == pytest.approx(slow_loss(scores(2), scores(3), 0.1, earlier), abs=1e-10)


def test_no_gradient_goes_through_the_codes():
    first, second = scores(2).requires_grad_(), scores(3).requires_grad_()
    swav_loss(first, second, 0.1).backward()
    codes = [sinkhorn(view.detach(), epsilon=0.05, iterations=3) for view in (first, second)]
    by_hand = [
        ((view / 0.1).softmax(1) - code) / 0.1 / 12 for view, code in zip((second, first), codes, strict=True)
    ]
    assert torch.allclose(second.grad, by_hand[0].detach())
    assert torch.allclose(first.grad, by_hand[1].detach())


def test_all_in_one_place_costs_what_guessing_costs():
    """Collapsed embeddings have even codes and even predictions: log K, which is no minimum."""
    same = torch.zeros(8, 16)
    assert float(swav_loss(same, same, 0.1)) == pytest.approx(math.log(16), abs=1e-5)


def test_clusters_in_use():
    assert float(used(torch.eye(6))) == pytest.approx(6)
    assert float(used(torch.eye(6)[[0, 0, 0, 0]])) == pytest.approx(1)
    assert float(used(torch.eye(6)[[0, 0, 3, 3]])) == pytest.approx(2)


def make(dims, steps=40, **options):
    return SwAV(tiny_encoder(dims), Setting((16,) * dims, (1.0,) * dims, "other", steps, 0), **options)


def test_prototypes_rest_first_and_are_of_length_1_always(dims):
    method = make(dims, prototypes=6, queue=8)  # 40 steps: two of them rest
    optimiser = torch.optim.AdamW(method.parameters(), lr=1e-2)
    before, moved = method.prototypes.detach().clone(), []
    for _ in range(4):
        optimiser.zero_grad()
        method(torch.randn(3, 1, *(16,) * dims), torch.arange(3)).backward()
        optimiser.step()
        method.after_step()
        moved.append(not torch.allclose(method.prototypes, before, atol=1e-6))
        assert torch.allclose(method.prototypes.norm(dim=1), torch.ones(6), atol=1e-5)
    assert moved == [False, False, True, True]


def test_the_queue_waits_and_holds_the_newest_of_each_view(monkeypatch):
    method = make(2, prototypes=6, queue=8)  # 40 steps: it waits four
    seen, given = [], []

    def look(first, second, temperature, *, earlier=None):
        seen.append(0 if earlier is None else len(earlier[0]))
        return swav_loss(first, second, temperature, earlier=earlier)

    monkeypatch.setattr("pretrain.swav.swav_loss", look)
    method.head.register_forward_hook(lambda _module, _inputs, output: given.append(unit(output.detach())))
    for _ in range(7):
        method(torch.randn(3, 1, 16, 16), torch.arange(3))
        method.after_step()
    assert seen == [0, 0, 0, 0, 8, 8, 8]
    for view in (0, 1):
        newest = torch.cat([both.chunk(2)[view] for both in given])[-8:]
        assert torch.allclose(method.queue[view].roll(-int(method.pointer), 0), newest)
    short = make(2, steps=10, prototypes=6, queue=64)
    for _ in range(3):
        short(torch.randn(3, 1, 16, 16), torch.arange(3))
        short.after_step()
    assert seen[-3:] == [0, 3, 6]  # places that are still empty are no embeddings


def test_without_a_queue_and_in_parts():
    method = make(2, prototypes=6, queue=0)
    for _ in range(2):  # two parts of one step
        method(torch.randn(3, 1, 16, 16), torch.arange(3)).backward()
    method.after_step()
    assert method(torch.randn(3, 1, 16, 16), torch.arange(3)).isfinite()
    assert int(method.done) == 1
