"""Prediction of many images: skipping, going on, bad images, least certain first."""

import csv
import errno
import json
from dataclasses import replace

import numpy as np
import pytest
from tiny import SIZE, files_in, make_dataset, tiny_model, write_any, write_picture, write_volume

import wsseg.batch
import wsseg.images
from wsseg.batch import Outcome, Wanted, fitted_to, predict_images
from wsseg.dataset import open_dataset
from wsseg.errors import InputError
from wsseg.images import Image, list_images, read_image, read_labels
from wsseg.maskfolder import open_out
from wsseg.model import Model
from wsseg.objects import label_instances
from wsseg.predict import Predictor
from wsseg.steps import finish


def run(model, images, out, **wanted) -> Outcome:
    open_out(out, model, images, hints=wanted.get("hints"), overwrite=wanted.get("overwrite", False))
    return finish(predict_images(Predictor(model, device="cpu"), images, out, Wanted(**wanted)))


@pytest.fixture
def images(tmp_path, dims):
    return list_images(make_dataset(tmp_path / "data", dims, 3) / "images")


def test_masks_equal_those_of_the_predictor_and_keep_the_geometry(tmp_path, images, dims):
    model = tiny_model(dims)
    outcome = run(model, images, tmp_path / "out", probabilities=True)
    assert outcome.done == ["ball0", "ball1", "ball2"]
    for stem, path in images.items():
        image = read_image(path)
        alone = Predictor(model, device="cpu").predict(image, keep_probabilities=True)
        mask = read_image(tmp_path / "out" / path.name)
        np.testing.assert_array_equal(np.asarray(mask.data)[0], alone.mask)
        assert mask.spacing == image.spacing
        assert outcome.uncertainty[stem] == pytest.approx(alone.uncertainty)
        suffix = ".tif" if dims == 2 else ".nii.gz"
        beside = read_image(tmp_path / "out" / "probabilities" / f"{stem}{suffix}")
        np.testing.assert_allclose(np.asarray(beside.data), alone.probabilities, atol=1e-3)


def test_masks_honour_hints_of_the_same_stem_and_leave_the_others_alone(tmp_path, images, dims):
    model, data = tiny_model(dims), tmp_path / "data"
    first, second, third = images.values()
    (data / "hints" / second.name).unlink()
    plain = run(model, images, tmp_path / "plain")
    outcome = run(model, images, tmp_path / "out", hints=open_dataset(data))
    masks, words = (
        {path.name: np.asarray(read_labels(tmp_path / folder / path.name)) for path in images.values()}
        for folder in ("out", "plain")
    )
    np.testing.assert_array_equal(masks[second.name], words[second.name])
    for path in (first, third):
        painted = np.asarray(read_labels(data / "hints" / path.name))
        said = np.where(painted == 255, 0, painted)[painted > 0]
        np.testing.assert_array_equal(masks[path.name][painted > 0], said)
        assert (words[path.name][painted > 0] != said).any()
        assert outcome.uncertainty[path.name[:5]] < plain.uncertainty[path.name[:5]]


def test_where_strokes_mark_every_object_the_network_is_asked_of_volumes_only(tmp_path, images, dims):
    data = tmp_path / "data"
    first, second, _ = images.values()
    (data / "hints" / second.name).unlink()
    painted = np.asarray(read_labels(data / "hints" / first.name)).copy()
    painted[::2] = 0  # strokes, no finished slices
    (data / "hints" / first.name).unlink()
    write_any(data / "hints", first.name.split(".")[0], painted)
    model = tiny_model(dims)
    model = Model(replace(model.config, objects="marked"), model.net)
    dataset = open_dataset(data)
    open_out(tmp_path / "out", model, images, hints=dataset)
    steps = list(predict_images(Predictor(model), images, tmp_path / "out", Wanted(hints=dataset)))
    asked = {step.info["file"] for step in steps}
    assert (first.name in asked) == (dims == 3)
    assert second.name in asked
    mask = np.asarray(read_labels(tmp_path / "out" / first.name))
    np.testing.assert_array_equal(mask[painted > 0], np.where(painted == 255, 0, painted)[painted > 0])


def test_masks_made_with_other_hints_are_not_taken_for_done(tmp_path, images, dims):
    model, dataset = tiny_model(dims), open_dataset(tmp_path / "data")
    run(model, dict([*images.items()][:1]), tmp_path / "out", hints=dataset)
    open_out(tmp_path / "out", model, images, hints=dataset)
    with pytest.raises(InputError, match="this run is without hints; choose another folder"):
        open_out(tmp_path / "out", model, images)
    open_out(tmp_path / "out", model, images, overwrite=True)


