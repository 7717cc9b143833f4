"""What methods share: InfoNCE against a slow loop, momentum by hand, two processes like one."""

import math

import pytest
import torch
import torch.multiprocessing as mp
from torch import nn
from two_processes import batch, losses, one_of_two

from pretrain.parts import (
    Momentum,
    SteadyNorm,
    contrast,
    mlp,
    momentum,
    momentum_start,
    off_diagonal,
    pool,
    product,
    standardised,
    unit,
)
from wsseg.unet import Encoder, plan_encoder


def tiny_encoder(dims: int) -> Encoder:
    torch.manual_seed(0)
    return Encoder(plan_encoder(channels_in=1, spacing=(1.0,) * dims, size=(16,) * dims, channels=(4, 8)))


def slow_contrast(logits, positive, negative, decoupled=False):
    """The loss by the definition, one row after the other."""
    losses, hits, luck = [], [], []
    for row, own, others in zip(logits.tolist(), positive.tolist(), negative.tolist(), strict=True):
        against = [value for i, (value, yes) in enumerate(zip(row, others, strict=True)) if yes and i != own]
        if against:
            below = sum(map(math.exp, against)) + (0 if decoupled else math.exp(row[own]))
            losses.append(math.log(below) - row[own])
            hits.append(row[own] > max(against))
            luck.append(1 / (1 + len(against)))
    return [sum(values) / len(values) for values in (losses, hits, luck)]


@pytest.mark.parametrize("decoupled", [False, True])
def test_contrast_is_the_definition(decoupled):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(7, 11, generator=generator, dtype=torch.float64) * 3
    positive = torch.randint(0, 11, (7,), generator=generator)
    negative = torch.rand(7, 11, generator=generator) < 0.4
    negative[2] = False
    result = contrast(logits, positive, negative, decoupled=decoupled)
    expected = slow_contrast(logits, positive, negative, decoupled)
    assert [float(value) for value in result] == pytest.approx(expected)


def test_a_row_without_negatives_gives_no_gradient_and_no_nan():
    logits = torch.randn(3, 4, requires_grad=True)
    negative = torch.ones(3, 4, dtype=torch.bool)
    negative[1] = False
    contrast(logits, torch.zeros(3, dtype=torch.int64), negative).loss.backward()
    assert logits.grad.isfinite().all()
    assert not logits.grad[1].any()
    assert logits.grad[0].any()
    assert contrast(logits, torch.zeros(3, dtype=torch.int64), negative & False).loss.item() == 0


def test_large_logits_stay_finite():
    logits = torch.tensor([[3000.0, -3000.0], [0.0, 5000.0]], requires_grad=True)
    loss = contrast(logits, torch.tensor([0, 0]), torch.ones(2, 2, dtype=torch.bool)).loss
    loss.backward()
    assert loss.item() == pytest.approx(2500)
    assert logits.grad.isfinite().all()


def test_momentum_goes_from_its_start_to_one():
    assert momentum(0, 100, 0.9) == pytest.approx(0.9)
    assert momentum(50, 100, 0.9) == pytest.approx(0.95)
    assert momentum(100, 100, 0.9) == 1
    assert momentum(200, 100, 0.9) == 1


@pytest.mark.parametrize("steps", [1, 10, 500, 5000, 100_000])
def test_a_short_run_has_a_fast_copy(steps):
    start = momentum_start(steps)
    assert 0 <= start <= 0.99
    assert steps * (1 - start) >= min(steps, 5) - 1e-9
    assert momentum_start(steps, 0.999) == pytest.approx(min(0.999, max(0, 1 - 5 / steps)))


