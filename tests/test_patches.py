"""Patches lie where the hints are; tiles and blocks cover an image exactly."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.images import Image
from wsseg.normalise import Normalisation, Statistics
from wsseg.patches import PatchSampler, Sample, blocks, cut, gaussian_window, plan_patch, slabs, tile_starts
from wsseg.weak import WeakLabels

PLAIN = Statistics(np.array([-1e9]), np.array([1e9]), np.array([0.0]), np.array([1.0]))


def _sample(shape, known, seed=0):
    values = np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)
    target, weight = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
    for place, k in known:
        target[place], weight[place] = k, 1
    return Sample(Image(values, (1.0,) * len(shape)), WeakLabels(target, weight), PLAIN)


@pytest.mark.parametrize(("shape", "size"), [((9, 11), (4, 4)), ((9, 6, 7), (4, 8, 4))])
def test_a_patch_is_the_region_of_the_image(shape, size):
    sample = _sample(shape, [((2,) * len(shape), 1)])
    maps = np.random.default_rng(1).integers(0, 9, (2, *shape), dtype=np.int32)
    sample = replace(sample, maps=maps)
    start = [3, -1, 2][: len(shape)]
    image, target, weight, carried = cut(sample, start, size)
    for place in np.ndindex(*size):
        there = tuple(s + p for s, p in zip(start, place, strict=True))
        nearest = tuple(min(max(t, 0), n - 1) for t, n in zip(there, shape, strict=True))
        assert image[(0, *place)] == sample.image.data[(0, *nearest)]
        inside = there == nearest
        assert weight[place] == (sample.labels.weight[there] if inside else 0)
        assert target[place] == (sample.labels.target[there] if inside else 0)
        assert list(carried[(slice(None), *place)]) == (
            list(maps[(slice(None), *there)]) if inside else [0, 0]
        )


@pytest.mark.parametrize(("shape", "size"), [((40, 50), (8, 8)), ((20, 24, 22), (8, 8, 8))])
def test_patches_are_drawn_where_the_hints_are_and_classes_are_drawn_alike(shape, size):
    rare, common = (
        (3,) * len(shape),
        [(30,) * 2, (31, 31)] if len(shape) == 2 else [(15, 15, 15), (16, 16, 16)],
    )
    sample = _sample(shape, [(rare, 1), *[(place, 0) for place in common]])
    sampler = PatchSampler([sample], size, seed=0)
    _, target, weight, _ = sampler.draw(0, 200)
    assert weight.reshape(200, -1).any(1).all()  # every patch holds a hint
    with_rare = (target.reshape(200, -1) == 1).any(1).mean()
    assert 0.4 < with_rare < 0.6


def test_patches_are_drawn_where_maps_speak_of_an_object_too():
    sample = _sample((30, 40), [((28, 38), 0)])
    maps = np.zeros((1, 30, 40), np.int32)
    maps[0, 4, 5] = 1
    patches = PatchSampler([replace(sample, maps=maps)], (8, 8), seed=0).draw(0, 100)
    assert 0.3 < patches.maps.reshape(100, -1).any(1).mean() < 0.7


def test_a_small_image_lies_at_varying_places_in_the_patch():
    sample = _sample((5, 30), [((2, 4), 1)])
    _, _, weight, _ = PatchSampler([sample], (8, 16), seed=0).draw(0, 100)
    assert weight.reshape(100, -1).sum(1).min() == 1  # the hint is never cut off
    assert len(np.unique(np.argwhere(weight)[:, 1])) == 4
    assert len(np.unique(np.argwhere(weight)[:, 2])) > 3


def test_a_draw_depends_on_seed_and_number_alone():
    samples = [_sample((12, 12), [((3, 3), 1)], seed) for seed in range(3)]
    one, two = (PatchSampler(samples, (8, 8), seed=5) for _ in range(2))
    one.draw(0, 4)
    for a, b in zip(one.draw(1, 4), two.draw(1, 4), strict=True):
        assert np.array_equal(a, b)
    other = PatchSampler(samples, (8, 8), seed=6).draw(1, 4)
    assert not np.array_equal(two.draw(1, 4)[0], other[0])


def test_the_planned_patch_fits_divisor_and_budget():
    assert plan_patch([(35, 50, 35)], (8, 8, 8), 2**17) == (40, 56, 40)
    assert plan_patch([(10, 256, 256)], (1, 8, 8), 2**17) == (10, 112, 112)
    for size in ([(300, 300, 300)], [(3, 4000)], [(1, 1, 1)]):
        divisor = (8,) * len(size[0])
        patch = plan_patch(size, divisor, 2**14)
        assert all(p % 8 == 0 and p > 0 for p in patch)
        assert np.prod(patch) <= 2**14


@given(st.integers(1, 300), st.integers(1, 64), st.floats(0, 0.9))
def test_tiles_cover_every_voxel_and_stay_inside(length, tile, overlap):
    starts = tile_starts(length, tile, overlap)
    covered = np.zeros(length, int)
    for start in starts:
        covered[max(start, 0) : start + tile] += 1
        if length >= tile:
            assert 0 <= start <= length - tile
    assert covered.min() >= 1
    assert len(set(starts)) == len(starts)
    if length > tile:
        steps = np.diff(starts)
        assert steps.max() <= max(1, int(tile * (1 - overlap))) + 1


@settings(max_examples=50)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=3), st.integers(1, 500))
def test_blocks_cover_every_voxel_once_and_keep_the_budget(shape, budget):
    covered = np.zeros(shape, int)
    for block in blocks(shape, budget):
        covered[block] += 1
        assert covered[block].size <= budget
    assert (covered == 1).all()


@given(st.lists(st.integers(1, 20), min_size=2, max_size=3), st.integers(1, 500))
def test_slabs_cover_the_first_axis_once_and_keep_the_budget(shape, budget):
    pieces = list(slabs(shape, budget))
    assert [i for piece in pieces for i in range(piece.start, piece.stop)] == list(range(shape[0]))
    layer = int(np.prod(shape[1:]))
    assert all((piece.stop - piece.start) * layer <= max(budget, layer) for piece in pieces)


@pytest.mark.parametrize("size", [(8, 6), (4, 6, 8), (1, 4)])
def test_the_window_is_positive_symmetric_and_highest_in_the_middle(size):
    window = gaussian_window(size)
    assert window.min() > 0
    assert np.allclose(window, window[(slice(None, None, -1),) * len(size)])
    assert window.max() == window[tuple(n // 2 for n in size)]


def test_normalisation_is_robust_per_channel_and_repeatable():
    rng = np.random.default_rng(0)
    data = np.stack([rng.normal(100, 10, (64, 64)), rng.normal(-5, 0.1, (64, 64))])
    data[0, 0, 0] = 1e6  # a hot pixel must not decide
    image = Image(data, (1.0, 1.0))
    out = Normalisation().measure(image).apply(data)
    assert np.abs(out.mean((1, 2))).max() < 0.05
    assert np.abs(out.std((1, 2)) - 1).max() < 0.1
    assert out.max() < 4
    scaled = Image(data * 3 + 7, (1.0, 1.0))
    assert np.allclose(Normalisation().measure(scaled).apply(scaled.data), out, atol=1e-4)
