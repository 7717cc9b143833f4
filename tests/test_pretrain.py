"""`wsseg pretrain` as a whole, on a few tiny scans: folders, resume, bad input, several processes."""

import json
from dataclasses import asdict
from functools import partial

import nibabel
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import SIZE, files_in, make_dataset, small_plans, write_any, write_picture, wsseg_

import pretrain.plan
import pretrain.run
from pretrain.methods import METHODS
from pretrain.train import Pretrainer
from wsseg.encoder import load_encoder
from wsseg.normalise import Normalisation
from wsseg.train import Trainer
from wsseg.unet import plan_encoder

COUNT = 3


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(pretrain.plan, "plan_encoder", partial(plan_encoder, channels=(4, 8)))
    monkeypatch.setattr(pretrain.monitor, "PAIRS", 6)
    for method in METHODS.values():
        monkeypatch.setattr(method, "CROP", {2: 16, 3: 8})
        monkeypatch.setattr(method, "BATCH", {2: 4, 3: 4})


@pytest.fixture
def quick(monkeypatch):
    """Without the report, which takes longer to draw than a tiny run."""
    monkeypatch.setattr(pretrain.run, "write_report", lambda *_, **__: "page")


@pytest.fixture
def scans(tmp_path, dims):
    for index in range(COUNT):
        values = np.random.default_rng(index).integers(0, 200, [2 * n for n in SIZE[dims]])
        write_any(tmp_path / "scans", f"a{index}", values.astype(np.uint8))
    return tmp_path / "scans"


def learn(*arguments, method="simclr", steps=3, code=0):
    return wsseg_("pretrain", *arguments, "--method", method, "--steps", steps, "--device", "cpu", code=code)


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_it_leaves_an_encoder_with_curve_and_report(tmp_path, scans, dims):
    shown = learn(scans, "--out", tmp_path / "enc")
    assert "The encoder is in" in shown.stdout
    assert "(guessed" in shown.stderr
    assert files_in(tmp_path / "enc") == [
        "config.json",
        "metrics.jsonl",
        "report.html",
        "weights.safetensors",
    ]
    saved = load_encoder(tmp_path / "enc")
    record = saved.record
    assert (record["method"], record["scans"], record["steps"]) == ("simclr", COUNT, 3)
    assert record["spacing"] == ([1.0, 1.5, 2.0] if dims == 3 else [1.0, 1.0])
    assert record["crops_seen"] == 3 * record["batch"]
    assert record["modality"] == ("mr" if dims == 3 else "em")
    assert record["normalisation"] == asdict(Normalisation())
    rows = rows_of(tmp_path / "enc")
    assert [row["step"] for row in rows] == [0, 1, 2, 3]
    assert {"loss", "rate", "accuracy", "spread", "rank", "alignment", "uniformity"} <= set(rows[-1])
    page = (tmp_path / "enc" / "report.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/png") == 2
    assert f"on {COUNT} scans" in page


