"""`wsseg refine` as a user types it: boxes to masks, oddities told, stopped runs gone on with."""

import csv
import json
import re
import shutil
import sys

import numpy as np
import pytest
from pycocotools.coco import COCO
from tiny import SIZE, change_boxes, decode, files_in, make_boxed, small_plans, write_any, wsseg_

import wsseg.refine
import wsseg.rounds
import wsseg.train
from wsseg.boxes import segment, shape_of
from wsseg.images import read_labels
from wsseg.recipes import METHODS


@pytest.fixture
def boxed(tmp_path, dims, monkeypatch):
    """Two images with two blocks each, and tight boxes; the truth beside."""
    small_plans(monkeypatch)
    return make_boxed(tmp_path / "data", dims)


def masks_of(out):
    return {entry["id"]: entry for entry in json.loads((out / "masks.json").read_text())["annotations"]}


class TestResults:
    def test_every_box_has_a_mask_and_everything_lies_where_it_should(self, tmp_path, boxed, dims):
        out = tmp_path / "out"
        shown = wsseg_("refine", boxed, "--out", out, "--steps", 3, "--rounds", 2).stdout
        assert "4 masks" in shown
        suffix = "png" if dims == 2 else "nii.gz"
        names = ["decisions.csv", "masks.json", "refine.json", "report.html"]
        names += ["model", *(f"model/{n}" for n in ("config.json", "history.json", "weights.safetensors"))]
        for kind in ("instances", "masks"):
            names += [kind, *(f"{kind}/scan{i}.{suffix}" for i in range(2))]
        assert files_in(out) == sorted(names)
        found = masks_of(out)
        assert len(found) == 4
        truth = np.asarray(read_labels(tmp_path / "truth" / f"scan0.{suffix}"))
        objects = np.asarray(read_labels(out / "instances" / f"scan0.{suffix}"))
        classes = np.asarray(read_labels(out / "masks" / f"scan0.{suffix}"))
        for number in (1, 2):
            mask = decode(found[number]["segmentation"])
            assert mask.shape == truth.shape
            assert found[number]["area"] == mask.sum()
            assert not (mask & (truth != number)).any()  # the box is tight and the blocks fill it
            assert np.array_equal(mask, objects == found[number]["instance"])
            assert (classes[mask] == 1).all()
            assert 0 <= found[number]["score"] <= 1
            assert found[number]["provenance"] == {"method": "auto", "rounds": 2, "seed": 0}
        assert np.array_equal(classes > 0, objects > 0)
        log = list(csv.DictReader((out / "decisions.csv").read_text().splitlines()))
        assert [row["round"] for row in log] == [str(r) for r in range(3) for _ in range(4)]
        page = (out / "report.html").read_text()
        assert page.count("<figure>") == 4
        assert "http" not in page  # all in one file

    def test_progress_is_told_in_a_persons_words(self, tmp_path, boxed, monkeypatch):
        told = []
        real = wsseg.refine.refine_steps

        def noted(*given):
            steps = real(*given)
            while True:
                try:
                    step = next(steps)
                except StopIteration as end:
                    return end.value
                told.append((step.stage, step.total))
                yield step

        monkeypatch.setattr(wsseg.refine, "refine_steps", noted)
        wsseg_("refine", boxed, "--out", tmp_path / "out", "--steps", 3, "--rounds", 2)
        assert list(dict.fromkeys(told)) == [
            *[("learn shapes", 1), ("first masks", 2), ("check first masks", 2)],
            *[("train round 1", 3), ("masks of round 1", 2), ("train round 2", 2), ("masks of round 2", 2)],
            ("write results", 2),
        ]

    def test_the_model_predicts_without_boxes(self, tmp_path, boxed):
        wsseg_("refine", boxed, "--out", tmp_path / "out", "--steps", 3, "--rounds", 1)
        wsseg_("predict", tmp_path / "out" / "model", boxed / "images", "--out", tmp_path / "masks")

    @pytest.mark.parametrize("method", [name for name in METHODS if name != "auto"])
    def test_each_method_runs(self, tmp_path, boxed, method, monkeypatch):
        monkeypatch.setattr("wsseg.recipes.RUNS", 2)
        wsseg_("refine", boxed, "--out", tmp_path / "out", "--method", method, "--steps", 2, "--rounds", 1)
        assert len(masks_of(tmp_path / "out")) == 4

    def test_terms_of_the_loss_are_chosen_by_name(self, tmp_path, boxed):
        arguments = ["refine", boxed, "--steps", 2, "--rounds", 1, "--out"]
        wsseg_(*arguments, tmp_path / "plain")
        wsseg_(*arguments, tmp_path / "more", "--terms", "projection,tightness,affinity")
        losses = [
            json.loads((tmp_path / name / "model" / "history.json").read_text())["loss"]
            for name in ("plain", "more")
        ]
        assert sum(losses[1]) > sum(losses[0])
        told = wsseg_(*arguments, tmp_path / "other", "--terms", "projection,shape", code=2).stderr
        assert "shape" in told
        assert "tightness" in told

    def test_boxes_take_a_smaller_rate_than_strokes_do(self, tmp_path, boxed, monkeypatch, dims):
        rates = []

        descend = wsseg.train.descend

        def noted(loss, net, optimiser):
            rates.append(optimiser.param_groups[0]["lr"])
            descend(loss, net, optimiser)

        monkeypatch.setattr(wsseg.train, "descend", noted)
        wsseg_("refine", boxed, "--out", tmp_path / "out", "--steps", 2, "--rounds", 1)
        assert max(rates) == pytest.approx(2e-3)
        assert max(rates) < wsseg.train.usual_rate(dims, 2)

    def test_the_dense_field_is_chosen_by_name(self, tmp_path, boxed, monkeypatch):
        pytest.importorskip("pydensecrf.densecrf", reason="the extra crf is not installed")
        arguments = ["refine", boxed, "--rounds", 0, "--crf", "dense", "--out"]
        wsseg_(*arguments, tmp_path / "out")
        assert len(masks_of(tmp_path / "out")) == 4
        monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
        assert "wsseg[crf]" in wsseg_(*arguments, tmp_path / "other", code=2).stderr

    def test_no_rounds_are_the_first_labels_and_no_model(self, tmp_path, boxed, dims):
        out = tmp_path / "out"
        wsseg_("refine", boxed, "--out", out, "--method", "box", "--rounds", 0)
        assert not (out / "model").exists()
        truth = np.asarray(read_labels(next((tmp_path / "truth").iterdir())))
        assert np.array_equal(decode(masks_of(out)[1]["segmentation"]), truth == 1)

    def test_coco_tools_read_the_masks(self, tmp_path, boxed, dims, capsys):
        if dims == 3:
            pytest.skip("pycocotools knows pictures only")
        wsseg_("refine", boxed, "--out", tmp_path / "out", "--rounds", 0)
        coco = COCO(tmp_path / "out" / "masks.json")
        for number in coco.getAnnIds():
            entry = coco.anns[number]
            assert decode(coco.annToRLE(entry)).sum() == entry["area"]


