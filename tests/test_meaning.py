"""What strokes mean, on images whose objects are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_instantwork import blobs, chamber, inside_and_outside, strokes
from test_propagate import SIDE, balls

import wsseg.meaning
from wsseg.hints import Hints
from wsseg.images import Image
from wsseg.meaning import hide_strokes, what_is_meant
from wsseg.normalise import Normalisation
from wsseg.patches import Sample
from wsseg.steps import finish
from wsseg.weak import weak_labels

CPU = torch.device("cpu")


def meant(*samples: Sample) -> str | None:
    return finish(what_is_meant(samples, 2, seed=0, device=CPU))


def marked(values: np.ndarray, hints: Hints) -> Sample:
    image = Image(values, (1.0,) * (values.ndim - 1))
    return Sample(image, weak_labels(hints, spacing=image.spacing), Normalisation().measure(image))


def test_strokes_tell_whether_all_objects_are_marked_or_some_of_many(dims):
    many, _ = balls(dims, 4, 3)
    one, _ = balls(dims, 1, 1)
    assert meant(many) == "alike"
    labels = one.labels
    middle = SIDE[dims] // 2 // 2
    for shift in (-5, 5) if dims == 2 else (-3, 3):  # two more strokes in the same object
        place = (middle + shift, *[middle] * (dims - 1))
        labels.target[place], labels.weight[place] = 1, 1
    assert hide_strokes(labels, np.random.default_rng(0)).any()
    assert meant(one) == "marked"


def test_too_few_strokes_to_hide_any_mean_what_the_head_is_sure_of_or_else_what_walks_reach(dims):
    values, truth = blobs(dims, 8)
    assert meant(marked(values, strokes(truth, (1, 5)))) == "alike"
    values, truth = chamber(dims)
    assert meant(marked(values, inside_and_outside(truth, 1))) == "marked"


def test_images_with_a_stroke_or_two_each_are_judged_together():
    alike, unlike = blobs(2, 8), chamber(2)
    two = marked(alike[0], strokes(alike[1], (1, 5)))
    one = marked(unlike[0], inside_and_outside(unlike[1], 1))
    assert meant(two, two, two, one) == "alike"
    assert meant(one, one, one, two) == "marked"


def test_an_image_too_large_to_look_at_is_what_walks_reach(monkeypatch):
    values, truth = blobs(2, 8)
    sample = marked(values, strokes(truth, (1, 5)))
    assert meant(sample) == "alike"
    monkeypatch.setattr(wsseg.meaning, "LIMIT", 1000)
    assert meant(sample) == "marked"


@pytest.mark.parametrize("dims", [2, 3])
def test_without_strokes_nothing_is_meant(dims):
    sample, _ = balls(dims, 1, 1)
    whole = replace(sample.labels, weight=np.ones_like(sample.labels.weight))
    assert meant(replace(sample, labels=whole)) is None
    assert meant() is None


def test_half_the_strokes_of_a_class_are_hidden_and_never_the_background():
    sample, _ = balls(2, 4, 4)
    hidden = hide_strokes(sample.labels, np.random.default_rng(0))
    strokes = sample.labels.known & (sample.labels.target == 1)
    assert hidden[strokes].sum() == strokes.sum() // 2
    assert not hidden[~strokes].any()
    few, _ = balls(2, 2, 2)
    assert not hide_strokes(few.labels, np.random.default_rng(0)).any()
