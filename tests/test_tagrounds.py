"""From tags to a model: labels between rounds, and `wsseg fit` on tags, alone and with other hints."""

import json
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from test_seeds import SIZE, tagged_squares
from tiny import files_in, small_plans, write_any, wsseg_

import wsseg.fit
import wsseg.tagfit
import wsseg.tagrounds
from wsseg.bags import read_bags
from wsseg.dataset import open_dataset
from wsseg.fit import make_sample, output_labels
from wsseg.images import read_image, read_labels
from wsseg.normalise import Normalisation
from wsseg.tagrounds import new_labels, suppress
from wsseg.unet import plan_encoder
from wsseg.weak import over


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Networks that train in a moment."""
    small_plans(monkeypatch)
    monkeypatch.setattr(wsseg.tagfit, "plan_encoder", partial(plan_encoder, channels=(4, 8)))


def test_suppressed_classes_give_their_share_to_the_others(dims):
    said = np.random.default_rng(0).dirichlet([1, 1, 1], SIZE[dims]).astype(np.float32)
    said = np.moveaxis(said, -1, 0)
    kept = suppress(said, np.array([True, False, True]))
    assert np.allclose(kept.sum(0), 1, atol=1e-5)
    assert not kept[1].any()
    assert np.allclose(kept[2] / kept[0], said[2] / said[0], rtol=1e-3)


def setting(tmp_path, dims):
    """The first tagged image of squares with some of its background painted, and the dataset's bags."""
    data, _ = tagged_squares(tmp_path / "data", dims, count=6)
    painted = np.zeros(SIZE[dims], np.uint8)
    painted[(0,) * (dims - 1)] = 255
    painted[(-1,) * (dims - 1)] = 4
    write_any(data / "hints", "i01", painted)
    dataset = open_dataset(data)
    item = dataset.find("i01")
    image, hints = dataset.read(item)
    sample = make_sample(image, hints, dataset.classes, Normalisation(), item.stem)
    return sample, hints, read_bags(dataset), item, dataset


def test_sure_words_become_labels_and_what_was_painted_stays(tmp_path, dims):
    sample, hints, bags, item, dataset = setting(tmp_path, dims)
    said = np.full((2, *SIZE[dims]), 0.5, np.float32)
    here = (slice(None), slice(2, 4))
    said[1][here], said[0][here] = 0.001, 0.999
    far = (slice(None), slice(-4, -2))
    said[1][far], said[0][far] = 0.999, 0.001
    labels = new_labels(sample, said, bags, item, dataset.classes)
    labels = over(labels, output_labels(hints, sample.image, dataset.classes))
    painted = hints.scribbles > 0
    assert (labels.weight[painted] == 1).all()
    assert np.array_equal(labels.target[painted], (hints.scribbles[painted] == 4).astype(int))
    free = ~painted
    assert (labels.target[here][free[here]] == 0).mean() > 0.95
    assert (labels.target[far][free[far]] == 1).mean() > 0.95
    assert labels.weight[far][free[far]].mean() > 0.95


def test_a_tagged_class_cannot_vanish_and_an_untagged_one_cannot_appear(tmp_path, dims):
    sample, _, bags, item, dataset = setting(tmp_path, dims)
    nothing = np.stack([np.ones(SIZE[dims]), np.zeros(SIZE[dims])]).astype(np.float32)
    labels = new_labels(sample, nothing, bags, item, dataset.classes)
    assert np.array_equal(labels.weight, sample.labels.weight)
    empty = dataset.find("i00")
    image, no_hints = dataset.read(empty)
    everywhere = nothing[::-1].copy()
    labels = new_labels(make_background(image, no_hints, dataset), everywhere, bags, empty, dataset.classes)
    assert not labels.target.any()


def make_background(image, hints, dataset):
    """A sample that knows one voxel of background."""
    from dataclasses import replace

    painted = np.zeros(image.shape, np.uint8)
    painted.flat[0] = 255
    return make_sample(image, replace(hints, scribbles=painted), dataset.classes, Normalisation())


def predicted_dice(model, data, truths, out):
    wsseg_("predict", model, data / "images", "--out", out)
    said = np.stack([read_labels(next(out.glob(f"{stem}.*"))) == 4 for stem in truths])
    truth = np.stack(list(truths.values()))
    return 2 * (said & truth).sum() / (said.sum() + truth.sum())


