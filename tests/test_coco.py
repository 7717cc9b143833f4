"""boxes.json: COCO to half-open voxel intervals, against a slow count of the voxels that a box touches."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.coco import read_boxes
from wsseg.errors import InputError
from wsseg.hints import Box
from wsseg.tables import Known

SHAPES = {"flat": (10, 20), "deep": (4, 10, 20)}


NUCLEUS = [{"id": 1, "name": "nucleus"}]


def known(classes=None):
    return Known(frozenset(SHAPES), SHAPES.__getitem__, classes)


def save(tmp_path, *annotations, categories=NUCLEUS, **changes):
    content = {
        "images": [{"id": 10, "file_name": "flat.png"}, {"id": 11, "file_name": "deep.nii.gz"}],
        "categories": categories,
        "annotations": [
            {"id": i, "image_id": 10, "category_id": 1, **annotation}
            for i, annotation in enumerate(annotations, start=1)
        ],
        **changes,
    }
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    return tmp_path / "boxes.json"


def test_boxes_in_2d_and_3d(tmp_path):
    path = save(
        tmp_path,
        {"bbox": [3, 2, 5, 4]},
        {"bbox": [2.5, 1.2, 3, 3.3]},
        {"image_id": 11, "bbox3d": [1, 2, 3, 2, 4, 6]},
        {"image_id": 11, "bbox3d": [-1, 7.5, 0, 99, 99, 0.5]},
    )
    boxes = read_boxes(path, known())
    assert boxes.classes == {1: "nucleus"}
    assert boxes.by_stem == {
        "flat": (Box((2, 3), (6, 8), 1, 1), Box((1, 2), (5, 6), 1, 2)),
        "deep": (Box((1, 2, 3), (3, 6, 9), 1, 3), Box((0, 7, 0), (4, 10, 1), 1, 4)),
    }


@settings(max_examples=60, deadline=None)
@given(x=st.floats(0, 19), y=st.floats(0, 9), width=st.floats(0.01, 30), height=st.floats(0.01, 30))
def test_a_box_holds_every_voxel_it_touches(tmp_path_factory, x, y, width, height):
    """A voxel (i, j) is the square [i, i + 1) × [j, j + 1) in COCO's coordinates."""
    path = save(tmp_path_factory.mktemp("boxes"), {"bbox": [x, y, width, height]})
    (box,) = read_boxes(path, known()).by_stem["flat"]
    noise = 2e-6
    for i, j in np.ndindex(SHAPES["flat"]):
        inside = box.start[0] <= i < box.stop[0] and box.start[1] <= j < box.stop[1]
        if i + 1 > y + noise and i < y + height - noise and j + 1 > x + noise and j < x + width - noise:
            assert inside
        if i + 1 < y or i > y + height or j + 1 < x or j > x + width:
            assert not inside


def test_noise_of_floats_adds_no_voxel(tmp_path):
    path = save(tmp_path, {"bbox": [0.1, 0.7, 0.2 + 0.7, 0.1 + 0.2]})
    assert 0.7 + (0.1 + 0.2) > 1 or 0.1 + (0.2 + 0.7) > 1 - 1e-9
    (box,) = read_boxes(path, known()).by_stem["flat"]
    assert (box.start, box.stop) == ((0, 0), (1, 1))


def test_categories_count_by_name_where_classes_json_has_it(tmp_path):
    categories = [{"id": 0, "name": "wall"}, {"id": 1, "name": "unnamed"}]
    path = save(
        tmp_path, {"bbox": [1, 1, 2, 2], "category_id": 0}, {"bbox": [1, 1, 2, 2]}, categories=categories
    )
    boxes = read_boxes(path, known({1: "nucleus", 2: "wall"}))
    assert [box.class_id for box in boxes.by_stem["flat"]] == [2, 1]
    assert boxes.classes == {1: "nucleus", 2: "wall"}
    with pytest.raises(InputError, match=r"the category 1 “unnamed” is unknown; known are 2 .wall"):
        read_boxes(path, known({2: "wall"}))


LABEL_STUDIO = [{"id": 0, "name": "nucleus"}, {"id": 1, "name": "wall"}]
ROBOFLOW = [{"id": 0, "name": "cells", "supercategory": "none"}, {"id": 1, "name": "nucleus"}]


