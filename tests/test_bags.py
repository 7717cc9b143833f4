"""What tags say: bags of images and of slices, tags that tell nothing, hints that contradict them."""

import json

import numpy as np
import pytest
from tiny import write_any, wsseg_

from wsseg.bags import Bags, contradiction, read_bags
from wsseg.dataset import open_dataset
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND, Box, Click, Hints, Tag

SIZE = {2: (8, 6), 3: (5, 4, 3)}


def tagged(folder, text, *, dims=2, count=6, classes=None):
    """A dataset of noise with images a, b, c … and this tags.csv."""
    rng = np.random.default_rng(0)
    for stem in "abcdefgh"[:count]:
        write_any(folder / "images", stem, rng.integers(0, 255, SIZE[dims]).astype(np.uint8))
    (folder / "tags.csv").write_text(text)
    if classes:
        (folder / "classes.json").write_text(json.dumps(classes))
    return folder


def bags_of(folder) -> Bags:
    return read_bags(open_dataset(folder))


def told(bags: Bags) -> dict:
    return {(bag.item.stem, bag.index): set(bag.classes) for bag in bags.bags}


def test_an_image_is_a_bag_and_an_untagged_one_is_not(tmp_path):
    text = "image,class\na,2\na,5\nb,2\nc,2\nd,\ne,5\nf,\n"
    bags = bags_of(tagged(tmp_path, text + "g,5\n", count=8))
    assert list(told(bags).values()) == [{2, 5}, {2}, {2}, set(), {5}, set(), {5}]
    assert list(told(bags)) == [(stem, None) for stem in "abcdefg"]
    assert bags.axis is None
    assert bags.classes == {2: "class 2", 5: "class 5"}
    assert bags.table().sum(0).tolist() == [3, 3]
    assert [bag.classes for bag in bags.of(bags.bags[0].item)] == [{2, 5}]


def test_a_tagged_slice_is_a_bag_and_a_volume_without_any_class_is_one_a_slice(tmp_path):
    rows = [f"a,{k},1,{i}" for i, k in enumerate([1, "", 1, 1])] + ["b,,,", "c,1,,", "c,1,1,0"]
    bags = bags_of(tagged(tmp_path, "image,class,axis,slice\n" + "\n".join(rows) + "\n", dims=3))
    assert bags.axis == 1
    assert told(bags) == {
        **{("a", i): ids for i, ids in enumerate([{1}, set(), {1}, {1}])},
        **{("b", i): set() for i in range(4)},
        ("c", 0): {1},
    }


@pytest.mark.parametrize(
    ("rows", "classes", "reason"),
    [
        ("a,1\nb,1\nc,1\nd,1\n", None, "every tagged image has class 1"),
        ("a,1\nb,1\nc,\nd,\ne,\n", None, "only 2 images with class 1 .* are tagged; at least 3"),
        ("a,1\nb,1\nc,1\nd,1\ne,1\nf,\n", None, "only 1 image without class 1 .* is tagged"),
        ("a,\nb,\nc,\n", None, "no image has any class"),
    ],
)
def test_tags_that_tell_nothing_apart(tmp_path, rows, classes, reason):
    folder = tagged(tmp_path, "image,class\n" + rows, classes=classes)
    with pytest.raises(InputError, match=rf"tags\.csv: {reason}"):
        bags_of(folder)
    assert "tags.csv" in wsseg_("check", folder, code=2).output


def test_a_class_that_no_tag_names_is_left_out_and_told(tmp_path):
    rows = "image,class\na,1\nb,1\nc,1\nd,\ne,\nf,\n"
    folder = tagged(tmp_path, rows, classes={"1": "x", "2": "y"})
    assert bags_of(folder).classes == {1: "x"}
    assert "No hint names y; the model will never answer it." in " ".join(
        wsseg_("check", folder).stderr.split()
    )


def test_no_tags_and_slices_along_two_axes(tmp_path):
    folder = tagged(tmp_path, "image,class,axis,slice\na,1,0,0\nb,1,1,0\n", dims=3)
    with pytest.raises(InputError, match="along the axes 0 and 1"):
        bags_of(folder)
    (folder / "tags.csv").unlink()
    with pytest.raises(InputError, match="has no tags"):
        bags_of(folder)


def painted(value):
    array = np.zeros(SIZE[2], np.uint8)
    array[2, 3], array[0, 0] = value, BACKGROUND
    return array


@pytest.mark.parametrize(
    ("marks", "tags", "said"),
    [
        ({"scribbles": painted(1)}, [Tag(1)], None),
        ({"scribbles": painted(1)}, [Tag(2)], "class 1 is marked on it but not among its tags"),
        ({"scribbles": painted(1)}, [], "class 1 is marked"),
        ({"scribbles": painted(1)}, None, None),
        ({"scribbles": painted(BACKGROUND)}, [Tag(2)], None),
        ({"clicks": (Click((1, 1), 3),)}, [Tag(1)], "class 3 is marked"),
        ({"boxes": (Box((0, 0), (2, 2), 3, 1),)}, [Tag(1)], "class 3 is marked"),
        ({"mask": np.where(painted(2) == 2, 2, 0).astype(np.uint8)}, [Tag(2), Tag(1)], "class 1, which its"),
    ],
)
def test_hints_that_contradict_the_tags_of_an_image(marks, tags, said):
    hints = Hints(SIZE[2], tags=None if tags is None else frozenset(tags), **marks)
    assert contradiction(hints) is None if said is None else said in contradiction(hints)


def test_hints_that_contradict_the_tags_of_a_slice():
    scribbles = np.zeros(SIZE[3], np.uint8)
    scribbles[:, 2], scribbles[:, 3] = 1, 2
    agreeing = frozenset({Tag(1, 1, 2), Tag(2, 1, 3), Tag(0, 1, 0)})
    assert contradiction(Hints(SIZE[3], scribbles, tags=agreeing)) is None
    said = contradiction(Hints(SIZE[3], scribbles, tags=frozenset({Tag(0, 1, 2), Tag(2, 1, 3)})))
    assert said == "class 1 is marked in slice 2 along axis 1 but not among the tags of that slice"


def test_check_tells_a_scribble_that_contradicts_a_tag(tmp_path):
    folder = tagged(tmp_path, "image,class\na,1\nb,1\nc,1\nd,\ne,\nf,\n")
    assert wsseg_("check", folder).exit_code == 0
    write_any(folder / "hints", "d", painted(1)[: SIZE[2][0]])
    assert "d.png: class 1 is marked on it but not among its tags" in wsseg_("check", folder, code=2).output
