"""`wsseg check`: counts by hand, every problem one sentence, all problems in one go."""

import json

import numpy as np
import PIL.Image
import pytest
import tifffile
from tiny import wsseg_

from wsseg.dataset import check_dataset, open_dataset
from wsseg.steps import finish


def picture(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(values).save(path)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)


def test_counts_by_hand(tmp_path):
    for stem in "abcd":
        picture(tmp_path / f"images/{stem}.png", noise(4, 5))
    scribbles, mask = np.zeros((4, 5), np.uint8), np.zeros((4, 5), np.uint8)
    scribbles[0, :3], scribbles[1, :2] = 1, 255
    mask[0] = 2
    picture(tmp_path / "hints/a.png", scribbles)
    picture(tmp_path / "masks/b.png", mask)
    (tmp_path / "clicks.csv").write_text("image,class,axis-0,axis-1\nc,1,1,1\nc,0,2,2\n")
    (tmp_path / "tags.csv").write_text("image,class\na,1\nb,\n")
    classes = {"1": "nucleus", "2": "wall", "9": "roof"}
    (tmp_path / "classes.json").write_text(json.dumps(classes))
    (tmp_path / "images/notes.txt").write_text("mine")
    dataset = open_dataset(tmp_path)
    steps = check_dataset(dataset)
    first = next(steps)
    assert (first.stage, first.index, first.total, first.info["file"]) == ("check", 1, 4, "a.png")
    found = finish(steps)
    contradicted, few = found.errors
    assert "b.png: class 2 is marked on it but not among its tags" in contradicted
    assert "tags.csv: only 1 image with class 1 (nucleus) is tagged" in few
    assert found.counts == {
        "images": 4,
        "hint maps": 1,
        "masks": 1,
        "clicks": 2,
        "boxes": 0,
        "tags": 2,
        "unmarked": 1,
    }
    assert found.classes == {1: "nucleus", 2: "wall", 9: "roof"}
    assert found.class_voxels == {0: 2 + 15, 1: 3, 2: 5}
    assert found.class_marks == {1: {"clicks": 1, "tags": 1}, 0: {"clicks": 1}}
    assert found.annotated_share == (5 + 20) / 80
    assert found.spacing_range == ((1.0, 1.0), (1.0, 1.0))
    # a float32 channel, an int64 target and a float32 weight; then 4 float32 probabilities of one image
    assert found.memory == 4 * 20 * (4 + 8 + 4) + 20 * 4 * 4
    roof, notes = found.warnings
    assert roof.endswith(": No hint names roof; the model will never answer it.")
    assert "notes.txt" in notes


def test_all_problems_are_told_at_once(tmp_path):
    picture(tmp_path / "images/a.png", noise(4, 5))
    picture(tmp_path / "images/b.png", noise(4, 5))
    (tmp_path / "images/c.png").write_bytes(b"")
    values = np.ones((4, 5), np.float32)
    values[0, 0] = np.inf
    tifffile.imwrite(tmp_path / "images/d.tif", values)
    picture(tmp_path / "hints/b.png", np.ones((5, 4), np.uint8))
    found = finish(check_dataset(open_dataset(tmp_path)))
    assert len(found.errors) == 3
    for error, part in zip(
        found.errors, ("b.png: has shape", "c.png: is empty", "d.tif: 1 of 20"), strict=True
    ):
        assert part in error
    assert found.counts["images"] == 4
    assert found.left_out == {"images": 3, "boxes": 0}


def test_mixes_are_told(tmp_path):
    picture(tmp_path / "images/a.png", noise(4, 5))
    options = {"photometric": "minisblack", "metadata": {"axes": "CZYX"}}
    tifffile.imwrite(tmp_path / "images/b.tif", noise(2, 3, 4, 5), **options)
    found = finish(check_dataset(open_dataset(tmp_path)))
    assert ["spatial axes" in found.errors[0], "channels" in found.errors[1]] == [True, True]
    assert found.spacing_range == ()


