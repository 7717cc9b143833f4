"""Overlap and distances: closed forms, a slow loop, and MONAI as a second opinion."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.metrics import ABSENT, bounding_box, score_masks, score_object, surface_distances


def square(shape, start, stop):
    mask = np.zeros(shape, np.uint8)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = 1
    return mask


def blobs(shape, seed):
    """Two overlapping random shapes that also touch the border."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    base, other = (gaussian_filter(rng.normal(size=shape), 2.5) for _ in range(2))
    return (base > 0).astype(np.uint8), (base + 0.5 * other > 0.01).astype(np.uint8)


@pytest.mark.parametrize("shape", [(20, 30), (12, 20, 30)])
def test_shifted_square(shape):
    """Shifted by 2 of 8 along the last axis: overlap 6/8; every distance 0 or at most 2 voxels."""
    size = [5] * (len(shape) - 1)
    a = square(shape, [3] * len(shape), [*(3 + s for s in size), 11])
    b = square(shape, [3] * len(shape[:-1]) + [5], [*(3 + s for s in size), 13])
    spacing = [1.0] * (len(shape) - 1) + [0.5]
    found = score_masks(a, b, [1], spacing, tolerance=0.99)[1]
    assert found.dice == pytest.approx(6 / 8)
    assert found.iou == pytest.approx(6 / 10)
    assert found.hd95 == pytest.approx(1.0)  # the face moved by two voxels of 0.5
    near = 0
    for one, two in ((a, b), (b, a)):
        points = [np.argwhere(mask.astype(bool) & ~eroded(mask)) * spacing for mask in (one, two)]
        gaps = [min(math.dist(p, q) for q in points[1]) for p in points[0]]
        near += sum(gap <= 0.99 for gap in gaps) / 2 / len(gaps)
    assert found.surface_dice == pytest.approx(near)


def eroded(mask):
    """The voxels whose face neighbours are all in the mask, by a slow loop."""
    inner = np.zeros(mask.shape, bool)
    for place in np.argwhere(mask):
        steps = [np.eye(mask.ndim, dtype=int)[a] * s for a in range(mask.ndim) for s in (-1, 1)]
        inside = [all(0 <= place + step) and all(place + step < mask.shape) for step in steps]
        inner[tuple(place)] = all(
            ok and mask[tuple(place + step)] for ok, step in zip(inside, steps, strict=True)
        )
    return inner


@pytest.mark.parametrize(
    ("shape", "spacing"), [((40, 50), (1.0, 1.0)), ((40, 50), (0.7, 2.0)), ((14, 24, 20), (3.0, 0.8, 1.1))]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_agrees_with_monai(shape, spacing, seed):
    from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou
    from monai.metrics.surface_dice import compute_surface_dice

    a, b = blobs(shape, seed)
    ours = score_masks(a, b, [0, 1], spacing, tolerance=1.5)
    one_hot = [torch.from_numpy(np.stack([m == 0, m == 1])[None].astype(np.float32)) for m in (a, b)]
    options = {"include_background": True, "spacing": list(spacing)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI's own deprecations
        hd95 = compute_hausdorff_distance(*one_hot, percentile=95, **options)
        near = compute_surface_dice(*one_hot, class_thresholds=[1.5, 1.5], **options)
        dice, iou = compute_dice(*one_hot), compute_iou(*one_hot)
    for k in (0, 1):
        assert ours[k].hd95 == pytest.approx(float(hd95[0, k]), rel=1e-5)
        assert ours[k].surface_dice == pytest.approx(float(near[0, k]), rel=1e-5)
        assert ours[k].dice == pytest.approx(float(dice[0, k]), rel=1e-5)
        assert ours[k].iou == pytest.approx(float(iou[0, k]), rel=1e-5)


@pytest.mark.parametrize("shape", [(30, 40), (10, 30, 40)])
def test_absent(shape):
    empty = np.zeros(shape, np.uint8)
    some = square(shape, [1] * len(shape), [4] * len(shape))
    spacing = (2.0,) * len(shape)
    assert score_masks(empty, empty, [1], spacing)[1] == ABSENT
    for pair in ((some, empty), (empty, some)):
        found = score_masks(*pair, [1], spacing)[1]
        assert (found.dice, found.iou, found.surface_dice) == (0, 0, 0)
        assert found.hd95 == pytest.approx(2 * math.sqrt(sum(n * n for n in shape)))
    assert ABSENT.as_dict() == {"dice": 1.0, "iou": 1.0, "hd95": None, "surface_dice": None}


def test_equal_masks_are_perfect_also_at_the_border():
    mask = np.ones((6, 7), np.uint8)
    found = score_masks(mask, mask, [1])[1]
    assert (found.dice, found.iou, found.hd95, found.surface_dice) == (1, 1, 0, 1)


def test_a_single_slice_is_measured_as_its_picture():
    a, b = blobs((30, 40), 3)
    flat = score_masks(a, b, [1], (0.5, 0.8))[1]
    thin = score_masks(a[None], b[None], [1], (4.0, 0.5, 0.8))[1]
    assert (thin.dice, thin.hd95, thin.surface_dice) == (flat.dice, flat.hd95, flat.surface_dice)
    # and so is an object cropped out of one slice of a volume: its faces to the next slices are its surface
    volume = np.zeros((3, 30, 40), bool)
    volume[1] = a
    assert score_object(volume, volume).hd95 == 0


def test_tolerance_holds_what_rounding_moved():
    a, b = square((1, 40), (0, 10), (1, 11)), square((1, 40), (0, 20), (1, 21))
    assert 10 * 0.1 == 1.0
    assert score_masks(a, b, [1], (1.0, 0.1), tolerance=1.0)[1].surface_dice == 1.0
    c = square((1, 40), (0, 13), (1, 14))
    assert 3 * 0.1 > 0.3
    assert score_masks(a, c, [1], (1.0, 0.1), tolerance=0.3)[1].surface_dice == 1.0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(6, 7), (4, 5, 6)]))
def test_symmetric_and_padding_changes_nothing(seed, shape):
    rng = np.random.default_rng(seed)
    a, b = (rng.random(shape) < 0.4 for _ in range(2))
    if not (a.any() and b.any()):
        return
    there, back = score_object(a, b), score_object(b, a)
    assert there == back
    wide = [np.pad(mask, 3) for mask in (a, b)]
    assert score_object(*wide) == there
    assert 0 <= there.surface_dice <= 1
    assert there.dice == pytest.approx(2 * there.iou / (1 + there.iou))


def test_bounding_box():
    assert bounding_box(square((9, 9), (2, 3), (5, 4)).astype(bool)) == (slice(2, 5), slice(3, 4))
    assert bounding_box(np.zeros((3, 3), bool)) is None


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="shape"):
        score_masks(np.zeros((2, 3), int), np.zeros((3, 2), int), [1])
    with pytest.raises(ValueError, match="empty"):
        surface_distances(np.zeros((2, 2), bool), np.ones((2, 2), bool))
