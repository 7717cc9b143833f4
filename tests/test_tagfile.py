"""Tags written into tags.csv come back through the reader of datasets, and nothing else in it is lost."""

import csv
import json

import pytest
from test_bags import SIZE, tagged

from wsseg.dataset import open_dataset
from wsseg.errors import InputError
from wsseg.hints import Tag
from wsseg.tagfile import save_tags

NAMES = {1: "leaf, green", 2: "rust"}


def read(folder):
    return dict(open_dataset(folder).tags)


def name(stem, dims):
    return f"{stem}.{'png' if dims == 2 else 'nii.gz'}"


@pytest.mark.parametrize("named", [False, True])
def test_tags_come_back(tmp_path, dims, named):
    folder = tagged(
        tmp_path, "", dims=dims, count=3, classes={"1": NAMES[1], "2": NAMES[2]} if named else None
    )
    path = folder / "tags.csv"
    path.unlink()
    tags = {"a": frozenset({Tag(1), Tag(2)}), "b": frozenset[Tag]()}
    if dims == 3:
        tags["c"] = frozenset({Tag(1, 1, 0), Tag(2, 1, 0), Tag(0, 1, SIZE[3][1] - 1)})
    save_tags(path, {name(stem, dims): own for stem, own in tags.items()}, NAMES)
    assert read(folder) == tags
    with open(path, newline="", encoding="utf-8") as handle:
        written = {row["class"] for row in csv.DictReader(handle)}
    assert written == ({*NAMES.values(), ""} if named else {"1", "2", ""})


def test_other_images_and_columns_stay_and_own_rows_are_replaced(tmp_path):
    folder = tagged(tmp_path, "image,by, class\nimages/a.png,me,1\nb.png,you,1\na,me,2\n", count=3)
    path = folder / "tags.csv"
    save_tags(path, {"a.png": frozenset({Tag(2)}), "c.png": frozenset()}, NAMES)
    assert path.read_text().splitlines() == ["image,by,class", "b.png,you,1", "a.png,,2", "c.png,,"]
    assert read(folder) == {"a": {Tag(2)}, "b": {Tag(1)}, "c": frozenset()}


def test_slices_join_a_table_of_whole_volumes(tmp_path):
    folder = tagged(tmp_path, "image,class\na,1\nb,\n", dims=3, count=3)
    own = frozenset({Tag(1, 0, 2), Tag(0, 0, 3)})
    save_tags(folder / "tags.csv", {"c.nii.gz": own}, NAMES)
    assert read(folder) == {"a": {Tag(1)}, "b": frozenset(), "c": own}


@pytest.mark.parametrize("text", ["image,caption\na,rust\n", "", 'image,class\n"a', "file,class\na,1\n"])
def test_what_is_no_table_of_tags_is_left_alone(tmp_path, text):
    path = tmp_path / "tags.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"tags\.csv.*choose another name"):
        save_tags(path, {"a.png": frozenset({Tag(1)})}, NAMES)
    assert path.read_text() == text


def test_a_class_that_the_dataset_does_not_know_is_told(tmp_path):
    (tmp_path / "classes.json").write_text(json.dumps({"1": NAMES[1]}))
    with pytest.raises(InputError, match=r"classes\.json: has no class “rust”"):
        save_tags(tmp_path / "tags.csv", {"a.png": frozenset({Tag(2)})}, NAMES)
    assert not (tmp_path / "tags.csv").exists()
