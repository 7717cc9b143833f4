"""Training learns, repeats itself, goes on after a kill, and hands out its averaged weights."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_unet import SMALL

from wsseg.augment import AugmentConfig
from wsseg.checkpoint import load_checkpoint, save_checkpoint
from wsseg.encoder import SavedEncoder
from wsseg.errors import InputError
from wsseg.model import ModelConfig, load_model
from wsseg.normalise import Normalisation
from wsseg.patches import Sample
from wsseg.predict import Predictor
from wsseg.steps import finish
from wsseg.train import TrainConfig, Trainer, learning_rate, usual_rate
from wsseg.unet import Encoder, UNet
from wsseg.weak import WeakLabels

GENTLE = AugmentConfig(rotation=5, scaling=1.05, elastic=0.02)


def _setting(ball_image, dims, *, every=4):
    size = (32, 32) if dims == 2 else (16, 16, 16)
    image, truth = ball_image(size)
    weight = np.zeros(size, np.float32)
    weight[every // 2 :: every] = 1
    normalisation = Normalisation()
    sample = Sample(image, WeakLabels(truth.astype(np.int64), weight), normalisation.measure(image))
    encoder = replace(SMALL[dims], channels_in=1)
    config = ModelConfig(encoder, {1: "ball"}, normalisation, (1.0,) * dims, size)
    return sample, truth, config


def _same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.values(), b.values(), strict=True))


@pytest.mark.parametrize("dims", [2, 3])
def test_it_learns_a_ball_from_every_fourth_line(ball_image, dims):
    sample, truth, config = _setting(ball_image, dims)
    trainer = Trainer(
        [sample],
        config,
        TrainConfig(steps=60, device="cpu", learning_rate=2e-2, decay=0.8, augment=GENTLE),
    )
    losses = [step.loss for step in trainer.steps()]
    assert np.mean(losses[-10:]) < 0.3 * np.mean(losses[:3])
    mask = Predictor(trainer.model, device="cpu").predict(sample.image).mask
    dice = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
    assert dice > 0.95


@pytest.mark.parametrize("dims", [2, 3])
def test_the_same_seed_gives_the_same_weights(ball_image, dims):
    sample, _, config = _setting(ball_image, dims)
    runs = [
        finish(Trainer([sample], config, TrainConfig(steps=3, device="cpu", seed=seed)).steps())
        for seed in (1, 1, 2)
    ]
    states = [run.net.state_dict() for run in runs]
    assert _same(states[0], states[1])
    assert not _same(states[0], states[2])


@pytest.mark.parametrize("dims", [2, 3])
def test_a_killed_run_goes_on_to_the_same_weights(ball_image, tmp_path, dims):
    sample, _, config = _setting(ball_image, dims)
    settings = TrainConfig(steps=6, device="cpu")
    unbroken = finish(Trainer([sample], config, settings).steps())
    killed = Trainer([sample], config, settings)
    run = killed.steps()
    for _ in range(3):
        next(run)
    save_checkpoint(tmp_path / "checkpoint", killed, "key", [1.0, 2.0, 3.0], {"mean": 0.5})
    next(run)  # what came after the checkpoint is lost
    again = Trainer([sample], config, settings)
    assert load_checkpoint(tmp_path / "checkpoint", again, "key") == ([1.0, 2.0, 3.0], {"mean": 0.5})
    assert again.done == 3
    assert _same(finish(again.steps()).net.state_dict(), unbroken.net.state_dict())


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_refused(ball_image, tmp_path):
    sample, _, config = _setting(ball_image, 2)
    trainer = Trainer([sample], config, TrainConfig(steps=2, device="cpu"))
    save_checkpoint(tmp_path / "checkpoint", trainer, "key", [], None)
    with pytest.raises(InputError, match="other data or options"):
        load_checkpoint(tmp_path / "checkpoint", trainer, "another")
    (tmp_path / "checkpoint/weights.safetensors").write_bytes(b"half")
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(tmp_path / "checkpoint", trainer, "key")


@pytest.mark.parametrize("dims", [2, 3])
def test_train_save_load_go_on(ball_image, tmp_path, dims):
    sample, _, config = _setting(ball_image, dims)
    model = finish(Trainer([sample], config, TrainConfig(steps=3, device="cpu")).steps())
    model.save(tmp_path / "model")
    ends = [
        finish(Trainer([sample], config, TrainConfig(steps=2, device="cpu"), init=start).steps())
        for start in (model, load_model(tmp_path / "model"))
    ]
    assert _same(ends[0].net.state_dict(), ends[1].net.state_dict())
    assert not _same(ends[0].net.state_dict(), model.net.state_dict())


def test_the_average_is_the_one_computed_by_hand(ball_image):
    sample, _, config = _setting(ball_image, 2)
    trainer = Trainer([sample], config, TrainConfig(steps=3, device="cpu"))
    average = {k: v.clone() for k, v in trainer.net.state_dict().items()}
    for index, _ in enumerate(trainer.steps()):
        decay = min(0.99, (1 + index) / (10 + index))
        for name, value in trainer.net.state_dict().items():
            average[name] = decay * average[name] + (1 - decay) * value
    for name, value in trainer.model.net.state_dict().items():
        assert torch.allclose(value, average[name], atol=1e-5)


def test_the_model_handed_out_is_a_copy(ball_image):
    sample, _, config = _setting(ball_image, 2)
    trainer = Trainer([sample], config, TrainConfig(steps=3, device="cpu"))
    run = trainer.steps()
    next(run)
    early = trainer.model
    before = {k: v.clone() for k, v in early.net.state_dict().items()}
    next(run)
    assert _same(early.net.state_dict(), before)


@pytest.mark.parametrize("asked", [None, 1e-5, 0.0])
def test_the_first_steps_take_the_usual_rate_or_the_one_asked_for(ball_image, dims, asked):
    sample, _, config = _setting(ball_image, dims)
    trainer = Trainer([sample], config, TrainConfig(steps=40, device="cpu", learning_rate=asked))
    run = trainer.steps()
    next(run)
    (group,) = trainer.optimiser.param_groups
    assert group["lr"] == pytest.approx(
        learning_rate({2: 8e-3, 3: 4e-3}[dims] if asked is None else asked, 0, 40)
    )


def test_long_runs_of_volumes_take_a_smaller_rate_and_those_of_pictures_do_not():
    assert [usual_rate(3, steps) for steps in (0, 300, 1200)] == pytest.approx([4e-3, 4e-3, 2e-3])
    assert [usual_rate(2, steps) for steps in (1, 300, 1200)] == pytest.approx([8e-3] * 3)


def test_the_learning_rate_warms_up_and_ends_at_zero():
    rates = [learning_rate(1.0, done, 100) for done in range(101)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert max(rates) == 1.0
    assert rates[-1] == pytest.approx(0)
    assert all(a >= b for a, b in itertools.pairwise(rates[5:]))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("with_decoder", [False, True])
def test_an_encoder_waits_for_a_fresh_decoder_and_for_nothing_else(ball_image, dims, with_decoder):
    """Alone it rests for a tenth of the steps, then rises to 0.3 of the rate; with its decoder never."""
    sample, _, config = _setting(ball_image, dims)
    torch.manual_seed(1)
    net = UNet(Encoder(config.architecture), 1)
    ups = {name: tensor for name, tensor in net.state_dict().items() if name.startswith("ups.")}
    start = {name: tensor.clone() for name, tensor in net.encoder.state_dict().items()}
    saved = SavedEncoder(net.encoder, {}, ups if with_decoder else {})
    settings = TrainConfig(steps=40, device="cpu")
    trainer = Trainer([sample], config, settings, encoder=saved)
    shares, run = [], trainer.steps()
    for done in range(9):
        next(run)
        whole = learning_rate(trainer.rate, done, settings.steps)
        shares.append(trainer.optimiser.param_groups[0]["lr"] / whole)
        if done == 0:
            assert _same(trainer.net.encoder.state_dict(), start) is not with_decoder
    assert shares == pytest.approx([1] * 9 if with_decoder else [0] * 5 + [0.075, 0.15, 0.225, 0.3])
