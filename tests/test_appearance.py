"""Mixtures: against scikit-learn's likelihood of the same mixture, and on two grey levels."""

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from wsseg.appearance import COMPONENTS, mixture_log_likelihood


def clusters(channels, seed=0, count=400):
    """Three well separated clouds, and which value is of which."""
    rng = np.random.default_rng(seed)
    which = rng.integers(3, size=count)
    centres = np.linspace(-3, 3, 3)[:, None] * np.ones(channels)
    return (centres[which] + rng.normal(0, 0.4, (count, channels))).astype(np.float32), which


@pytest.mark.parametrize("channels", [1, 3])
def test_the_likelihood_is_that_of_scikit_learns_mixture(channels):
    values, _ = clusters(channels)
    ours = mixture_log_likelihood(torch.from_numpy(values)[None], torch.ones(1, len(values)), iterations=30)
    theirs = GaussianMixture(COMPONENTS, covariance_type="diag", reg_covar=0.02, random_state=0).fit(values)
    expected = theirs.score_samples(values)
    shift = 0.5 * channels * np.log(2 * np.pi)  # a constant that cancels in every ratio
    assert np.abs(ours[0].numpy() - shift - expected).mean() < 0.05


def test_weights_choose_what_is_fitted():
    values, which = clusters(1)
    weight = torch.from_numpy((which == 0).astype(np.float32))[None]
    found = mixture_log_likelihood(torch.from_numpy(values)[None], weight)[0].numpy()
    assert found[which == 0].min() > found[which == 2].max()


def test_a_batch_is_each_alone():
    parts = [clusters(2, seed)[0] for seed in (0, 1)]
    both = torch.from_numpy(np.stack(parts))
    weight = torch.ones(2, both.shape[1])
    alone = mixture_log_likelihood(both[1:], weight[1:])
    assert torch.allclose(mixture_log_likelihood(both, weight)[1:], alone, atol=1e-5)


def test_nothing_to_fit_and_one_grey_level_stay_finite():
    values = torch.zeros(1, 50, 1)
    assert torch.isfinite(mixture_log_likelihood(values, torch.zeros(1, 50))).all()
    assert torch.isfinite(mixture_log_likelihood(values, torch.ones(1, 50))).all()
