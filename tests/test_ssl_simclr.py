"""NT-Xent against a slow double loop and closed forms."""

import math

import pytest
import torch

from pretrain.parts import contrast, nt_xent, product, unit


def test_against_a_slow_double_loop():
    generator = torch.Generator().manual_seed(1)
    first, second = torch.randn(2, 6, 9, generator=generator, dtype=torch.float64)
    scans = torch.tensor([0, 0, 1, 2, 2, 2])
    views = [v / v.norm() for v in torch.cat([first, second])]
    of = scans.tolist() * 2
    losses = []
    for i, view in enumerate(views):
        j = (i + 6) % 12
        own = math.exp(float(view @ views[j]) / 0.3)
        others = [math.exp(float(view @ views[k]) / 0.3) for k in range(12) if of[k] != of[i]]
        losses.append(-math.log(own / (own + sum(others))))
    assert float(nt_xent(first, second, scans, 0.3).loss) == pytest.approx(sum(losses) / 12)


@pytest.mark.parametrize("count", [2, 8])
def test_all_views_alike_cost_what_guessing_costs(count):
    same = torch.ones(count, 4)
    result = nt_xent(same, same, torch.arange(count), 0.1)
    assert float(result.loss) == pytest.approx(math.log(2 * count - 1), abs=1e-5)
    assert float(result.chance) == pytest.approx(1 / (2 * count - 1))
    assert float(result.accuracy) == 0  # a tie is no hit


def test_views_of_orthogonal_places_cost_almost_nothing():
    places = torch.eye(5)
    result = nt_xent(places, places, torch.arange(5), 0.05)
    assert float(result.loss) == pytest.approx(math.log(1 + 8 * math.exp(-20)), abs=1e-6)
    assert float(result.accuracy) == 1


def test_order_and_length_do_not_matter():
    generator = torch.Generator().manual_seed(2)
    first, second = torch.randn(2, 6, 9, generator=generator, dtype=torch.float64)
    scans = torch.tensor([0, 1, 1, 2, 3, 4])
    loss = float(nt_xent(first, second, scans, 0.2).loss)
    order = torch.randperm(6, generator=generator)
    assert float(nt_xent(second, first, scans, 0.2).loss) == pytest.approx(loss)
    assert float(nt_xent(first[order], second[order], scans[order], 0.2).loss) == pytest.approx(loss)
    assert float(nt_xent(3 * first, second / 7, scans, 0.2).loss) == pytest.approx(loss)


def test_crops_of_one_scan_do_not_push_each_other_away():
    generator = torch.Generator().manual_seed(4)
    first = torch.randn(4, 9, generator=generator, requires_grad=True)
    second = torch.randn(4, 9, generator=generator)
    scans = torch.tensor([0, 0, 1, 1])
    result = nt_xent(first, second, scans, 0.2)
    with torch.no_grad():
        moved = second.clone()
        moved[1] = torch.randn(9, generator=generator)  # the other crop of scan 0
    # rows of place 0 (0 and 4) do not change; those of scan 1 do
    assert float(result.chance) == pytest.approx(1 / 5)
    gradient = torch.autograd.grad(_of_row(first, moved, scans), first, retain_graph=True)[0]
    reference = torch.autograd.grad(_of_row(first, second, scans), first)[0]
    assert torch.allclose(gradient[0], reference[0], atol=1e-6)
    assert not reference[1].any()  # place 1 has no say in the row of place 0


def _of_row(first, second, scans):
    """The loss of the row of place 0, first view, alone."""
    views = unit(torch.cat([first, second]))
    other = (scans.repeat(2).view(-1, 1) != scans.repeat(2)) & (torch.arange(8) == 0).view(-1, 1)
    return contrast(product(views, views) / 0.2, torch.arange(8).roll(4), other).loss
