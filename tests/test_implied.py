"""What strokes imply around them, on images whose objects are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_instantwork import blobs, chamber, inside_and_outside, strokes
from test_meaning import marked
from test_propagate import balls

import wsseg.implied
import wsseg.propagate
from wsseg.implied import WEIGHT, propagate
from wsseg.patches import Sample
from wsseg.steps import finish

CPU = torch.device("cpu")


def implied(sample: Sample, objects: str, said: str = "auto") -> Sample:
    (found,) = finish(propagate([sample], 2, objects, CPU, said))
    return found


def test_where_all_is_marked_the_implied_labels_are_the_object(dims):
    sample, truth = balls(dims, 1, 1)
    labels = implied(sample, "marked").labels
    sure = labels.weight > 0.8 * WEIGHT
    assert sure.mean() > 0.8
    assert (labels.target == truth)[sure].mean() > 0.99
    known = sample.labels.known
    np.testing.assert_array_equal(labels.weight[known], 1)
    assert labels.weight[~known].max() <= WEIGHT


def test_what_looks_alike_is_labelled_too_where_some_of_many_are_marked(dims):
    values, truth = blobs(dims, 8)
    sample = marked(values, strokes(truth, (1, 5)))
    labels = implied(sample, "alike").labels
    unmarked = (truth > 0) & (truth != 1) & (truth != 5)
    found = (labels.target == 1) & (labels.weight > 0)
    assert found[unmarked].mean() > 0.7
    alone = implied(sample, "marked").labels
    assert not (alone.target == 1)[unmarked].any()  # the harm that "alike" is there to prevent
    np.testing.assert_array_equal(labels.weight[sample.labels.known], 1)
    assert labels.weight[~sample.labels.known].max() <= WEIGHT


def test_a_head_that_is_not_sure_is_not_trusted_unless_the_user_says_so(dims):
    values, truth = chamber(dims)
    sample = marked(values, inside_and_outside(truth, 1))
    measured, told = implied(sample, "alike").labels, implied(sample, "alike", "alike").labels
    right = [np.average(s.target == truth, weights=s.weight) for s in (measured, told)]
    assert right[0] > 0.97
    assert right[1] < right[0]


@pytest.mark.parametrize("dims", [2, 3])
def test_of_too_large_an_image_what_no_stroke_is_near_stays_unknown(dims, monkeypatch):
    sample, truth = balls(dims, 4, 2)
    monkeypatch.setattr(wsseg.implied, "LIMIT", 1000)
    alike, alone = implied(sample, "alike"), implied(sample, "marked")
    unmarked = truth & ~balls(dims, 2, 2)[1]
    wrong = [(s.labels.weight * (s.labels.target == 0))[unmarked].mean() for s in (alike, alone)]
    assert wrong[0] < 0.1 * WEIGHT
    assert wrong[1] > 3 * wrong[0]
    near = truth & (alike.labels.weight > 0)
    assert (alike.labels.target[near] == 1).mean() > 0.9


def test_images_without_strokes_and_strokes_without_a_meaning_imply_nothing():
    sample, _ = balls(3, 1, 1)
    dense = replace(sample, labels=replace(sample.labels, weight=np.ones_like(sample.labels.weight)))
    assert implied(dense, "marked") is dense
    assert finish(propagate([sample], 2, None, CPU))[0] is sample


def test_large_images_are_walked_coarsely_with_much_the_same_result(dims, monkeypatch):
    sample, truth = balls(dims, 1, 1)
    monkeypatch.setattr(wsseg.propagate, "VOXELS", truth.size // 2)
    labels = implied(sample, "marked").labels
    assert labels.target.shape == truth.shape
    assert (labels.target == truth).mean() > 0.97


def test_between_its_parts_it_can_be_stopped_and_each_is_told_as_one_of_the_image():
    values, truth = blobs(2, 8)
    sample = marked(values, strokes(truth, (1, 5)))
    told = list(propagate([sample, sample], 2, "alike", CPU))
    assert {(step.stage, step.total) for step in told} == {("propagate", 2)}
    assert [step.index for step in told] == sorted(step.index for step in told)
    assert [step.index for step in told].count(0) > 1  # features and walks of the first image
    assert told[-1].index == 2
    steps = propagate([sample, sample], 2, "alike", CPU)
    next(steps)
    steps.close()
    with pytest.raises(StopIteration):
        next(steps)
