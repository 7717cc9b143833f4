"""What strokes imply: on images whose objects are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from wsseg.images import Image
from wsseg.normalise import Normalisation
from wsseg.patches import Sample
from wsseg.propagate import (
    honour,
    scribbled,
    walk,
    walked_every,
)
from wsseg.steps import finish
from wsseg.weak import WeakLabels

CPU = torch.device("cpu")
SIDE = {2: 64, 3: 40}


def balls(dims: int, objects: int, marked: int) -> tuple[Sample, np.ndarray]:
    """Bright balls on a dark, noisy ground; strokes in the first few of them and all around the border."""
    side = SIDE[dims]
    rng = np.random.default_rng(dims)
    grid = np.stack(np.meshgrid(*[np.arange(side)] * dims, indexing="ij"), -1)
    corners = np.array(list(np.ndindex(*[2] * dims)))[:objects]
    truth, target, weight = (np.zeros([side] * dims, t) for t in (bool, np.int64, np.float32))
    for number, corner in enumerate(corners):
        centre = side * (1 + 2 * corner) // 4
        truth |= np.linalg.norm(grid - centre, axis=-1) < side / 8
        if number < marked:
            stroke = tuple(slice(c - 1, c + 2) for c in centre)
            target[stroke], weight[stroke] = 1, 1
    weight[1, 2:-2] = weight[-2, 2:-2] = 1
    values = gaussian_filter(truth.astype(float), 0.7) + rng.normal(0, 0.1, truth.shape)
    image = Image(values[None].astype(np.float32), (1.0,) * dims)
    labels = WeakLabels(target, weight * (weight > 0))
    return Sample(image, labels, Normalisation().measure(image)), truth


def test_finished_slices_masks_and_a_single_class_are_no_strokes():
    sample, _ = balls(3, 1, 1)
    assert scribbled(sample)
    labels = sample.labels
    slices = labels.weight.copy()
    slices[:, 7] = 1
    assert not scribbled(replace(sample, labels=replace(labels, weight=slices)))
    assert not scribbled(replace(sample, labels=replace(labels, weight=np.ones_like(slices))))
    ground = replace(labels, weight=labels.weight * (labels.target == 0))
    assert not scribbled(replace(sample, labels=ground))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_mask_honours_strokes_and_edges(dims):
    sample, truth = balls(dims, 4, 2)
    rough = np.clip(truth + np.random.default_rng(0).normal(0, 0.7, truth.shape), 0, 1).astype(np.float32)
    said = np.stack([1 - rough, rough])
    honoured = honour(sample, said, "alike", CPU, 2)
    assert ((honoured[1] > 0.5) == truth).mean() > 0.99 > (said.argmax(0) == truth).mean()
    one, alone = balls(dims, 1, 1)
    assert ((honour(one, None, "marked", CPU, 2).argmax(0) == 1) == alone).mean() > 0.99


@pytest.mark.parametrize("dims", [2, 3])
def test_where_all_is_marked_a_network_is_asked_of_volumes_that_it_knows(dims):
    sample, truth = balls(dims, 2, 1)  # both are there, one is marked
    walked = honour(sample, None, "marked", CPU, 2)
    for sure, asked in ((0.95, dims == 3), (0.7, False)):  # sureness 0.9 and 0.4 of what is found
        word = np.where(truth, sure, 1 - sure).astype(np.float32)
        said = honour(sample, np.stack([1 - word, word]), "marked", CPU, 2)
        if asked:
            assert ((said[1] > 0.5) == truth).mean() > 0.99
        else:
            assert np.array_equal(said, walked)
    nothing = np.stack([np.ones(truth.shape, np.float32), np.zeros(truth.shape, np.float32)])
    assert np.array_equal(honour(sample, nothing, "marked", CPU, 2), walked)


def test_what_is_no_stroke_is_kept_to_the_voxel_and_the_rest_left_alone():
    sample, truth = balls(3, 1, 1)
    weight = np.zeros_like(sample.labels.weight)
    weight[:, 5] = 1
    slices = replace(sample, labels=replace(sample.labels, weight=weight))
    said = np.full((2, *truth.shape), 0.5, np.float32)
    honoured = honour(slices, said, None, CPU, 2)
    np.testing.assert_array_equal(honoured[:, :, 5].argmax(0), sample.labels.target[:, 5])
    rest = weight == 0
    np.testing.assert_array_equal(honoured[:, rest], said[:, rest])
    assert said.max() == 0.5  # what was handed in is left alone


@pytest.mark.parametrize("size", [(40, 50), (20, 9, 30)])
def test_a_word_given_at_the_voxels_of_a_coarse_walk_counts_as_in_full(size):
    rng = np.random.default_rng(0)
    every = walked_every(size, 300)
    grid = tuple(slice(None, None, step) for step in every)
    assert np.prod([-(-n // step) for n, step in zip(size, every, strict=True)]) <= 300
    image = Image(rng.normal(size=(1, *size)).astype(np.float32), (1.0,) * len(size))
    known = np.zeros(size, np.float32)
    known[(0,) * len(size)] = known[(-1,) * len(size)] = 1
    target = np.zeros(size, np.int64)
    target[(-1,) * len(size)] = 1
    sample = Sample(image, WeakLabels(target, known), Normalisation().measure(image))
    word = np.zeros((2, *size), np.float32)
    half = size[0] // 2 // every[0] * every[0]  # a border between blocks, so that both say the same
    word[0, :half], word[1, half:] = 1, 1
    lost = np.where(np.arange(size[0]) < half, 0.5, 0.1).astype(np.float32)
    lost = np.broadcast_to(lost.reshape(-1, *[1] * (len(size) - 1)), size).copy()
    full = finish(walk(sample, 2, lost, CPU, word, voxels=300))
    sparse = finish(walk(sample, 2, lost[grid], CPU, word[(slice(None), *grid)], voxels=300))
    np.testing.assert_allclose(sparse, full, atol=1e-3)
    assert full[1, -2].mean() > 0.5 > full[1, 1].mean()


def test_what_is_painted_stays_painted_where_a_walk_is_coarse(dims):
    sample, _ = balls(dims, 4, 4)
    labels = sample.labels
    known = np.argwhere(labels.known)
    rng = np.random.default_rng(0)
    for place in map(tuple, known):  # beside each painted voxel one of the other class: a block holds both
        beside = tuple(
            np.minimum(np.array(place) + rng.integers(0, 2, dims), np.array(labels.target.shape) - 1)
        )
        if not labels.known[beside]:
            labels.target[beside], labels.weight[beside] = 1 - labels.target[place], 1
    found = finish(walk(sample, 2, 0.0, CPU, voxels=labels.target.size // 4))
    assert found.shape[1:] == labels.target.shape
    assert np.array_equal(found.argmax(0)[labels.known], labels.target[labels.known])
