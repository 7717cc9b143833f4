"""Tagged images in memory, batches of patches from them, and which of them are held back."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from wsseg.bags import Bag, Bags
from wsseg.errors import InputError
from wsseg.folder import Dataset, Item
from wsseg.images import Image
from wsseg.normalise import Normalisation, Statistics
from wsseg.patches import read_padded
from wsseg.steps import Step

NORMALISATION = Normalisation(robust=True)  # what is tagged must not show in every voxel
HELD = 0.25  # share of the images, with a class and without it, that are held back


@dataclass(frozen=True, eq=False)
class Tagged:
    """One bag, ready to draw patches from.

    Attributes:
        bag: What is tagged.
        image: Its values: the image, or the slice as a picture.
        statistics: How to normalise it; a slice is normalised as its volume, see `share_statistics` too.
        present: bool (K,): which classes are in it.
        shared: Whether the statistics are those of all images.
    """

    bag: Bag
    image: Image
    statistics: Statistics
    present: np.ndarray
    shared: bool = False


def open_tagged(
    dataset: Dataset, bags: Bags, normalisation: Normalisation = NORMALISATION
) -> Generator[Step, None, list[Tagged]]:
    """Read the images of all bags; a step an image.

    Raises:
        InputError: A file is broken, an image is constant, images differ in axes or channels.
    """
    dataset.dims, dataset.channels  # noqa: B018  a mix is told before hours of reading
    if bags.axis is not None and dataset.dims == 2:
        raise InputError(f"{dataset.folder / 'tags.csv'}: tags name slices, but the images are pictures.")
    result = []
    for index, item in enumerate(bags.items, 1):
        image, _ = dataset.read(item)
        result += tagged_of(bags, item, image, normalisation)
        yield Step("read", index, len(bags.items), info={"file": item.image.name})
    return share_statistics(result)


def tagged_of(
    bags: Bags, item: Item, image: Image, normalisation: Normalisation = NORMALISATION
) -> list[Tagged]:
    """The bags of one image, with its values.

    Raises:
        InputError: The image is constant or not finite.
    """
    statistics = normalisation.measure(image, str(item.image))
    result = []
    for bag in bags.of(item):
        view = image if bag.index is None else slice_of(image, bags.axis or 0, bag.index)
        present = np.array([k in bag.classes for k in bags.classes])
        result.append(Tagged(bag, view, statistics, present))
    return result


def share_statistics(tagged: Sequence[Tagged]) -> list[Tagged]:
    """Colour pictures of one data type, all normalised alike: by the medians of what was measured on each.

    Their colours mean the same in every picture, and an object that fills half of one would move that one's
    own median. Grey values have a scale of their own in each scan, so other images keep what they have.
    """
    kinds = {(one.image.rgb, one.image.data.dtype) for one in tagged}
    if len(kinds) != 1 or not next(iter(kinds))[0]:
        return list(tagged)
    own = [one.statistics for one in tagged]
    typical = Statistics(
        low=np.min([s.low for s in own], axis=0),
        high=np.max([s.high for s in own], axis=0),
        mean=np.median([s.mean for s in own], axis=0),
        deviation=np.median([s.deviation for s in own], axis=0),
    )
    return [replace(one, statistics=typical, shared=True) for one in tagged]


def slice_of(image: Image, axis: int, index: int) -> Image:
    """One slice of a volume as a picture, made in memory; a view where the volume is in memory."""
    place = (slice(None),) * (axis + 1) + (slice(index, index + 1),)
    values = np.asarray(image.data[place]).squeeze(axis + 1)
    spacing = tuple(s for a, s in enumerate(image.spacing) if a != axis)
    return Image(values, spacing, rgb=image.rgb)


class BagSampler:
    """Draws batches of patches; draw number `index` depends on the seed and the number alone.

    Each class, and "none of them", is drawn equally often, whatever its share of the bags: a bag's chance is
    the sum over its classes of 1 / how many bags have that class.

    Args:
        tagged: The bags.
        size: Patch size, voxels.
        seed: Of the run.

    Attributes:
        share: (K,) how often each class is in a drawn patch's bag.
    """

    def __init__(self, tagged: Sequence[Tagged], size: Sequence[int], *, seed: int) -> None:
        self.tagged, self.size, self.seed = list(tagged), tuple(size), seed
        table = np.stack([one.present for one in tagged])
        groups = np.column_stack([table, ~table.any(1)]).astype(float)
        groups = groups[:, groups.any(0)] / np.maximum(groups.sum(0), 1)[groups.any(0)]
        self.chance = groups.sum(1) / groups.sum()
        self.share = self.chance @ table

    def draw(self, index: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw a batch: images float32 (count, C, *P), present float32 (count, K)."""
        rng = np.random.default_rng((self.seed, index))
        images, present = [], []
        for which in rng.choice(len(self.tagged), size=count, p=self.chance):
            one = self.tagged[which]
            start = [
                int(rng.integers(min(0, n - p), max(0, n - p) + 1))
                for n, p in zip(one.image.shape, self.size, strict=True)
            ]
            images.append(read_padded(one.image, one.statistics, start, self.size))
            present.append(one.present)
        return np.stack(images), np.stack(present).astype(np.float32)


