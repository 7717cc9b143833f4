"""Tagged images: read, drawn in balance, held back by image."""

from pathlib import Path

import numpy as np
import pytest
from test_bags import tagged

from wsseg.bags import Bag, read_bags
from wsseg.dataset import Item, open_dataset
from wsseg.errors import InputError
from wsseg.images import Image
from wsseg.normalise import Normalisation
from wsseg.steps import finish
from wsseg.tagged import NORMALISATION, BagSampler, Tagged, open_tagged, share_statistics, slice_of, split


def bag(stem, present, index=None, size=(8, 8), values=None):
    values = np.random.default_rng(0).normal(size=(1, *size)) if values is None else values
    image = Image(values.astype(np.float32), (1.0,) * len(size))
    statistics = NORMALISATION.measure(image)
    return Tagged(
        Bag(Item(stem, Path(f"{stem}.png")), frozenset(), index), image, statistics, np.array(present, bool)
    )


def test_slices_are_pictures_normalised_as_their_volume(tmp_path):
    rows = [f"a,{k},1,{i}" for i, k in enumerate([1, "", 1, 1])] + ["b,,,", "c,1,1,0"]
    folder = tagged(tmp_path, "image,class,axis,slice\n" + "\n".join(rows) + "\n", dims=3)
    dataset = open_dataset(folder)
    found = finish(open_tagged(dataset, read_bags(dataset)))
    assert len(found) == 9
    volume = dataset.read(dataset.items[0])[0]
    assert np.array_equal(found[2].image.data, volume.data[:, :, 2])
    assert found[2].image.spacing == (volume.spacing[0], volume.spacing[2])
    assert found[2].statistics.mean == NORMALISATION.measure(volume).mean
    assert [bool(one.present[0]) for one in found] == [True, False, True, True] + [False] * 4 + [True]


def test_a_small_object_does_not_move_the_voxels_around_it():
    noise = np.random.default_rng(0).normal(size=(1, 40, 40))
    with_object = noise.copy()
    with_object[0, :8, :8] += 9
    plain, other = (bag("x", [1], size=(40, 40), values=values) for values in (noise, with_object))
    around = (slice(None), slice(10, None))
    shift = np.abs(other.statistics.apply(with_object) - plain.statistics.apply(noise))[around].mean()
    usual = [Normalisation().measure(one.image).apply(one.image.data)[around] for one in (plain, other)]
    assert shift < 0.2 * np.abs(usual[1] - usual[0]).mean()


def painted(stem, grey, dtype=np.uint8, *, rgb=True, size=(20, 20)):
    """A picture of colours about `grey`."""
    noise = np.random.default_rng(int(grey)).normal(grey, 10, (3, *size))
    image = Image(noise.clip(0, 255).astype(dtype), (1.0,) * len(size), rgb=rgb)
    own = NORMALISATION.measure(image)
    return Tagged(Bag(Item(stem, Path(f"{stem}.png")), frozenset(), None), image, own, np.array([True]))


def test_colour_pictures_are_measured_against_all_of_them():
    own = [painted(stem, grey) for stem, grey in (("a", 90), ("b", 100), ("c", 170))]
    found = share_statistics(own)
    assert all(one.shared for one in found)
    typical = found[0].statistics
    assert all(one.statistics is typical for one in found)
    assert np.array_equal(typical.mean, own[1].statistics.mean)  # the middle one of three
    assert np.array_equal(typical.high, own[2].statistics.high)  # so that nothing of any is cut off
    values = found[2].image.data
    assert (typical.apply(values).mean((1, 2)) > 4).all()  # a picture that is brighter stays brighter
    assert np.abs(own[2].statistics.apply(values).mean((1, 2))).max() < 0.3


@pytest.mark.parametrize(
    "others",
    [
        {"dtype": np.uint16},  # of another scale
        {"rgb": False},  # of no known scale
        {"rgb": False, "size": (8, 8, 8)},
    ],
)
def test_images_without_a_common_scale_keep_their_own_measure(others):
    own = [painted("a", 90, **{**others, "dtype": np.uint8}), painted("b", 170, **others)]
    found = share_statistics(own)
    assert [one.statistics for one in found] == [one.statistics for one in own]
    assert not any(one.shared for one in found)


