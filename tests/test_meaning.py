"""What strokes mean, on images whose objects are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_instantwork import blobs, chamber, inside_and_outside, strokes
from test_propagate import balls

import wsseg.meaning
from wsseg.features import memory_needed
from wsseg.hints import Hints
from wsseg.images import Image
from wsseg.meaning import to_look_at, what_is_meant
from wsseg.normalise import Normalisation
from wsseg.patches import Sample
from wsseg.steps import finish
from wsseg.weak import weak_labels

CPU = torch.device("cpu")


def meant(*samples: Sample) -> str | None:
    return finish(what_is_meant(samples, 2, device=CPU))


def marked(values: np.ndarray, hints: Hints) -> Sample:
    image = Image(values, (1.0,) * (values.ndim - 1))
    return Sample(image, weak_labels(hints, spacing=image.spacing), Normalisation().measure(image))


def test_strokes_tell_whether_all_objects_are_marked_or_some_of_many(dims):
    many, _ = balls(dims, 4, 3)
    assert meant(many) == "alike"
    values, truth = chamber(dims)  # only its wall tells it from what lies around
    assert meant(marked(values, inside_and_outside(truth, 2))) == "marked"


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


def test_an_image_too_large_is_looked_at_smaller(dims, monkeypatch):
    values, truth = blobs(dims, 8)
    sample = marked(values, strokes(truth, (1, 5)))
    monkeypatch.setattr(wsseg.meaning, "LIMIT", memory_needed(sample.image) // 2)
    assert meant(sample) == "alike"
    small = to_look_at(sample, 2)
    assert small.image.shape == tuple(-(-n // 2) for n in sample.image.shape)
    assert small.image.spacing == (2.0,) * dims
    cut = tuple(slice(0, n // 2 * 2) for n in sample.image.shape)
    blocks = np.asarray(sample.image.data)[0][cut].reshape(
        [m for n in values[0][cut].shape for m in (n // 2, 2)]
    )
    means = blocks.mean(tuple(range(1, 2 * dims, 2)))
    halves = tuple(slice(0, n) for n in means.shape)
    assert np.allclose(small.image.data[0][halves], means, atol=1e-4)
    painted = sample.labels.known[cut].reshape(blocks.shape).any(tuple(range(1, 2 * dims, 2)))
    assert np.array_equal(small.labels.known[halves], painted)


@pytest.mark.parametrize("dims", [2, 3])
def test_without_strokes_nothing_is_meant(dims):
    sample, _ = balls(dims, 1, 1)
    whole = replace(sample.labels, weight=np.ones_like(sample.labels.weight))
    assert meant(replace(sample, labels=whole)) is None
    assert meant() is None
