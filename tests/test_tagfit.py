"""Training from tags: losses in closed form, AUC, a square found without a mask, resumed runs."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from test_tagged import bag

import wsseg.tagfit
from wsseg.checkpoint import load_checkpoint, save_checkpoint
from wsseg.encoder import SavedEncoder
from wsseg.errors import InputError
from wsseg.heat import Heater
from wsseg.steps import finish
from wsseg.tagcheck import auc, best_cut, centred, check_classifier, least_auc
from wsseg.tagfit import TagConfig, TagTrainer, fit_classifier, plan_classifier, tag_loss
from wsseg.unet import Encoder, plan_encoder

SIZE = {2: (24, 32), 3: (12, 16, 12)}
EVEN = torch.ones(2), torch.ones(2)


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Networks that train in a moment."""
    monkeypatch.setattr(wsseg.tagfit, "plan_encoder", partial(plan_encoder, channels=(4, 8)))


def squares(dims, count=12, seed=0):
    """Noise; every second image holds a small bright square: (tagged images, truths)."""
    rng = np.random.default_rng(seed)
    samples, truths = [], []
    for index in range(count):
        values, truth = rng.normal(0, 0.5, (1, *SIZE[dims])), np.zeros(SIZE[dims], bool)
        if index % 2:
            start = [int(rng.integers(0, n - 7)) for n in SIZE[dims]]
            truth[tuple(slice(s, s + 7) for s in start)] = True
            values[0][truth] += 3
        samples.append(bag(f"{index}", [index % 2], size=SIZE[dims], values=values))
        truths.append(truth)
    return samples, truths


def trainer_of(samples, steps, *, encoder=None, **options):
    config = TagConfig(steps=steps, device="cpu", **{"batch": 4, **options})
    return TagTrainer(samples, plan_classifier(samples, {1: "square"}, config, None), config, encoder=encoder)


@pytest.mark.parametrize("pooling", ["average", "every"])
def test_the_loss_is_the_balanced_cross_entropy(pooling):
    places = torch.tensor([[[2.0, 0.0], [1.0, -1.0]]])  # one image, two classes, two places
    balance = torch.tensor([2.0, 1.0]), torch.tensor([0.5, 3.0])
    loss = tag_loss(places, torch.tensor([[1.0, 0.0]]), pooling, balance)
    if pooling == "average":
        expected = (2 * np.log1p(np.exp(-1)) + 3 * np.log(2)) / 2
    else:
        there = 2 * np.mean([np.log1p(np.exp(-2)), np.log(2)])
        absent = 3 * np.mean([np.log1p(np.exp(1)), np.log1p(np.exp(-1))])
        expected = (there + absent) / 2
    assert float(loss) == pytest.approx(expected)


def test_the_loss_of_one_class_at_most_counts_none_as_a_class():
    places = torch.tensor([[[2.0], [1.0]], [[2.0], [1.0]]])
    total = np.log(1 + np.exp(2) + np.exp(1))
    present = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    loss = tag_loss(places, present, "average", EVEN, exclusive=True)
    assert float(loss) == pytest.approx(((total - 1) + total) / 2, rel=1e-5)


def test_auc_is_scikit_learns():
    rng = np.random.default_rng(0)
    scores, truth = rng.integers(0, 9, 60).astype(float), rng.random(60) < 0.3  # with ties
    assert auc(scores, truth) == pytest.approx(roc_auc_score(truth, scores))


def test_chance_rarely_reaches_the_least_auc():
    rng = np.random.default_rng(0)
    truth = np.arange(40) < 15
    lucky = [auc(rng.random(40), truth) > least_auc(15, 25) for _ in range(400)]
    assert np.mean(lucky) < 0.08
    assert least_auc(1, 1) == 0.75
    assert least_auc(500, 500) == 0.6


def test_a_square_is_found_that_nobody_marked(dims):
    samples, _ = squares(dims)
    trainer = trainer_of(samples, 60, batch=8, learning_rate=5e-3)
    model = centred(finish(trainer.steps()), samples, "cpu")
    fresh, truths = squares(dims, 6, seed=1)
    quality = finish(check_classifier(model, fresh, "cpu", "6 fresh ones"))
    assert quality["auc"] == {"1": 1.0}
    assert quality["constant"] == {"1": 0.5}
    assert quality["accuracy"]["1"] > 0.8
    assert quality["held_back"] == "6 fresh ones"
    assert quality["meaningless"] == []
    heater = Heater(model, device="cpu")
    heat = [heater.heat(one.image, one.statistics)[0] for one in fresh]
    found = [auc(h.ravel(), truth.ravel()) for h, truth in zip(heat[1::2], truths[1::2], strict=True)]
    assert min(found) > 0.9


