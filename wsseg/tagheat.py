"""Heat of tagged images, its thresholds shared over them; and both for images in memory, without files."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wsseg.bags import Bag, Bags
from wsseg.classifier import TagModel
from wsseg.folder import Item
from wsseg.heat import Heater
from wsseg.images import Image
from wsseg.steps import Step
from wsseg.tagfit import TagConfig, fit_classifier
from wsseg.tagged import share_statistics, slice_of, tagged_of
from wsseg.thresholds import Thresholds, choose_thresholds, sample_heat


@dataclass(frozen=True, eq=False)
class Heated:
    """What tags of images in memory led to.

    Attributes:
        model: The classifier, its check in `config.quality`.
        heat: Stem of each tagged image to its class maps, float32 (K, *S), in the order of the model's
            classes; empty where the check says that they mean nothing.
        thresholds: Of each class by id; None where its maps mean nothing.
    """

    model: TagModel
    heat: Mapping[str, np.ndarray]
    thresholds: Mapping[int, Thresholds | None]


def heat_images(images: Mapping[str, Image], bags: Bags, config: TagConfig) -> Generator[Step, None, Heated]:
    """`wsseg.seedrun.seed_steps` for images in memory, up to the thresholds; nothing is written.

    Args:
        images: Stem to image, of every item of the bags; all with as many axes and channels.
        bags: The tags.
        config: Of the classifier.

    Raises:
        InputError: An image is constant or not finite.
    """
    tagged = []
    for index, item in enumerate(bags.items, 1):
        tagged += tagged_of(bags, item, images[item.stem])
        yield Step("read", index, len(bags.items), info={"file": item.image.name})
    model = yield from fit_classifier(share_statistics(tagged), bags.classes, config, axis=bags.axis)
    del tagged
    meaningless = set((model.config.quality or {})["meaningless"])
    if meaningless == set(bags.classes):
        return Heated(model, {}, dict.fromkeys(bags.classes))
    heater = Heater(model, device=config.device)
    axis = bags.axis
    counts = [1 if axis is None else images[item.stem].shape[axis] for item in bags.items]
    heat: dict[str, np.ndarray] = {}
    done = 0
    for item in bags.items:
        parts = []
        for part in heat_parts(heater, images[item.stem], str(item.image), axis):
            parts.append(part)
            done += 1
            yield Step("heat", done, sum(counts), info={"file": item.image.name})
        heat[item.stem] = join_parts(parts, axis)
    return Heated(model, heat, share_thresholds(bags, lambda item: heat[item.stem], meaningless))


def heat_parts(heater: Heater, image: Image, name: str, axis: int | None) -> Iterator[np.ndarray]:
    """The class maps of an image, or of its slices along `axis` one by one; each float32 (K, *S).

    Raises:
        InputError: The image is constant or not finite.
    """
    statistics = heater.config.measure(image, name)
    if axis is None:
        yield heater.heat(image, statistics)
        return
    for number in range(image.shape[axis]):
        yield heater.heat(slice_of(image, axis, number), statistics)


def join_parts(parts: Sequence[np.ndarray], axis: int | None) -> np.ndarray:
    """What `heat_parts` gave as one array, float32 (K, *S)."""
    joined = parts[0] if axis is None else np.stack(parts, axis + 1)
    return joined.astype(np.float32, copy=False)


def part_of(array: np.ndarray, bag: Bag, axis: int | None) -> np.ndarray:
    """What belongs to a bag of an image's array (C, *S)."""
    if bag.index is None or axis is None:
        return array
    return array.take(bag.index, axis + 1)


def share_thresholds(
    bags: Bags, heat_of: Callable[[Item], np.ndarray], meaningless: set[int], *, force: bool = False
) -> dict[int, Thresholds | None]:
    """The thresholds of each class, chosen from the heat of all tagged images.

    Args:
        bags: The tags.
        heat_of: Gives the class maps (K, *S) of an image.
        meaningless: Ids of classes that get none.
        force: See `choose_thresholds`.
    """
    there: dict[int, list[np.ndarray]] = {k: [] for k in bags.classes}
    absent: dict[int, list[np.ndarray]] = {k: [] for k in bags.classes}
    for item in bags.items:
        heat = heat_of(item)
        for bag in bags.of(item):
            for row, k in enumerate(bags.classes):
                side = there if k in bag.classes else absent
                side[k].append(sample_heat(part_of(heat, bag, bags.axis)[row]))
    return {
        k: None if k in meaningless else choose_thresholds(there[k], absent[k], force=force)
        for k in bags.classes
    }
