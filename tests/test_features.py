"""Features of an image: blocks leave no trace, look-ups agree, thick slices are smoothed less."""

import numpy as np
import pytest
from scipy import ndimage

import wsseg.features
from wsseg.features import feature_steps, memory_needed
from wsseg.images import Image
from wsseg.normalise import Normalisation, Statistics
from wsseg.steps import finish

PLAIN = Statistics(np.array([-1e9]), np.array([1e9]), np.zeros(1), np.ones(1))  # changes nothing


def noise(size, *, channels=1, spacing=None, seed=0) -> Image:
    values = np.random.default_rng(seed).normal(size=(channels, *size)).astype(np.float32)
    return Image(values, spacing or (1.0,) * len(size))


def whole(size) -> tuple[slice, ...]:
    return tuple(slice(0, n) for n in size)


@pytest.mark.parametrize(
    ("size", "spacing"),
    [((83, 70), (1.0, 1.0)), ((37, 45, 50), (1.0, 1.0, 1.0)), ((11, 45, 50), (4.0, 1.0, 1.0))],
)
def test_blocks_leave_no_trace(size, spacing, monkeypatch):
    image = noise(size, channels=2, spacing=spacing)
    statistics = Normalisation().measure(image)
    one = finish(feature_steps(image, statistics))
    monkeypatch.setattr(wsseg.features, "BLOCK", 16 ** len(size))
    steps = list(feature_steps(image, statistics))
    assert len(steps) > 10
    assert (steps[-1].index, steps[-1].total) == (len(steps), len(steps))
    many = finish(feature_steps(image, statistics))
    for a, b in zip(one.levels, many.levels, strict=True):
        assert a.step == b.step
        np.testing.assert_array_equal(a.values, b.values)


@pytest.mark.parametrize(("size", "spacing"), [((40, 51), (1, 1)), ((9, 33, 40), (3.0, 1.0, 1.0))])
def test_single_voxels_parts_and_the_whole_agree(size, spacing):
    image = noise(size, spacing=spacing)
    features = finish(feature_steps(image, PLAIN))
    everything = features.region(whole(size))
    assert everything.shape == (features.count, *size)
    assert everything.dtype == np.float32
    part = tuple(slice(n // 3, n) for n in size)
    np.testing.assert_array_equal(features.region(part), everything[(slice(None), *part)])
    one = (slice(size[0] // 2, size[0] // 2 + 1), *whole(size)[1:])
    np.testing.assert_allclose(features.region(one), everything[(slice(None), *one)], atol=1e-6)
    places = np.stack([np.random.default_rng(1).integers(0, n, 200) for n in size], 1)
    places[0] = np.array(size) - 1
    np.testing.assert_allclose(features.at(places), everything[(slice(None), *places.T)].T, atol=1e-6)


def test_the_first_is_the_image_and_each_scale_its_gaussian(dims):
    size = (48,) * dims
    image = noise(size)
    features = finish(feature_steps(image, PLAIN))
    found = features.region(whole(size))
    np.testing.assert_allclose(found[0], image.data[0], atol=2e-3)  # but for float16
    kinds, inside = 2 + dims, tuple(slice(16, 32) for _ in size)
    for index in range(3):
        expected = ndimage.gaussian_filter(image.data[0], 2.0**index, mode="reflect")
        smoothed = found[1 + index * kinds]
        # off the grid it is interpolated linearly, which flattens peaks a little
        assert np.abs(smoothed - expected)[inside].std() < 0.2 * expected[inside].std()
        step = features.levels[index].step[0]
        assert step == 2**index
        at = tuple(slice(16, 32, step) for _ in size)  # a mirror lies elsewhere on a coarse grid
        np.testing.assert_allclose(smoothed[at], expected[at], atol=0.1 * expected.std() + 1e-3)


def test_thick_slices_are_smoothed_less():
    # a bright slice: with slices 8 voxels apart σ = 1 and 2 do not reach the next one, with cubes they do
    values = np.zeros((1, 9, 32, 32), np.float32)
    values[0, 4] = 1
    thick, cubic = (
        finish(feature_steps(Image(values, spacing), PLAIN)).region(whole((9, 32, 32)))[1, :, 16, 16]
        for spacing in ((8.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    )
    np.testing.assert_array_equal(thick, values[0, :, 16, 16])
    assert cubic[4] == pytest.approx(1 / np.sqrt(2 * np.pi), rel=0.1)
    assert cubic[3] == pytest.approx(np.exp(-0.5) / np.sqrt(2 * np.pi), rel=0.1)


def test_units_of_length_do_not_matter():
    image = noise((8, 30, 30), spacing=(3.0, 1.0, 1.0))
    small = Image(image.data, tuple(s * 1e-3 for s in image.spacing))
    a, b = (finish(feature_steps(i, PLAIN)).region(whole((8, 30, 30))) for i in (image, small))
    np.testing.assert_allclose(a, b, atol=1e-3)


@pytest.mark.parametrize(("size", "channels"), [((33, 20), 3), ((20, 17, 40), 1), ((5, 4), 1)])
def test_memory_is_as_told_and_little_more_than_one_scale(size, channels):
    image = noise(size, channels=channels)
    features = finish(feature_steps(image, Normalisation().measure(image)))
    assert features.nbytes == memory_needed(image)
    assert features.count == channels * (1 + 5 * (2 + len(size)))


def test_an_image_is_read_block_by_block(monkeypatch):
    class Watched:
        def __init__(self, values):
            self.values, self.shape, self.dtype, self.largest = values, values.shape, values.dtype, 0

        def __getitem__(self, key):
            part = self.values[key]
            self.largest = max(self.largest, part.size)
            return part

    image = noise((96, 96, 24))
    watched = Watched(image.data)
    monkeypatch.setattr(wsseg.features, "BLOCK", 16**3)
    finish(feature_steps(Image(watched, image.spacing), PLAIN))
    assert watched.largest <= (16 + 2 * 13) ** 3
