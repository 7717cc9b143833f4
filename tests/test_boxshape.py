"""Shapes learned over the boxes of a class: rods that lie askew, discs, and what is kept of them."""

import json

import numpy as np
import pytest
import torch
from tiny import write_any, wsseg_

import wsseg.boxshape
from wsseg.boxes import place_of
from wsseg.boxfile import to_bbox
from wsseg.boximages import BoxImages
from wsseg.boxshape import _border, cut_together, learn_shape, learn_shapes, spread
from wsseg.crops import SIDES, cut_boxes, radius
from wsseg.dataset import open_dataset
from wsseg.hints import Box
from wsseg.normalise import Normalisation
from wsseg.recipes import ALONE, METHODS, View, _profiles, fallback_of, fit_image
from wsseg.steps import finish

LENGTH = {2: 20, 3: 14}


def rod(dims, length):
    """A rod from corner to corner of its box."""
    lines = np.meshgrid(*[np.arange(length)] * dims, indexing="ij")
    return np.max([abs(a - lines[0]) for a in lines[1:]], axis=0) <= length // 6


def disc(dims, length):
    lines = np.meshgrid(*[(np.arange(length) + 0.5) / length * 2 - 1] * dims, indexing="ij")
    return np.linalg.norm(lines, axis=0) < 1


def scene(dims, shape, seed, *, length=None, contrast=1.5):
    """One object in noise with its tight box, and a lump like it at another place in each image."""
    length = length or LENGTH[dims]
    size, start = length + 12, 6
    rng = np.random.default_rng(seed)
    box = Box((start,) * dims, (start + length,) * dims, 1, seed + 1)
    truth = np.zeros((size,) * dims, bool)
    truth[place_of(box)] = shape(dims, length)
    lump = rng.integers(start, start + length - 4, dims)
    bright = truth.copy()
    bright[tuple(slice(a, a + 4) for a in lump)] = True
    values = bright * contrast + rng.normal(0, 1, truth.shape)
    return View(values[None].astype(np.float32), [box]), truth[place_of(box)]


def overlap(mask, truth):
    return (mask & truth).sum() / (mask | truth).sum()


@pytest.fixture
def rods(dims):
    return [scene(dims, rod, seed) for seed in range(8)]


def test_rods_are_found_better_with_their_shape(rods, dims):
    learned = learn_shape(cut_together((view, view.boxes) for view, _ in rods))
    assert learned.pays
    assert learned.size < 0.5
    truth = rods[0][1]
    kept = METHODS["auto"], rods[0][0].boxes[0]
    assert overlap(fallback_of(*kept, {1: learned.profile}).mask, truth) > 0.5
    assert overlap(fallback_of(*kept).mask, truth) < 0.45
    view, truth = scene(dims, rod, 99)
    plain = overlap(fit_image(view, ALONE)[0] > 0.4, truth)
    view = View(view.values, view.boxes, {1: learned.profile})
    assert overlap(fit_image(view, ALONE)[0] > 0.4, truth) > max(0.6, plain + 0.05)
    other = View(view.values, view.boxes, {2: learned.profile})
    assert overlap(fit_image(other, ALONE)[0] > 0.4, truth) == plain  # a shape is of one class


def test_a_profile_is_the_same_on_both_grids(dims):
    small, large = (1 - radius(side, dims).square() for side in SIDES[dims])
    box = Box((4,) * dims, (60,) * dims, 7, 1)
    other = Box((4,) * dims, (60,) * dims, 1, 2)
    values = np.random.default_rng(0).normal(0, 1, (1, *(64,) * dims)).astype(np.float32)
    crops = cut_boxes(values, [box, other], SIDES[dims][1], [box])
    mine, plain = _profiles(crops, {7: -small})
    assert torch.allclose(mine[crops.inside], -large[crops.inside], atol=0.05)
    assert torch.equal(plain, large)
    assert _profiles(crops, {3: small}) is None


def test_discs_keep_their_ellipse(dims):
    discs = [scene(dims, disc, seed) for seed in range(8)]
    learned = learn_shape(cut_together((view, view.boxes) for view, _ in discs))
    assert not learned.pays
    assert learned.size > 0.6


def test_the_border_is_where_a_piece_reaches_the_faces(dims):
    side = SIDES[dims][0]
    inside = (radius(side, dims, power=np.inf) < 1).numpy()
    lines = np.meshgrid(*[np.arange(n) for n in inside.shape], indexing="ij")
    values = np.zeros(inside.shape)
    diagonal = np.max([abs(a - lines[0]) for a in lines], axis=0) <= 1
    values[diagonal] = 1000 - lines[0][diagonal]  # falls from one corner to the other
    values[tuple(slice(0, 3) for _ in range(dims))] = 5000  # outside of the box
    border = _border(values, inside, 0.9 * side)
    long = np.nonzero(inside & (values > border))[0]
    assert np.ptp(long) + 1 == pytest.approx(0.9 * side, abs=1.5)


def test_boxes_are_taken_from_all_over():
    assert spread([3, 1, 2]) == [3, 1, 2]
    some = spread(range(1000), 5)
    assert some == [0, 249, 499, 749, 999]


@pytest.fixture
def boxed(tmp_path, rods):
    """A dataset of rods with boxes.json."""
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "rod"}]}
    for number, (view, _) in enumerate(rods, 1):
        values = np.clip(100 + 25 * view.values[0], 0, 255).astype(np.uint8)
        path = write_any(tmp_path / "data" / "images", f"scan{number}", values)
        content["images"].append({"id": number, "file_name": path.name})
        entry = {"id": number, "image_id": number, "category_id": 1}
        content["annotations"].append(entry | to_bbox(view.boxes[0]))
    (tmp_path / "data" / "boxes.json").write_text(json.dumps(content))
    return tmp_path / "data"


def test_shapes_are_learned_once(tmp_path, boxed, monkeypatch):
    images = BoxImages(open_dataset(boxed), Normalisation())
    found = finish(learn_shapes(images, "auto", tmp_path))
    assert set(found) == {1}
    monkeypatch.setattr(wsseg.boxshape, "learn_shape", None)  # what is there is not learned again
    again = finish(learn_shapes(images, "learned", tmp_path))
    assert torch.equal(found[1].profile, again[1].profile)
    assert (found[1].sharp, found[1].ellipse) == (again[1].sharp, again[1].ellipse)
    assert finish(learn_shapes(images, "ellipse", tmp_path)) == {}
    monkeypatch.setattr(wsseg.boxshape, "LEAST", 9)
    assert finish(learn_shapes(images, "learned", tmp_path / "few")) == {}


@pytest.mark.parametrize("dims", [2], indirect=True)
def test_the_command_tells_of_a_shape(tmp_path, boxed):
    arguments = ["refine", boxed, "--rounds", 0, "--out"]
    shown = wsseg_(*arguments, tmp_path / "auto").stdout
    assert "rod: a shape learned over its boxes" in shown
    assert "a shape learned over its boxes" in (tmp_path / "auto" / "report.html").read_text()
    plain = wsseg_(*arguments, tmp_path / "ellipse", "--shape", "ellipse").stdout
    assert "a shape learned" not in plain
    told = wsseg_(*arguments, tmp_path / "box", "--method", "box", "--shape", "learned", code=2).stderr
    assert "--shape learned" in told
    assert not (tmp_path / "box").exists()