@pytest.mark.parametrize(
    ("categories", "used", "class_ids", "classes"),
    [
        (LABEL_STUDIO, [0, 1], [1, 2], {1: "nucleus", 2: "wall"}),
        (ROBOFLOW, [1, 1], [1, 1], {1: "nucleus"}),
        ([{"id": 3000, "name": "b"}, {"id": 7, "name": "a"}], [3000, 7], [2, 1], {1: "a", 2: "b"}),
        ([{"id": "b"}, {"id": "a"}], ["a", "b"], [2, 1], {1: "class b", 2: "class a"}),
        ([{"id": 9, "name": "a"}, {"id": 300, "name": "b"}], [9, 9], [9, 9], {9: "a"}),
    ],
)
def test_categories_that_are_no_class_ids(tmp_path, categories, used, class_ids, classes):
    annotations = [{"bbox": [i, 1, 2, 2], "category_id": k} for i, k in enumerate(used)]
    boxes = read_boxes(save(tmp_path, *annotations, categories=categories), known())
    assert [box.class_id for box in boxes.by_stem["flat"]] == class_ids
    assert boxes.classes == classes


def test_too_many_categories_to_number(tmp_path):
    categories = [{"id": k, "name": str(k)} for k in range(255)]
    path = save(tmp_path, {"bbox": [1, 1, 2, 2], "category_id": 0}, categories=categories)
    with pytest.raises(InputError, match="has 255 categories; 254 are the most"):
        read_boxes(path, known())


def test_a_category_that_no_box_uses_needs_no_class(tmp_path):
    path = save(tmp_path, {"bbox": [1, 1, 2, 2]}, categories=ROBOFLOW)
    boxes = read_boxes(path, known({1: "nucleus"}))
    assert [box.class_id for box in boxes.by_stem["flat"]] == [1]


@pytest.mark.parametrize("key", ["id", "image_id", "category_id"])
def test_an_id_that_is_a_list_is_one_bad_box(tmp_path, key):
    path = save(tmp_path, {"bbox": [1, 1, 2, 2], key: [1]}, {"bbox": [2, 1, 2, 2]})
    boxes = read_boxes(path, known(), lenient=True)
    assert len(boxes.refused) == 1
    assert [box.id for box in boxes.by_stem["flat"]] == [2]


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ({"bbox": [30, 1, 2, 2]}, "annotation 1: its bbox .* is empty or outside"),
        ({"bbox": [3, 1, 0, 2]}, "is empty or outside"),
        ({"bbox": [3, 1, -2, 2]}, "is empty or outside"),
        ({"bbox": [3, 1, 2]}, r"its “bbox” is \[3, 1, 2\], not 4 numbers"),
        ({"bbox": [3, 1, 2, None]}, r"its “bbox” is \[3, 1, 2, null\], not 4 numbers"),
        ({"bbox": [3, 1, float("nan"), 2]}, r"its “bbox” is \[3, 1, NaN, 2\], not 4 numbers"),
        ({"bbox3d": [1, 2, 3, 2, 4, 6]}, "has no “bbox” of 4 numbers, as its image with 2"),
        ({"bbox": [3, 1, "2", 2]}, r"its “bbox” is \[3, 1, \"2\", 2\], not 4 numbers"),
        ({"bbox": [3, 1, 2, 2], "image_id": 11}, "has no “bbox3d” of 6 numbers"),
        ({"bbox": [3, 1, 2, 2], "image_id": 12}, "its image_id 12 is not among"),
        ({"bbox": [3, 1, 2, 2], "category_id": 9}, "its category_id 9 is not among"),
        ({"bbox": [3, 1, 2, 2], "id": None}, "annotation #0 has no id; a whole number"),
    ],
)
def test_a_box_with_a_mistake(tmp_path, annotation, reason):
    with pytest.raises(InputError, match=rf"boxes\.json.*{reason}"):
        read_boxes(save(tmp_path, annotation), known())


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("7", 'has the id "7", in quotes, which'),
        (7.5, "has the id 7.5, which is no"),
        (True, "id true, which"),
    ],
)
def test_an_id_that_is_no_whole_number(tmp_path, number, words):
    path = save(tmp_path, {"bbox": [1, 1, 2, 2], "id": number})
    with pytest.raises(InputError, match=f"annotation #0 .*{words}"):
        read_boxes(path, known())


def test_ids_are_unique(tmp_path):
    path = save(tmp_path, {"bbox": [1, 1, 2, 2]}, {"bbox": [1, 1, 2, 2], "id": 1})
    with pytest.raises(
        InputError, match="annotation #1 has the id 1, as an earlier one has; an id of its own"
    ):
        read_boxes(path, known())


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
@pytest.mark.parametrize("value", [None, {}, [1]])
def test_not_coco(tmp_path, key, value):
    with pytest.raises(InputError, match=f"boxes.json: has no list “{key}”"):
        read_boxes(save(tmp_path, {"bbox": [1, 1, 2, 2]}, **{key: value}), known())


