"""Numbers of embeddings against closed forms, and the alarm on a healthy run."""

import math

import numpy as np
import pytest
import torch
from test_pretrain_crops import ramps

from pretrain.byol import BYOL
from pretrain.crops import CropSampler
from pretrain.method import Setting
from pretrain.methods import METHODS
from pretrain.monitor import (
    Collapsed,
    Monitor,
    alignment,
    judge,
    nearest_subject,
    rank_me,
    spread,
    uniformity,
)
from pretrain.parallel import Processes
from pretrain.plan import Plan
from pretrain.train import PretrainConfig, Pretrainer
from wsseg.unet import Encoder, plan_encoder


class TestNumbers:
    def test_spread(self):
        torch.manual_seed(0)
        assert spread(torch.randn(4000, 16)) == pytest.approx(1, abs=0.02)
        assert spread(torch.ones(10, 16)) == 0
        assert spread(torch.randn(50, 16)) == pytest.approx(spread(7 * torch.randn(50, 16)), abs=0.1)

    def test_rank_is_the_number_of_directions_used_alike(self):
        for count in (1, 3, 8):
            q, _ = torch.linalg.qr(torch.randn(64, count) - torch.randn(64, count).mean(0))
            q = torch.cat([q, -q])  # mean 0, so that centring changes nothing
            assert rank_me(q @ torch.eye(count, 16)) == pytest.approx(count, rel=1e-3)
        assert rank_me(torch.ones(20, 8)) == pytest.approx(1, abs=1e-3)

    def test_alignment_and_uniformity(self):
        a = torch.tensor([[1.0, 0], [0, 2]])
        assert alignment(a, 3 * a) == 0
        assert alignment(a, -a) == pytest.approx(4)
        assert uniformity(a) == pytest.approx(-4)  # a squared distance of 2
        assert uniformity(torch.ones(5, 3)) == pytest.approx(0, abs=1e-6)

    def test_nearest_subject(self):
        numbers = torch.tensor([0, 0, 1, 1])
        places = torch.tensor([[1.0, 0.1], [1, 0], [0, 1], [0.1, 1]])
        assert nearest_subject(places, places, numbers) == (1.0, pytest.approx(1 / 3))
        swapped = places[[0, 2, 1, 3]]
        assert nearest_subject(swapped, swapped, numbers)[0] == 0.0
        alone = nearest_subject(places, places, torch.arange(4))
        assert alone == (0.0, 0.0)


def reading(step, spread, rank=20.0, **more):
    return {"step": step, "loss": 1.0, "spread": spread, "rank": rank, "full_rank": 47.0, **more}


class TestJudge:
    def test_three_low_readings_stop_the_run_and_one_does_not(self):
        rows = [reading(0, 0.9), reading(10, 0.02), reading(20, 0.02)]
        judge([*rows, reading(30, 0.5)], 100, "Advice.")
        with pytest.raises(Collapsed, match=r"spread 0.020.*it was 0.90.*Advice\."):
            judge([*rows, reading(30, 0.02)], 100, "Advice.")

    def test_a_method_that_is_narrow_by_nature_is_left_alone(self):
        assert judge([reading(step, 0.04) for step in range(6)], 100, "Advice.") == []

    def test_what_spread_first_and_then_drew_together_has_collapsed(self):
        """As instance discrimination on hippocampus images, which began as narrow as it ended."""
        rows = [reading(0, 0.035), reading(25, 0.93)]
        with pytest.raises(Collapsed, match=r"spread 0\.009; 1 is healthy, it was 0\.93"):
            judge([*rows, *[reading(s, 0.009) for s in (50, 75, 100)]], 1000, "Advice.")

    def test_what_is_narrow_from_the_start_has_collapsed_when_nothing_is_left_to_predict(self):
        """As BYOL without predictor on hippocampus images: its spread never fell below its start."""
        rows = [reading(0, 0.033), *[reading(s, 0.04, similarity=0.99) for s in (25, 50)]]
        judge([*rows, reading(75, 0.04, similarity=0.97)], 1000, "Advice.")  # not three in a row
        judge([*rows, reading(75, 0.5, similarity=0.99)], 1000, "Advice.")  # crops are told apart
        with pytest.raises(Collapsed, match=r"cosine 0.990 with spread 0.04; 1 is healthy\). Advice\."):
            judge([*rows, reading(75, 0.04, similarity=0.99)], 1000, "Advice.")

    def test_warnings_before_it_is_too_late(self):
        rows = [reading(step, 0.9) for step in range(4)]
        assert "drawing together" in judge([*rows, reading(5, 0.15)], 100, "Advice.")[0]
        assert "1.5 of 47 directions" in judge([*rows, reading(5, 0.8, rank=1.5)], 100, "Advice.")[0]
        assert judge([*rows, reading(5, 0.8)], 100, "Advice.") == []

    def test_a_loss_that_is_no_number(self):
        with pytest.raises(Collapsed, match="no number any more at step 7"):
            judge([{"step": 7, "loss": math.nan}], 100, "Advice.")

    @pytest.mark.parametrize(
        ("accuracy", "says"),
        [
            (lambda step: 0.25, "still solved by chance"),
            (lambda step: 1.0, "too easy too soon"),
            (lambda step: min(1.0, 0.25 + step / 200), None),
        ],
    )
    def test_tasks(self, accuracy, says):
        rows = [{"step": s, "loss": 1.0, "accuracy": accuracy(s), "chance": 0.25} for s in range(1, 301)]
        found = judge(rows, 1000, "Advice.")
        assert [says in sentence for sentence in found] == ([True] if says else [])
        assert judge(rows[:99], 1000, "Advice.") == [] or says == "too easy too soon"


