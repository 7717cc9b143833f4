"""The images of a box-labelled dataset, opened one by one, so that memory does not grow with their number."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wsseg.boxes import Segment, interval_place, render
from wsseg.boxterms import line_maps
from wsseg.coco import Interval
from wsseg.errors import InputError
from wsseg.folder import Dataset, Item
from wsseg.hints import Box, Hints
from wsseg.images import Image
from wsseg.normalise import Normalisation, Statistics
from wsseg.patches import Sample
from wsseg.recipes import View
from wsseg.steps import Step
from wsseg.weak import weak_labels


class Normalised:
    """Normalised values (C, *S) of an image, read where they are asked for."""

    def __init__(self, image: Image, statistics: Statistics) -> None:
        self._image, self._statistics = image, statistics
        self.shape = (image.channels, *image.shape)
        self.ndim = len(self.shape)

    def __getitem__(self, place: Any) -> np.ndarray:
        return self._statistics.apply(np.asarray(self._image.data[place]))


@dataclass(frozen=True, eq=False)
class BoxImage:
    """One image with its boxes.

    Attributes:
        stem: Its name.
        image: Its values and geometry.
        statistics: How to normalise it.
        hints: Its boxes, and whatever else is marked on it.
        unknown: Where nothing is known beside what the boxes say, as (start, stop): in crowds, which are many
            objects at once, and where refused boxes lie.
    """

    stem: str
    image: Image
    statistics: Statistics
    hints: Hints
    unknown: tuple[Interval, ...]

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Around one object each."""
        return self.hints.boxes

    @property
    def view(self) -> View:
        """What the methods see."""
        return View(Normalised(self.image, self.statistics), self.boxes)

    def sample(
        self, segments: Sequence[Segment], outputs: Mapping[int, int], *, lines: bool = False
    ) -> Sample:
        """The image with labels to train on: what its boxes say, and above that what was painted.

        Args:
            segments: Of its boxes.
            outputs: Class id to network output.
            lines: Whether to add what terms of the loss need to know of the boxes.
        """
        labels = render(self.image.shape, segments, outputs, all_boxed=self.hints.all_boxed)
        for interval in self.unknown:
            place = interval_place(interval)
            labels.weight[place][labels.target[place] == 0] = 0
        painted = weak_labels(self.hints, spacing=self.image.spacing)
        labels.weight[painted.known] = 0  # and stays so for a class without boxes, which has no output
        for k, output in {0: 0, **outputs}.items():
            place = painted.known & (painted.target == k)
            labels.target[place], labels.weight[place] = output, 1
        maps = line_maps(self.image.shape, self.boxes, outputs) if lines else None
        return Sample(self.image, labels, self.statistics, self.stem, maps)


class BoxImages:
    """The images that boxes.json lists, in the order of their stems.

    An image that is listed without a box holds no object; one that is not listed is left out.

    Attributes:
        items: The images.
        classes: Class id to name, of the classes that have a box in one of them.
        unlisted: Stems of images that boxes.json does not list.
        bad: Stem to what is wrong, of images that can't be read.

    Args:
        dataset: Opened with `lenient=True`, or strict.
        normalisation: Recipe for intensities.

    Raises:
        InputError: There is no boxes.json, or no box in it that can be used.
    """

    def __init__(self, dataset: Dataset, normalisation: Normalisation) -> None:
        if dataset.coco is None:
            raise InputError(f"{dataset.folder}: has no boxes.json; refine makes masks from the boxes in it.")
        if not dataset.boxes:
            count = len(dataset.coco.refused)
            first = next(iter(dataset.coco.refused.values()), "").rstrip(".")
            why = f"; the first of {count}: {first}" if count else ""
            raise InputError(f"{dataset.folder / 'boxes.json'}: has no box that can be used{why}.")
        self.dataset, self.coco, self.normalisation = dataset, dataset.coco, normalisation
        self._keep([item for item in dataset.items if item.stem in dataset.coco.listed])
        self.unlisted = [item.stem for item in dataset.items if item.stem not in dataset.coco.listed]
        self.bad = {stem: why for stem, why in dataset.broken.items() if stem in dataset.coco.listed}

    def _keep(self, items: list[Item]) -> None:
        """Go on with these images, and with the classes that have a box in one of them."""
        self.items = items
        used = {box.class_id for item in items for box in self.boxes(item)}
        self.classes = {k: name for k, name in sorted(self.dataset.classes.items()) if k in used}

    @property
    def unused(self) -> list[str]:
        """Names of classes without any box."""
        return [name for k, name in sorted(self.dataset.classes.items()) if k not in self.classes]

    def boxes(self, item: Item) -> tuple[Box, ...]:
        """The boxes of an image."""
        return self.dataset.boxes.get(item.stem, ())

    def voxels(self, item: Item) -> int:
        """How large an image is, without reading its values."""
        return int(np.prod(self.dataset.peek(item).shape))

    def open(self, item: Item) -> BoxImage:
        """Read one image.

        Raises:
            InputError: It is broken, constant or not finite.
        """
        image, hints = self.dataset.read(item)
        statistics = self.normalisation.measure(image, str(item.image))
        return BoxImage(item.stem, image, statistics, hints, self.coco.unknown(item.stem))

    def look(self, *, strict: bool) -> Generator[Step, None, None]:
        """Open every image once and note the bad ones in `bad`, which are left out from then on.

        Raises:
            InputError: If strict, the first bad image.
        """
        good = []
        for index, item in enumerate(self.items, 1):
            try:
                self.open(item)
            except InputError as error:
                if strict:
                    raise
                self.bad[item.stem] = str(error)
            else:
                good.append(item)
            yield Step("look through images", index, len(self.items), info={"file": item.image.name})
        if not any(self.boxes(item) for item in good):
            first = next(iter(self.bad.values()))
            raise InputError(f"{self.dataset.folder}: no image with boxes can be read; the first: {first}")
        self._keep(good)
