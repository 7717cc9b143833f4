"""Boxes written into boxes.json come back through the reader of datasets, and nothing else in it is lost."""

import json

import numpy as np
import pytest
from tiny import decode, write_any

from wsseg.boxfile import save_boxes
from wsseg.dataset import open_dataset
from wsseg.errors import InputError
from wsseg.hints import Box

SHAPE = {2: (12, 16), 3: (12, 16, 8)}


def dataset(folder, dims):
    for stem in ("a", "b"):
        values = np.arange(np.prod(SHAPE[dims])).reshape(SHAPE[dims]) % 200
        write_any(folder / "images", stem, values.astype(np.uint8))
    return folder / "boxes.json", f"a.{'png' if dims == 2 else 'nii.gz'}"


def read(folder):
    return open_dataset(folder).boxes


def test_boxes_come_back(tmp_path, dims):
    path, name = dataset(tmp_path, dims)
    boxes = (
        Box((1, 2, 3)[:dims], (4, 6, 5)[:dims], 1, 5),
        Box((0, 0, 0)[:dims], SHAPE[dims], 3, 2),
    )
    save_boxes(path, name, SHAPE[dims], boxes, {1: "cell", 2: "unused", 3: "ring"})
    assert read(tmp_path) == {"a": boxes}
    assert open_dataset(tmp_path).classes == {1: "cell", 3: "ring"}
    if dims == 2:
        first = json.loads(path.read_text())["annotations"][0]
        assert first["bbox"] == [2, 1, 4, 3]  # x, y, width, height
        assert first["area"] == 12


def test_other_images_and_other_fields_stay(tmp_path):
    path, name = dataset(tmp_path, 2)
    theirs = {"id": 4, "image_id": 8, "category_id": 1, "bbox": [0, 0, 3, 3], "note": "b's"}
    own = {"image_id": 7, "category_id": 1}
    kept = {"id": 6, **own, "bbox": [1.2, 2.5, 3, 3], "segmentation": [[1, 2, 3, 4]]}
    moved = {"id": 9, **own, "bbox": [5, 5, 2, 2], "segmentation": [[5]], "by": "me"}
    crowd = {"id": 10, **own, "bbox": [0, 0, 9, 9], "iscrowd": 1}
    gone = {"id": 11, **own, "bbox": [8, 8, 2, 2]}
    content = {
        "info": {"year": 2026},
        "images": [{"id": 7, "file_name": "images/a.png"}, {"id": 8, "file_name": "b.png"}],
        "annotations": [theirs, kept, moved, crowd, gone],
        "categories": [{"id": 1, "name": "cell", "supercategory": "thing"}],
    }
    path.write_text(json.dumps(content))
    boxes = {box.id: box for box in read(tmp_path)["a"]}
    drawn = [boxes[6], Box((6, 5), (8, 9), 1, 9), Box((1, 1), (3, 3), 1, 4)]  # 4 is b's: it gives way
    save_boxes(path, name, (12, 16), drawn, {1: "cell"})
    after = json.loads(path.read_text())
    assert after["info"] == {"year": 2026}
    assert after["categories"] == content["categories"]
    found = {entry["id"]: entry for entry in after["annotations"]}
    assert found[4] == theirs
    assert found[6] == kept  # fractions and all
    assert found[10] == crowd
    assert found[9]["by"] == "me"
    assert found[9]["bbox"] == [5, 6, 4, 2]
    assert "segmentation" not in found[9]
    assert sorted(found) == [4, 6, 9, 10, 11]
    assert found[11]["bbox"] == [1, 1, 2, 2]  # a new id; what had it is gone
    assert len(read(tmp_path)["b"]) == 1


def test_categories_go_by_name(tmp_path):
    path, name = dataset(tmp_path, 2)
    content = {"images": [], "annotations": [], "categories": [{"id": 4, "name": "cell"}]}
    path.write_text(json.dumps(content))
    save_boxes(path, name, (12, 16), [Box((0, 0), (2, 2), 1, 1)], {1: "cell"})
    assert json.loads(path.read_text())["annotations"][0]["category_id"] == 4
    with pytest.raises(InputError, match="class 4 is “cell” there and “ring” here"):
        save_boxes(path, name, (12, 16), [Box((0, 0), (2, 2), 4, 1)], {4: "ring"})
    (tmp_path / "classes.json").write_text(json.dumps({"1": "cell"}))
    with pytest.raises(InputError, match=r"classes\.json: has no class “ring”"):
        save_boxes(path, name, (12, 16), [Box((0, 0), (2, 2), 2, 1)], {2: "ring"})


@pytest.mark.parametrize("text", ["[]", '{"images": 3}', '{"annotations": [1]}', "{"])
def test_what_is_no_coco_is_left_alone(tmp_path, text):
    path, name = dataset(tmp_path, 2)
    path.write_text(text)
    with pytest.raises(InputError, match=r"boxes\.json"):
        save_boxes(path, name, (12, 16), [Box((0, 0), (2, 2), 1, 1)], {1: "cell"})
    assert path.read_text() == text


def test_masks_become_segmentations_and_their_area(tmp_path, dims):
    path, name = dataset(tmp_path, dims)
    mask = np.zeros(SHAPE[dims], bool)
    mask[2:5, 3:6] = True
    mask[(2, 3, 0)[:dims]] = False
    box = Box((2, 3, 0)[:dims], (5, 6, 8)[:dims], 1, 4)
    save_boxes(path, name, SHAPE[dims], (box,), {1: "cell"}, mask_of={4: mask}.__getitem__)
    (entry,) = json.loads(path.read_text())["annotations"]
    np.testing.assert_array_equal(decode(entry["segmentation"]), mask)
    assert entry["area"] == mask.sum()
    assert read(tmp_path) == {"a": (box,)}
