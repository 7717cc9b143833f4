"""Losses against lightly's, in double precision: pinned numbers always, lightly where it is installed."""

import warnings

import numpy as np
import pytest
import torch

from pretrain.barlow import barlow_loss, correlation
from pretrain.byol import byol_loss
from pretrain.codes import swav_loss
from pretrain.moco import against_queue
from pretrain.parts import nt_xent, unit
from pretrain.simsiam import simsiam_loss
from pretrain.vicreg import COVARIANCE, INVARIANCE, VARIANCE, vicreg_terms

# what lightly 1.6.0 gives in `test_lightly_says_the_same`
GOLDEN = {
    "nt_xent": 0.00817852650269902,
    "barlow": 2.6243618254646335,
    "vicreg": 56.52501887983415,
    "cosine": -0.8970859903626993,
    "moco": 0.28015290773700363,
    "swav": 1.8532626233682885,
    "swav_queue": 1.6850045514976255,
}


@pytest.fixture(scope="module")
def lightly():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        return pytest.importorskip("lightly.loss")


def pair(count: int = 16, width: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Two views that have something to do with each other, (count, width) float64."""
    rng = np.random.default_rng(7)
    first = rng.normal(0.3, 1.5, (count, width))
    return torch.from_numpy(first), torch.from_numpy(first + rng.normal(0, 0.7, (count, width)))


def scores() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Cosines of two views, and of 24 earlier embeddings of each, with 12 prototypes, float64."""
    rng = np.random.default_rng(9)
    prototypes = unit(torch.from_numpy(rng.normal(size=(12, 64))))
    earlier = [unit(torch.from_numpy(rng.normal(size=(24, 64)))) @ prototypes.T for _ in range(2)]
    return [unit(view) @ prototypes.T for view in pair()], earlier


def own(name: str) -> float:
    first, second = pair()
    if name.startswith("swav"):
        views, earlier = scores()
        return float(swav_loss(*views, 0.1, earlier=earlier if name == "swav_queue" else None))
    if name == "nt_xent":
        return float(nt_xent(first, second, torch.arange(16), 0.1).loss)
    if name == "barlow":
        return float(barlow_loss(correlation(first, second), 5e-3))
    if name == "vicreg":
        terms = zip((INVARIANCE, VARIANCE, COVARIANCE), vicreg_terms(first, second), strict=True)
        return float(sum(weight * term for weight, term in terms))
    if name == "cosine":
        assert float(byol_loss(first, second)) == pytest.approx(2 + 2 * float(simsiam_loss(first, second)))
        return float(simsiam_loss(first, second))
    rng = np.random.default_rng(8)
    queue = unit(torch.from_numpy(rng.normal(size=(24, 64))))
    # one scan in the batch, as in lightly: its own keys are no negatives
    scans, others = torch.zeros(16, dtype=torch.int64), torch.ones(24, dtype=torch.int64)
    return float(against_queue(first, unit(second), scans, queue, others, 0.2).loss)


@pytest.mark.parametrize("name", GOLDEN)
def test_pinned_numbers(name):
    assert own(name) == pytest.approx(GOLDEN[name], abs=1e-9)


@pytest.mark.parametrize("name", GOLDEN)
def test_lightly_says_the_same(lightly, name):
    first, second = pair()
    if name == "nt_xent":
        theirs = lightly.NTXentLoss(temperature=0.1)(first, second)
    elif name == "barlow":
        theirs = lightly.BarlowTwinsLoss()(first, second)
    elif name == "vicreg":
        theirs = lightly.VICRegLoss()(first, second)
    elif name.startswith("swav"):
        views, earlier = scores()
        theirs = lightly.SwaVLoss()(views, [], earlier if name == "swav_queue" else None)
    elif name == "cosine":
        theirs = lightly.NegativeCosineSimilarity()(first, second)
    else:
        module = lightly.NTXentLoss(temperature=0.2, memory_bank_size=(24, 64))
        rng = np.random.default_rng(8)
        module.memory_bank.bank = unit(torch.from_numpy(rng.normal(size=(24, 64))))
        module.memory_bank.bank_ptr = torch.zeros(1, dtype=torch.int64)
        theirs = module(first, second)
    assert own(name) == pytest.approx(float(theirs), abs=1e-9)