class TestRules:
    def decisions(self, out):
        return [
            (row["round"], row["annotation"], row["decision"])
            for row in csv.DictReader((out / "decisions.csv").read_text().splitlines())
        ]

    def first_masks(self, monkeypatch, shares):
        """Let the first labels fill these shares of the boxes of each image, and the network say nothing."""

        def first(view, *given, **options):
            segments = []
            for box, share in zip(view.boxes, shares, strict=True):
                mask = np.zeros(np.subtract(box.stop, box.start), bool)
                mask.ravel()[: round(share * mask.size)] = True
                segments.append(segment(box, mask))
            return segments, [one.mask.astype(np.float32) for one in segments]

        monkeypatch.setattr(wsseg.rounds, "first_segments", first)

    def test_what_fills_too_little_is_reset_and_told(self, tmp_path, boxed, monkeypatch):
        self.first_masks(monkeypatch, (0.9, 0.3))
        wsseg_("refine", boxed, "--out", tmp_path / "out", "--method", "box", "--rounds", 0)
        assert [d for _, _, d in self.decisions(tmp_path / "out")] == ["first", "reset"] * 2
        found = masks_of(tmp_path / "out")
        # 0.6 of the median 0.6 over all images, but for rounding to whole voxels
        assert re.fullmatch(r"fills 3\d% of its box, less than 3\d%: filled", found[2]["reason"])
        assert decode(found[2]["segmentation"]).sum() == found[2]["area"]

    def test_thin_objects_are_no_failures(self, tmp_path, boxed, monkeypatch):
        self.first_masks(monkeypatch, (0.25, 0.3))
        wsseg_("refine", boxed, "--out", tmp_path / "out", "--method", "box", "--rounds", 0)
        assert {d for _, _, d in self.decisions(tmp_path / "out")} == {"first"}

    @pytest.mark.parametrize(("said", "taken"), [(0.6, False), (0.99, True)])
    def test_auto_takes_only_what_is_surer(self, tmp_path, boxed, monkeypatch, said, taken):
        self.first_masks(monkeypatch, (0.6, 0.7))
        monkeypatch.setattr(
            wsseg.rounds,
            "fit_image",
            lambda view, *_, **__: [np.full(shape_of(box), said, np.float32) for box in view.boxes],
        )
        wsseg_("refine", boxed, "--out", tmp_path / "out", "--rounds", 1, "--steps", 2)
        log = list(csv.DictReader((tmp_path / "out" / "decisions.csv").read_text().splitlines()))
        fills = {(row["round"], row["annotation"]): float(row["fill"]) for row in log}
        words = {row["why"] for row in log if row["round"] == "1"}
        for number in "1234":
            assert fills["1", number] == pytest.approx(1.0 if taken else fills["0", number])
        assert words == ({""} if taken else {"surer than what the network says"})

    def test_an_empty_box_goes_back_to_what_the_method_says(self, tmp_path, boxed, monkeypatch):
        monkeypatch.setattr(
            wsseg.rounds, "fit_image", lambda view, *_, **__: [np.zeros(shape_of(b)) for b in view.boxes]
        )
        for method in ("box", "box-inner", "ellipse"):
            out = tmp_path / method
            wsseg_("refine", boxed, "--out", out, "--method", method, "--rounds", 1, "--steps", 2)
            assert {d for r, _, d in self.decisions(out) if r == "1"} == {"reset"}