@pytest.mark.usefixtures("quick")
def test_the_same_seed_gives_the_same_encoder_and_another_a_different_one(tmp_path, scans, dims):
    found = []
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        learn(scans, "--out", tmp_path / name, "--seed", seed)
        found.append(load_file(tmp_path / name / "weights.safetensors"))
    first, again, other = found
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("method", METHODS)
def test_every_method_resumes_bit_for_bit(tmp_path, method, monkeypatch):
    """Ctrl-C in the middle of a step; queues, copies, generators and batch norms go on as they were."""
    dims = 3 if method in ("moco", "rotation", "dense") else 2
    for index in range(COUNT):
        values = np.random.default_rng(index).integers(0, 200, [2 * n for n in SIZE[dims]])
        write_any(tmp_path / "scans", f"a{index}", values.astype(np.uint8))
    if method in ("jigsaw", "pirl"):
        monkeypatch.setattr(METHODS[method], "CROP", {2: 32, 3: 16})
    if METHODS[method].TAGGED:
        (tmp_path / "scans" / "tags.csv").write_text("image,class\na0,1\na1,2\n")
    if METHODS[method].REPEAT:  # labels are given anew before the stop, and once more after it
        monkeypatch.setattr(METHODS[method], "REPEAT", 2)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    learn(tmp_path / "scans", "--out", whole, method=method, steps=4)
    original = Pretrainer._backward

    def backward(trainer, *batch):
        if trainer.done == 2:
            raise KeyboardInterrupt
        return original(trainer, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(Pretrainer, "_backward", backward)
        patch.setattr(pretrain.run, "CHECKPOINT_SECONDS", -1.0)
        told = learn(tmp_path / "scans", "--out", broken, method=method, steps=4, code=130).stderr
    assert "up to step 2 is kept" in told
    assert [row["step"] for row in rows_of(broken)] == [0, 1, 2]
    learn(tmp_path / "scans", "--out", broken, method=method, steps=4, code=2)  # not without a word
    learn(tmp_path / "scans", "--out", broken, "--resume", method=method, steps=4)
    first, second = (load_file(folder / "weights.safetensors") for folder in (whole, broken))
    assert set(first) == set(second)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert rows_of(whole) == rows_of(broken)
    assert files_in(whole) == files_in(broken)


@pytest.mark.usefixtures("quick")
def test_what_is_finished_is_left_alone_and_other_options_are_not_resumed(tmp_path, scans, monkeypatch, dims):
    out = tmp_path / "enc"
    learn(scans, "--out", out)
    assert "finished encoder" in learn(scans, "--out", out, "--resume").stdout
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert "no encoder folder" in learn(scans, "--out", tmp_path / "mine", "--overwrite", code=2).stderr
    monkeypatch.setattr(pretrain.run, "CHECKPOINT_SECONDS", -1.0)
    original = Pretrainer._backward

    def stop(trainer, *batch):
        if trainer.done == 1:
            raise KeyboardInterrupt
        return original(trainer, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(Pretrainer, "_backward", stop)
        learn(scans, "--out", tmp_path / "half", code=130)
    told = learn(scans, "--out", tmp_path / "half", "--resume", "--seed", 5, code=2).stderr
    assert "other scans or options" in told


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--method", "nothing"], "there is no such method; right are mae, "),
        ([], "--method is missing"),
        (["--method", "simclr", "--modality", "xray"], "--modality xray: is unknown"),
        (["--method", "simclr", "--batch", "5", "--accumulate", "2"], "can't be cut into 2 parts"),
        (["--method", "simclr", "--subject", "("], "no regular expression"),
        (["--method", "simclr", "--device", "abacus"], "no such device"),
        (["--method", "simclr", "--dims", "3"], "is a picture"),
    ],
)
def test_bad_options(tmp_path, arguments, says):
    write_any(tmp_path / "scans", "a", np.random.default_rng(0).integers(0, 200, (40, 40)).astype(np.uint8))
    told = wsseg_("pretrain", tmp_path / "scans", "--out", tmp_path / "enc", *arguments, code=2).stderr
    assert says in told
    assert not (tmp_path / "enc").exists()


@pytest.mark.usefixtures("quick")
def test_bad_scans_stop_the_run_or_are_told_and_left_out(tmp_path, scans, dims):
    bad = scans / ("b.png" if dims == 2 else "b.nii.gz")
    bad.write_bytes(b"half a file")
    assert "b." in learn(scans, "--out", tmp_path / "enc", code=2).stderr
    assert not (tmp_path / "enc").exists()
    told = learn(scans, "--out", tmp_path / "enc", "--skip-bad").stderr
    assert "left out" in told
    assert list(load_encoder(tmp_path / "enc").record["skipped"]) == [str(bad)]


@pytest.mark.usefixtures("quick")
def test_a_2d_encoder_from_slices_of_volumes(tmp_path):
    for index in range(COUNT):
        values = np.random.default_rng(index).integers(0, 200, (24, 24, 12)).astype(np.uint8)
        write_any(tmp_path / "scans", f"v{index}", values)
    learn(tmp_path / "scans", "--out", tmp_path / "enc", "--dims", 2)
    saved = load_encoder(tmp_path / "enc")
    assert saved.encoder.config.dims == 2
    assert saved.record["spacing"] == [1.0, 1.5]


def test_a_collapsed_run_stops_with_advice_and_leaves_its_report(tmp_path, scans, monkeypatch, dims):
    """An embedding that is made to collapse; a healthy run is in test_monitor.py."""
    byol = METHODS["byol"]

    class Collapsing(byol):
        steps_done = 0

        def embed(self, images):
            return super().embed(images) / (1 + 1e6 * self.steps_done) + 1.0

        def after_step(self):
            super().after_step()
            self.steps_done += 1

    def page(record, rows, sampler, *, failed=False):
        return f"{record['warnings'][0]} after {len(rows)} rows" if failed else "page"

    monkeypatch.setattr(pretrain.run, "write_report", page)
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "byol", Collapsing)
        told = learn(scans, "--out", tmp_path / "enc", method="byol", steps=8, code=2).stderr
    assert "has collapsed" in told
    assert byol.advice in told
    assert files_in(tmp_path / "enc") == ["metrics.jsonl", "report.html"]
    assert len(rows_of(tmp_path / "enc")) == 4  # the start and three readings
    left = (tmp_path / "enc" / "report.html").read_text()
    assert left.startswith("The run has collapsed")
    assert left.endswith("after 4 rows")
    learn(scans, "--out", tmp_path / "enc", "--overwrite", method="byol", steps=2)


