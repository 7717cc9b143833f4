"""From hints to a model folder: plans, refusals, the estimate, and a run that goes on after a kill."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from wsseg import fit as fit_module
from wsseg.encoder import SavedEncoder
from wsseg.errors import InputError
from wsseg.fit import default_steps, fit_steps, make_sample, plan_model, prepare
from wsseg.hints import BACKGROUND, Hints
from wsseg.images import Image
from wsseg.model import load_model
from wsseg.normalise import Normalisation
from wsseg.steps import finish
from wsseg.train import TrainConfig
from wsseg.unet import Encoder, EncoderConfig

CLASSES = {3: "ball"}


def _hints(truth, every=4):
    scribbles = np.zeros(truth.shape, np.uint8)
    scribbles[every // 2 :: every] = np.where(truth, 3, BACKGROUND)[every // 2 :: every]
    return Hints(truth.shape, scribbles=scribbles)


@pytest.fixture(params=[2, 3])
def sample(request, ball_image):
    image, truth = ball_image((24, 24) if request.param == 2 else (16, 16, 16))
    return make_sample(image, _hints(truth), CLASSES, Normalisation(), "ball.nii")


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    plan = fit_module.plan_encoder
    monkeypatch.setattr(fit_module, "plan_encoder", lambda **kw: plan(**{**kw, "channels": (4, 8)}))


def test_a_sample_holds_outputs_and_not_class_ids(sample):
    assert set(sample.labels.counts()) == {0, 1}


def test_the_plan_follows_the_data(sample):
    plan = plan_model([sample], CLASSES, Normalisation())
    assert plan.architecture.dims == sample.image.ndim
    assert plan.class_ids == (0, 3)
    assert plan.patch == sample.image.shape
    assert plan.flip_axes == tuple(range(sample.image.ndim))


def test_brightness_goes_past_the_norms_where_little_is_marked(ball_image, tmp_path, dims):
    image, truth = ball_image((24, 20, 16)[:dims])
    strokes = np.zeros(truth.shape, np.uint8)
    middle = tuple(n // 2 for n in truth.shape[1:])
    strokes[(slice(10, 14), *middle)] = 3
    strokes[(slice(0, 4), *[1] * (dims - 1))] = BACKGROUND
    few, many = (
        make_sample(image, hints, CLASSES, Normalisation())
        for hints in (Hints(image.shape, scribbles=strokes), _hints(truth))
    )
    assert plan_model([few], CLASSES, Normalisation()).tone
    assert not plan_model([many], CLASSES, Normalisation()).tone
    start = prepare([few], CLASSES, TrainConfig(steps=1)).model
    start.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert set(again.net.state_dict()) == set(start.net.state_dict())
    assert any(name.startswith("tone.") for name in again.net.state_dict())
    # who goes on with a model keeps its network, whatever was marked since
    assert prepare([many], CLASSES, TrainConfig(steps=1), init=again).model.config.tone


def test_a_run_leaves_a_model_its_curve_its_estimate_and_no_checkpoint(sample, tmp_path):
    steps = []
    run = fit_steps(
        [sample], CLASSES, TrainConfig(steps=4, device="cpu"), out=tmp_path / "m", command="wsseg fit x"
    )
    while True:
        try:
            steps.append(next(run))
        except StopIteration as end:
            fitted = end.value
            break
    assert [s.index for s in steps if s.stage == "train"] == [1, 2, 3, 4]
    model = load_model(tmp_path / "m")
    assert model.config == fitted.model.config
    assert 0 <= model.config.quality["dice"]["3"] <= 1
    assert model.config.quality["at_step"] == 2
    assert model.config.provenance["command"] == "wsseg fit x"
    assert json.loads((tmp_path / "m/history.json").read_text())["loss"] == fitted.losses
    assert len(fitted.losses) == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m"]
    assert not (tmp_path / "m/checkpoint").exists()


@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_resume_equals_an_unbroken_run(sample, tmp_path, killed_after, monkeypatch):
    """Killed before, at and after the held-back hints join."""
    monkeypatch.setattr(fit_module, "CHECKPOINT_SECONDS", 0.0)
    config = TrainConfig(steps=4, device="cpu")
    unbroken = finish(fit_steps([sample], CLASSES, config, out=tmp_path / "a"))
    run = fit_steps([sample], CLASSES, config, out=tmp_path / "b")
    while next(run).index <= killed_after or (tmp_path / "b/checkpoint").exists() is False:
        pass
    run.close()
    resumed = finish(fit_steps([sample], CLASSES, config, out=tmp_path / "b", resume=True))
    assert resumed.losses == unbroken.losses
    assert resumed.model.config.quality == unbroken.model.config.quality
    for a, b in zip(
        resumed.model.net.state_dict().values(), unbroken.model.net.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)
    assert (tmp_path / "a/weights.safetensors").read_bytes() == (
        tmp_path / "b/weights.safetensors"
    ).read_bytes()


def test_a_run_that_is_closed_keeps_what_it_learnt(sample, tmp_path):
    config = TrainConfig(steps=4, device="cpu")
    run = fit_steps([sample], CLASSES, config, out=tmp_path / "m")
    _train(run, 1)
    run.close()
    assert load_checkpoint_steps(tmp_path / "m/checkpoint") == 1
    resumed = finish(fit_steps([sample], CLASSES, config, out=tmp_path / "m", resume=True))
    assert resumed.losses == finish(fit_steps([sample], CLASSES, config)).losses


def _train(run, steps):
    """So many training steps, and what comes before them."""
    while next(run).stage != "train":
        pass
    for _ in range(steps - 1):
        next(run)


def load_checkpoint_steps(folder):
    return json.loads((folder / "config.json").read_text())["done"]


def test_resume_with_other_hints_is_refused(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(fit_module, "CHECKPOINT_SECONDS", 0.0)
    run = fit_steps([sample], CLASSES, TrainConfig(steps=4, device="cpu"), out=tmp_path / "m")
    _train(run, 2)
    run.close()
    weight = sample.labels.weight.copy()
    weight[0] = 1
    other = replace(sample, labels=replace(sample.labels, weight=weight))
    with pytest.raises(InputError, match="other data or options"):
        finish(
            fit_steps([other], CLASSES, TrainConfig(steps=4, device="cpu"), out=tmp_path / "m", resume=True)
        )


def test_a_run_under_another_usual_rate_is_not_gone_on_with(sample, tmp_path, monkeypatch):
    config = TrainConfig(steps=4, device="cpu")
    run = fit_steps([sample], CLASSES, config, out=tmp_path / "m")
    _train(run, 1)
    run.close()
    monkeypatch.setattr("wsseg.train.usual_rate", lambda dims, steps: 1e-5)
    with pytest.raises(InputError):
        finish(fit_steps([sample], CLASSES, config, out=tmp_path / "m", resume=True))
    model = finish(fit_steps([sample], CLASSES, config, out=tmp_path / "other")).model
    assert model.config.provenance["learning_rate"] == 1e-5


def test_resume_with_another_image_is_refused(sample, tmp_path):
    config = TrainConfig(steps=4, device="cpu")
    run = fit_steps([sample], CLASSES, config, out=tmp_path / "m")
    _train(run, 1)
    run.close()
    image = replace(sample.image, data=np.asarray(sample.image.data) * 2)
    other = replace(sample, image=image, statistics=Normalisation().measure(image))
    with pytest.raises(InputError, match="other data or options"):
        finish(fit_steps([other], CLASSES, config, out=tmp_path / "m", resume=True))


def test_going_on_from_a_model(sample):
    first = finish(fit_steps([sample], CLASSES, TrainConfig(steps=2, device="cpu")))
    trainer = prepare([sample], CLASSES, TrainConfig(steps=2, device="cpu"), init=first.model)
    assert str(trainer.taken).startswith("loaded 100 %")
    rgb = Image(np.concatenate([sample.image.data] * 3), sample.image.spacing)
    three = replace(sample, image=rgb, statistics=Normalisation().measure(rgb))
    with pytest.raises(InputError, match="--init"):
        prepare([three], CLASSES, TrainConfig(steps=2, device="cpu"), init=first.model)


def test_starting_from_an_encoder(sample, tmp_path):
    dims = sample.image.ndim
    shape = EncoderConfig(dims, 1, (4, 6), ((1,) * dims, (2,) * dims), ((3,) * dims,) * 2)
    encoder = Encoder(shape)
    saved, config = SavedEncoder(encoder), TrainConfig(steps=1, device="cpu")
    fitted = finish(fit_steps([sample], CLASSES, config, encoder=saved))
    total = len(encoder.state_dict())
    taken = fitted.model.config.encoder
    assert (taken["loaded"], taken["total"]) == (total, total)
    assert fitted.model.config.architecture == shape
    other = 5 - dims
    wrong = EncoderConfig(other, 1, (4, 6), ((1,) * other, (2,) * other), ((3,) * other,) * 2)
    with pytest.raises(InputError, match=f"--encoder: the encoder is for {other}D images"):
        prepare([sample], CLASSES, config, encoder=SavedEncoder(Encoder(wrong)))


def test_refusals(ball_image):
    image, truth = ball_image((16, 16))
    normalisation = Normalisation()
    with pytest.raises(InputError, match=r"x: the hints have shape \(16, 15\)"):
        make_sample(image, Hints((16, 15)), CLASSES, normalisation, "x")
    with pytest.raises(InputError, match="x: nothing is marked"):
        make_sample(image, Hints((16, 16)), CLASSES, normalisation, "x")
    with pytest.raises(InputError, match="x: value 9 is no known class"):
        make_sample(
            image, Hints((16, 16), scribbles=np.full((16, 16), 9, np.uint8)), CLASSES, normalisation, "x"
        )
    only = make_sample(
        image, Hints((16, 16), scribbles=np.full((16, 16), 3, np.uint8)), CLASSES, normalisation
    )
    with pytest.raises(InputError, match="Only ball is marked"):
        plan_model([only], CLASSES, normalisation)
    both = make_sample(image, _hints(truth), {3: "ball", 5: "cube"}, normalisation)
    with pytest.raises(InputError, match="No hint names cube"):
        plan_model([both], {3: "ball", 5: "cube"}, normalisation)
    with pytest.raises(InputError, match="No image has hints"):
        plan_model([], CLASSES, normalisation)
    rgb = Image(np.repeat(image.data, 3, 0), image.spacing)
    coloured = make_sample(rgb, _hints(truth), CLASSES, normalisation, "colour.png")
    grey = make_sample(image, _hints(truth), CLASSES, normalisation, "grey.png")
    with pytest.raises(InputError, match=r"colour\.png has 3 channels, grey\.png has 1"):
        plan_model([coloured, grey], CLASSES, normalisation)


def test_default_steps_depend_on_the_data_alone(sample):
    assert default_steps([sample]) == default_steps([sample])
    assert 400 <= default_steps([sample]) <= default_steps([sample] * 50) <= 1200
