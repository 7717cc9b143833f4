"""What boxes say of voxels beside hints of other kinds, for `wsseg fit`: below paint and clicks, above tags.

`wsseg refine` trains on boxes alone, round after round. Here each box is made into a mask once, by the first
labels of its method `auto` (`wsseg.boxmasks`, which obeys what is painted), and the mask is a hint as others.
"""

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wsseg.bags import Bags, place_of
from wsseg.boxes import Segment, interval_place, render
from wsseg.boxes import place_of as box_place
from wsseg.boximages import BoxImage
from wsseg.boxmasks import Found, find_masks, spoken, to_segments
from wsseg.folder import Dataset, Item
from wsseg.normalise import Normalisation
from wsseg.steps import Step
from wsseg.weak import WeakLabels, over


@dataclass(frozen=True, eq=False)
class BoxWord:
    """What the boxes of one image say.

    Attributes:
        labels: Objects and background; targets are network outputs.
        boxed: Outputs of which every object in the image has a box.
        outside: bool (*S): where, therefore, none of them can be, whatever else says so.
    """

    labels: WeakLabels
    boxed: frozenset[int]
    outside: np.ndarray

    def above(self, lower: WeakLabels) -> WeakLabels:
        """Labels of less certain hints with this over them."""
        refuted = self.outside & np.isin(lower.target, list(self.boxed))
        weight = np.where(refuted, 0, lower.weight).astype(np.float32)
        return over(WeakLabels(lower.target, weight), self.labels)


def find_box_words(dataset: Dataset, bags: Bags | None = None) -> Generator[Step, None, dict[str, BoxWord]]:
    """What the boxes of a dataset say, by the stems of the images that have some; a step a few boxes.

    An image that boxes.json lists without a box is not said to be empty, as it is for refine: where hints are
    mixed, most images have none.

    Args:
        dataset: With boxes or without; images with a finished mask need none.
        bags: Its tags, where there are some.

    Raises:
        InputError: An image is broken, constant or not finite.
    """
    words: dict[str, BoxWord] = {}
    items = [item for item in dataset.items if dataset.boxes.get(item.stem) and item.mask is None]
    total = sum(len(dataset.boxes[item.stem]) for item in items)
    done = 0
    for item in items:
        opened = open_boxed(dataset, item)
        said = spoken(opened.hints, opened.image.spacing)
        found: dict[int, Found] = {}
        for known, left in find_masks(opened.view, said, {}):
            found = known
            yield Step("boxes", done + len(opened.boxes) - left, total, info={"file": item.image.name})
        done += len(opened.boxes)
        segments = to_segments(opened.boxes, found, said)
        words[item.stem] = say(opened, segments, dataset, bags)
    return words


def open_boxed(dataset: Dataset, item: Item) -> BoxImage:
    """Read an image with its boxes.

    Raises:
        InputError: It is broken, constant or not finite.
    """
    assert dataset.coco is not None
    image, hints = dataset.read(item)
    statistics = Normalisation().measure(image, str(item.image))
    return BoxImage(item.stem, image, statistics, hints, dataset.coco.unknown(item.stem))


def say(opened: BoxImage, segments: Sequence[Segment], dataset: Dataset, bags: Bags | None) -> BoxWord:
    """Masks of boxes as labels.

    Outside of all boxes is background where every class that may be there has its boxes: in a tagged image
    (or slice) the classes of its tags; else all, and a class has its boxes if any image has one of it. Where
    tags say that a class is not there, a mask of it says nothing.

    Args:
        opened: The image with its boxes.
        segments: Their masks.
        dataset: The image's.
        bags: Its tags.
    """
    hints = opened.hints
    outputs = {k: output for output, k in enumerate(sorted(dataset.classes), 1)}
    labels = render(opened.image.shape, segments, outputs, all_boxed=hints.all_boxed)
    inside, unclear = np.zeros(hints.shape, bool), np.zeros(hints.shape, bool)
    for box in hints.boxes:
        inside[box_place(box)] = True
    for interval in opened.unknown:
        unclear[interval_place(interval)] = True
    labels.weight[unclear & (labels.target == 0)] = 0
    unboxed = frozenset(dataset.classes) - {box.class_id for own in dataset.boxes.values() for box in own}
    told = frozenset(bags.classes) if bags else frozenset()
    open_ = np.full(hints.shape, bool(unboxed))
    for bag in bags.of(_item(dataset, opened.stem)) if bags else ():
        place = place_of(bag, bags.axis if bags else None)
        open_[place] = bool((unboxed - told) | (bag.classes - _crossing(opened, bags, bag.index)))
        absent = [outputs[k] for k in (told - bag.classes) & outputs.keys()]
        labels.weight[place][np.isin(labels.target[place], absent)] = 0
    labels.weight[open_ & ~inside] = 0
    boxed = frozenset(outputs[box.class_id] for box in hints.boxes) if hints.all_boxed else frozenset()
    return BoxWord(labels, boxed, ~inside & ~unclear)


def _item(dataset: Dataset, stem: str) -> Item:
    item = dataset.find(stem)
    assert item is not None
    return item


def _crossing(opened: BoxImage, bags: Bags | None, index: int | None) -> frozenset[int]:
    """Classes of the boxes that reach into a slice, or of all where there is none."""
    axis = bags.axis if bags else None
    if axis is None or index is None:
        return frozenset(box.class_id for box in opened.boxes)
    return frozenset(box.class_id for box in opened.boxes if box.start[axis] <= index < box.stop[axis])


def told_of(words: Mapping[str, BoxWord], boxes: Mapping[str, Collection]) -> str:
    """What was done with the boxes, as a sentence."""
    count = sum(len(boxes[stem]) for stem in words)
    return (
        f"Boxes: {count}, images with some: {len(words)}. Each was made into a mask first, which counts less "
        "than paint and more than tags; where they are held back, quality is agreement with such masks."
    )
