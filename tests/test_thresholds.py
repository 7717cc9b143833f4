"""Thresholds of heat on mixtures whose parts are known."""

import numpy as np
import pytest

from wsseg.thresholds import SAMPLE, Thresholds, choose_thresholds, sample_heat, within_size


def heat_of(rng, *, object_share, count=20):
    """Background at 0, an object at 10, surroundings at 5; (heat, truth) of several images."""
    parts = rng.choice(3, (count, 2000), p=[1 - 2 * object_share, object_share, object_share])
    return np.array([0.0, 5.0, 10.0])[parts] + rng.normal(0, 0.7, parts.shape), parts


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_the_object_is_above_and_the_background_below(share):
    rng = np.random.default_rng(0)
    heat, parts = heat_of(rng, object_share=share)
    found = choose_thresholds(list(heat), [rng.normal(0, 0.7, 2000)] * 20)
    assert (parts[heat > found.upper] == 2).mean() > 0.95
    assert (parts[heat <= found.lower] == 0).mean() > 0.95
    assert (heat > found.upper)[parts == 2].mean() > 0.9


def test_the_threshold_rises_above_what_images_without_the_class_reach():
    rng = np.random.default_rng(0)
    heat, _ = heat_of(rng, object_share=0.02)
    hot = rng.normal(0, 0.7, (20, 2000))
    hot[:, :16] = rng.normal(8.5, 0.3, (20, 16))  # something else that is nearly as hot
    plain = choose_thresholds(list(heat), [rng.normal(0, 0.7, 2000)] * 20)
    raised = choose_thresholds(list(heat), list(hot))
    assert plain.upper < 8 < raised.upper
    assert plain.lower < raised.lower < 5


def test_no_thresholds_where_heat_is_the_same_with_the_class_and_without():
    rng = np.random.default_rng(0)
    same = [rng.normal(0, 1, 2000) for _ in range(20)]
    assert choose_thresholds(same[:10], same[10:]) is None
    assert choose_thresholds([np.zeros(50)], [np.zeros(50)]) is None


def test_every_image_gives_as_many_voxels():
    assert len(sample_heat(np.zeros((300, 200)))) == SAMPLE
    assert len(sample_heat(np.zeros((10, 5, 4)))) == 200
    line = sample_heat(np.arange(10 * SAMPLE).reshape(100, -1))
    assert line[0] == 0
    assert line[-1] == 10 * SAMPLE - 1


def test_a_size_prior_moves_the_thresholds_of_an_image():
    heat = np.arange(1000.0).reshape(40, 25)  # so that a share is a threshold
    shared = Thresholds(200.0, 950.0)
    assert within_size(heat, shared, 0.01, 0.9) == shared
    larger = within_size(heat, Thresholds(200.0, 2000.0), 0.1, 0.9)
    assert (heat > larger.upper).mean() == pytest.approx(0.1, abs=0.002)
    smaller = within_size(heat, Thresholds(-5.0, 100.0), 0.01, 0.2)
    assert (heat > smaller.upper).mean() == pytest.approx(0.2, abs=0.002)
    assert smaller.lower == smaller.upper