def test_spacings_of_volumes(tmp_path):
    (tmp_path / "images").mkdir()
    for stem, spacing in (("a", 2.0), ("b", 5.0)):
        metadata = {"axes": "ZYX", "spacing": spacing}
        tifffile.imwrite(tmp_path / f"images/{stem}.tif", noise(3, 4, 5), imagej=True, metadata=metadata)
    found = finish(check_dataset(open_dataset(tmp_path)))
    assert found.spacing_range == ((2.0, 5.0), (1.0, 1.0), (1.0, 1.0))
    assert any("nothing is marked" in error for error in found.errors)


@pytest.mark.parametrize(("value", "told"), [(1, True), (255, False)])
def test_missing_background_is_told(tmp_path, value, told):
    picture(tmp_path / "images/a.png", noise(4, 5))
    scribbles = np.zeros((4, 5), np.uint8)
    scribbles[0], scribbles[1] = 1, value
    picture(tmp_path / "hints/a.png", scribbles)
    found = finish(check_dataset(open_dataset(tmp_path)))
    assert any("no background is marked" in error for error in found.errors) == told


@pytest.mark.parametrize(
    ("value", "told"), [(1, ""), (255, "only background is marked"), (0, "nothing is marked")]
)
def test_what_fit_refuses_is_an_error_and_what_it_leaves_out_is_none(tmp_path, value, told):
    picture(tmp_path / "images/a.png", noise(4, 5))
    scribbles = np.zeros((4, 5), np.uint8)
    scribbles[0], scribbles[1] = value, 255 * (value > 0)
    picture(tmp_path / "hints/a.png", scribbles)
    (tmp_path / "classes.json").write_text('{"1": "wall", "4": "roof", "5": "door"}')
    found = finish(check_dataset(open_dataset(tmp_path)))
    assert [told in error for error in found.errors] == ([True] if told else [])
    named = any("No hint names roof, door; the model will never answer them." in w for w in found.warnings)
    assert named == (value == 1)


def test_a_dataset_goes_on_without_classes_that_nothing_names(tmp_path):
    picture(tmp_path / "images/a.png", noise(4, 5))
    scribbles = np.zeros((4, 5), np.uint8)
    scribbles[0], scribbles[1] = 4, 255
    picture(tmp_path / "hints/a.png", scribbles)
    (tmp_path / "clicks.csv").write_text("image,class,axis-0,axis-1\na,0,2,2\n")
    (tmp_path / "classes.json").write_text('{"1": "wall", "4": "roof", "5": "door"}')
    dataset = open_dataset(tmp_path)
    assert dataset.leave_out_unnamed([5]) == {1: "wall"}
    assert dataset.classes == {4: "roof", 5: "door"}
    assert dataset.leave_out_unnamed() == {5: "door"}
    (tmp_path / "hints/a.png").unlink()
    dataset = open_dataset(tmp_path)
    assert dataset.leave_out_unnamed() == {}  # only background: a mistake of another kind


def test_an_empty_image_is_told(tmp_path):
    picture(tmp_path / "images/a.png", np.full((4, 5), 7, np.uint8))
    found = finish(check_dataset(open_dataset(tmp_path)))
    assert any("a.png: every voxel is 7" in warning for warning in found.warnings)


def test_a_bad_hint_map_hides_no_names_and_is_left_out_of_the_numbers_aloud(tmp_path):
    for stem in "abc":
        picture(tmp_path / f"images/{stem}.png", noise(4, 5))
        scribbles = np.zeros((4, 5), np.uint8)
        scribbles[0], scribbles[1] = 1 if stem != "b" else 9, 255
        picture(tmp_path / f"hints/{stem}.png", scribbles)
    (tmp_path / "classes.json").write_text('{"1": "wall"}')
    shown = wsseg_("check", tmp_path, code=2)
    assert "Images: 3 (0 unmarked; 1 with a mistake, left out of what follows)" in shown.stdout
    assert "Class 1 (wall): 10 voxels marked" in shown.stdout
    (tmp_path / "classes.json").unlink()
    picture(tmp_path / "hints/b.png", np.ones((5, 4), np.uint8))
    assert "Class 1 (class 1): 10 voxels marked" in wsseg_("check", tmp_path, code=2).stdout


