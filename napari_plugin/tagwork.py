"""What the worker does with tags: classifier, heat, seeds along edges. Knows neither Qt nor napari."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_plugin.backend import loading
from napari_plugin.events import Heat, Seeds, Work
from napari_plugin.session import stored
from wsseg.bags import Bags
from wsseg.budget import TAG_STEPS
from wsseg.errors import InputError
from wsseg.folder import Item
from wsseg.hints import Tag
from wsseg.images import Image
from wsseg.steps import Step

if TYPE_CHECKING:
    from wsseg.thresholds import Thresholds


@dataclass(frozen=True, eq=False)
class HeatJob:
    """Tagged images, ready to learn from.

    Attributes:
        images: Stem of each bag's item to its image.
        bags: The tags.
        steps: Of training; None = the usual ones.
        seed: Of the run.
    """

    images: Mapping[str, Image]
    bags: Bags
    steps: int | None = None
    seed: int = 0


def find_heat(job: HeatJob) -> Work:
    """Train a classifier of the tags, check it on what is held back, and find heat and thresholds.

    Raises:
        InputError: An image is constant or not finite.
    """
    yield from loading()
    from wsseg.tagfit import TagConfig
    from wsseg.tagheat import heat_images

    config = TagConfig(steps=job.steps or TAG_STEPS, seed=job.seed)
    yield Heat(job.bags, (yield from heat_images(job.images, job.bags, config)))
    return None


@dataclass(frozen=True, eq=False)
class SeedJob:
    """The heat of one image, ready to become seeds."""

    image: Image
    item: Item
    bags: Bags
    heat: np.ndarray
    thresholds: "Mapping[int, Thresholds | None]"


def find_seeds(job: SeedJob) -> Work:
    """Seeds by the thresholds, sharpened along the edges of the image as `wsseg seeds` does it."""
    yield from loading()
    from wsseg.seedrun import seed_parts
    from wsseg.seeds import SeedConfig

    found = np.zeros(job.image.shape, np.uint8)
    total = len(job.bags.of(job.item))
    parts = seed_parts(job.image, job.heat, job.bags, job.item, job.thresholds, SeedConfig())
    for index, (place, part) in enumerate(parts, 1):
        found[place] = part
        yield Step("seeds", index, total)
    yield Seeds(found)
    return None


def save_tags(
    path: Path,
    tagged: Sequence[tuple[str, Path | None, Image, frozenset[Tag]]],
    classes: Mapping[int, str],
) -> Generator[Step, None, None]:
    """Write the tags of images into tags.csv; see `wsseg.tagfile.save_tags`.

    Args:
        path: The table.
        tagged: Of each image the layer's name, its file or None, the image as the layer shows it, its tags.
        classes: Class id to name.

    Raises:
        InputError: A layer shows a NIfTI file in another order of axes, two images have the same name, or the
            table can't be written.
    """
    from wsseg.tagfile import save_tags

    found: dict[str, frozenset[Tag]] = {}
    for index, (name, source, image, tags) in enumerate(tagged, 1):
        yield Step("save", index, len(tagged))
        if source is not None and any(tag.axis is not None for tag in tags):
            stored(image, source, name)
        key = name if source is None else source.name
        if key in found:
            raise InputError(f"Two images are called {key}; tags go by the name, so rename one.")
        found[key] = tags
    save_tags(path, found, classes)
