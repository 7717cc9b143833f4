"""Tags as bags: each tagged image, or tagged slice of a volume, with the classes that are somewhere in it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from wsseg.errors import InputError
from wsseg.folder import Dataset, Item
from wsseg.hints import BACKGROUND, Hints, Tag

FEWEST = 3  # bags with a class, and without it, below which nothing can be learned and checked


@dataclass(frozen=True)
class Bag:
    """An image, or a slice of a volume, and the classes that are in it; empty = none of them.

    Attributes:
        item: The image.
        classes: Ids of the classes present.
        index: Which slice along the axis that all bags share; None = the whole image.
    """

    item: Item
    classes: frozenset[int]
    index: int | None = None


@dataclass(frozen=True)
class Bags:
    """All that the tags of a dataset say.

    Attributes:
        bags: In the order of the images, then of the slices.
        classes: Class id to name, of the classes that tags tell apart.
        axis: The axis that tagged slices are counted along; None = whole images are tagged.
    """

    bags: tuple[Bag, ...]
    classes: Mapping[int, str]
    axis: int | None

    @property
    def items(self) -> tuple[Item, ...]:
        """The images that have a bag."""
        return tuple({bag.item.stem: bag.item for bag in self.bags}.values())

    def table(self) -> np.ndarray:
        """bool (bags, classes): which class is in which bag."""
        return np.array([[k in bag.classes for k in self.classes] for bag in self.bags])

    def of(self, item: Item) -> tuple[Bag, ...]:
        """The bags of one image."""
        return tuple(bag for bag in self.bags if bag.item.stem == item.stem)


def place_of(bag: Bag, axis: int | None) -> tuple:
    """Where a bag's voxels are, an index into the last axes of an array (…, *S) or (*S)."""
    return () if bag.index is None else (slice(None),) * (axis or 0) + (bag.index,)


def read_bags(dataset: Dataset) -> Bags:
    """The tags of a dataset as bags; see `make_bags`.

    Raises:
        InputError: There are no tags, or none that tell classes apart.
    """
    where = dataset.folder / "tags.csv"
    if not dataset.tags:
        raise InputError(f"{dataset.folder}: has no tags; tags.csv with columns image,class is right.")
    tags = {item: dataset.tags[item.stem] for item in dataset.items if item.stem in dataset.tags}
    return make_bags(tags, lambda item: dataset.peek(item).shape, dataset.classes, str(where))


def make_bags(
    tags: Mapping[Item, frozenset[Tag]],
    shape_of: Callable[[Item], tuple[int, ...]],
    classes: Mapping[int, str],
    where: str,
) -> Bags:
    """Tags as bags.

    Where slices are tagged, tags of whole volumes only say which slices are empty: of a volume that is tagged
    as "none" every slice is. Classes that no tag names are left to other hints.

    Args:
        tags: Of each tagged image.
        shape_of: Gives an image's spatial shape.
        classes: Class id to name.
        where: Where the tags stand, for messages.

    Raises:
        InputError: They don't tell classes apart: a class that every bag has or none has, or one in fewer
            than three; slices tagged along two axes.
    """
    axes = {tag.axis for own in tags.values() for tag in own if tag.axis is not None}
    if len(axes) > 1:
        raise InputError(
            f"{where}: slices are tagged along the axes {' and '.join(map(str, sorted(axes)))}; tags of "
            "slices along one axis are right."
        )
    axis = axes.pop() if axes else None
    bags: list[Bag] = []
    for item, own in tags.items():
        bags += _bags_of(item, own, None if axis is None else shape_of(item)[axis])
    named = {k for bag in bags for k in bag.classes}
    found = Bags(tuple(bags), {k: name for k, name in classes.items() if k in named}, axis)
    _check(found, where)
    return found


def _bags_of(item: Item, tags: frozenset[Tag], slices: int | None) -> list[Bag]:
    """The bags of one image; `slices` is None where whole images are tagged."""
    if slices is None:
        return [Bag(item, frozenset(tag.class_id for tag in tags))]
    if not tags:
        return [Bag(item, frozenset(), index) for index in range(slices)]
    by_slice: dict[int, set[int]] = {}
    for tag in tags:
        if tag.slice is not None:
            by_slice.setdefault(tag.slice, set()).add(tag.class_id)
    return [Bag(item, frozenset(ids - {0}), index) for index, ids in sorted(by_slice.items())]


def _what(bags: Bags) -> str:
    return "image" if bags.axis is None else "slice"


def _check(bags: Bags, where: str) -> None:
    """Whether the tags tell classes apart; see `make_bags`."""
    what = _what(bags)
    if not bags.classes:
        raise InputError(f"{where}: no {what} has any class; a class in at least {FEWEST} of them is right.")
    table = bags.table()
    for column, (k, name) in enumerate(bags.classes.items()):
        there = int(table[:, column].sum())
        absent = len(table) - there
        if absent == 0:
            raise InputError(
                f"{where}: every tagged {what} has class {k} ({name}); {what}s without it are needed to tell "
                "where it is: tag some as having none (in tags.csv by a row with an empty class)."
            )
        if min(there, absent) < FEWEST:
            few, kind = min((there, "with"), (absent, "without"))
            raise InputError(
                f"{where}: only {few} {what}{'s' * (few != 1)} {kind} class {k} ({name}) "
                f"{'are' if few != 1 else 'is'} tagged; at least {FEWEST} with it and {FEWEST} without it "
                "are needed to learn and to check."
            )


def check_marks(dataset: Dataset) -> None:
    """Look whether other hints contradict the tags; reads label maps, no images.

    Raises:
        InputError: They do.
    """
    for item in dataset.items:
        if item.stem in dataset.tags and (said := contradiction(dataset.hints(item, dataset.peek(item)))):
            raise InputError(f"{item.image}: {said}; mend one of the two.")


def contradiction(hints: Hints) -> str | None:
    """How other hints of an image contradict its tags, as the end of a sentence; None where they agree."""
    if hints.tags is None:
        return None
    whole = frozenset(tag.class_id for tag in hints.tags if tag.axis is None)
    by_slice: dict[tuple[int, int], set[int]] = {}
    for tag in hints.tags:
        if tag.axis is not None and tag.slice is not None:
            by_slice.setdefault((tag.axis, tag.slice), set()).add(tag.class_id)
    if whole or not by_slice:
        if extra := sorted(hints.class_ids() - {tag.class_id for tag in hints.tags}):
            return f"class {extra[0]} is marked on it but not among its tags"
        if hints.mask is not None and (missing := sorted(whole - set(_values(hints.mask)))):
            return f"it is tagged with class {missing[0]}, which its finished mask lacks"
    for (axis, index), tagged in sorted(by_slice.items()):
        if extra := sorted(_marked(hints, axis, index) - tagged):
            return (
                f"class {extra[0]} is marked in slice {index} along axis {axis} but not "
                "among the tags of that slice"
            )
    return None


def _marked(hints: Hints, axis: int, index: int) -> set[int]:
    """The classes that voxels of a slice are said to be."""
    found = {click.class_id for click in hints.clicks if round(click.position[axis]) == index}
    for array in (hints.scribbles, hints.mask):
        if array is not None:
            found |= _values(array.take(index, axis))
    return found - {0}


def _values(array: np.ndarray) -> set[int]:
    return {int(value) for value in np.unique(array)} - {0, BACKGROUND}
