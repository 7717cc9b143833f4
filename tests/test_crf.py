"""The fields: against a matrix written out, against pydensecrf2, and on pictures whose answer is plain."""

import sys

import numpy as np
import pytest
import torch

from wsseg.crf import Kernel, dense_mean_field, half_window, mean_field
from wsseg.errors import InputError

SIZE = {2: (6, 5), 3: (4, 3, 5)}


def kernel(dims, weight=2.0, position=1.5, value=0.7, radius=2, step=1):
    return Kernel(weight, (position,) * dims, value, (radius,) * dims, step)


def problem(dims, seed=0, classes=3, channels=2):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(2, classes, *SIZE[dims], generator=generator)
    guide = torch.randn(2, channels, *SIZE[dims], generator=generator)
    return scores, guide


def by_matrix(scores, guide, kernels, iterations):
    """Mean field of one image with the kernels written out as matrices of all pairs of voxels."""
    classes, *size = scores.shape
    places = np.indices(size).reshape(len(size), -1).T.astype(float)
    values = guide.reshape(len(guide), -1).T
    flat = scores.reshape(classes, -1)
    matrices = []
    for one in kernels:
        offset = places[:, None] - places[None]
        distance = ((offset / one.position) ** 2).sum(-1)
        near = (np.abs(offset) <= np.array(one.radius)).all(-1) & (offset % one.step == 0).all(-1)
        near &= distance <= 9
        if one.value is not None:
            distance = distance + (((values[:, None] - values[None]) / one.value) ** 2).sum(-1)
        matrix = np.exp(-0.5 * distance) * near
        scale = matrix.sum(1) ** -0.5
        matrices.append(one.weight * scale[:, None] * matrix * scale[None])

    def softmax(x):
        e = np.exp(x - x.max(0))
        return e / e.sum(0)

    q = softmax(flat)
    for _ in range(iterations):
        q = softmax(flat + sum(q @ matrix.T for matrix in matrices))
    return q.reshape(scores.shape)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("step", [1, 2])
def test_mean_field_is_that_of_the_written_out_matrices(dims, step):
    scores, guide = problem(dims)
    kernels = [kernel(dims, step=step), kernel(dims, 1.0, 0.8, None, 1)]
    found = mean_field(scores, guide, kernels, iterations=3)
    for one in range(2):
        expected = by_matrix(scores[one].double().numpy(), guide[one].double().numpy(), kernels, 3)
        assert np.allclose(found[one], expected, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_both_solvers_agree_where_the_window_spans_the_image(dims):
    pytest.importorskip("pydensecrf.densecrf", reason="the extra crf is not installed")
    generator = np.random.default_rng(0)
    size = (16, 14) if dims == 2 else (8, 7, 9)
    truth = np.indices(size).sum(0) > sum(size) / 2 - 1
    guide = (truth + generator.normal(0, 0.1, size))[None].astype(np.float32)
    wrong = generator.random(size) < 0.15
    scores = np.stack([np.where(truth ^ wrong, -1.0, 1.0), np.where(truth ^ wrong, 1.0, -1.0)]).astype(
        np.float32
    )
    kernels = [Kernel(3.0, (3.0,) * dims, 0.5, (9,) * dims)]
    ours = mean_field(torch.from_numpy(scores)[None], torch.from_numpy(guide)[None], kernels)[0].numpy()
    theirs = dense_mean_field(scores, guide, kernels)
    assert np.abs(ours - theirs).mean() < 0.02  # their lattice approximates the Gaussian
    assert ((ours[1] > 0.5) == (theirs[1] > 0.5)).mean() > 0.98
    assert ((theirs[1] > 0.5) == truth).mean() > 0.9 > (~wrong).mean()


@pytest.mark.parametrize("dims", [2, 3])
def test_a_wrong_voxel_in_a_disc_is_repaired_and_sure_ones_on_a_flat_image_stay(dims):
    size = (15,) * dims
    disc = (sum((np.indices(size)[a] - 7) ** 2 for a in range(dims)) < 25).astype(np.float32)
    said = disc.copy()
    said[(7,) * dims] = 0
    scores = torch.from_numpy(np.stack([1 - said, said]))[None] * 2
    guide = torch.from_numpy(disc)[None, None]
    found = mean_field(scores, guide, [kernel(dims, 3.0, 2.0, 0.2, 3)])
    assert np.array_equal(found[0, 1].numpy() > 0.5, disc > 0.5)
    sure = torch.full((1, 2, *size), -10.0)
    sure[0, 0], sure[0, 0, 3:5], sure[0, 1, 3:5] = 10.0, -10.0, 10.0
    kept = mean_field(sure, torch.zeros(1, 1, *size), [kernel(dims)])
    assert torch.equal(kept.argmax(1), sure.argmax(1))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_batch_is_each_alone_and_what_is_not_valid_does_not_count(dims):
    scores, guide = problem(dims)
    kernels = [kernel(dims)]
    both = mean_field(scores, guide, kernels)
    assert torch.allclose(both[1], mean_field(scores[1:], guide[1:], kernels)[0], atol=1e-6)
    valid = torch.ones(2, *SIZE[dims], dtype=torch.bool)
    valid[:, -2:] = False
    part = mean_field(scores, guide, kernels, valid=valid)[:, :, :-2]
    assert torch.allclose(part, mean_field(scores[:, :, :-2], guide[:, :, :-2], kernels), atol=1e-6)


@pytest.mark.parametrize("dims", [2, 3])
def test_gradients_flow_to_the_scores(dims):
    generator = torch.Generator().manual_seed(0)
    size = (3, 2, 2)[:dims]
    scores = torch.randn(1, 2, *size, generator=generator, dtype=torch.double, requires_grad=True)
    guide = torch.randn(1, 1, *size, generator=generator, dtype=torch.double)
    assert torch.autograd.gradcheck(lambda s: mean_field(s, guide, [kernel(dims)], iterations=2), (scores,))


def test_half_a_window_holds_one_of_each_pair():
    offsets = half_window(kernel(2, position=9.0, radius=2))
    assert len(offsets) == 12
    assert not {tuple(-o for o in offset) for offset in offsets} & set(offsets)
    assert half_window(kernel(2, position=9.0, radius=4, step=2)) == [
        (2 * a, 2 * b) for a, b in sorted(offsets)
    ]


def test_a_missing_pydensecrf_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(InputError, match=r"wsseg\[crf\]"):
        dense_mean_field(np.zeros((2, 4, 4)), np.zeros((1, 4, 4)), [kernel(2)])