def test_the_best_cut_is_in_the_middle_of_the_gap():
    scores = np.array([0.0, 1.0, 2.0, 5.0, 6.0])
    assert best_cut(scores, scores > 3) == 3.5
    assert best_cut(-scores, scores < 3) == -3.5
    assert best_cut(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, True, False, True])) in (1.5, 2.5, 3.5)


def test_tags_at_random_are_said_to_mean_nothing():
    rng = np.random.default_rng(0)
    samples = [bag(f"{i}", [i % 2], values=rng.normal(size=(1, 8, 8))) for i in range(24)]
    model = finish(trainer_of(samples[:12], 4).steps())
    quality = finish(check_classifier(model, samples[12:], "cpu", ""))
    assert quality["meaningless"] == [1]
    assert quality["auc"]["1"] < least_auc(6, 6)


def test_a_resumed_run_is_the_unbroken_one(tmp_path, dims):
    samples, _ = squares(dims, 4)
    whole = finish(trainer_of(samples, 6).steps())
    first = trainer_of(samples, 6)
    run = first.steps()
    for _ in range(3):
        next(run)
    save_checkpoint(tmp_path / "c", first, "key", [1.0], None)
    second = trainer_of(samples, 6)
    assert load_checkpoint(tmp_path / "c", second, "key") == ([1.0], None)
    rest = list(second.steps())
    assert [step.index for step in rest] == [4, 5, 6]
    for name, value in whole.net.state_dict().items():
        assert torch.equal(value, second.model.net.state_dict()[name]), name


def test_an_encoder_gives_its_first_levels(dims):
    shape = plan_encoder(channels_in=1, spacing=(1.0,) * dims, size=(64,) * dims, channels=(4, 6, 8, 10))
    samples, _ = squares(dims, 4)
    trainer = trainer_of(samples, 2, encoder=SavedEncoder(Encoder(shape)))
    assert trainer.model_config.architecture.channels == (4, 6)
    assert trainer.taken.missing == tuple(n for n in trainer.taken.missing if "running" in n or "num_" in n)
    assert len(trainer.taken.loaded) > 10
    away = 5 - dims
    other = plan_encoder(channels_in=1, spacing=(1.0,) * away, size=(64,) * away, channels=(4, 6))
    with pytest.raises(InputError, match="--encoder: the encoder is for"):
        trainer_of(samples, 2, encoder=SavedEncoder(Encoder(other)))


def test_two_classes_where_one_at_most_was_said():
    samples = [bag("a", [1, 1]), bag("b", [0, 1])]
    with pytest.raises(InputError, match="has 2 classes, where one at most was said"):
        plan_classifier(samples, {1: "x", 2: "y"}, TagConfig(exclusive=True), None)


def test_a_wider_view_is_tried_only_where_the_narrow_one_is_not_enough(monkeypatch):
    samples, _ = squares(2, 16)
    config = TagConfig(steps=2, device="cpu", batch=2)
    tried = []

    def check(model, held, device, words):
        stride = max(model.config.architecture.divisor)
        tried.append(stride)
        yield wsseg.tagfit.Step("check", 1, 1)
        return {"auc": {"1": scores[stride]}, "meaningless": []}

    monkeypatch.setattr(wsseg.tagfit, "check_classifier", check)
    monkeypatch.setattr(wsseg.tagfit, "plan_encoder", partial(plan_encoder, channels=(4, 4, 4, 4)))
    for scores, expected, best in (
        ({2: 0.8}, [2], 2),
        ({2: 0.7, 4: 0.95}, [2, 4], 4),
        ({2: 0.7, 4: 0.6, 8: 0.71}, [2, 4, 8], 2),
        ({2: 0.7, 4: 0.6, 8: 0.8}, [2, 4, 8], 8),
    ):
        tried.clear()
        model = finish(fit_classifier(samples, {1: "square"}, config))
        assert tried == expected
        assert max(model.config.architecture.divisor) == best
        assert model.config.quality["auc"] == {"1": scores[best]}


def test_a_stopped_run_goes_on(tmp_path):
    samples, _ = squares(2, 16)
    config = TagConfig(steps=6, device="cpu", batch=2)
    whole = finish(fit_classifier(samples, {1: "square"}, config))
    run = fit_classifier(samples, {1: "square"}, config, checkpoint=tmp_path)
    for _ in range(3):
        next(run)
    run.close()
    rest = fit_classifier(samples, {1: "square"}, config, checkpoint=tmp_path)
    assert next(rest).index == 4
    again = finish(rest)
    assert again.config.quality == whole.config.quality
    assert all(torch.equal(v, again.net.state_dict()[k]) for k, v in whole.net.state_dict().items())
    with pytest.raises(InputError, match="belongs to a run with other data"):
        finish(fit_classifier(samples, {1: "square"}, TagConfig(steps=7, batch=2), checkpoint=tmp_path))
