"""Boxes beside other hints: what they say of voxels, and `wsseg fit` on them with scribbles and with tags."""

import json

import numpy as np
import pytest
from test_seeds import SIZE, tagged_squares
from tiny import files_in, small_plans, write_any, wsseg_

import wsseg.commands.fit
import wsseg.fit
import wsseg.tagrounds
from wsseg.bags import read_bags
from wsseg.boxes import filled
from wsseg.boxlabels import open_boxed, say
from wsseg.dataset import open_dataset
from wsseg.weak import WeakLabels, over

CLASSES = {"3": "cell", "7": "vessel"}  # outputs 1 and 2


def box_entry(number, image, category, start, stop):
    """A COCO annotation of a box."""
    size = [b - a for a, b in zip(start, stop, strict=True)]
    key = "bbox3d" if len(start) == 3 else "bbox"
    values = [*start, *size] if len(start) == 3 else [*reversed(start), *reversed(size)]
    return {"id": number, "image_id": image, "category_id": category, key: values}


def write_boxes(data, annotations, classes, extra=()):
    """boxes.json: annotations name images by their stems; `extra` are listed without a box."""
    stems = sorted({entry["image_id"] for entry in annotations} | set(extra))
    content = {
        "images": [{"id": stem, "file_name": stem} for stem in stems],
        "categories": [{"id": int(k), "name": name} for k, name in classes.items()],
        "annotations": annotations,
    }
    (data / "boxes.json").write_text(json.dumps(content))


def block(dims, low, high):
    """(start, stop) of a block that is low…high along the first axis and 2…8 along the others."""
    return (low, *(2,) * (dims - 1)), (high, *(8,) * (dims - 1))


def inside(dims, low, high):
    """bool: where that block is."""
    mask = np.zeros(SIZE[dims], bool)
    mask[tuple(slice(a, b) for a, b in zip(*block(dims, low, high), strict=True))] = True
    return mask


@pytest.fixture
def mixed(tmp_path, dims):
    """Three images; in a a box of the cell, in b one of the vessel, c has nothing but is listed."""
    rng = np.random.default_rng(0)
    data = tmp_path / "data"
    for stem in "abc":
        write_any(data / "images", stem, rng.integers(0, 255, SIZE[dims]).astype(np.uint8))
    (data / "classes.json").write_text(json.dumps(CLASSES))
    boxes = [box_entry(1, "a", 3, *block(dims, 1, 5)), box_entry(2, "b", 7, *block(dims, 4, 7))]
    write_boxes(data, boxes, CLASSES, "c")
    return data


def word_of(data, stem, tagged=False):
    """What the filled boxes of an image say."""
    dataset = open_dataset(data)
    opened = open_boxed(dataset, dataset.find(stem))
    bags = read_bags(dataset) if tagged else None
    return say(opened, [filled(box) for box in opened.boxes], dataset, bags)


def test_where_all_classes_have_boxes_the_rest_is_background(mixed, dims):
    word = word_of(mixed, "a")
    assert np.array_equal(word.labels.target, inside(dims, 1, 5))
    assert word.labels.known.all()


def test_where_a_class_has_no_box_anywhere_the_rest_is_unknown(mixed, dims):
    write_boxes(mixed, [box_entry(1, "a", 3, *block(dims, 1, 5))], CLASSES)
    word = word_of(mixed, "a")
    assert np.array_equal(word.labels.known, inside(dims, 1, 5))
    assert (word.labels.target[word.labels.known] == 1).all()


