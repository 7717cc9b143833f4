"""The head that answers while one draws: what it learns, what it does not care about, and in which order."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import ball

import wsseg.instant
from wsseg.features import feature_steps
from wsseg.images import Image
from wsseg.instant import Focus, answer, fit_head, middles
from wsseg.normalise import Normalisation
from wsseg.steps import finish
from wsseg.weak import WeakLabels

SIZE = {2: (48, 40), 3: (24, 20, 22)}


def features_of(values: np.ndarray):
    image = Image(values, (1.0,) * (values.ndim - 1))
    return finish(feature_steps(image, Normalisation().measure(image)))


def painted(target: np.ndarray, where: np.ndarray) -> WeakLabels:
    """Labels that know the truth in some places, and a lie elsewhere."""
    return WeakLabels(np.where(where, target, 1 - target).astype(np.int64), where.astype(np.float32))


def strokes(size: tuple[int, ...]) -> np.ndarray:
    """Lines through the middle along each axis, and one along a border."""
    where = np.zeros(size, bool)
    for axis in range(len(size)):
        where[tuple(slice(None) if a == axis else n // 2 for a, n in enumerate(size))] = True
    where[(0,) * (len(size) - 1)] = True
    return where


def everywhere(shape) -> tuple[slice, ...]:
    return tuple(slice(0, n) for n in shape)


def mask_of(features, head, labels, region=None) -> np.ndarray:
    mask = np.full(features.shape, 9, np.uint8)
    for where, chances in answer(features, head, labels, Focus(region or everywhere(features.shape))):
        assert (mask[where] == 9).all()  # no place twice
        mask[where] = chances.argmax(0)
    assert mask.max() < 9  # and none left out
    return mask


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.fixture
def scene(dims):
    """Features of a bright ball in noise, two strokes, and the truth."""
    values, truth = ball(SIZE[dims], radius=0.3)
    return features_of(values), painted(truth, strokes(truth.shape)), truth


def test_a_few_strokes_find_the_ball_and_keep_what_is_painted(scene):
    features, labels, truth = scene
    head = fit_head(features, labels, 2)
    mask = mask_of(features, head, labels)
    assert dice(mask == 1, truth == 1) > 0.8
    odd = replace(labels, target=np.where(labels.known, 1 - labels.target, 0))
    np.testing.assert_array_equal(mask_of(features, head, odd)[labels.known], odd.target[labels.known])
    chances = head.probabilities(features, everywhere(truth.shape))
    assert chances.shape == (2, *truth.shape)
    np.testing.assert_allclose(chances.sum(0), 1, atol=1e-5)


def test_the_same_paint_gives_the_same_answer_and_a_seed_another(scene):
    features, labels, truth = scene
    a, b, c = (
        fit_head(features, labels, 2, seed=seed).probabilities(features, everywhere(truth.shape))
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


@pytest.mark.parametrize("times", [4, 40])
def test_how_much_is_painted_of_a_class_does_not_bias(times):
    # two classes that overlap: a voxel's own value is all there is, and each has half of the image. Trees
    # that count every voxel alike give 76 % to what is painted 4 times as much, 96 % at 40 times
    rng = np.random.default_rng(0)
    truth = np.zeros((160, 160), np.int64)
    truth[:, 80:] = 1
    values = rng.normal(size=truth.shape) + np.where(truth == 1, 1.0, -1.0)
    shuffled = rng.permutation(truth.size)  # so that no neighbour tells the class
    truth, values = truth.ravel()[shuffled].reshape(160, 160), values.ravel()[shuffled].reshape(160, 160)
    features = features_of(values[None])
    shares = []
    for more in (0, 1):
        where = np.zeros(truth.shape, bool)
        for k in (0, 1):
            places = rng.permutation(np.flatnonzero(truth == k))[: 200 * (times if k == more else 1)]
            where.ravel()[places] = True
        labels = painted(truth, where)
        found = fit_head(features, labels, 2).probabilities(features, everywhere(truth.shape))
        shares.append(float((found[1] > 0.5).mean()))
    assert abs(shares[0] - 0.5) < 0.22
    assert abs(shares[1] - 0.5) < 0.22


def test_finished_slices_are_thinned_out_to_each_class_alike(scene, monkeypatch):
    features, _, truth = scene
    monkeypatch.setattr(wsseg.instant, "MOST", 50)
    labels = painted(truth, np.ones(truth.shape, bool))
    head = fit_head(features, labels, 2)
    assert all(tree.tree_.n_node_samples[0] == 100 for tree in head.trees.estimators_)
    found = head.probabilities(features, everywhere(truth.shape))[1] > 0.5
    assert dice(found, truth == 1) > 0.8


def test_a_class_that_nobody_painted_is_never_answered(scene):
    features, labels, _ = scene
    skipped = replace(labels, target=labels.target * 2)  # classes 0 and 2 of four
    chances = fit_head(features, skipped, 4).probabilities(features, everywhere(features.shape))
    assert chances.shape[0] == 4
    assert not chances[[1, 3]].any()
    only = replace(labels, target=np.ones_like(labels.target))
    assert (fit_head(features, only, 2).probabilities(features, everywhere(features.shape))[1] == 1).all()


def test_nothing_painted_and_labels_of_another_shape_are_refused(scene):
    features, labels, _ = scene
    with pytest.raises(ValueError, match="nothing is painted"):
        fit_head(features, replace(labels, weight=np.zeros_like(labels.weight)), 2)
    with pytest.raises(ValueError, match="differ in shape"):
        fit_head(features, WeakLabels(labels.target[1:], labels.weight[1:]), 2)


def test_pieces_give_what_the_whole_gives(scene, monkeypatch):
    features, labels, _ = scene
    head = fit_head(features, labels, 2)
    whole = mask_of(features, head, labels)
    monkeypatch.setattr(wsseg.instant, "PIECE", 100)
    np.testing.assert_array_equal(mask_of(features, head, labels), whole)


def test_answers_are_the_heads_word_and_sure_where_it_is_painted(scene):
    features, labels, _ = scene
    head = fit_head(features, labels, 2)
    said = head.probabilities(features, everywhere(features.shape))
    for where, chances in answer(features, head, labels, Focus(everywhere(features.shape))):
        sure = np.stack([labels.target != 1, labels.target == 1]).astype(float)
        expected = np.where(labels.known, sure, said)[(slice(None), *where)]
        np.testing.assert_allclose(chances, expected, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_slice_on_screen_comes_first_then_its_neighbours(axis, monkeypatch):
    values, truth = ball((12, 14, 16))
    features, labels = features_of(values), painted(truth, strokes(truth.shape))
    head = fit_head(features, labels, 2)
    monkeypatch.setattr(wsseg.instant, "PIECE", 400)  # one or two slices
    seen = list(everywhere(truth.shape))
    seen[axis] = slice(9, 10)
    focus = Focus(tuple(seen))
    answers = answer(features, head, labels, focus)
    first, _ = next(answers)
    assert first[axis].start <= 9 < first[axis].stop
    assert all(
        p == w for a, (p, w) in enumerate(zip(first, everywhere(truth.shape), strict=True)) if a != axis
    )
    second, _ = next(answers)
    assert second[axis].stop == first[axis].start or second[axis].start == first[axis].stop
    focus.region = tuple(slice(0, 1) if a == axis else s for a, s in enumerate(seen))  # the user scrolls away
    third, _ = next(answers)
    assert third[axis].start == 0
    answers.close()  # and a further stroke ends it between two pieces


def test_of_a_large_picture_what_is_in_the_window_comes_first(monkeypatch):
    values, truth = ball((64, 64))
    features, labels = features_of(values), painted(truth, strokes(truth.shape))
    monkeypatch.setattr(wsseg.instant, "PIECE", 16 * 64)
    window = (slice(40, 60), slice(0, 30))
    first, _ = next(answer(features, fit_head(features, labels, 2), labels, Focus(window)))
    assert all(f.start < w.stop and w.start < f.stop for f, w in zip(first, window, strict=True))


@pytest.mark.parametrize("cores", [2, 3, 64])
def test_the_answer_does_not_depend_on_the_number_of_cores(scene, cores, monkeypatch):
    features, labels, truth = scene
    head = fit_head(features, labels, 3)
    whole = everywhere(truth.shape)
    monkeypatch.setattr(wsseg.instant.os, "cpu_count", lambda: 1)
    alone = head.probabilities(features, whole)
    assert alone.shape == (3, *truth.shape)
    part = (slice(1, 2), *[slice(3, n - 1) for n in truth.shape[1:]])
    small = head.probabilities(features, part)
    monkeypatch.setattr(wsseg.instant.os, "cpu_count", lambda: cores)
    np.testing.assert_array_equal(head.probabilities(features, whole), alone)
    np.testing.assert_array_equal(head.probabilities(features, part), small)


@pytest.mark.parametrize("step", [1, 2, 3, 4, 8])
def test_places_in_blocks_lean_to_no_side(step):
    places, starts = middles(48, step), np.arange(0, 48, step)
    off = places - (starts + (step - 1) / 2)
    assert abs(off).max() <= 0.5
    assert off.mean() == 0
    assert middles(10, 4).tolist() == [2, 5, 9]  # the last block is cut off


def test_what_is_said_of_some_places_lies_where_it_is_said_of_all(scene, dims):
    features, labels, _ = scene
    head = fit_head(features, labels, 2)
    whole = head.probabilities(features, everywhere(features.shape))
    every = (4, 2, 1)[:dims]
    sparse = finish(head.sparse(features, every))
    at = np.ix_(*[middles(n, step) for n, step in zip(features.shape, every, strict=True)])
    assert np.array_equal(sparse, whole[(slice(None), *at)])
