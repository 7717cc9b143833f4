"""Crops: their size in millimetres, where they come from, and that a batch is a function of its number."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pretrain.crops import EXCHANGE, LEAST, CropSampler, Pool, coordinates, plan_crop
from pretrain.scans import Scan
from wsseg.images import Image
from wsseg.normalise import Normalisation


class Made(Scan):
    """A scan from memory that counts how often it is read."""

    reads = 0

    def read(self):
        object.__setattr__(self, "reads", self.reads + 1)
        return IMAGES[self.path.name]


IMAGES: dict[str, Image] = {}


def make(name, values, *, subject=None, spacing=None, axis=None, centres=None, size=1):
    """A scan of an array (*S)."""
    image = Image(np.asarray(values, np.float32)[None], spacing or (1.0,) * values.ndim)
    IMAGES[name] = image
    kept = [a for a in range(values.ndim) if a != axis]
    if centres is None:
        centres = np.stack(np.meshgrid(*[np.arange(0, n, 4) for n in values.shape], indexing="ij"), -1)
    return Made(
        path=Path(name),
        subject=subject or name,
        shape=tuple(values.shape[a] for a in kept),
        spacing=tuple(image.spacing[a] for a in kept),
        statistics=Normalisation(0, 100).measure(image),
        centres=np.asarray(centres).reshape(-1, values.ndim),
        filled=1.0,
        size=size,
        axis=axis,
        slices=1 if axis is None else values.shape[axis],
    )


def ramps(count, shape, **options):
    """Scans whose values tell where they are from: scan i holds i·1000 + the place along axis 0."""
    place = np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return [make(f"s{i}", i * 1000 + np.broadcast_to(place, shape), **options) for i in range(count)]


def stored(scan, crop):
    """Values as they were before normalisation."""
    return crop * scan.statistics.deviation[0] + scan.statistics.mean[0]


class TestPlanCrop:
    def test_isotropic_and_anisotropic(self):
        assert plan_crop((1, 1, 1), (200, 200, 200), (8, 8, 8), 32**3) == (32, 32, 32)
        assert plan_crop((1, 1), (200, 200), (8, 8), 64**2) == (64, 64)
        crop = plan_crop((1, 1, 4), (200, 200, 200), (8, 8, 2), 32**3)
        assert crop == (48, 48, 12)  # the side is 50.8 mm
        assert np.prod(crop) == pytest.approx(32**3, rel=0.2)

    def test_a_thin_stack_gives_its_room_to_the_other_axes(self):
        crop = plan_crop((1, 1, 1), (200, 200, 8), (8, 8, 1), 32**3)
        assert crop == (64, 64, 8)

    def test_no_larger_than_the_scans_but_for_the_divisor(self):
        assert plan_crop((1, 1), (10, 300), (8, 8), 64**2) == (8, 296)
        assert plan_crop((1, 1, 1), (5, 5, 5), (8, 8, 8), 32**3) == (8, 8, 8)


class TestDraw:
    def test_values_are_those_of_the_scan_in_one_piece(self, dims):
        scans = ramps(LEAST, (40, 24, 20)[:dims])
        sampler = CropSampler(scans, (1.0,) * dims, (16,) * dims, seed=0)
        images, numbers = sampler.draw(3, range(6))
        assert images.shape == (6, 1, *(16,) * dims)
        assert images.dtype == np.float32
        for image, number in zip(images, numbers, strict=True):
            values = stored(scans[number], image[0])
            assert np.allclose(np.diff(values, axis=0), 1, atol=1e-2)
            assert number * 1000 - 0.5 <= values.min() <= values.max() <= number * 1000 + 40

    def test_a_crop_depends_on_seed_batch_and_place_alone(self, dims):
        def sampler(seed=0):
            return CropSampler(ramps(LEAST, (40, 24, 20)[:dims]), (1.0,) * dims, (8,) * dims, seed=seed)

        whole, _ = sampler().draw(5, range(8))
        again = sampler()
        parts = [again.draw(5, range(4, 8))[0], again.draw(5, range(4))[0]]  # as two processes would
        assert np.array_equal(whole, np.concatenate(parts[::-1]))
        assert not np.array_equal(whole, again.draw(6, range(8))[0])
        assert not np.array_equal(whole, sampler(1).draw(5, range(8))[0])

    def test_crops_are_about_the_centres(self, dims):
        centre = np.array([[30, 12, 10][:dims]])
        scans = ramps(LEAST, (40, 24, 20)[:dims], centres=centre)
        images, numbers = CropSampler(scans, (1.0,) * dims, (8,) * dims, seed=0).draw(0, range(20))
        first = [round(stored(scans[n], i[0]).min()) - n * 1000 for i, n in zip(images, numbers, strict=True)]
        assert set(first) == {25, 26, 27}

    def test_another_spacing_is_resampled_to_the_same_millimetres(self, dims):
        """A ramp of 1 a millimetre keeps its slope whatever the voxels."""
        fine = np.arange(80).reshape(-1, *[1] * (dims - 1)) * 0.5 * np.ones((80,) * dims)
        scans = [make(f"f{i}", fine, spacing=(0.5,) * dims) for i in range(LEAST)]
        images, numbers = CropSampler(scans, (1.0,) * dims, (16,) * dims, seed=0).draw(0, range(2))
        slope = np.diff(stored(scans[numbers[0]], images[0, 0]), axis=0)
        assert np.allclose(slope, 1, atol=1e-3)
        little = [make(f"g{i}", fine, spacing=(0.9,) * dims) for i in range(LEAST)]  # within 25 %: as it is
        images, numbers = CropSampler(little, (1.0,) * dims, (16,) * dims, seed=0).draw(0, range(2))
        assert np.allclose(np.diff(stored(little[0], images[0, 0]), axis=0), 0.5, atol=1e-3)

    def test_an_image_smaller_than_the_crop_repeats_its_border(self, dims):
        scans = ramps(LEAST, (6, 6, 6)[:dims])
        images, numbers = CropSampler(scans, (1.0,) * dims, (16,) * dims, seed=0).draw(0, range(1))
        along = stored(scans[numbers[0]], images[0, 0].reshape(16, -1)[:, 0]) - numbers[0] * 1000
        assert np.allclose(along, np.clip(np.arange(16) - 5, 0, 5), atol=1e-3)

    @pytest.mark.parametrize("axis", [0, 2])
    def test_slices_of_volumes(self, axis):
        values = np.broadcast_to(
            np.arange(12).reshape([-1 if a == axis else 1 for a in range(3)]),
            [12 if a == axis else 24 for a in range(3)],
        )
        scans = [make(f"v{i}", values + i * 1000, axis=axis) for i in range(LEAST)]
        images, numbers = CropSampler(scans, (1.0, 1.0), (16, 16), seed=0).draw(0, range(12))
        assert images.shape == (12, 1, 16, 16)
        flat = [stored(scans[n], i) - n * 1000 for i, n in zip(images, numbers, strict=True)]
        assert max(np.ptp(one) for one in flat) < 1e-2  # one slice each
        assert len({round(one.mean()) for one in flat}) == 3  # centres are on every fourth


class TestCoordinates:
    def test_from_minus_two_to_two(self, dims):
        found = coordinates((0,) * dims, (8,) * dims, (8,) * dims, (8,) * dims)
        assert found.shape == (dims, *(8,) * dims)
        for axis in range(dims):
            line = found[axis].take(0, (axis + 1) % dims).reshape(-1)
            assert set(np.round(line, 6)) <= set(np.round((np.arange(8) + 0.5 - 4) / 2, 6).astype(np.float32))
            assert (np.diff(found[axis], axis=axis) == 0.5).all()

    def test_resampled_crops_say_the_same_place(self, dims):
        fine = coordinates((10,) * dims, (20,) * dims, (20,) * dims, (40,) * dims)
        coarse = coordinates((10,) * dims, (20,) * dims, (10,) * dims, (40,) * dims)
        for axis in range(dims):
            fine = np.add.reduceat(fine, range(0, 20, 2), axis + 1) / 2
        assert np.allclose(fine, coarse, atol=1e-6)

    def test_crops_carry_where_they_are_from(self, dims):
        """The scan's own values are its first axis's numbers."""
        scans = ramps(LEAST, (40, 24, 20)[:dims])
        plain = CropSampler(scans, (1.0,) * dims, (8,) * dims, seed=0)
        sampler = CropSampler(scans, (1.0,) * dims, (8,) * dims, seed=0, located=True)
        images, numbers = sampler.draw(3, range(6))
        assert images.shape == (6, 1 + dims, *(8,) * dims)
        assert np.array_equal(images[:, :1], plain.draw(3, range(6))[0])
        for image, number in zip(images, numbers, strict=True):
            values = stored(scans[number], image[0]) - number * 1000
            assert np.allclose(image[1], (values + 0.5 - 20) / 10, atol=1e-2)
        assert sampler.neighbours(8)[0].shape[1] == 1

    def test_slices_of_volumes_say_where_in_the_slice(self):
        values = np.broadcast_to(np.arange(24).reshape(24, 1, 1), (24, 24, 12))
        scans = [make(f"v{i}", values + i * 1000, axis=2) for i in range(LEAST)]
        sampler = CropSampler(scans, (1.0, 1.0), (16, 16), seed=0, located=True)
        images, numbers = sampler.draw(0, range(4))
        assert images.shape == (4, 3, 16, 16)
        for image, number in zip(images, numbers, strict=True):
            found = stored(scans[number], image[0]) - number * 1000
            assert np.allclose(image[1], (found + 0.5 - 12) / 6, atol=1e-2)


class TestNeighbours:
    def test_a_quarter_of_a_crop_aside_and_several_a_subject(self, dims):
        scans = ramps(LEAST, (60, 40, 40)[:dims])
        sampler = CropSampler(scans, (1.0,) * dims, (16,) * dims, seed=0)
        ones, others, numbers = sampler.neighbours(16)
        assert len(set(numbers)) == 4
        for one, other, number in zip(ones, others, numbers, strict=True):
            aside = stored(scans[number], other[0]).min() - stored(scans[number], one[0]).min()
            assert min(abs(abs(aside) - 4), abs(aside)) < 4.01
        again = CropSampler(scans, (1.0,) * dims, (16,) * dims, seed=0)
        again.draw(77, range(2))
        assert np.array_equal(ones, again.neighbours(16)[0])


class TestSubjects:
    def test_many_subjects_are_numbered_by_name(self):
        scans = ramps(2 * LEAST, (16, 16))
        for i, scan in enumerate(scans):
            object.__setattr__(scan, "subject", f"p{i // 2}")
        sampler = CropSampler(scans, (1.0, 1.0), (8, 8), seed=0)
        assert sampler.numbers == LEAST
        assert [region.number for region in sampler.regions] == [i // 2 for i in range(2 * LEAST)]

    def test_one_scan_is_cut_into_blocks_that_share_nothing(self, dims):
        sampler = CropSampler(ramps(1, (64,) * dims), (1.0,) * dims, (8,) * dims, seed=0)
        assert sampler.numbers >= LEAST
        seen = np.zeros((64,) * dims, int)
        for region in sampler.regions:
            inside = tuple(slice(a, b) for a, b in zip(region.low, region.high, strict=True))
            seen[inside] += 1
            assert min(b - a for a, b in zip(region.low, region.high, strict=True)) >= 8
            assert ((region.centres >= region.low) & (region.centres < region.high)).all()
        assert (seen == 1).all()

    def test_a_scan_of_one_crop_stays_whole(self, dims):
        assert CropSampler(ramps(2, (10,) * dims), (1.0,) * dims, (8,) * dims, seed=0).numbers == 2


class TestPool:
    def test_all_are_in_where_all_fit(self):
        scans = ramps(5, (8, 8), size=10)
        pool = Pool(scans, seed=0, memory=50)
        assert pool.at(0) == pool.at(1000) == [0, 1, 2, 3, 4]

    def test_more_than_memory_take_turns(self):
        scans = ramps(5, (8, 8), size=10)
        pool = Pool(scans, seed=0, memory=25)
        seen = [pool.at(step) for step in range(0, 5 * EXCHANGE, EXCHANGE)]
        assert {len(inside) for inside in seen} == {2}
        assert {index for inside in seen for index in inside} == set(range(5))
        assert all(len(set(a) & set(b)) == 1 for a, b in pairwise(seen))
        for inside in seen[-1:]:
            assert all(pool.image(index) is IMAGES[f"s{index}"] for index in inside)
        assert max(scan.reads for scan in scans) <= 2  # read once a turn, not once a step
        fresh = Pool(scans, seed=0, memory=25)  # a run that goes on in the middle
        assert fresh.at(3 * EXCHANGE) == seen[3]

    def test_a_scan_larger_than_memory_is_still_read(self):
        assert len(Pool(ramps(3, (8, 8), size=100), seed=0, memory=10).at(0)) == 1
