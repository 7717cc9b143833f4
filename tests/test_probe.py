"""The probe's parts against known answers, and the whole on a few balls."""

import json

import numpy as np
import pytest
import torch
from tiny import make_dataset, small_plans, wsseg_

from pretrain.frozen import VOXELS, balanced_accuracy, columns, linear_probe, nearest_probe
from pretrain.probe import (
    ARMS,
    ProbeConfig,
    gains,
    longer_steps,
    matched_steps,
    probe_steps,
    shuffle_covering,
    shuffled,
)
from wsseg.encoder import SavedEncoder
from wsseg.errors import InputError
from wsseg.fit import make_sample
from wsseg.hints import Hints
from wsseg.images import Image
from wsseg.normalise import Normalisation
from wsseg.steps import finish
from wsseg.unet import Encoder, plan_encoder


def labelled(dims, count, classes=1):
    """Images of noise whose left half (and the slab beyond, for a second class) is brighter, finished."""
    samples = []
    for index in range(count):
        truth = np.zeros((16,) * dims, np.uint8)
        truth[:8] = 1
        if classes == 2 and index % 2:
            truth[12:] = 2
        values = np.random.default_rng(index).normal(0, 0.3, truth.shape) + 3 * truth
        image = Image(values[None].astype(np.float32), (1.0,) * dims)
        names = {k: f"class {k}" for k in range(1, classes + 1)}
        samples.append(
            make_sample(image, Hints(truth.shape, mask=truth), names, Normalisation(), f"s{index}")
        )
    return samples


def encoder(dims, seed=0):
    torch.manual_seed(seed)
    return Encoder(plan_encoder(channels_in=1, spacing=(1.0,) * dims, size=(16,) * dims, channels=(4, 8)))


