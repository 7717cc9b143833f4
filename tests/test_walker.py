"""The random walker against closed forms, a dense solver and scikit-image's."""

import numpy as np
import pytest
import torch
from skimage.segmentation import random_walker as theirs

from wsseg.steps import finish
from wsseg.walker import BETA, WEAKEST
from wsseg.walker import random_walker as random_walker_steps


def random_walker(*args, **kwargs):
    """Without stopping between its steps."""
    return finish(random_walker_steps(*args, **kwargs))


TIE = 1 + WEAKEST  # between voxels that look the same


def _corridor(dims: int, length: int = 21) -> tuple[torch.Tensor, torch.Tensor]:
    """An even image whose two ends along axis 0 are known."""
    shape = (length, *[4] * (dims - 1))
    seeds = torch.full(shape, -1)
    seeds[0], seeds[-1] = 0, 1
    return torch.zeros(1, *shape), seeds


@pytest.mark.parametrize("dims", [2, 3])
def test_without_edges_chances_fall_evenly_from_one_end_to_the_other(dims):
    image, seeds = _corridor(dims)
    chances = random_walker(image, seeds, 2, spacing=(1,) * dims)
    line = torch.linspace(0, 1, 21).view(-1, *[1] * (dims - 1)).expand_as(seeds)
    torch.testing.assert_close(chances[1], line, atol=5e-3, rtol=0)
    torch.testing.assert_close(chances.sum(0), torch.ones(seeds.shape), atol=5e-3, rtol=0)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("unit", [1.0, 0.3])
def test_lost_walks_fall_off_as_a_hyperbolic_sine_whatever_the_unit(dims, unit):
    image, seeds = _corridor(dims)
    chances = random_walker(image, seeds, 2, spacing=(unit,) * dims, lost=0.05)
    kappa = np.arccosh(1 + 0.05 / TIE / 2)
    line = np.sinh(kappa * np.arange(21)) / np.sinh(kappa * 20)
    np.testing.assert_allclose(chances[1, :, *[0] * (dims - 1)], line, atol=5e-3)
    assert float(chances[:, 10].sum(0).max()) < 0.9  # many are lost half-way


@pytest.mark.parametrize("dims", [2, 3])
def test_a_strong_pull_gives_the_prior_back(dims):
    image, seeds = _corridor(dims)
    prior = torch.rand(2, *seeds.shape, generator=torch.Generator().manual_seed(0))
    chances = random_walker(image, seeds, 2, spacing=(1,) * dims, lost=1e5, prior=prior)
    torch.testing.assert_close(chances[:, 1:-1], prior[:, 1:-1], atol=1e-3, rtol=0)
    assert (chances[1, -1] == 1).all()
    assert (chances[1, 0] == 0).all()