def readings_of(method: type, dims: int, steps: int, monkeypatch) -> list[dict]:
    """The rows of a short run on scans with something to see."""
    rng = np.random.default_rng(0)
    scans = ramps(8, (40, 24, 20)[:dims])
    for scan in scans:
        image = scan.read()
        image.data[:] = rng.normal(0, 1, image.data.shape) + np.kron(
            rng.normal(0, 3, [n // 4 for n in image.shape]), np.ones((4,) * dims)
        )
    for scan in scans:
        scan.statistics.mean[:], scan.statistics.deviation[:] = 0, 3
        scan.statistics.low[:], scan.statistics.high[:] = -12, 12
    monkeypatch.setitem(METHODS, "byol", method)
    monkeypatch.setattr("pretrain.monitor.PAIRS", 12)
    size = (16,) * dims
    shape = plan_encoder(channels_in=1, spacing=(1.0,) * dims, size=size, channels=(4, 8))
    plan = Plan("byol", shape, (1.0,) * dims, size, "other", False, 8)
    sampler = CropSampler(scans, plan.spacing, plan.crop, seed=0)
    config = PretrainConfig(steps, learning_rate=1e-2)
    trainer = Pretrainer(sampler, plan, config, Processes(0, 1, torch.device("cpu")))
    for _ in trainer.steps():
        judge(trainer.rows, steps, trainer.method.advice)
    return [row for row in trainer.rows if "spread" in row]


class NoPredictor(BYOL):
    """Without its predictor, and with a copy that follows at once: what is known to collapse."""

    def __init__(self, encoder, setting):
        super().__init__(encoder, setting)
        self.predictor = torch.nn.Identity()
        self.target.steps, self.target.start = 10**9, 0.0


class TestCollapse:
    def test_the_alarm_fires_on_a_byol_that_is_broken(self, dims, monkeypatch):
        with pytest.raises(Collapsed, match="has collapsed"):
            readings_of(NoPredictor, dims, 60, monkeypatch)

    def test_the_alarm_stays_quiet_on_byol(self, dims, monkeypatch):
        readings = readings_of(BYOL, dims, 60, monkeypatch)
        assert len(readings) == 61
        assert readings[-1]["spread"] > 0.1


def test_the_monitor_changes_nothing(dims):
    """Batch norms, generators and modes are as before, and the same reading comes again."""
    sampler = CropSampler(ramps(8, (40, 24, 20)[:dims]), (1.0,) * dims, (16,) * dims, seed=0)
    shape = plan_encoder(channels_in=1, spacing=(1.0,) * dims, size=(16,) * dims, channels=(4, 8))
    torch.manual_seed(0)
    method = METHODS["simclr"](Encoder(shape), Setting((16,) * dims, (1.0,) * dims, "other", 10, 0))
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    monitor = Monitor(sampler, torch.device("cpu"))
    assert monitor.read(method) == monitor.read(method)
    assert method.training
    assert all(torch.equal(tensor, method.state_dict()[name]) for name, tensor in before.items())
