"""The robot's dataset folder is one that `open_dataset` reads back to the same hints."""

import json
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from wsseg.dataset import open_dataset
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND
from wsseg.robot_dataset import robot_steps
from wsseg.steps import finish

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
AFFINE = np.array([[0, 0.7, 0.1, -3], [1.2, 0, 0, 8], [0, 0.1, 2.5, 1], [0, 0, 0, 1]], float)


def truth_of(shape, seed):
    rng = np.random.default_rng(seed)
    truth = np.zeros(shape, np.uint8)
    for k in (1, 2):
        start = [int(rng.integers(1, n - 8)) for n in shape]
        truth[tuple(slice(a, a + 6) for a in start)] = k
    return truth


@pytest.fixture
def pictures(tmp_path):
    """Three PNG pictures with truths as TIFF: (truth folder, image folder, truths by stem)."""
    truths = {}
    for folder in ("truth", "scans"):
        (tmp_path / folder).mkdir()
    for i, stem in enumerate("abc"):
        truths[stem] = truth_of((40, 50), i)
        tifffile.imwrite(tmp_path / "truth" / f"{stem}.tif", truths[stem])
        Picture.fromarray(truths[stem] * 100).save(tmp_path / "scans" / f"{stem}.png")
    return tmp_path / "truth", tmp_path / "scans", truths


@pytest.fixture
def volumes(tmp_path):
    """Two NIfTI volumes with an oblique affine, as `pictures`."""
    truths = {}
    for folder in ("truth", "scans"):
        (tmp_path / folder).mkdir()
    for i, stem in enumerate(("p", "q")):
        truths[stem] = truth_of((24, 20, 18), i)
        nibabel.save(nibabel.Nifti1Image(truths[stem], AFFINE), tmp_path / "truth" / f"{stem}.nii.gz")
        scan = truths[stem].astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(scan, AFFINE), tmp_path / "scans" / f"{stem}.nii.gz")
    return tmp_path / "truth", tmp_path / "scans", truths


def made(folders, out, kind, **options):
    report = finish(robot_steps(folders[0], folders[1], out, kind, **options))
    assert json.loads((out / "robot.json").read_text()) == report
    return report, open_dataset(out)


@pytest.mark.parametrize("which", ["pictures", "volumes"])
def test_slices(which, request, tmp_path):
    folders = request.getfixturevalue(which)
    report, dataset = made(folders, tmp_path / "out", "slices", every=8)
    assert [item.stem for item in dataset.items] == sorted(folders[2])
    for item in dataset.items:
        _, hints = dataset.read(item)  # checks shape and affine
        truth = folders[2][item.stem]
        full = np.where(truth > 0, truth, BACKGROUND)
        if which == "volumes":
            wanted = np.zeros_like(full)
            wanted[4::8] = full[4::8]
            assert item.hints.name == f"{item.stem}.nii.gz"
            np.testing.assert_array_equal(nibabel.load(item.hints).affine, nibabel.load(item.image).affine)
        else:
            wanted = full
            assert item.hints.name == f"{item.stem}.tif"  # the truth's kind of file
        np.testing.assert_array_equal(hints.scribbles, wanted)
    assert dataset.classes == {1: "class 1", 2: "class 2"}
    assert report["annotated_share"] == pytest.approx(1 if which == "pictures" else 3 / 24)
    assert report["seconds"] == pytest.approx(sum(own["seconds"] for own in report["images"].values()))


@pytest.mark.parametrize("which", ["pictures", "volumes"])
def test_clicks_boxes_and_tags(which, request, tmp_path):
    folders = request.getfixturevalue(which)
    _, dataset = made(folders, tmp_path / "clicks", "clicks", class_names={1: "cell", 2: "duct", 3: "vein"})
    assert dataset.classes == {1: "cell", 2: "duct", 3: "vein"}
    for stem, truth in folders[2].items():
        for click in dataset.clicks[stem]:
            assert truth[tuple(np.rint(click.position).astype(int))] == click.class_id
    _, dataset = made(folders, tmp_path / "boxes", "boxes")
    for stem, truth in folders[2].items():
        for box in dataset.boxes[stem]:
            places = np.argwhere(truth == box.class_id)
            if len(places) == 6**truth.ndim:  # not partly under the other class
                assert (box.start, box.stop) == (tuple(places.min(0)), tuple(places.max(0) + 1))
    ids = [box.id for boxes in dataset.boxes.values() for box in boxes]
    assert sorted(ids) == list(range(1, len(ids) + 1))
    _, dataset = made(folders, tmp_path / "tags", "tags")
    for stem, truth in folders[2].items():
        assert {tag.class_id for tag in dataset.tags[stem]} == set(np.unique(truth).tolist()) - {0}


def test_tags_of_slices_and_of_an_empty_image(volumes, tmp_path):
    empty = np.zeros((24, 20, 18), np.uint8)
    nibabel.save(nibabel.Nifti1Image(empty, AFFINE), volumes[0] / "q.nii.gz")
    _, dataset = made(volumes, tmp_path / "slices", "tags", count=3, axis=2)
    assert {(t.axis, t.slice, t.class_id) for t in dataset.tags["q"]} == {(2, 3, 0), (2, 9, 0), (2, 15, 0)}
    _, dataset = made(volumes, tmp_path / "whole", "tags")
    assert dataset.tags["q"] == frozenset()


