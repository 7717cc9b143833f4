"""Folders of masks to a table, from Python and by `wsseg measure`."""

import csv

import numpy as np
import pytest
import tifffile
from tiny import AFFINE, SIZE, files_in, make_dataset, write_any, write_picture, write_volume, wsseg_

from wsseg.errors import InputError
from wsseg.images import read_labels
from wsseg.measurefolder import Sources, measure_folder, write_table
from wsseg.steps import finish


def table(path):
    with open(path, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_a_dataset_by_the_command_line(tmp_path, data, dims):
    out = tmp_path / "out" / "measurements.csv"
    shown = wsseg_("measure", tmp_path / "truth", "--images", data / "images", "--hints", data, "--out", out)
    assert "4 rows are in" in shown.stdout
    assert "1 (ball)" in shown.stdout
    rows = table(out)
    assert [(row["image"], row["class"], row["name"]) for row in rows] == [
        *[("ball0", "0", "background"), ("ball0", "1", "ball")],
        *[("ball1", "0", "background"), ("ball1", "1", "ball")],
    ]
    truth = read_labels(next((tmp_path / "truth").glob("ball0*")))
    voxel = 1 if dims == 2 else abs(np.linalg.det(AFFINE[:3, :3]))
    assert float(rows[1]["volume"]) == pytest.approx(truth.sum() * voxel)
    assert rows[1]["unit"] == ("pixels" if dims == 2 else "mm³")
    assert rows[1]["objects"] == "1"
    assert float(rows[1]["mean"]) > 150 > float(rows[0]["mean"])
    assert [row["agreement"] for row in rows] == ["1"] * 4  # the hints are slices of the truth
    middle = np.argwhere(truth).mean(0)
    if dims == 3:
        middle = AFFINE[:3, :3] @ middle + AFFINE[:3, 3]
    np.testing.assert_allclose([float(rows[1][f"centroid-{i}"]) for i in range(dims)], middle, rtol=1e-6)


def test_a_table_that_is_there_is_kept_unless_told(tmp_path, data):
    out = tmp_path / "a.csv"
    out.write_text("mine")
    assert "add --overwrite" in wsseg_("measure", tmp_path / "truth", "--out", out, code=2).stderr
    assert out.read_text() == "mine"
    wsseg_("measure", tmp_path / "truth", "--out", out, "--overwrite")
    assert len(table(out)) == 2
    assert "is a folder" in wsseg_("measure", tmp_path / "truth", "--out", tmp_path, code=2).stderr


def test_every_class_in_every_image(tmp_path):
    one, two = np.zeros((6, 6)), np.zeros((6, 6))
    one[:2], two[0, 0] = 1, 4
    write_picture(tmp_path / "masks" / "a.png", one)
    write_picture(tmp_path / "masks" / "b.png", two)
    rows = finish(measure_folder(tmp_path / "masks"))
    assert [(row["image"], row["class"], row["voxels"]) for row in rows] == [
        *[("a", 1, 12), ("a", 4, 0), ("b", 1, 0), ("b", 4, 1)]
    ]
    rows = finish(measure_folder(tmp_path / "masks" / "a.png"))
    assert [(row["image"], row["voxels"]) for row in rows] == [("a", 12)]


def test_objects_with_their_classes_and_without(tmp_path):
    mask, objects = np.zeros((8, 8)), np.zeros((8, 8))
    mask[1:3, 1:3], mask[5:7, 5:7] = 1, 2
    objects[1:3, 1:3], objects[5:7, 5:7] = 3, 8
    write_picture(tmp_path / "masks" / "a.png", mask)
    write_picture(tmp_path / "masks" / "instances" / "a.png", objects)
    wsseg_("measure", tmp_path / "masks", "--instances", "--out", tmp_path / "a.csv")
    found = [(row["object"], row["class"], row["voxels"]) for row in table(tmp_path / "a.csv")]
    assert found == [("3", "1", "4"), ("8", "2", "4")]
    shown = wsseg_("measure", tmp_path / "masks/instances", "--instances", "--out", tmp_path / "b.csv").stdout
    assert [(row["object"], row["class"]) for row in table(tmp_path / "b.csv")] == [("3", ""), ("8", "")]
    assert "all" in shown
    write_picture(tmp_path / "masks" / "b.png", mask)
    told = wsseg_("measure", tmp_path / "masks", "--instances", "--out", tmp_path / "c.csv", code=2).stderr
    assert "has no objects “b”" in told
    assert not (tmp_path / "c.csv").exists()


def test_cleaning_is_told_by_options_and_changes_no_mask(tmp_path):
    mask = np.zeros((12, 12, 6), np.uint8)
    mask[1:8, 1:8, 1:5] = 1
    mask[3:5, 3:5, 2:4] = 0
    mask[10, 10, 2] = 1
    path = write_volume(tmp_path / "masks" / "a.nii.gz", mask)  # voxels of 3 mm³
    before = path.read_bytes()
    for options, voxels in (
        ((), 196 - 8 + 1),
        (("--fill-holes",), 196 + 1),
        (("--min-size", 3.5), 196 - 8),
        (("--fill-holes", "--largest"), 196),
    ):
        wsseg_("measure", path, *options, "--out", tmp_path / "a.csv", "--overwrite")
        (row,) = table(tmp_path / "a.csv")
        assert int(row["voxels"]) == voxels
        assert float(row["volume"]) == voxels * 3
    assert path.read_bytes() == before


def test_what_does_not_fit_is_told(tmp_path, data, dims):
    out = tmp_path / "a.csv"
    truth = tmp_path / "truth"
    (data / "images").joinpath(next((data / "images").iterdir()).name).unlink()
    told = wsseg_("measure", truth, "--images", data / "images", "--out", out, code=2).stderr
    assert "has no image “ball0”" in told or "has no image “ball1”" in told
    assert "there is no such file" in wsseg_("measure", tmp_path / "no", "--out", out, code=2).stderr
    (tmp_path / "empty").mkdir()
    assert not files_in(tmp_path / "empty")
    assert wsseg_("measure", tmp_path / "empty", "--out", out, code=2).stderr.startswith("Error: ")
    for stem in ("ball0", "ball1"):
        write_any(tmp_path / "other", stem, np.zeros([n + 1 for n in SIZE[dims]], np.uint8))
    told = wsseg_("measure", truth, "--images", tmp_path / "other", "--out", out, code=2).stderr
    assert "both must be the same" in told
    assert not out.exists()


def test_an_image_that_nobody_hinted_has_no_agreement(tmp_path):
    data = make_dataset(tmp_path / "data", 2)
    (data / "images" / "ball1.png").unlink()
    (data / "hints" / "ball1.png").unlink()
    from wsseg.dataset import open_dataset

    rows = finish(measure_folder(tmp_path / "truth", Sources(hints=open_dataset(data))))
    assert [(row["image"], row["class"]) for row in rows] == [("ball0", 0), ("ball0", 1), ("ball1", 1)]
    assert "agreement" not in rows[2]


def test_grey_among_colour_has_three_channels_as_well(tmp_path):
    mask = np.zeros((6, 6))
    mask[2:4] = 1
    for stem, image in (("a", np.full((6, 6), 9)), ("b", np.full((6, 6, 3), [1, 2, 3]))):
        write_picture(tmp_path / "masks" / f"{stem}.png", mask)
        write_picture(tmp_path / "images" / f"{stem}.png", image)
    grey, colour = finish(measure_folder(tmp_path / "masks", Sources(tmp_path / "images")))
    assert [grey[f"mean-{i}"] for i in range(3)] == [9, 9, 9]
    assert [colour[f"mean-{i}"] for i in range(3)] == [1, 2, 3]
    assert "mean" not in grey


def test_values_below_zero_are_refused(tmp_path):
    path = write_volume(tmp_path / "a.nii.gz", np.full((4, 4, 4), -1, np.int16))
    with pytest.raises(InputError, match="values below 0"):
        finish(measure_folder(path))


def test_columns_have_an_order_and_gaps_stay_empty(tmp_path):
    rows = [
        {
            "agreement": None,
            "volume": 0.1 + 0.2,
            "class": 1,
            "image": "a",
            "mean-10": 1.0,
            "mean-0": 2.0,
            "mean": 3,
        },
        {"image": "b", "class": 2, "name": 'a, "b"', "centroid-0": 1e9},
    ]
    write_table(tmp_path / "a.csv", rows)
    assert (tmp_path / "a.csv").read_text().splitlines() == [
        "image,class,name,volume,centroid-0,mean,mean-0,mean-10,agreement",
        "a,1,,0.3,,3,2,1,",
        'b,2,"a, ""b""",,1e+09,,,,',
    ]
    assert files_in(tmp_path) == ["a.csv"]


def test_numbered_objects_taken_for_classes_are_told(tmp_path):
    objects = np.zeros((9, 40), np.uint8)
    objects[2:4, 1:37] = np.repeat(np.arange(1, 13), 3)
    path = write_picture(tmp_path / "masks" / "a.png", objects)
    shown = wsseg_("measure", path, "--out", tmp_path / "a.csv")
    assert "12 rows are in" in shown.stdout
    assert "a has the values 1 to 12" in shown.stderr
    assert "Mean area" not in shown.stdout  # a line a class says nothing here
    shown = wsseg_("measure", path, "--instances", "--out", tmp_path / "b.csv")
    assert not shown.stderr
    assert "Mean area" in shown.stdout
    write_picture(tmp_path / "masks" / "a.png", objects == 1)
    assert "1 row is in" in wsseg_("measure", path, "--out", tmp_path / "c.csv").stdout


def test_numbers_of_two_units_have_no_mean_in_common(tmp_path):
    mask = np.zeros((6, 6, 6), np.uint8)
    mask[:2, :2, :2] = 1
    for stem in ("a", "b"):
        write_volume(tmp_path / "masks" / f"{stem}.nii.gz", mask)  # 8 voxels of 3 mm³
    tifffile.imwrite(tmp_path / "masks" / "c.tif", mask[:1])
    shown = wsseg_("measure", tmp_path / "masks", "--out", tmp_path / "a.csv").stdout
    lines = [line.split()[1::2] for line in shown.splitlines() if line.startswith("│")]
    assert lines == [["1", "2", "2", "24", "mm³"], ["1", "1", "1", "4", "voxels"]]
    assert "Mean volume " in shown
    write_picture(tmp_path / "masks" / "d.png", mask[0])
    shown = wsseg_("measure", tmp_path / "masks", "--out", tmp_path / "b.csv").stdout
    assert "Mean volume or area" in shown
    assert "│ pixels" in shown


def test_a_table_under_the_name_of_another_kind_of_file_is_refused(tmp_path, data):
    told = wsseg_("measure", tmp_path / "truth", "--out", tmp_path / "m5.xlsx", code=2).stderr
    assert "name it m5.csv" in told
    assert not (tmp_path / "m5.xlsx").exists()
    wsseg_("measure", tmp_path / "truth", "--out", tmp_path / "m5")
    assert len(table(tmp_path / "m5")) == 2


def test_the_images_of_a_dataset_folder_are_those_in_it(tmp_path, data):
    page = tmp_path / "a.html"
    options = "--images", data, "--report", page
    wsseg_("measure", tmp_path / "truth", *options, "--out", tmp_path / "a.csv")
    wsseg_("measure", tmp_path / "truth", "--images", data / "images", "--out", tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
    assert "mean" in table(tmp_path / "a.csv")[0]
    assert page.exists()


def test_masks_without_an_image_are_left_out_only_when_told(tmp_path):
    for stem in "abc":
        write_picture(tmp_path / "masks" / f"{stem}.png", np.eye(6))
    write_picture(tmp_path / "images" / "b.png", np.full((6, 6), 9))
    command = "measure", tmp_path / "masks", "--images", tmp_path / "images", "--out", tmp_path / "a.csv"
    told = wsseg_(*command, code=2).stderr
    assert "has no image “a”" in told
    assert "nor for 1 more of 3 masks" in told
    assert "--matching" in told
    shown = wsseg_(*command, "--matching", "--report", tmp_path / "a.html")
    assert "2 masks without an image left out, such as a." in shown.stderr
    assert [(row["image"], row["mean"]) for row in table(tmp_path / "a.csv")] == [("b", "9")]
    (tmp_path / "images" / "b.png").rename(tmp_path / "images" / "z.png")
    assert "name the folder of their" in wsseg_(*command, "--matching", "--overwrite", code=2).stderr
    assert not wsseg_(*command[:2], *command[-2:], "--matching", "--overwrite").stderr  # no images at all
