"""A folder of masks, with images and hints where there are some, becomes one table of measurements."""

import csv
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wsseg.atomic import write_beside
from wsseg.dataset import Dataset
from wsseg.errors import InputError
from wsseg.hints import Hints
from wsseg.images import Image, check_values, in_colour, list_images, peek_image, read_image, read_labels
from wsseg.measure import Cleaning, Row, clean, measure_classes, measure_objects
from wsseg.measurereport import PICTURES, Cut, cut_through
from wsseg.steps import Step
from wsseg.whichmasks import list_masks, objects_within
from wsseg.world import world_of

COLUMNS = (
    *("image", "class", "name", "object", "objects", "voxels", "volume", "unit", "centroid", "start", "stop"),
    *("mean", "sd", "min", "max", "hinted", "agreement", "working_seconds"),
)
"""The columns in their order; one such as "centroid" stands for "centroid-0", "centroid-1" and so on."""


@dataclass(frozen=True)
class Sources:
    """What a folder of masks is measured with.

    Attributes:
        images: Folder of the images, or a dataset folder, same stems as the masks; None = no intensities.
        hints: The dataset whose hints the masks are compared with, and whose names classes have.
        instances: Each value of a mask is an object; the folder instances/ in it is taken where there is one.
        cleaning: What is done to each mask before it is measured.
        matching: Leave out masks without an image, where there are images; else each must have one.
    """

    images: Path | None = None
    hints: Dataset | None = None
    instances: bool = False
    cleaning: Cleaning = field(default_factory=Cleaning)
    matching: bool = False


def measure_folder(masks: Path | str, sources: Sources | None = None) -> Generator[Step, None, list[Row]]:
    """Measure every mask of a folder, or one mask.

    Args:
        masks: The folder, as `wsseg predict` leaves it, or a file.
        sources: What else there is.

    Yields:
        A `Step` an image.

    Returns:
        The rows of `measure_classes` or `measure_objects` with "image", the stem, and "name", that of the
        class where hints name it. A class of any image has a row for each.

    Raises:
        InputError: There is no mask, a mask has no image (with `matching` none has), or two differ in shape
            or affine.
    """
    sources = sources or Sources()
    images = _images(sources.images)
    found = _with_images(list_masks(masks), images, sources)
    objects = _objects(Path(masks), found) if sources.instances else {}
    dataset = sources.hints
    names = {} if dataset is None else {0: "background", **dataset.classes}
    colour = any(peek_image(path).rgb for stem, path in images.items() if stem in found)
    rows: list[Row] = []
    for index, (stem, path) in enumerate(found.items(), 1):
        like = peek_image(images.get(stem, path))
        mask = _read(path, like)
        values = _values(images.get(stem), colour=colour)
        hints = _hints(dataset, stem, like)
        if not sources.instances:
            own = measure_classes(
                mask,
                world_of(like),
                image=values,
                hints=hints,
                classes=names.keys() - {0},
                cleaning=sources.cleaning,
            )
        else:
            apart = objects[stem] != path
            own = measure_objects(
                _read(objects[stem], like) if apart else mask,
                world_of(like),
                mask=mask if apart else None,
                image=values,
                hints=hints,
                cleaning=sources.cleaning,
            )
        rows += [{"image": stem, **row, "name": names.get(row["class"])} for row in own]
        yield Step("measure", index, len(found), info={"image": stem})
    return rows if sources.instances else _in_all(rows)


def draw_folder(masks: Path | str, sources: Sources | None = None) -> Generator[Step, None, list[Cut]]:
    """Draw what is measured of the first images, cleaned as it is measured; arguments and errors as above."""
    sources = sources or Sources()
    images = _images(sources.images)
    found = _with_images(list_masks(masks), images, sources)
    first = list((_objects(Path(masks), found) if sources.instances else found).items())[:PICTURES]
    cuts = []
    for index, (stem, path) in enumerate(first, 1):
        like = peek_image(images.get(stem, path))
        mask = clean(_read(path, like), world_of(like), sources.cleaning)
        cuts.append(cut_through(stem, _values(images.get(stem), colour=False), mask, like.spacing))
        yield Step("draw", index, len(first), info={"image": stem})
    return cuts