def test_not_an_object(tmp_path):
    (tmp_path / "boxes.json").write_text("[]")
    with pytest.raises(InputError, match="is not COCO"):
        read_boxes(tmp_path / "boxes.json", known())


def test_an_image_that_is_not_there(tmp_path):
    path = save(tmp_path, {"bbox": [1, 1, 2, 2]}, images=[{"id": 10, "file_name": "other.png"}])
    with pytest.raises(InputError, match=r"annotation 1: there is no image “other\.png”"):
        read_boxes(path, known())


def test_a_lenient_reader_tells_every_oddity_and_keeps_the_rest(tmp_path):
    path = save(
        tmp_path,
        {"bbox": [3, 2, 5, 4]},
        {"bbox": [3, 2, 0, 4]},
        {"bbox": [float("nan"), 2, 5, 4]},
        {"bbox": [40, 2, 5, 4]},
        {"bbox": [3, 2, 5, 4]},
        {"category_id": 9, "bbox": [3, 2, 5, 4]},
        {"image_id": 99, "bbox": [3, 2, 5, 4]},
        {"image_id": 12, "bbox": [3, 2, 5, 4]},
        {"id": 1, "bbox": [0, 0, 5, 4]},
        {"id": None, "bbox": [0, 0, 5, 4]},
        {"bbox": [0, 0, 5, 4], "iscrowd": 1},
        {},
        {"bbox": [-3, -2, 8, 4]},
        images=[
            {"id": 10, "file_name": "train\\flat.png"},
            {"id": 11, "file_name": "deep.nii.gz"},
            {"id": 12, "file_name": "gone.png"},
        ],
    )
    boxes = read_boxes(path, known(), lenient=True)
    assert boxes.by_stem == {"flat": (Box((2, 3), (6, 8), 1, 1), Box((0, 0), (2, 5), 1, 13))}
    assert boxes.crowds == {"flat": (Box((0, 0), (4, 5), 1, 11),)}
    assert boxes.twins == {5: 1}
    assert boxes.listed == {"flat", "deep"}
    assert set(boxes.refused) == {2, 3, 4, 6, 7, 8, "#8", "#9", 12}
    words = {
        2: "empty",
        3: "4 numbers",
        4: "outside",
        6: "categories",
        7: "images",
        8: "no image",
        12: "bbox",
    }
    for number, word in words.items():
        assert f"annotation {number}: " in boxes.refused[number]
        assert word in boxes.refused[number]
    assert "has no id" in boxes.refused["#9"]
    # of 6, whose place is that of 1, 7 and 8, whose image is none, nothing is to be said
    assert boxes.doubtful == {"flat": (((0, 0), (4, 5)),)}
    assert boxes.unplaced == {"flat"}
    assert boxes.unknown("flat") == (((0, 0), (4, 5)),) * 2
    assert boxes.unknown("deep") == ()


def test_a_strict_reader_stops_at_twins(tmp_path):
    with pytest.raises(InputError, match="annotation 2: is the same box as annotation 1"):
        read_boxes(save(tmp_path, {"bbox": [3, 2, 5, 4]}, {"bbox": [3, 2, 5, 4]}), known())


def test_an_image_of_another_size_is_told(tmp_path):
    images = [{"id": 10, "file_name": "flat.png", "width": 10, "height": 20}]
    path = save(tmp_path, {"bbox": [3, 2, 5, 4]}, images=images)
    with pytest.raises(InputError, match="is 20 × 10 pixels, but the file says 10 × 20"):
        read_boxes(path, known())
    boxes = read_boxes(path, known(), lenient=True)
    assert "another version" in boxes.refused[1]
    assert boxes.unplaced == {"flat"}


def test_boxes_that_share_a_mistake_are_one_sentence(tmp_path):
    gone = [{"id": 10, "file_name": "flat.png"}, {"id": 12, "file_name": "gone.png"}]
    path = save(
        tmp_path,
        *[{"image_id": 12, "bbox": [3, 2, 5, 4]}] * 86,
        {"bbox": [3, 2, 0, 4]},
        {"bbox": [3, 2, 5, 4]},
        images=gone,
    )
    boxes = read_boxes(path, known(), lenient=True)
    many, one = boxes.mistakes()
    assert many == (
        f"{path}, 86 boxes (annotation 1 and others): there is no image “gone.png”; a stem or file name in "
        "images/ is right."
    )
    assert one == boxes.refused[87]
    assert len(boxes.refused) == 87