def tag(data, rows):
    """tags.csv with these rows for a and b, and enough images beside that both classes can be told apart."""
    lines = ["image,class,axis,slice" if any(row.count(",") == 3 for row in rows) else "image,class", *rows]
    (data / "tags.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def tagged(mixed, dims):
    """More images, tagged with one class or the other or none."""
    for index in range(9):
        values = np.random.default_rng(index).integers(0, 255, SIZE[dims])
        write_any(mixed / "images", f"t{index}", values.astype(np.uint8))
    return mixed, [f"t{index},{name}" for index, name in enumerate(["cell", "vessel", ""] * 3)]


def test_in_a_tagged_image_its_tags_say_what_may_be_outside(tagged, dims):
    data, rows = tagged
    tag(data, [*rows, "a,cell", "b,cell", "b,vessel"])
    word = word_of(data, "a", tagged=True)
    assert word.labels.known.all()  # all of its one class has boxes
    word = word_of(data, "b", tagged=True)
    assert np.array_equal(word.labels.known, inside(dims, 4, 7))  # the cell may be anywhere


def test_a_class_with_boxes_is_nowhere_else(tagged, dims):
    data, rows = tagged
    tag(data, [*rows, "a,cell", "b,cell", "b,vessel"])
    seeds = WeakLabels(np.full(SIZE[dims], 2), np.ones(SIZE[dims], np.float32))
    seeds.target[0] = 1
    found = word_of(data, "b", tagged=True).above(seeds)
    box = inside(dims, 4, 7)
    assert (found.target[box] == 2).all()
    assert found.known[box].all()
    assert found.known[0].all()  # the cell's seeds stay
    assert (found.target[0] == 1).all()
    rest = ~box
    rest[0] = False
    assert not found.known[rest].any()  # what seeds say of the vessel is refuted, and nobody knows what it is


def test_in_a_slice_that_lacks_the_class_its_mask_says_nothing(mixed, dims):
    if dims == 2:
        pytest.skip("pictures have no slices")
    present = [f"a,{'cell' if 2 <= k < 5 else ''},0,{k}" for k in range(10)]
    tag(mixed, [*present, *(f"c,{'vessel' if k % 2 else ''},0,{k}" for k in range(10))])
    labels = word_of(mixed, "a", tagged=True).labels
    assert not labels.known[1][inside(dims, 1, 5)[1]].any()  # the box reaches into slice 1
    assert (labels.target[2:5] == inside(dims, 1, 5)[2:5]).all()
    outside = labels.known & (labels.target == 0)
    assert outside[2:].sum() + outside[:2].sum() == labels.known.sum() - inside(dims, 2, 5).sum()
    assert labels.known[7].all()


def test_a_crowd_stays_unknown_and_paint_comes_first(mixed, dims):
    boxes = json.loads((mixed / "boxes.json").read_text())
    boxes["annotations"].append({**box_entry(3, "a", 3, *block(dims, 6, 9)), "iscrowd": 1})
    (mixed / "boxes.json").write_text(json.dumps(boxes))
    labels = word_of(mixed, "a").labels
    assert np.array_equal(~labels.known, inside(dims, 6, 9))
    painted = WeakLabels(np.full(SIZE[dims], 2), inside(dims, 0, 7).astype(np.float32))
    both = over(labels, painted)
    assert (both.target[inside(dims, 0, 7)] == 2).all()
    assert np.array_equal(both.target == 1, inside(dims, 1, 5) & ~inside(dims, 0, 7))


@pytest.fixture
def squares(tmp_path, dims, monkeypatch):
    """Images with a bright block each, every second one tagged with it; those of i01 and i03 have a box."""
    small_plans(monkeypatch)
    data, truths = tagged_squares(tmp_path / "data", dims, count=8)
    boxes = []
    for number, stem in enumerate(("i01", "i03"), 1):
        where = np.argwhere(truths[stem])
        boxes.append(box_entry(number, stem, 4, where.min(0), where.max(0) + 1))
    write_boxes(data, json.loads(json.dumps(boxes, default=int)), {"4": "square"}, truths)
    return data, truths


def caught(monkeypatch, module):
    """The samples that training is given, round by round."""
    rounds, real = [], module.fit_steps

    def look(samples, *given, **options):
        rounds.append({sample.name: sample.labels for sample in samples})
        return real(samples, *given, **options)

    monkeypatch.setattr(module, "fit_steps", look)
    return rounds


def like_the_box(labels, truth):
    """Whether all is known, nothing outside of the block, and most of it found (a cube lacks corners)."""
    return labels.known.all() and not labels.target[~truth].any() and labels.target[truth].mean() > 0.7


def test_fit_learns_from_boxes_beside_tags(tmp_path, squares, monkeypatch):
    data, truths = squares
    rounds = caught(monkeypatch, wsseg.tagrounds)
    said = wsseg_("fit", data, "--out", tmp_path / "model", "--steps", 6, "--device", "cpu").output
    assert "Boxes: 2, images with some: 2." in said
    assert len(rounds) == 2
    for labels in rounds:
        for stem in ("i01", "i03"):
            assert like_the_box(labels[stem], truths[stem])
        assert not labels["i00"].target.any()  # tagged as none
    assert not all(rounds[0][stem].known.all() for stem in ("i05", "i07"))  # listed without a box, not empty
    assert [name for name in files_in(tmp_path) if name.startswith("model/")]


def test_fit_learns_from_boxes_beside_scribbles(tmp_path, squares, dims, monkeypatch):
    data, truths = squares
    (data / "tags.csv").unlink()
    painted = np.zeros(SIZE[dims], np.uint8)
    painted[truths["i05"]] = 4
    painted[0][~truths["i05"][0]] = 255
    write_any(data / "hints", "i05", painted)
    write_any(data / "hints", "i01", (truths["i01"] * 255).astype(np.uint8))  # paint knows better
    rounds = caught(monkeypatch, wsseg.fit)
    said = wsseg_("fit", data, "--out", tmp_path / "model", "--steps", 4, "--device", "cpu").output
    assert "Boxes: 2, images with some: 2." in said
    (labels,) = rounds
    by_stem = {name.rpartition("/")[2].split(".")[0]: own for name, own in labels.items()}
    assert set(by_stem) == {"i01", "i03", "i05"}
    assert not by_stem["i01"].target.any()
    assert like_the_box(by_stem["i03"], truths["i03"])
    assert np.array_equal(by_stem["i05"].known, painted > 0)


def test_boxes_alone_are_for_refine(tmp_path, squares):
    data, _ = squares
    (data / "tags.csv").unlink()
    told = wsseg_("fit", data, "--out", tmp_path / "model", code=2).stderr
    assert "has only boxes" in told
    assert "wsseg refine" in told