def without_image(masks: Path | str, sources: Sources) -> list[str]:
    """The stems of masks that `matching` leaves out."""
    if not sources.matching or sources.images is None:
        return []
    images = _images(sources.images)
    return [stem for stem in list_masks(masks) if stem not in images]


def write_table(path: Path | str, rows: Sequence[Row]) -> None:
    """Write rows as CSV, with the columns that any of them has; what one has not stays empty.

    Raises:
        InputError: The disk refuses.
    """
    columns = sorted({key for row in rows for key in row}, key=_place)
    with write_beside(path) as fresh, open(fresh, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns, restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _told(value) for key, value in row.items()})


def _images(where: Path | None) -> dict[str, Path]:
    """The images by stem; of a dataset folder those in images/."""
    if where is None:
        return {}
    inside = where / "images"
    return list_images(where) or (list_images(inside) if inside.is_dir() else {})


def _with_images(found: Mapping[str, Path], images: Mapping[str, Path], sources: Sources) -> dict[str, Path]:
    """The masks to measure: all, but for those without an image where these may be left out."""
    missing = [] if sources.images is None else [stem for stem in found if stem not in images]
    if missing and not (sources.matching and len(missing) < len(found)):
        stem, *others = missing
        more = f", nor for {len(others)} more of {len(found)} masks" if others else ""
        cure = "add what is missing, or --matching to leave these masks out"
        cure = "name the folder of their images" if sources.matching else cure
        raise InputError(f"{sources.images}: has no image “{stem}” for {found[stem]}{more}; {cure}.")
    return {stem: path for stem, path in found.items() if stem not in missing}


def _objects(masks: Path, found: Mapping[str, Path]) -> dict[str, Path]:
    """Where the numbered objects of each mask are: beside it in instances/, or the mask itself.

    Raises:
        InputError: There is such a folder, and it lacks those of a mask.
    """
    beside = objects_within(masks)
    if beside is None:
        return dict(found)
    there = list_masks(beside)
    if missing := [stem for stem in found if stem not in there]:
        raise InputError(f"{beside}: has no objects “{missing[0]}” for {found[missing[0]]}; add them.")
    return {stem: there[stem] for stem in found}


def _read(path: Path, like: Image) -> np.ndarray:
    labels = read_labels(path, like)
    if labels.min(initial=0) < 0:
        raise InputError(f"{path}: holds values below 0; 0 is background, classes are from 1 on.")
    return labels


def _values(path: Path | None, *, colour: bool) -> np.ndarray | None:
    """The image's values (C, *S), where it was given; grey among colour has three channels as well."""
    if path is None:
        return None
    image = read_image(path)
    check_values(image)
    return np.asarray((in_colour(image) if colour and image.channels == 1 else image).data)


def _hints(dataset: Dataset | None, stem: str, like: Image) -> Hints | None:
    item = dataset.find(stem) if dataset is not None else None
    return None if dataset is None or item is None else dataset.hints(item, like)


def _in_all(rows: list[Row]) -> list[Row]:
    """Give each image a row for every class that any image has."""
    names = {row["class"]: row["name"] for row in rows}
    by_image: dict[str, dict[int, Row]] = {}
    for row in rows:
        by_image.setdefault(row["image"], {})[row["class"]] = row
    full = []
    for stem, own in by_image.items():
        unit = next(iter(own.values()))["unit"]
        for k in sorted(names):
            nothing: Row = {"objects": 0, "voxels": 0, "volume": 0.0, "unit": unit}
            if k or k in own:
                full.append(own.get(k, {"image": stem, "class": k, "name": names[k], **nothing}))
    return full


def _place(column: str) -> tuple[int, int]:
    name, _, number = column.partition("-")
    return COLUMNS.index(name), int(number or -1)


def _told(value: object) -> object:
    return "" if value is None else f"{value:.8g}" if isinstance(value, float) else value