def test_one_step_a_tile_over_all_images(tmp_path, images, dims):
    model = tiny_model(dims)
    open_out(tmp_path / "out", model, images)
    steps = list(predict_images(Predictor(model, device="cpu", overlap=0), images, tmp_path / "out"))
    # 16 a tile: the picture takes 2 × 2, the volume 1
    total = 3 * (4 if dims == 2 else 1)
    assert [(step.index, step.total) for step in steps] == [(i + 1, total) for i in range(total)]


def test_what_is_done_is_skipped_and_stays_listed(tmp_path, images, dims):
    model, out = tiny_model(dims), tmp_path / "out"
    first = dict(list(images.items())[:2])
    run(model, first, out)
    before = {name: (out / name).stat().st_mtime_ns for name in files_in(out) if name.startswith("ball")}
    outcome = run(model, images, out)
    assert outcome.skipped == ["ball0", "ball1"]
    assert outcome.done == ["ball2"]
    assert set(outcome.uncertainty) == set(images)
    assert all((out / name).stat().st_mtime_ns == stamp for name, stamp in before.items())


def test_more_is_wanted_of_images_that_are_done(tmp_path, images, dims):
    run(tiny_model(dims), images, tmp_path / "out")
    outcome = run(tiny_model(dims), images, tmp_path / "out", instances=True)
    assert len(outcome.done) == 3
    assert len(list((tmp_path / "out" / "instances").iterdir())) == 3


def test_the_table_is_sorted_least_certain_first(tmp_path, images, dims):
    outcome = run(tiny_model(dims), images, tmp_path / "out")
    with open(tmp_path / "out" / "uncertainty.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    values = [float(row["uncertainty"]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert [row["stem"] for row in rows] == list(outcome.uncertainty)
    assert all(0 <= value <= 1 for value in values)


def test_a_bad_image_is_told_and_the_others_go_on(tmp_path, images, dims):
    bad = images["ball1"]
    bad.write_bytes(bad.read_bytes()[:60])
    outcome = run(tiny_model(dims), images, tmp_path / "out")
    assert outcome.done == ["ball0", "ball2"]
    assert list(outcome.failed) == ["ball1"]
    assert bad.name in outcome.failed["ball1"]
    assert not (tmp_path / "out" / bad.name).exists()


def test_a_stopped_run_leaves_finished_masks_only_and_goes_on_to_the_same_result(tmp_path, images, dims):
    model = tiny_model(dims)
    run(model, images, tmp_path / "whole")
    out = tmp_path / "out"
    open_out(out, model, images)
    steps = predict_images(Predictor(model, device="cpu", overlap=0), images, out)
    for _ in range(6 if dims == 2 else 2):
        next(steps)
    steps.close()
    name = images["ball0"].name
    assert [entry for entry in files_in(out) if entry != "predict.json"] == [name, "uncertainty.csv"]
    run(model, images, out)
    # the first mask came from a run without overlap, the others must be the same
    for path in list(images.values())[1:]:
        assert (out / path.name).is_file()
        np.testing.assert_array_equal(
            read_labels(out / path.name), read_labels(tmp_path / "whole" / path.name)
        )


def test_a_full_disk_stops_the_batch_and_keeps_what_is_finished(tmp_path, images, dims, monkeypatch):
    model, out = tiny_model(dims), tmp_path / "out"
    run(model, {"ball0": images["ball0"]}, out)
    before = files_in(out)
    kind = wsseg.images._format("picture" if dims == 2 else "nifti")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kind, "write", full)
    with pytest.raises(InputError, match=r"ball1.*No space left"):
        run(model, images, out)
    assert files_in(out) == before


