"""How far a head is trusted: what hidden strokes say of it, how sure it is, where a walk ends in its word."""

import numpy as np
import pytest
import torch
from test_instantwork import blobs, chamber, inside_and_outside, strokes

from napari_plugin.instantwork import look
from wsseg.hints import Hints
from wsseg.images import Image
from wsseg.patches import Sample
from wsseg.steps import finish
from wsseg.trust import PULL, finds_more, halves, pull, sureness, trust
from wsseg.weak import weak_labels


def asked(values: np.ndarray, hints: Hints) -> float | None:
    image = Image(values, (1.0,) * (values.ndim - 1))
    looked = finish(look(image, "scene"))
    sample = Sample(image, weak_labels(hints, spacing=image.spacing), looked.statistics)
    return finish(finds_more(sample, looked.features, 2, torch.device("cpu")))


def test_hidden_strokes_are_found_by_the_head_where_objects_are_alike_and_lie_apart(dims):
    values, truth = blobs(dims, 8)
    assert asked(values, strokes(truth, (1, 3, 5, 7))) > 0.7


def test_hidden_strokes_are_found_by_the_walk_where_they_lie_in_one_object_like_its_surroundings(dims):
    values, truth = chamber(dims)
    assert asked(values, inside_and_outside(truth, 3)) < 0.05


def test_one_stroke_hides_nothing(dims):
    values, truth = blobs(dims, 8)
    assert asked(values, strokes(truth, (1,))) is None


def test_every_stroke_but_background_is_hidden_once(dims):
    _, truth = blobs(dims, 8)
    labels = weak_labels(strokes(truth, (1, 3, 5)), spacing=(1.0,) * dims)
    one, other = halves(labels)
    assert not (one & other).any()
    np.testing.assert_array_equal(one | other, labels.known & (labels.target == 1))
    assert one.any()
    assert other.any()


def test_sureness_is_1_where_a_class_is_certain_and_0_where_two_are_as_likely():
    chances = np.array([[1.0, 0.5, 0.25, 0.4], [0.0, 0.5, 0.75, 0.3], [0.0, 0.0, 0.0, 0.3]])
    np.testing.assert_allclose(sureness(chances), [1, 0, 0.5, 0])


def test_a_head_is_trusted_that_is_sure_or_finds_hidden_strokes():
    assert trust(0.95, None) == trust(1.0, None) == trust(1.0, -1.0) == 1
    assert trust(0.3, 1.0) == 1  # it finds all, walks nothing
    assert trust(0.475, None) == trust(0.475, 0.0) == pytest.approx(0.5**16)
    assert trust(0.475, 0.5) == pytest.approx(0.5**8)
    assert trust(0.475, -0.5) == pytest.approx(0.5**24)


def test_walks_end_where_the_head_is_sure():
    chances = np.array([[1.0, 0.75, 0.5]], np.float32)
    np.testing.assert_allclose(
        pull(np.concatenate([chances, 1 - chances]), 0.5), PULL * 0.5 * np.array([1, 0.25, 0])
    )
