"""The report on two folders of masks, against numbers worked out by hand."""

import json
import math
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from tiny import wsseg_

from wsseg.errors import InputError
from wsseg.evaluate import evaluate_folder
from wsseg.steps import finish

DATA = Path(__file__).parent.parent.parent / "shared" / "data"


@pytest.fixture
def folders(tmp_path):
    for name in ("pred", "truth"):
        (tmp_path / name).mkdir()
    return tmp_path / "pred", tmp_path / "truth"


def save(path, mask, spacing=(2.0, 1.0, 1.0)):
    if path.suffix == ".tif":
        tifffile.imwrite(path, mask)
    else:
        nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), np.diag([*spacing, 1])), path)


def run(folders, **options):
    report = finish(evaluate_folder(*folders, **options))
    return json.loads(json.dumps(report, allow_nan=False))  # ready for JSON


def test_volumes_by_hand(folders):
    """Class 1 moved by one slice of 2 mm; class 2 only in the second volume, and not found there."""
    shape = (12, 10, 10)
    one, two = (np.zeros(shape, np.uint8) for _ in range(2))
    one[2:6, 3:7, 3:7] = 1
    two[2:6, 3:7, 3:7] = 1
    two[8:10, 1:3, 1:3] = 2
    save(folders[1] / "one.nii.gz", one)
    save(folders[1] / "two.nii.gz", two)
    save(folders[0] / "one.nii.gz", np.roll(one, 1, 0))
    save(folders[0] / "two.nii.gz", np.where(two == 2, 0, two))
    save(folders[0] / "three.nii.gz", one)
    report = run(folders)
    diagonal = math.sqrt(24**2 + 10**2 + 10**2)
    assert report["unmatched"] == ["three"]
    assert list(report["images"]) == ["one", "two"]
    first = report["images"]["one"]["classes"]
    assert first["1"]["dice"] == pytest.approx(0.75)
    assert first["1"]["hd95"] == pytest.approx(2.0)
    assert first["2"] == {"dice": 1, "iou": 1, "hd95": None, "surface_dice": None, "n": 1}
    assert report["classes"]["1"]["dice"] == pytest.approx((0.75 + 1) / 2)
    assert report["classes"]["1"]["iou"] == pytest.approx((0.6 + 1) / 2)
    assert report["classes"]["1"]["hd95"] == pytest.approx(1.0)
    assert report["classes"]["1"]["n"] == 2
    # absent from both of the first, missed in the second: overlap averages both, distances only the second
    assert report["classes"]["2"]["dice"] == 0.5
    assert report["classes"]["2"]["hd95"] == pytest.approx(diagonal)
    assert report["classes"]["2"]["surface_dice"] == 0
    assert report["mean"]["dice"] == pytest.approx((0.875 + 0.5) / 2)
    assert report["mean"]["hd95"] == pytest.approx((1 + diagonal) / 2)
    assert "instances" not in report


def test_tolerance(folders):
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[2:6, 3:7, 3:7] = 1
    save(folders[1] / "a.nii.gz", mask)
    save(folders[0] / "a.nii.gz", np.roll(mask, 1, 0))  # moved by 2 mm
    assert run(folders, tolerance=2.0)["classes"]["1"]["surface_dice"] == 1
    assert run(folders, tolerance=1.9)["classes"]["1"]["surface_dice"] < 1


def test_instances_of_pictures(folders):
    truth = np.zeros((20, 40), np.uint16)
    truth[2:12, 2:12] = 300
    truth[2:12, 20:30] = 7
    found = np.zeros_like(truth)
    found[2:12, 2:10] = 1  # IoU 0.8
    save(folders[1] / "a.tif", truth)
    save(folders[0] / "a.tif", found)
    empty = np.zeros((20, 40), np.uint16)
    save(folders[1] / "b.tif", empty)
    save(folders[0] / "b.tif", empty)
    report = run(folders, instances=True)
    assert list(report["classes"]) == ["1"]
    assert report["images"]["a"]["classes"]["1"]["dice"] == pytest.approx(160 / 280)
    objects = report["images"]["a"]["instances"]
    assert objects["mean_iou"] == pytest.approx(0.4)
    assert objects["f1"]["0.5"] == pytest.approx(2 / 3)
    assert objects["f1"]["0.8"] == 0
    assert objects["ap"] == pytest.approx(6 * 0.5 / 10)
    # over both images: the empty one is perfect in f1 and ap and has no object to average
    whole = report["instances"]
    assert whole["mean_iou"] == pytest.approx(0.4)
    assert whole["f1"]["0.5"] == pytest.approx((2 / 3 + 1) / 2)
    assert whole["ap"] == pytest.approx((0.3 + 1) / 2)
    assert whole["n"] == 2