def _scene(dims: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three bands with noise, two channels, a few seeds of three classes."""
    rng = np.random.default_rng(dims)
    shape = {2: (20, 14), 3: (12, 7, 6)}[dims]
    bands = np.arange(shape[0]) * 3 // shape[0]
    clean = np.stack([bands, bands == 1]).astype(float).reshape(2, -1, *[1] * (dims - 1))
    image = torch.tensor(clean + rng.normal(0, 0.2, (2, *shape)), dtype=torch.float32)
    seeds = torch.full(shape, -1)
    for k in range(3):
        places = np.argwhere(np.broadcast_to((bands == k).reshape(-1, *[1] * (dims - 1)), shape))
        for place in rng.permutation(places)[:3]:
            seeds[tuple(place)] = k
    return image, seeds


def _dense(image: np.ndarray, seeds: np.ndarray, spacing, lost, prior=0.0) -> np.ndarray:
    """The equations written down one voxel at a time, and solved by elimination."""
    dims, shape, classes = image.ndim - 1, seeds.shape, 3
    pairs = []
    for place in np.ndindex(shape):
        for axis in range(dims):
            other = tuple(p + (a == axis) for a, p in enumerate(place))
            if other[axis] < shape[axis]:
                square = float(np.mean((image[:, *place] - image[:, *other]) ** 2))
                pairs.append((place, other, axis, square))
    mean = np.mean([square for *_, square in pairs])
    number = {place: i for i, place in enumerate(np.ndindex(shape))}
    matrix, right = np.zeros((len(number),) * 2), np.zeros((len(number), classes))
    for one, two, axis, square in pairs:
        tie = (np.exp(-BETA * square / mean) + WEAKEST) * (min(spacing) / spacing[axis]) ** 2
        for a, b in ((one, two), (two, one)):
            matrix[number[a], number[a]] += tie
            matrix[number[a], number[b]] -= tie
    matrix += lost * np.eye(len(number))
    right += np.reshape(lost, (-1, 1)) * prior
    for place, i in number.items():
        if seeds[place] >= 0:
            matrix[i], right[i] = 0, 0
            matrix[i, i] = 1
            right[i, seeds[place]] = 1
    return np.linalg.solve(matrix, right).T.reshape(classes, *shape)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("lost", [0.0, 1e-2])
def test_agrees_with_a_dense_solver_on_uneven_voxels(dims, lost):
    image, seeds = _scene(dims)
    spacing = (1.5, 0.5, 0.8)[:dims]
    chances = random_walker(image, seeds, 3, spacing=spacing, lost=lost)
    truth = _dense(image.numpy(), seeds.numpy(), spacing, lost)
    np.testing.assert_allclose(chances, truth, atol=0.01)


@pytest.mark.parametrize("dims", [2, 3])
def test_walks_may_be_lost_in_some_places_and_end_in_a_prior_there(dims):
    image, seeds = _scene(dims)
    rng = np.random.default_rng(1)
    lost = rng.uniform(0, 0.1, seeds.shape).astype(np.float32)
    prior = rng.dirichlet([1, 1, 1], seeds.shape).astype(np.float32)  # (*S, K)
    ends = torch.from_numpy(np.moveaxis(prior, -1, 0).copy())
    chances = random_walker(image, seeds, 3, spacing=(1,) * dims, lost=torch.from_numpy(lost), prior=ends)
    truth = _dense(image.numpy(), seeds.numpy(), (1,) * dims, lost.ravel(), prior.reshape(-1, 3))
    np.testing.assert_allclose(chances, truth, atol=0.01)


@pytest.mark.parametrize("dims", [2, 3])
def test_agrees_with_scikit_image_where_both_weigh_edges_alike(dims):
    image, seeds = _scene(dims)
    one = image[:1]
    squares = torch.cat([one.diff(dim=a + 1).square().flatten() for a in range(dims)])
    beta = BETA / float(squares.mean()) * 10 * float(one.numpy().std())  # undoes their own scaling
    chances = random_walker(one, seeds, 3, spacing=(1,) * dims)
    other = theirs(one[0].numpy(), seeds.numpy() + 1, beta=beta, mode="bf", return_full_prob=True)
    np.testing.assert_allclose(chances, other, atol=0.03)


def test_a_class_without_seeds_is_nowhere_and_no_seeds_at_all_is_an_error():
    image, seeds = _corridor(2)
    assert float(random_walker(image, seeds, 3, spacing=(1, 1))[2].max()) == 0
    with pytest.raises(ValueError, match="no voxel is known"):
        random_walker(image, torch.full_like(seeds, -1), 2, spacing=(1, 1))


def test_a_large_image_is_solved_as_well_as_a_small_one():
    image, seeds = torch.zeros(1, 400, 3), torch.full((400, 3), -1)
    seeds[0], seeds[-1] = 0, 1
    chances = random_walker(image, seeds, 2, spacing=(1, 1))  # conjugate gradients alone would stop early
    torch.testing.assert_close(chances[1, :, 0], torch.linspace(0, 1, 400), atol=0.02, rtol=0)
