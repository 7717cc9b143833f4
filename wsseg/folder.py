"""A dataset folder once it is open: each image with all that a person marked on it."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from wsseg.coco import Boxes, read_boxes
from wsseg.errors import InputError
from wsseg.formats.labels import count_values
from wsseg.hints import BACKGROUND, Box, Click, Hints, Tag
from wsseg.images import Image, check_values, in_colour, peek_image, read_image, read_labels
from wsseg.tables import Known, known_classes, read_classes, read_clicks, read_synonyms, read_tags


@dataclass(frozen=True)
class Item:
    """One image of a dataset and the files that belong to it.

    Attributes:
        stem: Its name less the suffix; results carry it.
        image: The image's path.
        hints: Its hint map's path, or None.
        mask: Its finished mask's path, or None.
    """

    stem: str
    image: Path
    hints: Path | None = None
    mask: Path | None = None


class Dataset:
    """An open dataset folder; made by `wsseg.dataset.open_dataset`.

    Attributes:
        folder: Where it is.
        items: Its images, sorted by stem.
        broken: Stem to what is wrong with an image that is left out; only where that was asked for.
        bad_tables: What is wrong with tables that are left out; only where that was asked for.
        clicks, boxes, tags: What the tables say, by stem; boxes are clipped to their image.
        coco: All that boxes.json says, where there is one.
        looked_at: Path, time of change and size of a label map to the values in it. Who opens a folder anew
            may hand it on, so that `classes` reads only maps that have changed.
        unknown, background: Values in foreign hint maps that stand for 0 and 255.
    """

    def __init__(
        self,
        folder: Path,
        items: tuple[Item, ...],
        *,
        unknown: int | None = None,
        background: int | None = None,
        channel_axis: int | None = None,
        lenient: bool = False,
        lenient_tables: bool = False,
    ) -> None:
        self.folder, self.items = folder, items
        self.unknown, self.background = unknown, background
        self.clicks: Mapping[str, tuple[Click, ...]] = {}
        self.boxes: Mapping[str, tuple[Box, ...]] = {}
        self.tags: Mapping[str, frozenset[Tag]] = {}
        self.coco: Boxes | None = None
        self.looked_at: dict[tuple[str, int, int], frozenset[int]] = {}
        self._channel_axis = channel_axis
        self._lenient_boxes, self._lenient_tables = lenient or lenient_tables, lenient_tables
        self._named: Mapping[int, str] | None = None
        self._by_stem = {item.stem: item for item in items}
        self._peeked: dict[str, Image] = {}
        self.broken: dict[str, str] = {}
        self.bad_tables: list[str] = []
        if lenient:
            self._leave_out_broken()
        self._read_tables()

    def _leave_out_broken(self) -> None:
        """Go on with the images whose headers can be read; tables may still name the others.

        Raises:
            InputError: None can be read.
        """
        for item in self.items:
            try:
                self.peek(item)
            except InputError as error:
                self.broken[item.stem] = str(error)
        self.items = tuple(item for item in self.items if item.stem not in self.broken)
        if not self.items:
            first = next(iter(self.broken.values()))
            raise InputError(f"{self.folder / 'images'}: no image can be read; the first: {first}")

    def find(self, stem: str) -> Item | None:
        """The image of this stem, or None."""
        return self._by_stem.get(stem)

    def peek(self, item: Item) -> Image:
        """The image without its values (see `wsseg.images.peek_image`); looked up once."""
        if item.stem not in self._peeked:
            self._peeked[item.stem] = peek_image(item.image, self._channel_axis)
        return self._peeked[item.stem]

    def read(self, item: Item) -> tuple[Image, Hints]:
        """An image and all that is marked on it.

        A grey image is repeated to three channels where any image of the dataset is in colour.

        Raises:
            InputError: A file is broken, holds NaN, does not fit the image, or names an unknown class.
        """
        image, hints = self.read_alone(item)
        if self.rgb and image.channels == 1:
            image = in_colour(image)
        return image, hints

    def read_alone(self, item: Item) -> tuple[Image, Hints]:
        """`read` without a look at the other images: a grey image stays grey."""
        image = read_image(item.image, self._channel_axis)
        check_values(image)
        return image, self.hints(item, image)

    def hints(self, item: Item, image: Image) -> Hints:
        """All that is marked on an image that has been read.

        Raises:
            InputError: A file is broken, does not fit the image, or names an unknown class.
        """
        return Hints(
            shape=image.shape,
            scribbles=None if item.hints is None else self._hint_map(item.hints, image),
            mask=None if item.mask is None else self._mask(item.mask, image),
            clicks=self.clicks.get(item.stem, ()),
            boxes=self.boxes.get(item.stem, ()),
            tags=self.tags.get(item.stem),
            all_boxed=self.coco is None or item.stem not in self.coco.unplaced,
        )

    @cached_property
    def classes(self) -> dict[int, str]:
        """Class id to name: from classes.json, else from boxes.json, else "class k" for every k marked.

        Raises:
            InputError: A hint map or mask that must be looked at for this can't be read.
        """
        if self._named is not None:
            return dict(self._named)
        found: set[int] = set()
        for item in self.items:
            if item.hints is not None:
                found |= self._values_in(item.hints, self._hint_map, item) - {BACKGROUND}
            if item.mask is not None:
                found |= self._values_in(item.mask, self._mask, item)
            found |= self.table_classes(item.stem)
        return {k: f"class {k}" for k in sorted(found - {0})}

    def _values_in(self, path: Path, read: Callable[[Path, Image], np.ndarray], item: Item) -> frozenset[int]:
        """The values in a label map; one that is a folder tells no time of change, and is read each time."""
        if not path.is_file():
            return frozenset(count_values(read(path, self.peek(item))))
        status = path.stat()
        key = str(path), status.st_mtime_ns, status.st_size
        if key not in self.looked_at:
            self.looked_at[key] = frozenset(count_values(read(path, self.peek(item))))
        return self.looked_at[key]

    def table_classes(self, stem: str) -> set[int]:
        """The classes that clicks, boxes and tags of an image name, 0 for background among them."""
        clicks, boxes = self.clicks.get(stem, ()), self.boxes.get(stem, ())
        return {hint.class_id for hint in (*clicks, *boxes, *self.tags.get(stem, ()))}

    def named(self, *, tags: bool = True) -> set[int]:
        """The classes that any hint of the dataset names; with `tags` or but for these. Reads label maps.

        Raises:
            InputError: A hint map or mask can't be read.
        """
        found: set[int] = set()
        for item in self.items:
            hints = self.hints(item, self.peek(item))
            found |= (hints if tags else replace(hints, tags=None)).class_ids()
        return found

    def leave_out_unnamed(self, also: Collection[int] = (), *, tags: bool = True) -> dict[int, str]:
        """Drop from `classes` those that nothing names, of which there is nothing to learn; ids stay.

        Where no class at all is named all stay, for that is a mistake of another kind.

        Args:
            also: Ids that something else names.
            tags: Whether tags name a class.

        Returns:
            What was dropped, id to name.
        """
        named = self.named(tags=tags) | set(also)
        dropped = {k: name for k, name in self.classes.items() if k not in named}
        if len(dropped) == len(self.classes):
            return {}
        self.classes = {k: name for k, name in self.classes.items() if k not in dropped}
        return dropped

    @cached_property
    def rgb(self) -> bool:
        """Whether any image is in colour, so that all are read with three channels."""
        return any(self.peek(item).rgb for item in self.items)

    @cached_property
    def channels(self) -> int:
        """How many channels `read` gives.

        Raises:
            InputError: The images differ in it other than as grey and colour.
        """
        counts: dict[int, Item] = {}
        for item in self.items:
            own = self.peek(item).channels
            counts.setdefault(3 if self.rgb and own == 1 else own, item)
        return _only(counts, "channels", "as many channels in each, or a mix of grey and RGB,")

    @cached_property
    def dims(self) -> int:
        """How many spatial axes the images have, 2 or 3.

        Raises:
            InputError: Some have two and some three.
        """
        counts: dict[int, Item] = {}
        for item in self.items:
            counts.setdefault(self.peek(item).ndim, item)
        return _only(counts, "spatial axes", "only pictures or only volumes")

    def _read_tables(self) -> None:
        def known() -> Known:
            return Known(
                frozenset(self._by_stem), lambda stem: self.peek(self._by_stem[stem]).shape, self._named
            )

        if (path := self.folder / "classes.json").exists():
            with self._noting():
                self._named = read_classes(path)
        if (path := self.folder / "boxes.json").exists():
            with self._noting():
                self.coco = read_boxes(path, known(), lenient=self._lenient_boxes)
                self.boxes, self._named = self.coco.by_stem, self.coco.classes
        clicks: dict[str, tuple[Click, ...]] = {}
        if (path := self.folder / "clicks.csv").exists():
            with self._noting():
                clicks.update(read_clicks(path, known()))
        for path in sorted((self.folder / "clicks").glob("*.csv")):
            with self._noting():
                stem = known().stem(path.stem, str(path))
                clicks[stem] = clicks.get(stem, ()) + read_clicks(path, known(), stem=stem).get(stem, ())
        self.clicks = clicks
        if (path := self.folder / "tags.csv").exists():
            with self._noting():
                self.tags = read_tags(path, known(), self._words())

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Note what is wrong with a table and go on without it, where that was asked for."""
        try:
            yield
        except InputError as error:
            if not self._lenient_tables:
                raise
            self.bad_tables.append(str(error))

    def _words(self) -> Mapping[int, tuple[str, ...]] | None:
        """Class id to its name and synonyms, or None where classes have no names."""
        if self._named is None:
            return None
        synonyms = self.folder / "classes.json"
        words = read_synonyms(synonyms) if synonyms.exists() else {}
        return {k: words.get(k, (name,)) for k, name in self._named.items()}

    def _hint_map(self, path: Path, image: Image) -> np.ndarray:
        """A hint map (*S) in uint8, foreign values replaced."""
        labels = read_labels(path, image)
        # both at once: a foreign map may well have 0 = background and 255 = unknown
        replaced = [(self.unknown, 0), (self.background, BACKGROUND)]
        where = [(labels == old, new) for old, new in replaced if old is not None]
        if where:
            labels = labels.astype(np.int64)
        for voxels, new in where:
            labels[voxels] = new
        for value in count_values(labels):
            if value not in (0, BACKGROUND) and not self._is_class(value):
                raise InputError(
                    f"{path}: the value {value} is an unknown class; {known_classes(self._named)}, 0 says "
                    f"nothing and 255 is background; or use --unknown {value} or --background {value}."
                )
        return labels.astype(np.uint8)

    def _mask(self, path: Path, image: Image) -> np.ndarray:
        """A finished mask (*S) in uint8."""
        labels = read_labels(path, image)
        for value in count_values(labels):
            if value != 0 and not self._is_class(value):
                raise InputError(
                    f"{path}: the value {value} is an unknown class; {known_classes(self._named)}, and in a "
                    "mask 0 is background: save it with these values."
                )
        return labels.astype(np.uint8)

    def _is_class(self, value: int) -> bool:
        return 1 <= value <= 254 and (self._named is None or value in self._named)


def _only(counts: Mapping[int, Item], what: str, right: str) -> int:
    if len(counts) > 1:
        (one, first), (other, second) = sorted(counts.items())[:2]
        raise InputError(
            f"{second.image}: has {other} {what} where {first.image.name} has {one}; {right} are right."
        )
    return next(iter(counts))
