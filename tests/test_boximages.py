"""What boxes.json says of voxels: objects, background, and what is not known."""

import json

import numpy as np
import pytest
from tiny import SIZE, change_boxes, make_boxed, small_plans, write_any, wsseg_

import wsseg.rounds
from wsseg.boxes import filled
from wsseg.boximages import BoxImages
from wsseg.dataset import open_dataset
from wsseg.images import read_labels
from wsseg.normalise import Normalisation


@pytest.fixture
def boxed(tmp_path, dims, monkeypatch):
    """Two images with two blocks each, and tight boxes; the truth beside."""
    small_plans(monkeypatch)
    return make_boxed(tmp_path / "data", dims)


def labels_of(data):
    images = BoxImages(open_dataset(data, lenient=True), Normalisation())
    opened = [images.open(item) for item in images.items]
    return [one.sample([filled(box) for box in one.boxes], {1: 1}).labels for one in opened]


def test_a_refused_box_is_unknown_where_it_lies(tmp_path, boxed, dims):
    change_boxes(boxed, lambda content: content["annotations"][1].update(category_id=9))
    truth = np.asarray(read_labels(next((tmp_path / "truth").iterdir())))
    first, other = labels_of(boxed)
    assert np.array_equal(first.weight == 0, truth == 2)
    assert (other.weight == 1).all()


@pytest.mark.parametrize("value", [float("nan"), -3])
def test_a_refused_box_without_a_place_leaves_its_image_open(tmp_path, boxed, dims, value):
    key = "bbox" if dims == 2 else "bbox3d"
    change_boxes(boxed, lambda content: content["annotations"][1][key].__setitem__(-1, value))
    truth = np.asarray(read_labels(next((tmp_path / "truth").iterdir())))
    first, other = labels_of(boxed)
    assert np.array_equal(first.known, truth == 1)
    assert (other.weight == 1).all()
    told = wsseg_("refine", boxed, "--out", tmp_path / "out", "--dry-run").stderr
    assert "a refused box may lie anywhere: 1, such as scan0; outside" in told


@pytest.mark.parametrize("crowd", [True, False])
def test_an_image_of_which_nothing_is_known_is_no_trouble(tmp_path, boxed, dims, crowd, monkeypatch):
    monkeypatch.setattr(wsseg.rounds, "POOL", 1)  # and a pool of its own
    whole = [0, 0, *reversed(SIZE[2])] if dims == 2 else [0, 0, 0, *SIZE[3]]
    key = "bbox" if dims == 2 else "bbox3d"

    def spoil(content):
        first, second = content["annotations"][2:]
        first.update({"iscrowd": 1} if crowd else {"category_id": 9}, **{key: whole})
        second[key] = None

    change_boxes(boxed, spoil)
    wsseg_("refine", boxed, "--out", tmp_path / "out", "--steps", 4, "--rounds", 1)
    assert [
        entry["status"] for entry in json.loads((tmp_path / "out" / "masks.json").read_text())["annotations"]
    ][2:] == ["ignored"] * 2


def test_a_crowd_is_unknown_and_an_image_without_boxes_is_background(tmp_path, boxed, dims):
    def empty_one(content):
        content["annotations"] = content["annotations"][:2]
        content["annotations"][1]["iscrowd"] = 1

    change_boxes(boxed, empty_one)
    images = BoxImages(open_dataset(boxed), Normalisation())
    assert [item.stem for item in images.items] == ["scan0", "scan1"]

    with_crowd, without = (images.open(item) for item in images.items)
    labels = with_crowd.sample([filled(box) for box in with_crowd.boxes], {1: 1}).labels
    truth = np.asarray(read_labels(next((tmp_path / "truth").iterdir())))
    assert np.array_equal(labels.weight == 0, truth == 2)
    labels = without.sample([], {1: 1}).labels
    assert labels.target.sum() == 0
    assert (labels.weight == 1).all()


def test_painted_hints_join_the_labels(tmp_path, boxed, dims):
    painted = np.zeros(SIZE[dims], np.uint8)
    painted[2], painted[-1] = 255, 1
    write_any(boxed / "hints", "scan0", painted)
    images = BoxImages(open_dataset(boxed), Normalisation())
    opened = images.open(images.items[0])
    labels = opened.sample([filled(box) for box in opened.boxes], {1: 1}).labels
    assert (labels.target[2] == 0).all()
    assert (labels.target[-1] == 1).all()
    assert labels.target[3:9, 2].any()


def test_an_image_that_can_not_be_read_is_told_once_and_left_out(tmp_path, boxed, dims):
    path = sorted((boxed / "images").iterdir())[1]
    path.write_bytes(b"no image")
    images = BoxImages(open_dataset(boxed, lenient=True), Normalisation())
    assert [item.stem for item in images.items] == ["scan0"]
    assert list(images.bad) == ["scan1"]
    assert len(images.coco.refused) == 2  # its boxes
    shown = wsseg_("refine", boxed, "--out", tmp_path / "out", "--dry-run")
    assert "Images: 1 with 2 boxes\n" in shown.stdout
    assert shown.stderr.count("Warning") == 1  # and not one a box
    assert "scan1." in shown.stderr
    told = wsseg_("refine", boxed, "--out", tmp_path / "out", "--dry-run", "--strict", code=2).stderr
    assert "scan1." in told
    sorted((boxed / "images").iterdir())[0].write_bytes(b"no image")
    told = wsseg_("refine", boxed, "--out", tmp_path / "out", code=2).stderr
    assert "no image can be read; the first" in told


def test_a_dry_run_tells_every_problem_and_a_run_the_first(tmp_path, boxed, dims):
    def spoil(content):
        one = content["annotations"][0]
        content["annotations"] += [{**one, "id": 100 + i, "category_id": 50 + i} for i in range(7)]

    change_boxes(boxed, spoil)
    shown = wsseg_("refine", boxed, "--out", tmp_path / "out", "--dry-run").stderr
    assert all(f"annotation {100 + i}:" in shown for i in range(7))
    shown = wsseg_("refine", boxed, "--out", tmp_path / "out", "--rounds", 0).stderr
    assert "annotation 106" not in shown
    assert f"and 2 more; {tmp_path / 'out' / 'decisions.csv'} has every annotation" in shown
