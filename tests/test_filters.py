"""Filters at one scale, against closed forms: a plane, a paraboloid, a Gaussian blob, an edge."""

import numpy as np
import pytest

from wsseg.filters import describe, eigenvalues, smooth


def grid(size: tuple[int, ...]) -> list[np.ndarray]:
    """Coordinates of each axis, 0 in the middle."""
    return list(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in size], indexing="ij"))


def middle(size: tuple[int, ...], margin: int) -> tuple[slice, ...]:
    return tuple(slice(margin, n - margin) for n in size)


@pytest.mark.parametrize("size", [(20, 24), (14, 12, 16)])
def test_a_plane_has_its_slope_and_no_curvature(size):
    slopes = np.arange(1, len(size) + 1) / 10
    plane = sum(a * x for a, x in zip(slopes, grid(size), strict=True)).astype(np.float32)[None]
    sigma = np.array([0.5, 1.0, 1.5])[: len(size)]
    inner = middle(size, 2)
    value, gradient, *bends = describe(plane, sigma, inner)
    np.testing.assert_array_equal(value, plane[0][inner])
    np.testing.assert_allclose(gradient, np.linalg.norm(slopes * sigma), rtol=1e-5)
    np.testing.assert_allclose(bends, 0, atol=1e-5)


@pytest.mark.parametrize("size", [(21, 23), (13, 15, 11)])
def test_a_paraboloid_has_its_curvatures_largest_first_per_sigma_squared(size):
    bends = np.array([-0.3, 0.2, 0.05])[: len(size)]
    sigma = np.array([1.0, 2.0, 0.5])[: len(size)]
    bowl = sum(b / 2 * x**2 for b, x in zip(bends, grid(size), strict=True)).astype(np.float32)[None]
    *_, found = np.split(describe(bowl, sigma, middle(size, 3)), [2])
    expected = sorted(bends * sigma**2, reverse=True)
    for one, number in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, number, atol=2e-4)


@pytest.mark.parametrize("size", [(61, 61), (41, 41, 41)])
def test_a_blob_answers_as_lindeberg_says(size):
    # a Gaussian of σ0 smoothed by σ is one of σ0² + σ², bent at its centre by −peak / width²
    own, sigma = 4.0, 4.0
    ndim = len(size)
    blob = np.exp(-sum(x**2 for x in grid(size)) / (2 * own**2)).astype(np.float32)[None]
    widths = np.full(ndim, sigma)
    found = describe(smooth(blob, widths), widths, middle(size, 2))
    centre = tuple(n // 2 - 2 for n in size)
    wide = own**2 + sigma**2
    peak = (own**2 / wide) ** (ndim / 2)
    assert found[(0, *centre)] == pytest.approx(peak, rel=0.01)
    assert found[(1, *centre)] == pytest.approx(0, abs=1e-6)
    for bend in found[2:]:
        assert bend[centre] == pytest.approx(-peak * sigma**2 / wide, rel=0.02)
    # and the gradient is largest where the distance is the width
    line = found[(1, *centre[:-1])]
    assert abs(abs(int(line.argmax()) - centre[-1]) - np.sqrt(wide)) <= 1


def test_an_edge_has_the_height_of_a_gaussian_whatever_the_voxels_are_like():
    # a step of height 1 smoothed by σ has the slope 1 / (σ √2π), which times σ is 0.399 at any scale
    step = np.zeros((1, 40, 40), np.float32)
    step[:, :, 20:] = 1
    for sigma in ((3.0, 3.0), (1.0, 3.0), (3.0, 5.0)):
        found = describe(smooth(step, np.array(sigma)), np.array(sigma), middle((40, 40), 2))
        assert found[1].max() == pytest.approx(1 / np.sqrt(2 * np.pi), rel=0.03)
        assert np.ptp(found[1], axis=0).max() < 1e-6  # the same along the edge


@pytest.mark.parametrize("ndim", [2, 3])
def test_eigenvalues_are_numpys(ndim):
    rng = np.random.default_rng(0)
    matrices = rng.normal(size=(500, ndim, ndim))
    matrices += matrices.transpose(0, 2, 1)
    matrices[0], matrices[1] = 0, np.eye(ndim)  # no direction stands out
    found = eigenvalues({(a, b): matrices[:, a, b] for a in range(ndim) for b in range(a, ndim)}, ndim)
    np.testing.assert_allclose(np.stack(found, 1), np.linalg.eigvalsh(matrices)[:, ::-1], atol=1e-6)


def test_channels_do_not_mix():
    values = np.random.default_rng(0).normal(size=(2, 12, 12)).astype(np.float32)
    inner, sigma = middle((12, 12), 0), np.ones(2)
    both = describe(values, sigma, inner)
    np.testing.assert_array_equal(both[:4], describe(values[:1], sigma, inner))
    np.testing.assert_array_equal(both[4:], describe(values[1:], sigma, inner))