def test_slices_of_pictures_are_refused(tmp_path):
    volume = tagged(tmp_path / "v", "image,class,axis,slice\na,1,0,0\na,1,0,1\na,1,0,2\nb,,,\n", dims=3)
    dataset = open_dataset(volume)
    bags = read_bags(dataset)
    pictures = open_dataset(tagged(tmp_path / "p", "image,class\na,1\n"))
    with pytest.raises(InputError, match="the images are pictures"):
        finish(open_tagged(pictures, bags))


def test_a_slice_of_a_lazy_volume_reads_that_slice_alone():
    class Lazy:
        shape, ndim, dtype = (1, 4, 5, 6), 4, np.dtype(float)

        def __getitem__(self, place):
            self.asked = place
            return np.zeros(self.shape)[place]

    lazy = Lazy()
    assert slice_of(Image(lazy, (1.0, 2.0, 3.0)), 2, 4).shape == (4, 5)
    assert lazy.asked == (slice(None), slice(None), slice(None), slice(4, 5))


def test_rare_classes_are_drawn_as_often_as_common_ones():
    rows = [[1, 0]] * 2 + [[0, 1]] * 20 + [[0, 0]] * 8
    sampler = BagSampler([bag(f"{i}", row) for i, row in enumerate(rows)], (8, 8), seed=3)
    assert np.allclose(sampler.share, 1 / 3)
    drawn = sampler.draw(0, 600)[1]
    assert drawn.mean(0) == pytest.approx([1 / 3, 1 / 3], abs=0.06)
    both = [[1, 1]] * 3 + [[0, 0]] * 3
    assert np.allclose(BagSampler([bag("x", row) for row in both], (8, 8), seed=0).share, 2 / 3)


def test_draws_depend_on_seed_and_number_alone_and_reach_every_place():
    values = np.arange(20 * 8, dtype=float).reshape(1, 20, 8)
    samples = [bag("a", [1], size=(20, 8), values=values), bag("b", [0], size=(20, 8), values=values)]
    first, second = (BagSampler(samples, (8, 12), seed=1) for _ in range(2))
    assert np.array_equal(first.draw(5, 3)[0], second.draw(5, 3)[0])
    assert not np.array_equal(first.draw(5, 3)[0], first.draw(6, 3)[0])
    images = first.draw(0, 200)[0]
    assert images.shape == (200, 1, 8, 12)
    seen = {round(v, 4) for v in images.ravel().tolist()}
    assert len(seen) > 0.95 * values.size  # clipping at the percentiles joins a few


def test_whole_images_are_held_back():
    samples = [bag(f"{v}", [i < 3, v < 4], index=i) for v in range(8) for i in range(6)]
    kept, held, words = split(samples, seed=0)
    stems = [{one.bag.item.stem for one in side} for side in (kept, held)]
    assert not stems[0] & stems[1]
    assert len(kept) + len(held) == len(samples)
    for side in (kept, held):
        table = np.stack([one.present for one in side])
        assert table.any(0).all()
        assert (~table).any(0).all()
    assert words == f"{len(stems[1])} of 8 images"
    assert 2 <= len(stems[1]) <= 3
    assert [id(one) for one in split(samples, seed=0)[1]] == [id(one) for one in held]


def test_a_rare_class_is_on_both_sides():
    samples = [bag(f"{v}", [v < 3]) for v in range(40)]
    for seed in range(5):
        kept, held, _ = split(samples, seed)
        assert sum(one.present[0] for one in held) == 1
        assert sum(one.present[0] for one in kept) == 2


def test_stretches_of_slices_are_held_back_of_a_single_volume():
    samples = [bag("v", [10 <= i < 30], index=i) for i in range(40)]
    kept, held, words = split(samples, seed=0)
    assert words == f"{len(held)} of 40 slices of the same volumes"
    indices = sorted(one.bag.index for one in held)
    assert all(i % 4 or {i + 1, i + 2, i + 3} <= set(indices) for i in indices)
    for side in (kept, held):
        assert {bool(one.present[0]) for one in side} == {True, False}