class TestOddities:
    def test_each_is_told_and_nothing_is_dropped(self, tmp_path, boxed, dims):
        key, zero = ("bbox", [3, 3, 0, 2]) if dims == 2 else ("bbox3d", [3, 3, 1, 0, 2, 2])

        def spoil(content):
            first = content["annotations"][0]
            content["images"].append({"id": 77, "file_name": "gone.png"})
            content["categories"].append({"id": 9, "name": "never"})
            content["annotations"] += [
                {"id": 20, "image_id": 1, "category_id": 1, key: zero},
                {"id": 30, "image_id": 77, "category_id": 1, key: first[key]},
                {**first, "id": 40},
                {**first, "id": 50, "iscrowd": 1},
                {"id": 60, "image_id": 1, "category_id": 1, key: [float("nan")] * len(zero)},
            ]

        change_boxes(boxed, spoil)
        (boxed / "classes.json").unlink()  # or the strange category would be an error
        result = wsseg_("refine", boxed, "--out", tmp_path / "out", "--steps", 2, "--rounds", 1)
        found = masks_of(tmp_path / "out")
        assert {k: found[k]["status"] for k in (20, 30, 40, 50, 60)} == {
            **dict.fromkeys((20, 30, 50, 60), "ignored"),
            40: "duplicate",
        }
        assert found[40]["segmentation"] == found[1]["segmentation"]
        assert "empty" in found[20]["reason"]
        assert "no image" in found[30]["reason"]
        assert "crowd" in found[50]["reason"]
        for words in ("annotation 20", "annotation 30", "annotation 60", "never", "twice"):
            assert words in result.stderr
        assert "4 ignored" in result.stdout
        log = (tmp_path / "out" / "decisions.csv").read_text()
        assert all(f",{number},ignored," in log for number in (20, 30, 50, 60))
        page = (tmp_path / "out" / "report.html").read_text()
        assert "4 masks in 2 images: 4 kept. 4 annotations left out. 1 annotation with the box" in page
        assert str(boxed) in page
        result = wsseg_("refine", boxed, "--out", tmp_path / "strict", "--strict", code=2)
        assert "annotation 20" in result.stderr
        assert not (tmp_path / "strict").exists()

    def test_an_id_that_is_none_or_another_s_gets_no_one_else_s_mask(self, tmp_path, boxed, dims):
        def spoil(content):
            first = content["annotations"][0]
            content["annotations"] += [{**first, "id": 1, "note": "again"}, {**first, "id": [1]}]

        change_boxes(boxed, spoil)
        wsseg_("refine", boxed, "--out", tmp_path / "out", "--method", "box", "--rounds", 0)
        entries = json.loads((tmp_path / "out" / "masks.json").read_text())["annotations"]
        assert [entry["status"] for entry in entries] == ["kept"] * 4 + ["ignored"] * 2
        assert all("segmentation" not in entry and "has the id" in entry["reason"] for entry in entries[4:])

    def test_a_broken_image_is_left_out_with_its_boxes(self, tmp_path, boxed, dims):
        path = sorted((boxed / "images").iterdir())[1]
        path.unlink()  # a link to the original, which must not be written through
        write_any(boxed / "images", "scan1", np.full(SIZE[dims], 7, np.uint8))
        result = wsseg_("refine", boxed, "--out", tmp_path / "out", "--steps", 2, "--rounds", 1)
        assert "constant" in result.stderr
        found = masks_of(tmp_path / "out")
        assert [found[k]["status"] for k in (3, 4)] == ["ignored", "ignored"]
        assert "constant" in found[3]["reason"]

    @pytest.mark.parametrize(
        ("spoil", "words"),
        [
            (lambda data: (data / "boxes.json").unlink(), "has no boxes.json"),
            (lambda data: change_boxes(data, lambda c: c.update(annotations=[])), "no box that can be used"),
            (lambda data: (data / "boxes.json").write_text("{"), "is not JSON"),
            (lambda data: change_boxes(data, lambda c: c.pop("images")), "no list “images”"),
        ],
    )
    def test_a_dataset_without_boxes_is_told(self, tmp_path, boxed, spoil, words):
        spoil(boxed)
        assert words in wsseg_("refine", boxed, "--out", tmp_path / "out", code=2).stderr
        assert not (tmp_path / "out").exists()

    def test_a_dry_run_tells_the_plan_and_writes_nothing(self, tmp_path, boxed):
        shown = wsseg_("refine", boxed, "--out", tmp_path / "out", "--dry-run").stdout
        assert "2 with 4 boxes" in shown
        assert "steps" in shown
        assert not (tmp_path / "out").exists()

    def test_an_unknown_method_is_told(self, tmp_path, boxed):
        result = wsseg_("refine", boxed, "--out", tmp_path / "out", "--method", "magic", code=2)
        assert "box-inner" in result.stderr