def test_a_step_an_image(folders):
    mask = np.eye(9, dtype=np.uint8)
    for stem in "ab":
        for folder in folders:
            save(folder / f"{stem}.tif", mask)
    steps = list(evaluate_folder(*folders))
    assert [(s.stage, s.index, s.total, s.info["image"]) for s in steps] == [
        ("evaluate", 1, 2, "a"),
        ("evaluate", 2, 2, "b"),
    ]


def test_nothing_in_any_mask(folders):
    for folder in folders:
        save(folder / "a.tif", np.zeros((9, 9), np.uint8))
    report = run(folders)
    assert report["classes"] == {}
    assert report["mean"] == {"dice": None, "iou": None, "hd95": None, "surface_dice": None}
    assert run(folders, instances=True)["classes"]["1"]["dice"] == 1


def test_wrong_input(folders, tmp_path):
    with pytest.raises(InputError, match=r"pred: holds no masks"):
        run(folders)
    with pytest.raises(InputError, match="gone: there is no such folder"):
        run((tmp_path / "gone", folders[1]))
    mask = np.zeros((9, 9), np.uint8)
    save(folders[0] / "a.tif", mask)
    with pytest.raises(InputError, match=r"truth: holds no masks"):
        run(folders)
    save(folders[1] / "a.tif", mask)
    save(folders[1] / "b.tif", mask)
    with pytest.raises(InputError, match=r"pred: has no mask “b” for .*b\.tif"):
        run(folders)
    save(folders[0] / "b.tif", mask[:8])
    with pytest.raises(InputError, match=r"b\.tif.*shape"):
        run(folders)
    tifffile.imwrite(folders[0] / "b.tif", np.full((9, 9), -1, np.int16))
    with pytest.raises(InputError, match=r"b\.tif: holds values below 0"):
        run(folders)


@pytest.mark.parametrize(("folder", "instances"), [("hippocampus/labelsTr", False), ("nuclei/labels", True)])
def test_real_truth_against_itself(folder, instances, tmp_path):
    if not (DATA / folder).is_dir():
        pytest.skip(f"shared/data/{folder} is not here")
    (tmp_path / "some").mkdir()
    for path in sorted((DATA / folder).iterdir())[:2]:
        (tmp_path / "some" / path.name).write_bytes(path.read_bytes())
    report = run((tmp_path / "some", tmp_path / "some"), instances=instances)
    for values in report["classes"].values():
        assert values == {"dice": 1, "iou": 1, "hd95": 0, "surface_dice": 1, "n": 2}
    if instances:
        assert report["instances"]["ap"] == report["instances"]["mean_iou"] == 1


def test_the_unit_is_that_of_all_files_or_none(folders):
    mask = np.eye(9, dtype=np.uint8)
    for folder in folders:
        save(folder / "a.tif", mask)
    assert run(folders)["unit"] == "pixels"
    for folder in folders:
        save(folder / "b.nii.gz", np.stack([mask] * 3))
    assert run(folders)["unit"] is None
    for folder in folders:
        (folder / "a.tif").unlink()
    assert run(folders)["unit"] == "mm"


def test_truths_without_a_prediction_are_left_out_only_when_told(folders):
    mask = np.eye(9, dtype=np.uint8)
    for stem in "abcd":
        save(folders[1] / f"{stem}.tif", mask)
    for stem in "cxy":
        save(folders[0] / f"{stem}.tif", mask)
    with pytest.raises(InputError, match=r"no mask “a” for .*, nor for 2 more of 4 truths; .*--matching"):
        run(folders)
    report = run(folders, matching=True)
    assert list(report["images"]) == ["c"]
    assert report["missing"] == ["a", "b", "d"]
    assert report["unmatched"] == ["x", "y"]
    shown = wsseg_("evaluate", *folders, "--matching")
    assert "3 true masks without a prediction left out, such as a; scores are of the other 1." in shown.stderr
    assert "2 predicted masks without a truth left out, such as x." in shown.stderr
    (folders[0] / "c.tif").unlink()
    with pytest.raises(InputError, match="none has a partner"):
        run(folders, matching=True)
