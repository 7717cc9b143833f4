"""VICReg and Barlow Twins against slow loops and closed forms."""

import pytest
import torch

from pretrain.barlow import barlow_loss, correlation
from pretrain.vicreg import vicreg_terms


def views(count=7, width=5):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, count, width, generator=generator, dtype=torch.float64).unbind(0)


def covariance(a, b, divisor):
    """Slow loop over samples."""
    a, b = a - sum(a) / len(a), b - sum(b) / len(b)
    return float(sum(x * y for x, y in zip(a, b, strict=True)) / divisor)


def test_vicreg_against_slow_loops():
    first, second = views()
    count, width = first.shape
    invariance = sum(
        (float(a) - float(b)) ** 2 for a, b in zip(first.flatten(), second.flatten(), strict=True)
    )
    variance, off = 0.0, 0.0
    for view in (first, second):
        for i in range(width):
            deviation = (covariance(view[:, i], view[:, i], count - 1) + 1e-4) ** 0.5
            variance += max(0.0, 1 - deviation) / width / 2
            off += (
                sum(covariance(view[:, i], view[:, j], count - 1) ** 2 for j in range(width) if j != i)
                / width
            )
    terms = [float(term) for term in vicreg_terms(first, second)]
    assert terms == pytest.approx([invariance / count / width, variance, off])


def test_a_collapse_costs_variance_and_nothing_else():
    same = torch.ones(6, 4)
    assert [float(term) for term in vicreg_terms(same, same)] == pytest.approx([0, 1 - 0.01, 0])


def test_barlow_against_slow_loops():
    first, second = views()
    count, width = first.shape
    matrix = correlation(first, second)
    for i in range(width):
        for j in range(width):
            a, b = first[:, i], second[:, j]
            deviations = ((covariance(a, a, count) + 1e-5) * (covariance(b, b, count) + 1e-5)) ** 0.5
            assert float(matrix[i, j]) == pytest.approx(covariance(a, b, count) / deviations)
    on = sum((1 - float(matrix[i, i])) ** 2 for i in range(width))
    off = sum(float(matrix[i, j]) ** 2 for i in range(width) for j in range(width) if i != j)
    assert float(barlow_loss(matrix, 0.1)) == pytest.approx(on + 0.1 * off)


def test_views_that_agree_correlate_with_themselves_even_in_small_batches():
    hadamard = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])  # two features that don't correlate
    assert torch.allclose(correlation(hadamard, 5 * hadamard + 3), torch.eye(2), atol=1e-4)
    assert float(barlow_loss(torch.eye(3), 0.005)) == 0
    assert float(barlow_loss(torch.ones(3, 3), 0.005)) == pytest.approx(0.03)
    assert float(barlow_loss(torch.zeros(3, 3), 0.005)) == 3
