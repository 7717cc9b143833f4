"""The queue: its order, its closed form, scans that are no negatives of themselves."""

import math

import pytest
import torch
from test_ssl_parts import tiny_encoder

from pretrain.method import Setting
from pretrain.moco import EMPTY, MoCo, against_queue
from pretrain.parts import unit


def make(dims: int = 2, **options) -> MoCo:
    return MoCo(tiny_encoder(dims), Setting((16,) * dims, (1.0,) * dims, "other", 50, 0), **options)


@pytest.mark.parametrize("batch", [3, 4, 9, 25])
def test_the_queue_holds_the_newest_keys_in_order(batch):
    """Also where the batch does not divide it, and where it is larger than the queue."""
    method = make(queue=10)
    seen = []
    for step in range(7):
        keys = torch.full((batch, 128), float(step)) + torch.arange(batch).view(-1, 1) / 100
        method._enqueue(keys, torch.full((batch,), step))
        seen += [float(k[0]) for k in keys]
    length = len(seen)
    expected = {i % 10: seen[i] for i in range(max(0, length - 10), length)}
    held = {i: float(v[0]) for i, v in enumerate(method.queue) if method.queue_scans[i] != EMPTY}
    assert held == pytest.approx(expected)
    assert int(method.pointer) == length % 10


def test_an_empty_queue_has_no_negatives():
    keys = unit(torch.randn(4, 8))
    queue, nobody = torch.zeros(6, 8), torch.full((6,), EMPTY)
    result = against_queue(keys, keys, torch.arange(4), queue, nobody, 0.2)
    assert float(result.chance) == pytest.approx(1 / 4)  # the batch's own three others


def test_all_alike_costs_what_guessing_costs():
    same, scans = unit(torch.ones(3, 8)), torch.zeros(3, dtype=torch.int64)
    result = against_queue(same, same, scans, unit(torch.ones(20, 8)), torch.ones(20, dtype=torch.int64), 0.1)
    assert float(result.loss) == pytest.approx(math.log(21), abs=1e-5)


def test_keys_of_the_own_scan_are_masked():
    query = unit(torch.randn(1, 8, generator=torch.Generator().manual_seed(0)))
    queue = query.repeat(5, 1)  # as near as the positive
    own = against_queue(query, query, torch.tensor([7]), queue, torch.full((5,), 7), 0.1)
    other = against_queue(query, query, torch.tensor([7]), queue, torch.full((5,), 8), 0.1)
    assert float(own.loss) == 0
    assert float(other.loss) == pytest.approx(math.log(6), abs=1e-5)


def test_keys_made_by_a_copy_that_has_moved_on_are_no_negatives(monkeypatch):
    method = make(queue=64)  # 50 steps: a copy of momentum 0.9 moves by a tenth a step
    assert method.target.start == pytest.approx(0.9)
    assert method.reach == 1
    assert make_long().reach == 100  # the authors' 0.999
    seen = []

    def look(query, keys, scans, queue, queue_scans, temperature):
        seen.append(int((queue_scans != EMPTY).sum()))
        return against_queue(query, keys, scans, queue, queue_scans, temperature)

    monkeypatch.setattr("pretrain.moco.against_queue", look)
    method.reach = 2
    for _ in range(5):
        method(torch.randn(4, 1, 16, 16), torch.arange(4))
        method.after_step()
    assert seen == [0, 4, 8, 8, 8]  # keys of the two steps before


def make_long() -> MoCo:
    return MoCo(tiny_encoder(2), Setting((16, 16), (1.0, 1.0), "other", 100_000, 0))


def test_keys_enter_after_the_step_and_have_no_gradient(dims):
    method = make(dims, queue=16)
    images, scans = torch.randn(4, 1, *(16,) * dims), torch.arange(4)
    loss = method(images, scans)
    assert (method.queue_scans == EMPTY).all()  # the old queue is what the loss sees
    loss.backward()
    assert all(p.grad is None for p in method.target.parameters())
    assert all(p.grad is not None for p in method.encoder.parameters())
    method(images, scans)  # the second part of an accumulated batch
    method.after_step()
    assert method.queue_scans[:8].tolist() == [0, 1, 2, 3] * 2
    assert torch.allclose(method.queue[:8].norm(dim=1), torch.ones(8), atol=1e-5)
    assert {"queue", "queue_scans", "pointer"} <= set(method.state_dict())
