"""Pooling against sums written out and limits that are known."""

import numpy as np
import pytest
import torch

from wsseg.pooling import PLACES, log_mean_exp, pool, ranked_mean


def scores(dims, seed=0):
    size = (6, 5) if dims == 2 else (3, 4, 2)
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dims", [2, 3])
def test_each_kind_is_the_sum_written_out(dims):
    values = scores(dims)
    flat = values.flatten(2).double().numpy()
    count = flat.shape[2]
    assert np.allclose(pool(values, "average"), flat.mean(2), atol=1e-6)
    assert np.allclose(pool(values, "max"), flat.max(2))
    assert np.allclose(pool(values, "log-sum-exp"), np.log(np.exp(5 * flat).mean(2)) / 5, atol=1e-5)
    assert np.allclose(pool(values, "every"), np.log(np.exp(flat).mean(2)), atol=1e-5)
    decay = 0.996 ** (PLACES / count)
    for n in range(2):
        for k in range(3):
            ordered = sorted(flat[n, k], reverse=True)
            total = sum(decay**j for j in range(count))
            expected = sum(decay**j * value for j, value in enumerate(ordered)) / total
            assert np.isclose(pool(values, "rank")[n, k], expected, atol=1e-5)


def test_limits_and_order():
    values = scores(2)
    average, maximum = pool(values, "average"), pool(values, "max")
    assert torch.equal(ranked_mean(values, 0), maximum)
    assert torch.allclose(ranked_mean(values, 1.0), average, atol=1e-6)
    assert torch.allclose(log_mean_exp(values, 500.0), maximum, atol=0.01)
    for kind in ("log-sum-exp", "rank", "every"):
        assert (pool(values, kind) > average).all()
        assert (pool(values, kind) < maximum).all()


def test_a_decay_counts_the_same_share_of_an_image_of_any_size():
    small = torch.linspace(1, 0, 41 * 41).view(1, 1, 41, 41)
    large = torch.linspace(1, 0, 164 * 164).view(1, 1, 164, 164)
    assert torch.allclose(ranked_mean(small, 0.99), ranked_mean(large, 0.99), atol=1e-3)


def test_gradients_reach_the_places_that_count():
    values = scores(2).requires_grad_()
    pool(values, "max").sum().backward()
    assert torch.count_nonzero(values.grad) == 6
    again = scores(2).requires_grad_()
    pool(again, "rank").sum().backward()
    assert (again.grad > 0).all()