def split(tagged: Sequence[Tagged], seed: int) -> tuple[list[Tagged], list[Tagged], str]:
    """Bags to train on, bags to check on, and a few words on these.

    Whole images are held back, so that no slice is checked on whose neighbour was trained on. Where some
    class is in one volume only, stretches of slices are held back instead, and the words say so. Of each
    class at least one image with it and one without it stays on either side.
    """
    stems = [one.bag.item.stem for one in tagged]
    groups = {stem: number for number, stem in enumerate(dict.fromkeys(stems))}
    owner = np.array([groups[stem] for stem in stems])
    table = np.stack([one.present for one in tagged])
    by_image = _sides(owner, table).min() >= 2
    if not by_image:
        owner = _stretches(owner)
    held = np.isin(owner, _choose(owner, table, np.random.default_rng((seed, 0x7A65))))
    kept = [one for one, out in zip(tagged, held, strict=True) if not out]
    checked = [one for one, out in zip(tagged, held, strict=True) if out]
    what = "images" if by_image else "slices of the same volumes"
    count = len(np.unique(owner[held])) if by_image else int(held.sum())
    return kept, checked, f"{count} of {len(groups) if by_image else len(tagged)} {what}"


def _sides(owner: np.ndarray, table: np.ndarray) -> np.ndarray:
    """(2, K): how many groups have some bag with a class, and some bag without it."""
    return np.array([[len(np.unique(owner[side])) for side in sides.T] for sides in (table, ~table)])


def _stretches(owner: np.ndarray, length: int = 4) -> np.ndarray:
    """Groups of so many bags that follow each other in one image."""
    result, number = np.zeros_like(owner), 0
    for group in np.unique(owner):
        own = np.flatnonzero(owner == group)
        result[own] = number + np.arange(len(own)) // length
        number = int(result[own].max()) + 1
    return result


def _choose(owner: np.ndarray, table: np.ndarray, rng: np.random.Generator) -> list[int]:
    """The groups to hold back: `HELD` of those with each class and of those without it, the rarest first."""
    order = list(rng.permutation(np.unique(owner)))
    sides = [side for k in range(table.shape[1]) for side in (table[:, k], ~table[:, k])]
    having = sorted(({int(g) for g in np.unique(owner[side])} for side in sides), key=len)
    held: list[int] = []
    for group in having:
        wanted = max(1, round(HELD * len(group)))
        for one in order:
            if len(group & set(held)) >= wanted:
                break
            if one in group and one not in held and all(o - {*held, one} for o in having if one in o):
                held.append(int(one))
    return held
