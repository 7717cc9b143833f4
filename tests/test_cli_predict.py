"""`wsseg predict` as a user types it."""

import json

import nibabel
import numpy as np
import pytest
from tiny import AFFINE, SIZE, files_in, tiny_model, write_any, wsseg_

from wsseg.images import read_image, read_labels


@pytest.fixture
def model(tmp_path, dims):
    tiny_model(dims).save(tmp_path / "model")
    return tmp_path / "model"


class TestPredict:
    def test_a_folder_then_only_what_is_new(self, tmp_path, model, data, dims):
        out = tmp_path / "masks"
        shown = wsseg_("predict", model, data / "images", "--out", out).stdout
        assert "2 predicted" in shown
        assert "Least certain" in shown
        for path in (data / "images").iterdir():
            mask = out / path.name
            assert read_labels(mask).shape == SIZE[dims]
            if dims == 3:
                np.testing.assert_array_equal(nibabel.load(mask).affine, AFFINE)
        write_any(
            data / "images", "zebra", np.arange(np.prod(SIZE[dims])).reshape(SIZE[dims]).astype(np.uint8)
        )
        shown = wsseg_("predict", model, data / "images", "--out", out).stdout
        assert "1 predicted, 2 skipped (done before)" in shown

    def test_what_lies_beside_the_masks(self, tmp_path, model, data, dims):
        image = next((data / "images").iterdir())
        out = tmp_path / "masks"
        wsseg_("predict", model, image, "--out", out, "--probabilities", "--instances")
        stem = image.name.split(".")[0]
        found = files_in(out)
        beside = f"{stem}.tif" if dims == 2 else image.name
        beside = f"probabilities/{beside}"
        objects = f"instances/{image.name}"
        names = ["instances", objects, "predict.json", "probabilities", beside, "uncertainty.csv", image.name]
        assert found == sorted(names)

    def test_subfolders_are_told_to_be_left_out(self, tmp_path, model, data):
        images = data / "images"
        write_any(images / "more", "deep", read_image(next(images.iterdir())).data[0])
        told = wsseg_("predict", model, images, "--out", tmp_path / "masks").stderr
        assert f"Subfolders are not searched, and {images / 'more'} holds images" in told
        told = wsseg_("predict", model, images, images / "more", "--out", tmp_path / "all")
        assert "Subfolders" not in told.stderr
        assert "3 predicted" in told.stdout
        told = wsseg_("predict", model, data, "--out", tmp_path / "none", code=2).stderr
        assert "Subfolders are not searched" in told

    def test_tile_overlap_and_flips_are_obeyed(self, tmp_path, model, data):
        image = next((data / "images").iterdir())
        for name, options in (("a", ["--tile", 8]), ("b", ["--overlap", 0.25]), ("c", ["--flips"])):
            wsseg_("predict", model, image, "--out", tmp_path / name, *options)

    def test_little_memory_is_told_before_and_tiles_are_made_to_fit(self, tmp_path, model, data, monkeypatch):
        arguments = ["predict", model, data / "images", "--out"]
        assert "Needs about" not in wsseg_(*arguments, tmp_path / "a").stderr
        monkeypatch.setattr("wsseg.memoryplan.free_memory", lambda device=None: (1000, "memory"))
        told = wsseg_(*arguments, tmp_path / "b").stderr
        assert "of memory, 1 MB free: using tiles of 16×16" in told
        assert "That may not be enough" in told
        assert len(list((tmp_path / "b").glob("ball*"))) == 2

    def test_split_needs_instances(self, tmp_path, model, data):
        arguments = ["predict", model, data / "images", "--out", tmp_path / "out", "--split"]
        assert "--instances" in wsseg_(*arguments, code=2).stderr
        wsseg_(*arguments, "--instances")

    def test_hints_are_honoured(self, tmp_path, model, data):
        wsseg_("predict", model, data / "images", "--out", tmp_path / "out", "--hints", data)
        painted = next((data / "hints").iterdir())
        hints = np.asarray(read_labels(painted))
        mask = np.asarray(read_labels(tmp_path / "out" / painted.name))
        np.testing.assert_array_equal(mask[hints == 1], 1)
        np.testing.assert_array_equal(mask[hints == 255], 0)

    def test_hints_of_other_classes_are_told(self, tmp_path, model, data):
        (data / "classes.json").write_text(json.dumps({"1": "ball", "2": "cube"}))
        told = wsseg_("predict", model, data / "images", "--out", tmp_path / "o", "--hints", data, code=2)
        assert "its classes are 1 (ball), 2 (cube), the model's are 1 (ball)" in told.stderr
        assert not (tmp_path / "o").exists()

    @pytest.mark.parametrize("tile", ["7", "8,8,8,8", "big", "-8"])
    def test_a_tile_that_can_not_be_is_told(self, tmp_path, model, data, tile):
        told = wsseg_(
            "predict", model, data / "images", "--out", tmp_path / "out", f"--tile={tile}", code=2
        ).stderr
        assert told.startswith(f"Error: --tile {tile}: ")
        assert not (tmp_path / "out").exists()

    def test_an_image_of_other_dimensions_is_told(self, tmp_path, model, dims):
        other = write_any(
            tmp_path / "other", "a", np.random.default_rng(0).integers(0, 99, SIZE[5 - dims], np.uint8)
        )
        told = wsseg_("predict", model, other, "--out", tmp_path / "out", code=2)
        assert f"{other}: has {5 - dims} spatial axes" in told.stderr
        assert "1 failed" in told.stdout

    def test_masks_made_with_other_options_are_not_gone_on_with(self, tmp_path, model, data):
        out = tmp_path / "masks"
        wsseg_("predict", model, data / "images", "--out", out, "--overlap", "0.5")
        told = wsseg_("predict", model, data / "images", "--out", out, "--flips", code=2).stderr
        assert "holds masks made with --overlap 0.5, this run has" in told
        assert "--flips" in told
        wsseg_("predict", model, data / "images", "--out", out, "--overlap", "0.5")
        record = json.loads((out / "predict.json").read_text())
        del record["how"]  # as an earlier version wrote it
        (out / "predict.json").write_text(json.dumps(record))
        assert "2 skipped" in wsseg_("predict", model, data / "images", "--out", out, "--flips").stdout

    def test_two_images_of_one_stem_are_told_and_the_others_go_on(self, tmp_path, model, data, dims):
        twin = next((data / "images").iterdir())
        stem, values = twin.name.split(".")[0], read_image(twin).data[0]
        write_any(tmp_path / "more", stem, values)
        out = tmp_path / "masks"
        done = wsseg_("predict", model, data / "images", tmp_path / "more", "--out", out, code=2)
        assert f"has the same stem “{stem}”" in done.stderr
        assert "1 predicted" in done.stdout
        assert not (out / twin.name).exists()
        alone = wsseg_("predict", model, twin, tmp_path / "more", "--out", tmp_path / "none", code=2)
        assert "has the same stem" in alone.stderr
        assert not (tmp_path / "none").exists()
