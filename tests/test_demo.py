"""The demo, at a coarse resolution and with a few steps; its scores against slow loops."""

import json
import sys

import nibabel
import numpy as np
import pytest
from tiny import files_in, small_plans
from typer.testing import CliRunner

import wsseg.demo
from wsseg.cli import app
from wsseg.demo import CLASSES, demo_steps, dice_outside, tissue_truth
from wsseg.errors import InputError
from wsseg.images import read_image, read_labels
from wsseg.model import load_model
from wsseg.steps import finish


def test_the_truth_is_the_likeliest_tissue():
    grey, white = np.array([0.5, 0.2, 0.1, 0.4]), np.array([0.2, 0.7, 0.1, 0.35])
    assert tissue_truth(grey, white).tolist() == [1, 2, 0, 1]


def test_dice_is_that_of_a_loop_over_the_voxels_not_annotated():
    rng = np.random.default_rng(0)
    mask, truth = rng.integers(0, 3, (2, 5, 6, 7))
    annotated = rng.random((5, 6, 7)) < 0.3
    both = size = 0
    for place in np.ndindex(mask.shape):
        if not annotated[place]:
            both += int(mask[place] == 2 and truth[place] == 2)
            size += int(mask[place] == 2) + int(truth[place] == 2)
    assert dice_outside(mask, truth, annotated, 2) == pytest.approx(2 * both / size)
    assert dice_outside(mask, truth, annotated, 9) == 1
    assert dice_outside(mask, truth, np.ones_like(annotated), 2) == 1


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    pytest.importorskip("nilearn", reason="the demo's scan comes with nilearn (extra “demo”)")
    out = tmp_path_factory.mktemp("demo") / "out"
    with pytest.MonkeyPatch.context() as patch:
        small_plans(patch)
        result = finish(demo_steps(out, steps=3, resolution=8, device="cpu"))
    return out, result


class TestFolder:
    def test_all_that_the_demo_promises_is_there(self, shown):
        out, result = shown
        visible = [entry for entry in files_in(out) if entry.count("/") < 1]
        assert visible == ["data", "demo.json", "demo.png", "masks", "model", "truth"]
        assert not [entry for entry in files_in(out) if "/." in entry]
        assert result.picture.read_bytes().startswith(b"\x89PNG")
        assert load_model(out / "model").config.classes == CLASSES

    def test_the_mask_has_the_geometry_of_the_scan(self, shown):
        out, result = shown
        scan = nibabel.load(out / "data" / "images" / "mni152.nii.gz")
        mask = nibabel.load(result.mask)
        np.testing.assert_array_equal(mask.affine, scan.affine)
        assert mask.shape == scan.shape
        assert scan.header.get_zooms() == (8, 8, 8)

    def test_five_axial_slices_are_finished_as_the_truth_has_them(self, shown):
        out, result = shown
        scan = read_image(out / "data" / "images" / "mni152.nii.gz")
        hints = read_labels(out / "data" / "hints" / "mni152.nii.gz", scan)
        truth = read_labels(out / "truth" / "mni152.nii.gz", scan)
        depth = scan.shape[2]
        planes = np.flatnonzero(hints.any((0, 1))).tolist()
        assert planes == [int((i + 0.5) / 5 * depth) for i in range(5)]
        np.testing.assert_array_equal(hints[..., planes], np.where(truth == 0, 255, truth)[..., planes])
        assert result.annotated_share == pytest.approx(5 / depth)
        assert result.person_seconds > 60

    def test_the_scores_are_those_of_the_mask_that_is_left(self, shown):
        out, result = shown
        mask, truth = read_labels(result.mask), read_labels(out / "truth" / "mni152.nii.gz")
        hints = read_labels(out / "data" / "hints" / "mni152.nii.gz")
        for class_id, name in CLASSES.items():
            said, true = (mask == class_id)[hints == 0], (truth == class_id)[hints == 0]
            assert result.dice[name] == pytest.approx(2 * (said & true).sum() / (said.sum() + true.sum()))
        assert json.loads((out / "demo.json").read_text())["dice"] == result.dice

    def test_an_earlier_demo_is_replaced_only_on_demand(self, shown, monkeypatch):
        out, result = shown
        small_plans(monkeypatch)
        before = files_in(out)
        with pytest.raises(InputError, match="earlier demo"):
            next(demo_steps(out))
        again = finish(demo_steps(out, steps=3, resolution=8, device="cpu", overwrite=True))
        assert files_in(out) == before
        assert again.dice == result.dice


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
def test_a_folder_that_is_no_demo_is_never_touched(tmp_path, options):
    (tmp_path / "letter.txt").write_text("mine")
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path), *options])
    assert result.exit_code == 2
    assert "no demo's folder" in result.stderr
    assert files_in(tmp_path) == ["letter.txt"]


def test_without_nilearn_it_names_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nilearn", None)
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "install wsseg[demo]" in result.stderr


def test_the_command_prints_dice_per_class(tmp_path, monkeypatch):
    pytest.importorskip("nilearn", reason="the demo's scan comes with nilearn (extra “demo”)")
    small_plans(monkeypatch)
    monkeypatch.setattr(wsseg.demo, "RESOLUTION", 8)
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "out"), "--steps", "2"])
    assert result.exit_code == 0, (result.output, result.exception)
    assert "grey matter: 0." in result.stdout
    assert "white matter: 0." in result.stdout
    assert str(tmp_path / "out" / "demo.png") in result.stdout
