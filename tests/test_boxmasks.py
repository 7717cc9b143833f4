"""Masks of boxes while a person draws: found, kept, and computed again only where something has changed."""

from functools import cache

import numpy as np
import pytest
from conftest import ball

from wsseg import boxmasks
from wsseg.boxes import place_of
from wsseg.boxmasks import find_masks, refine_masks, spoken, to_segments
from wsseg.hints import BACKGROUND, Box, Click, Hints
from wsseg.recipes import View, first_segments


def scene(ndim: int) -> tuple[View, np.ndarray]:
    """Three bright balls side by side with tight boxes, and the number of the ball at each voxel."""
    size = (20, 20, 60)[-ndim:]
    values, truth = np.zeros((1, *size), np.float32), np.zeros(size, int)
    boxes = []
    for number in range(3):
        place = (slice(None),) * (ndim - 1) + (slice(20 * number, 20 * number + 20),)
        one, inside = ball((20,) * ndim, radius=0.32, seed=number)
        values[(slice(None), *place)] = one
        truth[place] = inside * (number + 1)
        where = np.argwhere(truth == number + 1)
        low, high = where.min(0).tolist(), (where.max(0) + 1).tolist()
        boxes.append(Box(tuple(low), tuple(high), 1, 10 + number))
    return View(values, boxes), truth


@cache
def plain(ndim: int) -> tuple[View, np.ndarray, dict]:
    """The scene, and what is found in its boxes."""
    view, truth = scene(ndim)
    return view, truth, finish(view)


def finish(view, said=None, before=None):
    *_, (found, left) = find_masks(view, said, before or {})
    assert left == 0
    return found


@pytest.mark.parametrize("ndim", [2, 3])
def test_masks_are_the_first_labels_of_auto(ndim):
    view, truth, found = plain(ndim)
    segments, probabilities = first_segments(view, "colour")
    for box, one, expected, p in zip(
        view.boxes, to_segments(view.boxes, found, None), segments, probabilities, strict=True
    ):
        np.testing.assert_allclose(found[box.id].probability, p, atol=1e-5)
        np.testing.assert_array_equal(one.mask, expected.mask)
        inside = truth[place_of(box)] > 0
        assert (one.mask & inside).sum() / (one.mask | inside).sum() > 0.85


def test_only_what_changed_is_computed_again(monkeypatch):
    view, _, found = plain(2)
    done = []
    original = boxmasks.fit_image

    def counted(view, config, *, evidence=None, which):
        done.extend(box.id for box in which)
        return original(view, config, evidence=evidence, which=which)

    monkeypatch.setattr(boxmasks, "fit_image", counted)
    assert finish(view, None, found).keys() == found.keys()
    assert not done
    far = view.boxes[2]
    moved = Box((far.start[0], far.start[1] + 2), far.stop, 1, far.id)  # its neighbours are out of reach
    again = finish(View(view.values, [*view.boxes[:2], moved]), None, found)
    assert done == [12]
    assert again[10] is found[10]
    done.clear()
    near = Box((4, 14), (10, 22), 1, 99)  # a new box between the first two
    finish(View(view.values, [*view.boxes, near]), None, found)
    assert sorted(done) == [10, 11, 99]
    done.clear()
    fewer = finish(View(view.values, view.boxes[:2]), None, found)
    assert not done
    assert sorted(fewer) == [10, 11]
    said = np.zeros(view.values.shape[1:], np.uint8)
    said[10, 10] = 1
    finish(view, said, found)
    assert done == [10]


def test_results_come_a_few_boxes_at_a_time(monkeypatch):
    monkeypatch.setattr(boxmasks, "AT_ONCE", {2: 2, 3: 1})
    view, _ = scene(2)
    assert [(len(found), left) for found, left in find_masks(view, None, {})] == [(0, 3), (2, 1), (3, 0)]
    assert len(to_segments(view.boxes, {}, None)) == 0


@pytest.mark.parametrize("ndim", [2, 3])
def test_what_is_painted_in_a_box_is_obeyed(ndim):
    view, _, found = plain(ndim)
    shape = view.values.shape[1:]
    before = to_segments(view.boxes, found, None)
    scribbles = np.zeros(shape, np.uint8)
    box = view.boxes[0]
    middle = tuple((a + b) // 2 for a, b in zip(box.start, box.stop, strict=True))
    corner = tuple(box.start)
    scribbles[middle], scribbles[corner] = BACKGROUND, 1
    clicks = (Click(tuple(float(b) for b in view.boxes[1].start), 1),)
    said = spoken(Hints(shape, scribbles, clicks=clicks), (1.0,) * ndim)
    one, other, third = to_segments(view.boxes, finish(view, said, found), said)
    inside = tuple(m - a for m, a in zip(middle, box.start, strict=True))
    assert before[0].mask[inside]
    assert not one.mask[inside]
    assert one.mask[(0,) * ndim]
    assert other.mask[(0,) * ndim]
    np.testing.assert_array_equal(third.mask, before[2].mask)
    assert spoken(Hints(shape, np.zeros(shape, np.uint8)), (1.0,) * ndim) is None


def test_a_box_that_is_filled_too_little_is_reset_unless_a_person_spoke_there():
    view, _, found = plain(2)
    weak = {k: boxmasks.Found(one.key, one.probability * 0, 0.0) for k, one in found.items()}
    mixed = {**found, 10: weak[10]}
    segments = to_segments(view.boxes, mixed, None)
    assert segments[0].mask.any()  # the ellipse, not nothing
    assert segments[0].mask.mean() == pytest.approx(np.pi / 4, abs=0.06)
    said = np.zeros(view.values.shape[1:], np.uint8)
    said[place_of(view.boxes[0])] = BACKGROUND
    assert not to_segments(view.boxes, mixed, said)[0].mask.any()


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_networks_word_is_taken_where_it_makes_a_mask_more_certain(ndim):
    view, truth, found = plain(ndim)
    doubtful = {k: boxmasks.Found(v.key, np.full_like(v.probability, 0.5), 0.0) for k, v in found.items()}
    sure = np.where(truth > 0, 0.99, 0.01).astype(np.float32)
    probabilities = np.stack([1 - sure, sure])
    refined = refine_masks(view, None, doubtful, probabilities, (0, 1))
    for box, one in zip(view.boxes, to_segments(view.boxes, refined, None), strict=True):
        inside = truth[place_of(box)] > 0
        assert (one.mask & inside).sum() / (one.mask | inside).sum() > 0.9
        assert refined[box.id].certainty > 0
        assert refined[box.id].key == found[box.id].key  # so it is kept until something changes
    surest = {k: boxmasks.Found(v.key, v.probability, 1.1) for k, v in found.items()}
    assert refine_masks(view, None, surest, probabilities, (0, 1)) == surest