def test_fit_on_tags_alone_finds_what_nobody_marked(tmp_path, monkeypatch):
    monkeypatch.setattr(wsseg.fit, "plan_encoder", partial(plan_encoder, channels=(8, 16)))
    monkeypatch.setattr(wsseg.fit, "BUDGET", {2: 2**10})  # whole images
    data, truths = tagged_squares(tmp_path / "data", 2)
    model = tmp_path / "model"
    said = wsseg_("fit", data, "--out", model, "--steps", 60, "--device", "cpu").output
    assert "Class 4 (square): AUC" in said
    assert "agreement with labels that came from tags" in said
    assert re.search(r"Seeds: square [\d.]+ %, background [\d.]+ % of the voxels of tagged images", said)
    assert "Annotated" not in said  # nobody did
    config = json.loads((model / "config.json").read_text())
    assert config["kind"] == "model"
    assert config["classes"] == {"4": "square"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "model"]
    assert predicted_dice(model, data, truths, tmp_path / "masks") > 0.6


def test_fit_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    data, _ = tagged_squares(tmp_path / "data", 2, count=8)
    arguments = ("--steps", 12, "--device", "cpu", "--terms", "expand,constrain")
    wsseg_("fit", data, "--out", tmp_path / "whole", *arguments)
    with monkeypatch.context() as patch:
        patch.setattr("wsseg.tagrounds.new_labels", _stop)
        wsseg_("fit", data, "--out", tmp_path / "broken", *arguments, code=1)
    assert (tmp_path / ".broken.tags/round-1/config.json").is_file()
    wsseg_("fit", data, "--out", tmp_path / "broken", *arguments, "--resume")
    for name in ("weights.safetensors", "history.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "broken" / name).read_bytes()
    assert not [name for name in files_in(tmp_path) if name.startswith(".")]


def _stop(*arguments):
    raise ValueError("stopped here")


def test_slices_with_tags_and_a_finished_mask_mix(tmp_path):
    data, truths = tagged_squares(tmp_path / "data", 3, count=8)
    write_any(data / "masks", "i01", truths["i01"].astype(np.uint8) * 4)
    wsseg_("fit", data, "--out", tmp_path / "model", "--steps", 8, "--device", "cpu", "--terms", "expand")
    wsseg_("predict", tmp_path / "model", data / "images", "--out", tmp_path / "masks")
    assert read_image(tmp_path / "masks/i01.nii.gz").shape == SIZE[3]


def test_a_class_without_seeds_is_left_out_and_told(tmp_path, monkeypatch):
    data, _ = tagged_squares(tmp_path / "data", 2, count=8)
    (data / "classes.json").write_text('{"4": "square", "6": "ghost"}')
    table = data / "tags.csv"
    table.write_text(table.read_text() + "".join(f"i{k:02},ghost\n" for k in (1, 3, 5)))
    real = wsseg.tagrounds.seed_steps

    def without_ghosts(*given, **options):
        found = yield from real(*given, **options)
        for path in (given[3] / "hints").iterdir():
            seeds = np.asarray(read_labels(path)).astype(np.uint8)
            write_any(path.parent, path.name.split(".")[0], np.where(seeds == 6, 0, seeds))
        return replace(found, share={**found.share, 6: 0.0})

    monkeypatch.setattr(wsseg.tagrounds, "seed_steps", without_ghosts)
    arguments = ("--steps", 6, "--device", "cpu", "--terms", "expand,constrain")
    told = wsseg_("fit", data, "--out", tmp_path / "model", *arguments).stderr
    assert "No seeds were found of ghost; the model will never answer it." in " ".join(told.split())
    assert json.loads((tmp_path / "model/config.json").read_text())["classes"] == {"4": "square"}


def test_what_cannot_be_trained_on_is_told(tmp_path):
    data, _ = tagged_squares(tmp_path / "data", 2, random=True, count=24)
    out = tmp_path / "model"
    arguments = ("fit", data, "--out", out, "--steps", 4, "--device", "cpu")
    assert "maps would mean nothing" in wsseg_(*arguments, code=2).output
    assert not out.exists()
    said = wsseg_(*arguments, "--init", tmp_path / "none", code=2).output
    assert "is no model folder" in said
    assert "leave out --objects" in wsseg_(*arguments, "--objects", "alike", code=2).output
    assert "--terms expend: there is no such term" in wsseg_(*arguments, "--terms", "expend", code=2).output
    (data / "tags.csv").unlink()
    assert "has no tags.csv" in wsseg_(*arguments, "--terms", "expand", code=2).output
