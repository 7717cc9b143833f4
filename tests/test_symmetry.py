"""Flips and turns are allowed only where no class is told apart by side or direction."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from wsseg.symmetry import flip_axes, turn_planes
from wsseg.weak import WeakLabels

HIPPOCAMPUS = Path(__file__).parents[2] / "shared/data/hippocampus/labelsTr"


def _labels(shape, places, every=None):
    target = np.zeros(shape, np.int64)
    for k, region in places:
        target[region] = k
    weight = np.ones(shape, np.float32)
    if every:
        weight[:] = 0
        weight[every // 2 :: every] = 1
    return WeakLabels(target, weight)


def test_classes_in_a_fixed_order_forbid_the_axis():
    above = [(1, np.s_[2:8, 8:12]), (2, np.s_[12:18, 8:12])]
    assert flip_axes([_labels((20, 20), above)] * 4, 3) == (1,)


def test_classes_in_changing_order_allow_it():
    above = _labels((20, 20), [(1, np.s_[2:8, 8:12]), (2, np.s_[12:18, 8:12])])
    below = _labels((20, 20), [(2, np.s_[2:8, 8:12]), (1, np.s_[12:18, 8:12])])
    assert flip_axes([above, below] * 3, 3) == (0, 1)


def test_a_class_always_on_one_side_forbids_the_axis():
    left = _labels((20, 20, 20), [(1, np.s_[8:12, 8:12, 1:5])])
    assert flip_axes([left] * 4, 2) == (0, 1)
    assert flip_axes([left], 2) == (0, 1, 2)  # one image alone has everything on some side


def test_only_what_is_known_counts():
    target = _labels((20, 20), [(1, np.s_[2:8, 8:12]), (2, np.s_[12:18, 8:12])])
    weight = np.zeros((20, 20), np.float32)
    weight[2:8] = 1
    assert flip_axes([WeakLabels(target.target, weight)], 3) == (0, 1)


def test_turns_need_equal_spacing_and_patch():
    assert turn_planes((0, 1, 2), (1, 1, 1), (8, 8, 8)) == ((0, 1), (0, 2), (1, 2))
    assert turn_planes((0, 1, 2), (3, 1, 1), (8, 8, 8)) == ((1, 2),)
    assert turn_planes((0, 1, 2), (1, 1, 1), (8, 8, 16)) == ((0, 1),)
    assert turn_planes((1, 2), (1, 1.02, 1), (8, 8, 8)) == ((1, 2),)
    assert turn_planes((2,), (1, 1, 1), (8, 8, 8)) == ()


@pytest.mark.skipif(not HIPPOCAMPUS.is_dir(), reason="the shared hippocampus volumes are not here")
def test_anterior_and_posterior_of_the_hippocampus_are_not_swapped():
    files = sorted(HIPPOCAMPUS.glob("*.nii.gz"))[:8]
    labels = [np.asanyarray(nibabel.load(f).dataobj).astype(np.int64) for f in files]
    for every in (None, 8):
        weak = []
        for target in labels:
            weight = np.ones(target.shape, np.float32)
            if every:
                weight[:] = 0
                weight[every // 2 :: every] = 1
            weak.append(WeakLabels(target, weight))
        assert 1 not in flip_axes(weak, 3)  # axis 1 runs from posterior to anterior