def test_the_copy_is_exact_then_follows_and_has_no_gradient(dims):
    encoder, head = tiny_encoder(dims), mlp(8, 8, 4)
    target = Momentum(encoder, head, steps=10)
    networks = nn.ModuleList([encoder, head])
    copies = nn.ModuleList([target.encoder, target.head])
    for own, other in zip(copies.parameters(), networks.parameters(), strict=True):
        assert torch.equal(own, other)
        assert own is not other
        assert not own.requires_grad
    before = [p.detach().clone() for p in networks.parameters()]
    with torch.no_grad():
        for p in networks.parameters():
            p.add_(1.0)
    head[1].running_mean.fill_(7.0)
    target.follow(encoder, head)
    share = 1 - target.start  # the first step's momentum is the start
    for own, old in zip(copies.parameters(), before, strict=True):
        assert torch.allclose(own, old + share, atol=1e-6)
    assert (target.head[1].running_mean == 7).all()
    assert target.done == 1
    out = target(torch.randn(2, 1, *(16,) * dims, requires_grad=True))
    assert not out.requires_grad


def test_the_copy_keeps_statistics_of_its_own_features():
    encoder, head = tiny_encoder(2), nn.Sequential(SteadyNorm(8), nn.BatchNorm1d(8))
    target = Momentum(encoder, head, steps=10)
    head[0].mean.fill_(3.0)
    head[1].running_mean.fill_(3.0)
    target.follow(encoder, head)
    assert (target.head[0].mean == 0).all()
    assert (target.head[1].running_mean == 3).all()


def test_small_parts():
    values = torch.tensor([[[1.0, 2.0, 6.0]]])
    assert pool(values).tolist() == [[3.0]]
    assert unit(torch.tensor([[3.0, 4.0]])).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
    assert off_diagonal(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist() == [[0, 2], [3, 0]]
    out = standardised(torch.stack([torch.arange(4.0), torch.full((4,), 5.0)]), [1])
    assert out[0].mean() == pytest.approx(0)
    assert out[0].square().mean() == pytest.approx(1)
    assert not out[1].any()  # what is constant becomes 0, not infinite
    head = mlp(4, 6, 2, last_norm=True)
    assert [type(layer).__name__ for layer in head] == [
        "Linear",
        "BatchNorm1d",
        "ReLU",
        "Linear",
        "BatchNorm1d",
    ]
    assert head[-1].weight is None


def test_steady_norm_is_batch_norm_of_the_batches_before():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 50, 3, generator=generator, dtype=torch.float64) * 4 + 7
    norm = SteadyNorm(3).double()
    expected = (first - first.mean(0)) / (first.var(0, correction=0) + 1e-5).sqrt()
    assert torch.allclose(norm(first), expected)
    later = norm(second)
    assert torch.allclose(later, (second - first.mean(0)) / (first.var(0, correction=0) + 1e-5).sqrt())
    assert torch.allclose(norm.mean, (first.mean(0) + second.mean(0)) / 2)
    other = SteadyNorm(3).double()
    other(first)
    assert torch.allclose(other(second[:1]), later[:1])  # no sample sees the others of its batch
    norm.eval()
    kept = norm.mean.clone()
    norm(first)
    assert torch.equal(norm.mean, kept)


def test_losses_are_not_computed_in_half_precision():
    a = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert product(a, a).dtype == torch.float32
        assert torch.equal(product(a, a), a @ a.T) is False  # which autocast does compute in half
    assert torch.equal(product(a, a), a @ a.T)


def test_two_processes_are_one(tmp_path):
    weight = batch()[-1].requires_grad_()
    alone = losses(weight)
    context = mp.get_context("spawn")
    queue = context.Queue()
    processes = [
        context.Process(target=one_of_two, args=(rank, str(tmp_path / "store"), queue)) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    told = queue.get(timeout=120)
    for process in processes:
        process.join()
        assert process.exitcode == 0
    memory = torch.tensor(told.pop("memory")[0], dtype=torch.float64)
    assert torch.allclose(memory, alone.pop("memory"), atol=1e-12)
    assert told.keys() == alone.keys()
    for name, (value, gradient) in told.items():
        (own,) = torch.autograd.grad(alone[name], weight, retain_graph=True)
        assert value == pytest.approx(alone[name].item(), abs=1e-12), name
        assert torch.allclose(torch.tensor(gradient, dtype=torch.float64), own, atol=1e-12), name
