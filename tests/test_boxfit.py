"""Masks of boxes: on balls of known shape, and what a network or a shape adds."""

import numpy as np
import pytest
import torch

from wsseg.boxes import ellipse, place_of
from wsseg.boxfit import FitConfig, fit_boxes, soft_ellipse
from wsseg.crops import SIDES, cut_boxes, resample
from wsseg.hints import Box


def scene(dims, seed=0, contrast=3.0, channels=1):
    """An L-shaped object in noise, its tight box, its truth on the box."""
    size = (48, 44, 40)[:dims]
    truth = np.zeros(size, bool)
    truth[(slice(14, 34),) + (slice(14, 22),) * (dims - 1)] = True
    truth[(slice(14, 22),) + (slice(14, 34),) * (dims - 1)] = True
    rng = np.random.default_rng(seed)
    image = np.stack([truth * contrast + rng.normal(0, 1, size) for _ in range(channels)])
    box = Box((14,) * dims, (34,) * dims, 1, 1)
    return image.astype(np.float32), box, truth[place_of(box)]


def overlap(mask, truth):
    return (mask & truth).sum() / (mask | truth).sum()


def fitted(image, box, config=None, **options):
    crops = cut_boxes(image, [box], SIDES[len(box.start)][0], [box])
    return crops.to_box(0, fit_boxes(crops, config or FitConfig(), **options)[0]) > 0.5


@pytest.mark.parametrize("channels", [1, 3])
def test_an_object_is_found_in_its_box(dims, channels):
    image, box, truth = scene(dims, channels=channels)
    found = overlap(fitted(image, box), truth)
    assert found > {2: 0.7, 3: 0.8}[dims]  # the far corners of an L are where an ellipse doubts most
    assert found > overlap(ellipse(box).mask, truth) + 0.2
    assert overlap(fitted(image, box, FitConfig(shape=1.0)), truth) > 0.85
    dark = overlap(fitted(-image, box), truth)
    assert dark == pytest.approx(found, abs=1e-6)  # dark on bright is the same


def test_without_contrast_the_shape_is_left(dims):
    _, box, _ = scene(dims)
    flat = np.zeros((1, 48, 44, 40)[: dims + 1], np.float32)
    assert overlap(fitted(flat, box), ellipse(box).mask) > 0.8


def test_the_word_of_a_network_counts(dims):
    image, box, truth = scene(dims, contrast=0.0)
    side = SIDES[dims][0]
    crops = cut_boxes(image, [box], side, [box])
    where = np.zeros(image.shape[1:], np.float32)
    where[place_of(box)] = truth
    evidence = (resample(where[None], box, side) - 0.5) * 12
    found = crops.to_box(0, fit_boxes(crops, FitConfig(colour=0), evidence=evidence)[0]) > 0.5
    assert overlap(found, truth) > 0.85
    assert overlap(fitted(image, box, FitConfig(colour=0)), truth) < 0.7


def test_nothing_lies_outside_the_box(dims):
    image, box, _ = scene(dims)
    crops = cut_boxes(image, [box], SIDES[dims][0], [box])
    assert not fit_boxes(crops)[0][~crops.inside].any()


def test_a_neighbour_in_another_box_is_not_taken_for_surroundings():
    rng = np.random.default_rng(0)
    image = rng.normal(0, 0.3, (1, 40, 60)).astype(np.float32)
    image[0, 12:28, 10:26] += 3  # all that lies around this one is its like, and noise
    image[0, 12:28, 27:43] += 3
    image[0, 12:28, 0:9] += 3
    boxes = [Box((12, 10), (28, 26), 1, 1), Box((12, 27), (28, 43), 1, 2), Box((12, 0), (28, 9), 1, 3)]
    crops = cut_boxes(image, boxes[:1], SIDES[2][0], boxes)
    assert crops.to_box(0, fit_boxes(crops, FitConfig(shape=2.0))[0]).mean() > 0.9


def test_what_two_boxes_share_goes_to_the_nearer_one(dims):
    flat = np.zeros((1, *(40,) * dims), np.float32)
    one = Box((4,) * dims, (20,) * dims, 1, 1)
    other = Box((14,) + (4,) * (dims - 1), (30,) + (20,) * (dims - 1), 1, 2)
    crops = cut_boxes(flat, [one, other], SIDES[dims][0], [one, other])
    config = FitConfig(colour=0, smooth=0.1)
    first, second = (crops.to_box(i, p) for i, p in enumerate(fit_boxes(crops, config)))
    shared = (slice(10, 16),) + (slice(6, 10),) * (dims - 1)  # of the first: voxels 14 to 20, halfway at 17
    near, far = first[shared][:3].mean(), first[shared][3:].mean()
    assert near > 0.5 > far
    assert second[(slice(3, 6), *shared[1:])].mean() > 0.5


def test_the_soft_ellipse_changes_sign_on_the_ellipse(dims):
    scores = soft_ellipse(SIDES[dims][0], dims, 4.0)
    positive = (scores > 0).float().sum() / SIDES[dims][0] ** dims
    assert positive == pytest.approx({2: np.pi / 4, 3: np.pi / 6}[dims], abs=0.03)
    assert scores.max() <= 6
    assert scores.min() >= -6
    assert torch.equal(scores, scores.flip(0))


def test_both_solvers_find_the_same(dims):
    pytest.importorskip("pydensecrf.densecrf", reason="the extra crf is not installed")
    image, box, truth = scene(dims)
    local = fitted(image, box, FitConfig(shape=1.0))
    dense = fitted(image, box, FitConfig(shape=1.0, solver="dense"))
    assert overlap(local, dense) > 0.8
    assert overlap(dense, truth) > 0.8