def test_a_mistake_in_one_table_hides_none_elsewhere(tmp_path):
    for stem in "ab":
        picture(tmp_path / f"images/{stem}.png", noise(4, 5))
    picture(tmp_path / "hints/a.png", np.ones((5, 4), np.uint8))
    (tmp_path / "clicks.csv").write_text("image,class,axis-0,axis-1\nzzz,1,1,1\n")
    (tmp_path / "tags.csv").write_text("image,class\na,none\n")
    (tmp_path / "boxes.json").write_text("{")
    told = wsseg_("check", tmp_path, code=2).stderr.splitlines()
    assert all(line.startswith("Error: ") for line in told)
    for part in ("boxes.json: line 1 is not JSON", "image “zzz”", "class “none”", "a.png: has shape"):
        assert sum(part in line for line in told) == 1
    assert len(told) == 4
    (tmp_path / "hints/a.png").unlink()
    assert len(wsseg_("check", tmp_path, code=2).stderr.splitlines()) == 3  # not that nothing is marked


class TestBoxes:
    """Box 0 is right; 1 to 3 are of an image that is not there, 4 of one of another size, 5 is 0 again."""

    @pytest.fixture
    def boxed(self, tmp_path):
        for stem in "abcd":
            picture(tmp_path / f"images/{stem}.png", noise(8, 9))
        names = {1: "a.png", 2: "gone.png", 3: "b.png", 4: "d.png"}
        images = [{"id": k, "file_name": name, "height": 8, "width": 9} for k, name in names.items()]
        images[2]["width"] = 7
        boxes = [
            {"id": i, "image_id": k, "category_id": 1, "bbox": [1, 1, 3 + i % 5, 4]}
            for i, k in enumerate((1, 2, 2, 2, 3, 1))
        ]
        content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cell"}]}
        (tmp_path / "boxes.json").write_text(json.dumps(content))
        return tmp_path

    def test_all_mistakes_are_told_and_refine_agrees_that_they_are_no_errors(self, boxed):
        found = wsseg_("check", boxed)
        dry = wsseg_("refine", boxed, "--out", boxed / "out", "--dry-run")
        for shown in (found, dry):
            lines = shown.stderr.splitlines()
            assert sum("“gone.png”" in line for line in lines) == 1
            assert any("3 boxes (annotation 1 and others): there is no image “gone" in line for line in lines)
            assert any("annotation 4: its image b.png is 9 × 8" in line for line in lines)
            assert "1 box is there twice" in shown.stderr
            assert "1 image is not in boxes.json and left out, such as c." in shown.stderr
            assert "Error" not in shown.stderr
        assert "4 of 6 boxes have a mistake; wsseg refine goes on without them." in found.stderr
        assert "Hints: 1 box\n" in found.stdout

    def test_an_image_that_can_not_be_read_is_left_out_by_both(self, boxed):
        (boxed / "images/d.png").write_bytes(b"")
        for command in (["check", boxed], ["refine", boxed, "--out", boxed / "out", "--dry-run"]):
            assert "Warning: " + str(boxed / "images/d.png") in wsseg_(*command).stderr
        (boxed / "images/a.png").write_bytes(b"")  # the only one with a box that is right
        assert "Error: " + str(boxed / "images/a.png") in wsseg_("check", boxed, code=2).stderr
        wsseg_("refine", boxed, "--out", boxed / "out", "--dry-run", code=2)

    def test_beside_other_hints_they_are_errors_as_fit_has_it(self, boxed):
        scribbles = np.zeros((8, 9), np.uint8)
        scribbles[0], scribbles[1] = 1, 255
        picture(boxed / "hints/a.png", scribbles)
        told = wsseg_("check", boxed, code=2).stderr
        assert "Error: " in told
        assert "4 of 6 boxes have a mistake; wsseg fit needs all of them mended." in told
        assert "there is no image" in wsseg_("fit", boxed, "--out", boxed / "model", code=2).stderr