class TestResume:
    def same(self, one, other):
        assert files_in(one) == files_in(other)
        for name in ("masks.json", "decisions.csv", "model/weights.safetensors"):
            assert (one / name).read_bytes() == (other / name).read_bytes(), name

    @pytest.mark.parametrize(
        "where", ["first", "train round 1", "masks of round 1", "train round 2", "write"]
    )
    def test_a_killed_run_goes_on_to_the_same_result(self, tmp_path, boxed, where, monkeypatch):
        monkeypatch.setattr(wsseg.rounds, "CHECKPOINT_STEPS", 2)
        monkeypatch.setattr(wsseg.rounds, "POOL", 1)  # every image a pool of its own
        arguments = ["refine", boxed, "--method", "box", "--steps", 6, "--rounds", 2, "--out"]
        wsseg_(*arguments, tmp_path / "whole")

        real = wsseg.refine.refine_steps

        def killed(*given):
            count = 0
            for step in real(*given):
                count += step.stage.startswith(where) and step.index > 0
                if count == (5 if where == "train round 1" else 1):
                    raise SystemExit(137)
                yield step

        with monkeypatch.context() as patch:
            patch.setattr(wsseg.refine, "refine_steps", killed)
            wsseg_(*arguments, tmp_path / "cut", code=137)
        assert not (tmp_path / "cut" / "report.html").exists()
        wsseg_(*arguments, tmp_path / "cut", code=2)  # not without --resume
        wsseg_(*arguments, tmp_path / "cut", "--resume")
        self.same(tmp_path / "whole", tmp_path / "cut")
        assert "nothing is left" in wsseg_(*arguments, tmp_path / "cut", "--resume").stdout

    def test_other_options_are_refused_and_overwritten_when_told(self, tmp_path, boxed):
        arguments = ["refine", boxed, "--rounds", 0, "--out", tmp_path / "out"]
        wsseg_(*arguments)
        assert "other options" in wsseg_(*arguments, "--seed", 1, "--resume", code=2).stderr
        wsseg_(*arguments, "--seed", 1, "--overwrite")
        assert masks_of(tmp_path / "out")[1]["provenance"]["seed"] == 1

    def test_somebodys_folder_is_never_touched(self, tmp_path, boxed):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.txt").write_text("years of work")
        for option in ([], ["--overwrite"], ["--resume"]):
            assert (
                "not made by refine"
                in wsseg_("refine", boxed, "--out", tmp_path / "out", *option, code=2).stderr
            )
        wsseg_("refine", boxed, "--out", boxed, "--overwrite", code=2)
        assert files_in(tmp_path / "out") == ["thesis.txt"]

    def test_resume_and_overwrite_exclude_each_other(self, tmp_path, boxed):
        shown = wsseg_("refine", boxed, "--out", tmp_path / "out", "--resume", "--overwrite", code=2).stderr
        assert "exclude each other" in shown

    def test_changed_boxes_are_noticed(self, tmp_path, boxed):
        arguments = ["refine", boxed, "--rounds", 0, "--out", tmp_path / "out"]
        wsseg_(*arguments)
        change_boxes(boxed, lambda content: content["annotations"].pop())
        assert "other boxes" in wsseg_(*arguments, "--resume", code=2).stderr


def test_two_runs_are_the_same(tmp_path, boxed):
    for name in ("one", "two"):
        wsseg_("refine", boxed, "--out", tmp_path / name, "--steps", 3, "--rounds", 1)
    TestResume().same(tmp_path / "one", tmp_path / "two")
    shutil.rmtree(tmp_path / "two")
