"""What the worker does when results leave: export, measure, predict other images. No Qt, no napari.

The main thread hands in snapshots; files are written beside and renamed.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_plugin.backend import loading
from napari_plugin.events import Elsewhere, Event, Note, Preview, Work
from napari_plugin.memorywork import told_prediction
from napari_plugin.session import Wishes, apply_model, check_fits, coloured, stored
from wsseg.convert import as_format, format_of, keeps_place
from wsseg.errors import InputError
from wsseg.hints import Box, Hints
from wsseg.images import Image, stem_of, write_mask, write_probabilities
from wsseg.measure import Cleaning
from wsseg.steps import Step
from wsseg.world import World, world_of

if TYPE_CHECKING:
    from wsseg.model import Model


@dataclass(frozen=True, eq=False)
class Shown:
    """An image as its layer shows it.

    Attributes:
        image: Its values and spacing.
        world: Where the layer puts it.
        source: The file of the layer, or None for one that no file has as it is: one made in memory, a level.
        name: The layer's.
        level: Which level of a multiscale image it is, 0 is the finest.
    """

    image: Image
    world: World
    source: Path | None
    name: str
    level: int = 0

    def like(self) -> tuple[Image, World]:
        """What gives a result its geometry: the file where there is one, else the layer.

        Raises:
            InputError: The layer shows a NIfTI in another order of axes.
        """
        like = self.image if self.source is None else stored(self.image, self.source, self.name)
        return like, self.world if like is self.image else world_of(like)


@dataclass(frozen=True, eq=False)
class Found:
    """What was found in an image; at least one of both is there.

    Attributes:
        mask: Class ids (*S), or None.
        objects: Whole numbers (*S), or None: the connected parts of the mask are the objects then.
        kinds: Object to class, for those that have a box.
    """

    mask: np.ndarray | None
    objects: np.ndarray | None
    kinds: Mapping[int, int]

    def values(self, what: str) -> np.ndarray:
        """The "mask" or the "objects" (*S)."""
        return self.classes() if what == "mask" else self.numbered()

    def numbered(self) -> np.ndarray:
        """The objects (*S)."""
        if self.objects is not None:
            return self.objects
        from wsseg.objects import label_instances

        return label_instances(self.classes())

    def classes(self) -> np.ndarray:
        """Class ids (*S): the mask, without one those of the boxes, 1 where nobody knows."""
        if self.mask is not None:
            return self.mask
        assert self.objects is not None
        names, numbers = np.unique(self.objects, return_inverse=True)
        kinds = [self.kinds.get(int(name), 1) if name else 0 for name in names]
        return np.array(kinds, np.uint8)[numbers.reshape(self.objects.shape)]


def save_mask(path: Path, mask: np.ndarray, shown: Shown) -> Generator[Step, None, None]:
    """Write a mask (*S) with the geometry of its image's file, of a level with the level's.

    A large one takes seconds.

    Raises:
        InputError: The layer shows a NIfTI file in another order of axes, or the disk refuses.
    """
    yield Step("save", 0, 1)
    like, world = shown.like()
    if shown.level and (name := format_of(path)) is not None:
        mask, like = as_format(mask, like, name, world)
    write_mask(path, mask, like)
    yield Step("save", 1, 1)


def export_values(
    path: Path, format_name: str, shown: Shown, found: Found, what: str
) -> Generator[Event, None, None]:
    """Write the mask, or the objects, as this kind of file.

    Raises:
        InputError: The format can't hold it, or the disk refuses.
    """
    yield from loading()
    yield Step("save", 0, 1)
    values = found.values(what)
    like, world = shown.like()
    write_mask(path, *as_format(values, like, format_name, world))
    yield Step("save", 1, 1)
    yield _told(path, format_name, like, world)


def export_coco(
    path: Path, shown: Shown, found: Found, what: str, classes: Mapping[int, str]
) -> Generator[Event, None, None]:
    """Write a picture's classes, or its objects, as COCO with masks; what the file says of others stays.

    Raises:
        InputError: It is a volume, there is nothing to write, or the file there is no COCO.
    """
    yield from loading()
    from wsseg.boxfile import save_boxes

    yield Step("save", 0, 1)
    values, mask = found.values(what), found.classes()
    boxes = []
    for number, place in _places(values):
        kinds = np.bincount(mask[place][values[place] == number])
        kind = number if what == "mask" else found.kinds.get(number) or max(1, int(kinds.argmax()))
        boxes.append(Box(tuple(p.start for p in place), tuple(p.stop for p in place), kind, number))
    if not boxes:
        raise InputError("The mask is empty, so there is nothing to write; Segment first.")
    named = {**{box.class_id: f"class {box.class_id}" for box in boxes}, **classes}
    name = shown.name if shown.source is None else shown.source.name
    save_boxes(path, name, shown.image.shape, boxes, named, mask_of=lambda number: values == number)
    yield Step("save", 1, 1)
    count = f"{len(boxes):,} {'classes' if what == 'mask' else 'objects'}"
    yield Note(f"Wrote {count} of {name} to {path.name}; what it says of other images stays.")


def export_probabilities(
    path: Path, format_name: str, model: "Model", shown: Shown
) -> Generator[Event, None, None]:
    """Predict the image and write what the network says of each class, background first.

    Raises:
        InputError: The model does not fit the image, the format holds no real numbers, or the disk refuses.
    """
    yield from loading()
    from wsseg.predict import Predictor

    check_fits(model, shown.image, shown.name)
    like, world = shown.like()
    tile = yield from told_prediction(model.config, shown.image, keep_probabilities=True)
    predictor = Predictor(model, tile=tile)
    prediction = yield from predictor.steps(
        coloured(model, shown.image), keep_probabilities=True, name=shown.name
    )
    assert prediction.probabilities is not None
    yield Step("save", 0, 1)
    write_probabilities(path, *as_format(prediction.probabilities, like, format_name, world))
    names = ", ".join(["background", *model.config.classes.values()])
    yield Note(f"Wrote {path.name}: {names}, in this order.")


@dataclass(frozen=True, eq=False)
class Wanted:
    """What to measure.

    Attributes:
        instances: A row an object instead of a class.
        cleaning: What is done to the mask first.
        hints: What is marked, for agreement.
        classes: Class id to name.
        session: The folder of the session, for the time that it took; None = there is none yet.
        page: Whether to write a page of HTML beside the table.
    """

    instances: bool
    cleaning: Cleaning
    hints: Hints
    classes: Mapping[int, str]
    session: Path | None
    page: bool = False


def measure(path: Path, shown: Shown, found: Found, wanted: Wanted) -> Generator[Event, None, None]:
    """Write a table of what was found in one image, and a page of the same name where it is wanted.

    Raises:
        InputError: The image holds NaN, or the disk refuses.
    """
    yield from loading()
    from wsseg.images import check_values
    from wsseg.measure import clean, measure_classes, measure_objects
    from wsseg.measurefolder import write_table
    from wsseg.replay import replay

    yield Step("measure", 0, 1)
    check_values(shown.image)
    world = shown.like()[1]
    values = np.asarray(shown.image.data[...])
    hints = wanted.hints if wanted.hints.name_voxels() else None
    objects = found.numbered() if wanted.instances else found.classes()
    if wanted.instances:
        mask = found.classes()
        rows = measure_objects(objects, world, mask=mask, image=values, hints=hints, cleaning=wanted.cleaning)
    else:
        rows = measure_classes(
            objects,
            world,
            image=values,
            hints=hints,
            classes=wanted.classes,
            cleaning=wanted.cleaning,
        )
    seconds = None if wanted.session is None else replay(wanted.session).statistics["working_seconds"]
    names = {0: "background", **wanted.classes}
    stem = shown.name if shown.source is None else stem_of(shown.source)
    told = [
        {"image": stem, **row, "name": names.get(row["class"]), "working_seconds": seconds} for row in rows
    ]
    write_table(path, told)
    count = "1 row" if len(rows) == 1 else f"{len(rows):,} rows"
    words = f"Wrote {count} to {path.name}."
    if wanted.page:
        from wsseg.measurereport import cut_through, write_measure_report

        drawn = clean(objects, world, wanted.cleaning)
        settings = {"image": stem, **asdict(wanted.cleaning)}
        if seconds is not None:
            settings["seconds at work"] = f"{seconds:.0f}"
        page = path.with_suffix(".html")
        write_measure_report(page, told, [cut_through(stem, values, drawn, world.spacing)], settings)
        words = f"{words} The page is {page.name}."
    yield Step("measure", 1, 1)
    yield Note(words)


def apply_to_others(model: "Model", images: Sequence[tuple[Image, str]], kept: Sequence[str]) -> Work:
    """Predict several images, one after the other; one that can't be is told and the others go on.

    Args:
        model: What predicts.
        images: Each with its name.
        kept: Names of images that are left as they are.
    """
    yield from loading()
    from wsseg.predict import Predictor

    predictor, fitting, problems = Predictor(model), [], []
    for number, (image, name) in enumerate(images):
        try:
            check_fits(model, image, name)
        except InputError as error:
            problems.append(str(error))
        else:
            fitting.append((number, image, name, predictor.count_tiles(image.shape)))
    total, before, done = sum(tiles for *_, tiles in fitting), 0, 0
    for number, image, name, tiles in fitting:
        mask = np.zeros(image.shape, np.uint8)
        try:
            for event in apply_model(model, image, name, Wishes()):
                if isinstance(event, Preview):
                    mask[event.region] = event.mask
                elif isinstance(event, Step) and event.stage == "predict":
                    # with less memory there are more and smaller tiles: a share of those that were counted
                    now = before + event.index * tiles // event.total
                    yield Step("others", now, total, info={"image": name})
                elif isinstance(event, Note):
                    yield Note(f"{name}: {event.text}")
            yield Elsewhere(number, mask)  # whole, or not at all where it is stopped
            done += 1
        except InputError as error:
            problems.append(str(error))
        before += tiles
    left = [f"Left as they are, since something is marked on them: {', '.join(kept)}."] if kept else []
    yield Note(" ".join([f"Masks of {done} other image{'s' * (done != 1)}.", *left, *problems]))
    return model


def _places(values: np.ndarray) -> list[tuple[int, tuple[slice, ...]]]:
    """Every value above 0 with its bounding box."""
    from scipy.ndimage import find_objects

    names, numbers = np.unique(values, return_inverse=True)
    places = find_objects(numbers.reshape(values.shape) + 1)
    return [(int(name), place) for name, place in zip(names, places, strict=True) if name and place]


def _told(path: Path, format_name: str, like: Image, world: World) -> Note:
    lost = "" if keeps_place(like, format_name, world) else f" {format_name} can't say where the image lies."
    return Note(f"Wrote {path.name}.{lost}")