class TestFrozen:
    def test_columns_are_the_features_at_their_voxels(self, dims, monkeypatch):
        monkeypatch.setattr("pretrain.frozen.PATCHES", 1)
        samples = labelled(dims, 1)
        found, classes = columns(encoder(dims), samples, (16,) * dims, seed=0, device=torch.device("cpu"))
        assert found.shape == (len(classes), 12)
        assert {int(k): int((classes == k).sum()) for k in classes.unique()} == dict.fromkeys(
            (0, 1), min(VOXELS, 16**dims // 2)
        )
        image = torch.from_numpy(samples[0].statistics.apply(samples[0].image.data))[None]
        with torch.no_grad():
            finest = encoder(dims).eval()(image)[0].flatten(2)[0].T  # every voxel's
        nearest = torch.cdist(found[:, :4], finest, compute_mode="donot_use_mm_for_euclid_dist").min(1).values
        assert nearest.max() < 1e-4

    @pytest.mark.parametrize("reader", [linear_probe, nearest_probe])
    def test_readers_tell_apart_what_can_be_told_apart(self, reader):
        generator = torch.Generator().manual_seed(0)
        classes = torch.arange(300) % 3
        features = torch.randn(300, 5, generator=generator) + 6 * torch.eye(3, 5)[classes]
        said = reader(features[:150], classes[:150], features[150:], 3)
        assert balanced_accuracy(said, classes[150:]) > 0.98
        noise = torch.randn(300, 5, generator=generator)
        said = reader(noise[:150], classes[:150], noise[150:], 3)
        assert balanced_accuracy(said, classes[150:]) < 0.5

    def test_the_linear_reader_is_that_of_scikit_learn(self):
        linear = pytest.importorskip("sklearn.linear_model")
        generator = torch.Generator().manual_seed(0)
        classes = torch.arange(400) % 2
        features = torch.randn(400, 4, generator=generator) + 0.7 * classes[:, None]
        said = linear_probe(features[:200], classes[:200], features[200:], 2)
        oracle = linear.LogisticRegression(C=1e3).fit(features[:200], classes[:200])
        assert (oracle.predict(features[200:]) == said.numpy()).mean() > 0.97

    def test_balanced_accuracy(self):
        classes = torch.tensor([0, 0, 0, 1])
        assert balanced_accuracy(torch.tensor([0, 0, 0, 0]), classes) == 0.5
        assert balanced_accuracy(torch.tensor([0, 0, 2, 1]), classes) == pytest.approx(5 / 6)


class TestControls:
    def test_shuffled_weights_are_the_same_numbers_elsewhere(self, dims):
        saved = SavedEncoder(encoder(dims), {}, {"ups.0.x": torch.arange(50.0)})
        mixed = shuffled(saved, 3)
        for name, tensor in saved.encoder.state_dict().items():
            other = mixed.encoder.state_dict()[name]
            assert torch.equal(tensor.flatten().sort().values, other.flatten().sort().values)
        assert not torch.equal(mixed.decoder["ups.0.x"], saved.decoder["ups.0.x"])
        again = shuffled(saved, 3)
        assert torch.equal(mixed.decoder["ups.0.x"], again.decoder["ups.0.x"])

    def test_the_longer_start_costs_what_pretraining_cost(self):
        config = ProbeConfig(steps=100)
        record = {"encoder_voxels": 1000 * 8 * 64 * 64}
        assert matched_steps(record, (64, 64), config) == 1100
        assert longer_steps(record, (64, 64), config) == 400
        assert longer_steps(record, (64, 64), ProbeConfig(longest=None)) == 1100
        assert longer_steps({}, (8, 8, 8), config) == 100

    def test_gains(self):
        found = gains(
            {
                "pretrained": [0.6, 0.7, 0.8],
                "random": [0.5, 0.6, 0.7],
                "shuffled": [0.5, 0.8, 0.8],
                "random, longer": [0.7, 0.8, 0.9],
            }
        )
        assert found["random"]["mean"] == pytest.approx(0.1)
        assert (found["random"]["low"], found["random"]["high"]) == pytest.approx((0.1, 0.1))
        verdicts = {arm: one["verdict"] for arm, one in found.items()}
        assert verdicts == {"random": "gain", "shuffled": "no gain", "random, longer": "loss"}
        assert found["shuffled"]["low"] < 0 < found["shuffled"]["high"]

    def test_the_first_images_show_every_class(self):
        samples = labelled(2, 6, classes=2)
        for seed in range(4):
            ordered, count = shuffle_covering(samples, seed)
            assert sorted(s.name for s in ordered) == sorted(s.name for s in samples)
            assert count == 1
            assert set(ordered[0].labels.counts()) == {0, 1, 2}
        orders = {tuple(s.name for s in shuffle_covering(samples, seed)[0]) for seed in range(8)}
        assert len(orders) > 1


@pytest.fixture
def masks(tmp_path, dims, monkeypatch):
    """Four finished balls, and an encoder."""
    small_plans(monkeypatch)
    data = make_dataset(tmp_path / "data", dims, count=4)
    (data / "hints").rename(tmp_path / "unused")
    (tmp_path / "truth").rename(data / "masks")
    SavedEncoder(encoder(dims), {"names": ["ball0.png", "ball0.nii.gz"]}).save(tmp_path / "enc")
    return data


def test_the_whole(tmp_path, masks, dims):
    told = wsseg_(
        *["probe", tmp_path / "enc", masks, "--json", tmp_path / "p.json"],
        *["--labels", "1,2", "--seeds", 2, "--steps", 2, "--device", "cpu"],
    ).stdout
    report = json.loads((tmp_path / "p.json").read_text())
    assert list(report["labels"]) == ["1", "2"]
    for part in report["labels"].values():
        assert list(part["dice"]) == list(ARMS)
        assert all(
            len(scores) == 2 and 0 <= min(scores) <= max(scores) <= 1 for scores in part["dice"].values()
        )
        assert list(part["gain"]) == [arm for arm in ARMS if arm != "pretrained"]
    assert set(report["frozen"]) == {"linear", "nearest"}
    assert len(report["tested"]) == 2
    assert report["matched"]  # an encoder that cost nothing
    assert "gain over random" in told
    assert "Frozen" in told


def test_the_same_again_is_the_same(dims, monkeypatch):
    small_plans(monkeypatch)
    samples = labelled(dims, 4)
    saved = SavedEncoder(encoder(dims))
    config = ProbeConfig(labels=(1,), seeds=2, steps=1, device="cpu")
    reports = [finish(probe_steps(saved, samples, {1: "left"}, config)) for _ in range(2)]
    assert reports[0] == reports[1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--labels", "many"], "--labels many"),
        (["--labels", "0"], "--labels 0"),
        (["--labels", "40"], "2 images can be learned from"),
    ],
)
def test_bad_options(tmp_path, masks, options, says, dims):
    assert says in wsseg_("probe", tmp_path / "enc", masks, *options, code=2).stderr


def test_bad_data(tmp_path, masks, dims):
    for path in list((masks / "masks").iterdir())[1:]:
        path.unlink()
    assert "1 finished masks" in wsseg_("probe", tmp_path / "enc", masks, code=2).stderr
    with pytest.raises(InputError, match="at least 2 images"):
        finish(probe_steps(SavedEncoder(encoder(2)), labelled(2, 1), {1: "left"}, ProbeConfig()))
    with pytest.raises(InputError, match="2D images, these are 3D"):
        finish(probe_steps(SavedEncoder(encoder(2)), labelled(3, 2), {1: "left"}, ProbeConfig()))