def test_an_image_does_not_depend_on_the_others(pictures, tmp_path):
    _, every = made(pictures, tmp_path / "all", "scribbles", seed=3)
    for options, stems in (({"first": 2}, "ab"), ({"last": 1}, "c"), ({"stems": ["b"]}, "b")):
        out = tmp_path / str(stems)
        _, some = made(pictures, out, "scribbles", seed=3, **options)
        assert "".join(item.stem for item in some.items) == stems
        for item in some.items:
            alike = next(other for other in every.items if other.stem == item.stem)
            assert item.hints.read_bytes() == alike.hints.read_bytes()
    _, other = made(pictures, tmp_path / "other", "scribbles", seed=4)
    assert any(
        a.hints.read_bytes() != b.hints.read_bytes() for a, b in zip(every.items, other.items, strict=True)
    )


def test_images_are_linked_or_copied(pictures, tmp_path, monkeypatch):
    made(pictures, tmp_path / "linked", "tags")
    assert (tmp_path / "linked" / "images" / "a.png").samefile(pictures[1] / "a.png")

    def refuse(*args, **kwargs):
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    made(pictures, tmp_path / "copied", "tags")
    copy = tmp_path / "copied" / "images" / "a.png"
    assert not copy.samefile(pictures[1] / "a.png")
    assert copy.read_bytes() == (pictures[1] / "a.png").read_bytes()


def test_instances(pictures, tmp_path):
    for stem, truth in pictures[2].items():
        tifffile.imwrite(pictures[0] / f"{stem}.tif", truth.astype(np.uint16) * 400)
    with pytest.raises(InputError, match=r"a\.tif.*--instances"):
        finish(robot_steps(*pictures[:2], tmp_path / "no", "boxes"))
    _, dataset = made(pictures, tmp_path / "out", "boxes", instances=True)
    assert dataset.classes == {1: "object"}
    assert len(dataset.boxes["a"]) == 2


def test_a_folder_is_only_replaced_if_the_robot_made_it(pictures, tmp_path):
    out = tmp_path / "out"
    made(pictures, out, "tags")
    with pytest.raises(InputError, match="--overwrite"):
        finish(robot_steps(*pictures[:2], out, "clicks"))
    made(pictures, out, "clicks", overwrite=True)
    assert not (out / "tags.csv").exists()
    (out / "robot.json").unlink()
    with pytest.raises(InputError, match="not made by the robot"):
        finish(robot_steps(*pictures[:2], out, "clicks", overwrite=True))
    assert (out / "clicks.csv").exists()


def test_nothing_half_written(pictures, tmp_path):
    steps = robot_steps(*pictures[:2], tmp_path / "out", "scribbles")
    next(steps)
    steps.close()  # what a cancel does
    (pictures[1] / "c.png").unlink()
    with pytest.raises(InputError, match="no image “c”"):
        finish(robot_steps(*pictures[:2], tmp_path / "out", "scribbles"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scans", "truth"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"first": 0}, "first is 0"),
        ({"first": 1, "last": 1}, "exclude"),
        ({"stems": ["z"]}, "“z”"),
        ({"class_names": {1: "cell"}}, "class 2"),
    ],
)
def test_wrong_options(options, says, pictures, tmp_path):
    with pytest.raises(InputError, match=says):
        finish(robot_steps(*pictures[:2], tmp_path / "out", "tags", **options))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("lasso", {}, "There is no kind of hint “lasso”"),
        ("slices", {"every": 2, "count": 3}, "Every K-th slice and a count"),
        ("boxes", {"count": 3}, "Boxes know no slices"),
        ("slices", {"axis": 5}, "There is no axis 5"),
        ("boxes", {"jitter": 0.7}, "jitter is 0.7"),
    ],
)
def test_a_wrong_option_blames_no_file(kind, options, says, pictures, tmp_path):
    with pytest.raises(InputError, match=f"^{says}"):
        finish(robot_steps(*pictures[:2], tmp_path / "out", kind, **options))
    with pytest.raises(InputError, match=r"a\.tif: The truth has 2 axes and no axis 2"):
        finish(robot_steps(*pictures[:2], tmp_path / "out", "slices", axis=2))


def test_truth_of_another_size(pictures, tmp_path):
    tifffile.imwrite(pictures[0] / "b.tif", np.zeros((40, 49), np.uint8))
    with pytest.raises(InputError, match=r"b\.tif"):
        finish(robot_steps(*pictures[:2], tmp_path / "out", "tags"))


def test_real_hippocampus(tmp_path):
    source = DATA / "hippocampus"
    if not source.is_dir():
        pytest.skip("shared/data/hippocampus is not here")
    report, dataset = made(
        (source / "labelsTr", source / "imagesTr"), tmp_path / "out", "slices", every=8, first=3
    )
    assert 0.1 < report["annotated_share"] < 0.15  # an eighth
    for item in dataset.items:
        image, hints = dataset.read(item)
        assert np.flatnonzero(hints.scribbles.any((1, 2))).tolist() == list(range(4, image.shape[0], 8))