class TestOut:
    """Which folders results may go to."""

    images = property(lambda self: {"a": self.folder / "scans" / "a.png"})

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path
        write_picture(tmp_path / "scans" / "a.png", np.eye(20) * 200)

    def test_the_folder_of_the_images_is_refused(self):
        with pytest.raises(InputError, match=r"holds the image a\.png itself"):
            open_out(self.folder / "scans", tiny_model(), self.images, overwrite=True)

    def test_a_file_is_refused(self):
        with pytest.raises(InputError, match="is a file"):
            open_out(self.folder / "scans" / "a.png", tiny_model(), {})

    def test_a_foreign_folder_needs_a_word(self):
        (self.folder / "out").mkdir()
        (self.folder / "out" / "letter.txt").write_text("mine")
        with pytest.raises(InputError, match="not empty"):
            open_out(self.folder / "out", tiny_model(), self.images)
        open_out(self.folder / "out", tiny_model(), self.images, resume=True)
        assert (self.folder / "out" / "letter.txt").read_text() == "mine"

    def test_masks_of_another_model_are_not_mixed_in(self):
        open_out(self.folder / "out", tiny_model(), self.images)
        other = tiny_model()
        next(other.net.parameters()).data += 1
        open_out(self.folder / "out", other, self.images)  # the first model left no mask there
        open_out(self.folder / "out", tiny_model(), self.images)
        write_picture(self.folder / "out" / "a.png", np.eye(20))
        with pytest.raises(InputError, match="another model"):
            open_out(self.folder / "out", other, self.images, resume=True)
        open_out(self.folder / "out", other, self.images, overwrite=True)
        open_out(self.folder / "out", other, self.images)

    def test_another_image_of_the_same_name_is_not_taken_for_done(self):
        open_out(self.folder / "out", tiny_model(), self.images)
        twin = write_picture(self.folder / "more" / "a.png", np.eye(20) * 100)
        with pytest.raises(InputError, match="“a”"):
            open_out(self.folder / "out", tiny_model(), {"a": twin})

    def test_a_damaged_record_is_told(self):
        open_out(self.folder / "out", tiny_model(), self.images)
        (self.folder / "out" / "predict.json").write_text("{")
        with pytest.raises(InputError, match=r"predict\.json"):
            open_out(self.folder / "out", tiny_model(), self.images)

    def test_the_record_names_images_of_all_runs(self):
        open_out(self.folder / "out", tiny_model(), self.images)
        other = write_picture(self.folder / "more" / "b.png", np.eye(20) * 100)
        open_out(self.folder / "out", tiny_model(), {"b": other})
        record = json.loads((self.folder / "out" / "predict.json").read_text())
        assert set(record["images"]) == {"a", "b"}


class TestFit:
    """Whether an image suits a model."""

    def test_grey_is_repeated_for_a_model_of_colour(self):
        grey = np.arange(12.0).reshape(1, 3, 4)
        image, warnings = fitted_to(
            Image(grey, (1.0, 1.0)), tiny_model(2, channels_in=3, rgb=True).config, "a.png"
        )
        assert warnings == []
        np.testing.assert_array_equal(image.data, np.repeat(grey, 3, 0))

    @pytest.mark.parametrize(
        ("shape", "dims", "channels", "words"),
        [
            ((1, 8, 8, 8), 2, 1, "has 3 spatial axes"),
            ((1, 8, 8), 3, 1, "has 2 spatial axes"),
            ((3, 8, 8), 2, 1, "has 3 channels"),
            ((1, 8, 8), 2, 3, "has 1 channel,"),
            ((2, 8, 8, 8), 3, 1, "has 2 channels"),
        ],
    )
    def test_axes_and_channels_must_be_those_of_the_training(self, shape, dims, channels, words):
        image = Image(np.zeros(shape), (1.0,) * (len(shape) - 1))
        with pytest.raises(InputError, match=f"scan: {words}"):
            fitted_to(image, tiny_model(dims, channels_in=channels).config, "scan")

    @pytest.mark.parametrize(
        ("spacing", "count"), [((1.0, 1.2), 0), ((1.0, 1.3), 1), ((0.79, 1.0), 1), ((0.85, 1), 0)]
    )
    def test_spacing_more_than_a_quarter_off_is_worth_a_warning(self, spacing, count):
        _, warnings = fitted_to(Image(np.zeros((1, 8, 8)), spacing), tiny_model(2).config, "scan")
        assert len(warnings) == count


def test_instances_lie_beside_the_mask(tmp_path):
    values = np.zeros((24, 24), np.uint8)
    values[2:8, 2:8] = values[14:20, 14:20] = 200
    path = write_any(tmp_path / "scans", "a", values)
    run(tiny_model(2), {"a": path}, tmp_path / "out", instances=True)
    mask = read_labels(tmp_path / "out" / "a.png")
    np.testing.assert_array_equal(
        read_labels(tmp_path / "out" / "instances" / "a.png"), label_instances(mask)
    )


def test_a_volume_of_other_spacing_is_predicted_with_a_warning(tmp_path):
    volume = np.random.default_rng(0).normal(size=SIZE[3]).astype(np.float32)
    path = write_volume(tmp_path / "scans" / "a.nii.gz", volume, np.diag([1, 1, 3, 1.0]))
    outcome = run(tiny_model(3), {"a": path}, tmp_path / "out")
    assert outcome.done == ["a"]
    assert "a.nii.gz: has a voxel spacing of 1, 1, 3" in outcome.warnings[0]