class TestHandOver:
    """What pretraining leaves is what fit and refine start from."""

    @pytest.fixture
    def small_fit(self, monkeypatch):
        small_plans(monkeypatch)

    @pytest.mark.usefixtures("small_fit", "quick")
    @pytest.mark.parametrize("method", ["mae", "vicreg"])
    def test_fit_takes_every_tensor_and_says_so(self, tmp_path, data, dims, method):
        told = learn(data, "--out", tmp_path / "enc", method=method).stdout
        assert f"wsseg fit DATA --out MODEL --encoder {tmp_path / 'enc'}" in told
        shown = wsseg_("fit", data, "--out", tmp_path / "m", "--encoder", tmp_path / "enc", "--steps", 1)
        saved = load_encoder(tmp_path / "enc")
        count = len(saved.encoder.state_dict())
        assert f"Encoder: loaded 100 %, {count}/{count} tensors" in shown.stdout
        assert "Warning" not in shown.stderr
        config = json.loads((tmp_path / "m" / "config.json").read_text())
        assert config["encoder"]["loaded"] == config["encoder"]["total"] == count
        assert config["provenance"]["encoder"]["method"] == method
        assert ("decoder" in config["encoder"]) == (method == "mae")
        assert bool(saved.decoder) == (method == "mae")

    @pytest.mark.usefixtures("small_fit", "quick")
    def test_at_first_the_encoder_stays_as_it_is(self, tmp_path, data, dims):
        """One step of ten: the decoder learns, the encoder waits; after all ten it has moved."""
        learn(data, "--out", tmp_path / "enc")
        own = load_encoder(tmp_path / "enc").encoder.state_dict()
        moved = []
        for steps in (1, 10):
            out = tmp_path / f"m{steps}"
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("wsseg.train.TrainConfig.decay", 0.0)
                wsseg_("fit", data, "--out", out, "--encoder", tmp_path / "enc", "--steps", steps)
            now = load_file(out / "weights.safetensors")
            moved.append(max(float((now[f"encoder.{k}"] - v).abs().max()) for k, v in own.items()))
        assert moved[0] == 0
        assert moved[1] > 0

    @pytest.mark.usefixtures("small_fit", "quick")
    def test_a_stopped_fit_goes_on_with_both_rates(self, tmp_path, monkeypatch):
        data = make_dataset(tmp_path / "data", 2)
        learn(data, "--out", tmp_path / "enc")
        command = ["fit", data, "--encoder", tmp_path / "enc", "--steps", 6, "--out"]
        wsseg_(*command, tmp_path / "whole")
        original = Trainer._draw

        def draw(trainer):
            if trainer.done == 4:
                raise KeyboardInterrupt
            return original(trainer)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "_draw", draw)
            patch.setattr("wsseg.fit.CHECKPOINT_SECONDS", -1.0)
            wsseg_(*command, tmp_path / "broken", code=130)
        wsseg_(*command, tmp_path / "broken", "--resume")
        first, second = (load_file(tmp_path / n / "weights.safetensors") for n in ("whole", "broken"))
        assert all(torch.equal(first[name], second[name]) for name in first)

    @pytest.mark.usefixtures("small_fit", "quick")
    def test_grey_for_colour_and_other_spacings(self, tmp_path):
        write_any(tmp_path / "scans", "a", np.random.default_rng(0).integers(0, 200, (40, 40), np.uint8))
        learn(tmp_path / "scans", "--out", tmp_path / "enc")
        data = make_dataset(tmp_path / "data", 2)
        for path in (data / "images").iterdir():
            write_picture(path, np.random.default_rng(1).integers(0, 200, (*SIZE[2], 3)))
        shown = wsseg_("fit", data, "--out", tmp_path / "m", "--encoder", tmp_path / "enc", "--steps", 1)
        assert "learned from grey images, these are colour" in shown.stderr
        assert "loaded 100 %" in shown.stdout
        volumes = make_dataset(tmp_path / "volumes", 3)
        told = wsseg_("fit", volumes, "--out", tmp_path / "v", "--encoder", tmp_path / "enc", code=2).stderr
        assert "is for 2D images, these are 3D" in told
        learn(volumes, "--out", tmp_path / "enc3")
        for path in (volumes / "images").iterdir():
            for folder in ("images", "hints"):
                values = nibabel.load(volumes / folder / path.name)
                stretched = nibabel.Nifti1Image(np.asarray(values.dataobj), np.diag([3, 3, 3, 1]))
                nibabel.save(stretched, volumes / folder / path.name)
        told = wsseg_("fit", volumes, "--out", tmp_path / "v", "--encoder", tmp_path / "enc3", "--steps", 1)
        assert "more than 25 % apart" in told.stderr

    @pytest.mark.usefixtures("small_fit", "quick")
    def test_refine_says_so_too(self, tmp_path, dims):
        data = make_dataset(tmp_path / "data", dims)
        made = tmp_path / "made"
        wsseg_("robot", tmp_path / "truth", "--images", data / "images", "--out", made, "--kind", "boxes")
        learn(data, "--out", tmp_path / "enc")
        shown = wsseg_(
            *["refine", made, "--out", tmp_path / "out", "--encoder", tmp_path / "enc"],
            *["--method", "box", "--rounds", 2, "--steps", 2],
        )
        assert "Encoder: loaded 100 %" in shown.stdout
