"""Folders of classes and of numbered objects side by side: which is meant, and what is told of a mix-up."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny import write_picture, wsseg_

from wsseg.errors import InputError
from wsseg.whichmasks import class_doubts, list_masks, objects_near


@pytest.fixture
def refined(tmp_path):
    """As refine leaves it: three objects of class 1, all in one mask, and numbered beside."""
    objects = np.zeros((8, 12))
    for number in (1, 2, 3):
        objects[2:5, 4 * number - 3 : 4 * number - 1] = number
    write_picture(tmp_path / "out/masks/a.png", objects > 0)
    write_picture(tmp_path / "out/instances/a.png", objects)
    return tmp_path / "out"


def measured(tmp_path, masks, *options):
    shown = wsseg_("measure", masks, "--out", tmp_path / "a.csv", "--overwrite", *options)
    return shown, len((tmp_path / "a.csv").read_text().splitlines()) - 1


def test_class_masks_measured_as_objects_are_told(tmp_path, refined):
    shown, rows = measured(tmp_path, refined / "masks", "--instances")
    assert rows == 1
    assert f"the numbered objects lie in {refined / 'instances'}; name that folder" in shown.stderr
    shown, rows = measured(tmp_path, refined / "instances", "--instances")
    assert rows == 3
    assert not shown.stderr
    shown, _ = measured(tmp_path, refined / "masks")
    assert f"wsseg measure {refined / 'instances'} --instances" in shown.stdout
    assert not shown.stderr


def test_numbered_objects_within_are_taken_and_pointed_to(tmp_path, refined):
    (refined / "instances").rename(refined / "masks" / "instances")
    shown, rows = measured(tmp_path, refined / "masks", "--instances")
    assert rows == 3
    assert not shown.stderr
    shown, _ = measured(tmp_path, refined / "masks")
    assert f"wsseg measure {refined / 'masks'} --instances" in shown.stdout
    shown, _ = measured(tmp_path, refined / "masks" / "a.png", "--instances")  # one mask has none within
    assert f"lie in {refined / 'masks' / 'instances'}" in shown.stderr


def test_masks_of_predict_are_classes(tmp_path, refined):
    write_picture(tmp_path / "predicted/a.png", np.eye(8) * 5)
    (tmp_path / "predicted/predict.json").write_text("{}")
    shown, _ = measured(tmp_path, tmp_path / "predicted", "--instances")
    assert "wsseg predict made these masks, and their values are classes" in shown.stderr


@pytest.mark.parametrize(("value", "told"), [(2, True), (4, False)])
def test_ids_of_classes_beside_are_told(tmp_path, value, told):
    write_picture(tmp_path / "data/masks/a.png", np.eye(8) * value)
    (tmp_path / "data/classes.json").write_text(json.dumps({"1": "cell", "2": "wall"}))
    shown, _ = measured(tmp_path, tmp_path / "data/masks", "--instances")
    assert ("ids of classes, 2 (wall)" in shown.stderr) == told
    assert bool(shown.stderr) == told
    assert not class_doubts(tmp_path / "data/instances", {2}, {})
    (tmp_path / "data/classes.json").write_text("broken")
    assert not class_doubts(tmp_path / "data/labels", {2}, {})
    assert class_doubts(tmp_path / "data/labels", {2}, {2: "wall"})


def test_a_few_numbered_objects_taken_for_classes_are_told_by_their_folder(tmp_path, refined):
    shown, _ = measured(tmp_path, refined / "instances")
    assert "instances/ holds numbered objects, which were taken for as many classes" in shown.stderr
    shown = wsseg_("evaluate", refined / "instances", refined / "instances")
    assert shown.stderr.count("instances/ holds numbered objects") == 2
    assert not wsseg_("evaluate", refined / "instances", refined / "instances", "--instances").stderr


def test_the_folder_inside_is_named(tmp_path, refined):
    told = wsseg_("measure", refined, "--out", tmp_path / "a.csv", code=2).stderr
    assert f"{refined / 'masks'} (the class masks) or {refined / 'instances'} (the numbered objects)" in told
    assert f"name {refined / 'masks'}" in wsseg_("evaluate", refined, refined / "masks", code=2).stderr
    (tmp_path / "empty/masks").mkdir(parents=True)
    with pytest.raises(InputError, match="empty: holds no masks; NIfTI"):
        list_masks(tmp_path / "empty")


def test_class_masks_evaluated_as_objects_are_told(refined):
    shown = wsseg_("evaluate", refined / "masks", refined / "instances", "--instances")
    assert "masks: each of its values was taken for one object" in shown.stderr
    assert not wsseg_("evaluate", refined, refined / "instances", "--instances").stderr
    assert not wsseg_("evaluate", refined / "masks", refined / "masks").stderr


def test_the_folder_at_work_has_a_parent_too(refined, monkeypatch):
    monkeypatch.chdir(refined / "masks")
    assert objects_near(Path()) == refined / "instances"
    monkeypatch.chdir(refined / "instances")
    assert objects_near(Path()) is None
