"""`wsseg check`: what is in a dataset folder, what is wrong with it, and what it asks of the machine."""

from collections import Counter
from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass

import numpy as np

from wsseg.bags import contradiction, read_bags
from wsseg.coco import unlisted_words
from wsseg.errors import InputError
from wsseg.folder import Dataset
from wsseg.formats.labels import count_values
from wsseg.hints import BACKGROUND, Hints
from wsseg.images import Image, is_image
from wsseg.steps import Step
from wsseg.tables import unnamed_words

_BYTES_A_VOXEL = 8 + 4  # target int64 and weight float32; each channel adds float32


@dataclass(frozen=True)
class Findings:
    """What `check_dataset` found.

    Attributes:
        errors: What must be mended before a run, a sentence for each problem.
        warnings: What may be meant, but often is not.
        counts: How many "images", "hint maps", "masks", "clicks", "boxes", tagged images ("tags"), and
            images "unmarked".
        left_out: How many "images" (unreadable, or with hints that do not fit) and "boxes" have a mistake, so
            that the numbers that follow leave them out.
        classes: Class id to name; where an error hides those that nobody named, the marked ones.
        class_voxels: Marked voxels for each class, 0 for background (clicks, boxes and tags not counted).
        class_marks: How many "clicks", "boxes" and "tags" of each class that has any.
        annotated_share: Marked voxels by all voxels, 0 to 1.
        spacing_range: (smallest, largest) spacing along each axis; empty where the images differ in axes.
        memory: Bytes that a run holds for its images and labels, and for the largest image's probabilities.
    """

    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    counts: Mapping[str, int]
    left_out: Mapping[str, int]
    classes: Mapping[int, str]
    class_voxels: Mapping[int, int]
    class_marks: Mapping[int, Mapping[str, int]]
    annotated_share: float
    spacing_range: tuple[tuple[float, float], ...]
    memory: int


def check_dataset(dataset: Dataset) -> Generator[Step, None, Findings]:
    """Read everything once and tell what is there and what is wrong; a step an image.

    An error is what the command for these hints refuses. For boxes alone that is `wsseg refine`, which leaves
    out what has a mistake; for all else it is `wsseg fit`.

    Args:
        dataset: Opened with `lenient_tables=True`, or the first mistake in a table would be the only one.
    """
    errors: list[str] = []
    warnings: list[str] = []
    marked: dict[int, int] = {}
    marks: dict[int, Counter[str]] = {}
    counts = dict.fromkeys(("images", "hint maps", "masks", "clicks", "boxes", "tags", "unmarked"), 0)
    counts["images"] = len(dataset.items)
    spacings: list[tuple[float, ...]] = []
    voxels = labelled = memory = largest = 0
    readable, unreadable = [], []
    for index, item in enumerate(dataset.items, start=1):
        try:
            image, hints = dataset.read_alone(item)
        except InputError as error:
            unreadable.append(str(error))
        else:
            readable.append(item)
            if said := contradiction(hints):
                errors.append(f"{item.image}: {said}; mend one of the two.")
            own = _marked_voxels(hints)
            for class_id, count in own.items():
                marked[class_id] = marked.get(class_id, 0) + count
            _count(counts, hints)
            for what, named in (("clicks", hints.clicks), ("boxes", hints.boxes), ("tags", hints.tags or ())):
                for hint in named:
                    marks.setdefault(hint.class_id, Counter())[what] += 1
            size = int(np.prod(image.shape))
            voxels, labelled = voxels + size, labelled + sum(own.values())
            memory += size * (4 * image.channels + _BYTES_A_VOXEL)
            largest = max(largest, size)
            spacings.append(image.spacing)
            warnings += _image_warnings(item.image.name, image)
        yield Step("check", index, len(dataset.items), info={"file": item.image.name})
    classes = _classes(dataset, {*marked, *marks})
    # an image that can't be read is told above, and would only be told again here
    if not unreadable:
        for look in ("dims", "channels"):
            try:
                getattr(dataset, look)
            except InputError as error:
                errors.append(str(error))
        if not dataset.bad_tables:  # what these say may be what is missing
            wrong, odd = _hint_problems(dataset, counts, classes, marked)
            errors += wrong
            warnings += odd
        if dataset.tags:
            try:
                read_bags(dataset)
            except InputError as error:
                errors.append(str(error))
    refined = _boxes_alone(dataset) and any(dataset.boxes.get(item.stem) for item in readable)
    mistakes = [*unreadable, *(said for said in _box_mistakes(dataset, refined) if said not in unreadable)]
    errors = [*(said for said in dataset.bad_tables if said not in unreadable), *errors]
    if refined:
        warnings = [*mistakes, *warnings]
    else:
        errors = [*mistakes, *errors]
    warnings += _strays(dataset)
    same_axes = len({len(spacing) for spacing in spacings}) == 1
    return Findings(
        errors=tuple(errors),
        warnings=tuple(warnings),
        counts=counts,
        left_out={"images": len(unreadable), "boxes": len(dataset.coco.refused) if dataset.coco else 0},
        classes=classes,
        class_voxels=dict(sorted(marked.items())),
        class_marks=marks,
        annotated_share=labelled / voxels if voxels else 0.0,
        spacing_range=tuple((min(s), max(s)) for s in zip(*spacings, strict=True)) if same_axes else (),
        memory=memory + largest * 4 * (len(classes) + 1),
    )


def _count(counts: dict[str, int], hints: Hints) -> None:
    counts["hint maps"] += hints.scribbles is not None
    counts["masks"] += hints.mask is not None
    counts["clicks"] += len(hints.clicks)
    counts["boxes"] += len(hints.boxes)
    counts["tags"] += hints.tags is not None
    counts["unmarked"] += hints.is_empty()


def _marked_voxels(hints: Hints) -> dict[int, int]:
    """Marked voxels by class, 0 for background; a mask says everything about its image."""
    if hints.mask is not None:
        return count_values(hints.mask)
    if hints.scribbles is None:
        return {}
    found = count_values(hints.scribbles)
    found.pop(0, None)
    if BACKGROUND in found:
        found[0] = found.pop(BACKGROUND)
    return found


def _classes(dataset: Dataset, marked: Collection[int]) -> dict[int, str]:
    """Class id to name; of the marked ones where a hint map that must be looked at can't be read."""
    try:
        return dataset.classes
    except InputError:
        return {k: f"class {k}" for k in sorted(marked) if k}


def _boxes_alone(dataset: Dataset) -> bool:
    """Whether these hints are for `wsseg refine`; boxes beside others are for `wsseg fit`."""
    painted = any(item.hints or item.mask for item in dataset.items)
    return dataset.coco is not None and not (painted or dataset.clicks or dataset.tags)


def _box_mistakes(dataset: Dataset, refined: bool) -> list[str]:
    """What is wrong with boxes.json, and what that means for the command that the hints are for."""
    coco, path = dataset.coco, dataset.folder / "boxes.json"
    if coco is None:
        return []
    found = coco.mistakes()
    for twin, first in list(coco.twins.items())[:1]:
        is_are = "box is" if len(coco.twins) == 1 else "boxes are"
        found.append(
            f"{path}: {len(coco.twins)} {is_are} there twice, such as annotation {twin}, as {first}."
        )
    unlisted = [item.stem for item in dataset.items if item.stem not in coco.listed]
    if refined and unlisted:
        found.append(unlisted_words(unlisted))
    if coco.refused:
        placed = sum(len(own) for boxes in (coco.by_stem, coco.crowds) for own in boxes.values())
        total = placed + len(coco.twins) + len(coco.refused)
        meaning = "wsseg refine goes on without them" if refined else "wsseg fit needs all of them mended"
        found.append(f"{path}: {len(coco.refused)} of {total} boxes have a mistake; {meaning}.")
    return found


def _image_warnings(name: str, image: Image) -> list[str]:
    if isinstance(image.data, np.ndarray) and image.data.min() == image.data.max():
        return [f"{name}: every voxel is {image.data.flat[0]}; is the image empty?"]
    return []


def _for_fit(counts: Mapping[str, int]) -> bool:
    """Whether there is nothing but what fit learns from by itself."""
    painted = counts["hint maps"] or counts["masks"] or counts["clicks"]
    return bool(painted) and not (counts["boxes"] or counts["tags"])


def _hint_problems(
    dataset: Dataset, counts: Mapping[str, int], classes: Mapping[int, str], marked: Mapping[int, int]
) -> tuple[list[str], list[str]]:
    """What fit would refuse, and what it would go on without, said as it says it."""
    if counts["unmarked"] == counts["images"]:
        return [f"{dataset.folder}: nothing is marked on any image; a run needs hints."], []
    named = set(marked)
    for item in dataset.items:
        named |= dataset.table_classes(item.stem)
    unnamed = {k: name for k, name in classes.items() if k not in named}
    if len(unnamed) == len(classes):
        return [f"{dataset.folder}: only background is marked; a model needs hints of a class, too."], []
    wrong = []
    if _for_fit(counts) and 0 not in named:
        wrong.append(f"{dataset.folder}: no background is marked; paint some 255 where no object is.")
    return wrong, [f"{dataset.folder}: {unnamed_words(unnamed)}"] if unnamed else []


def _strays(dataset: Dataset) -> list[str]:
    """Files beside the images that are no images."""
    strays = [p.name for p in sorted((dataset.folder / "images").iterdir()) if not is_image(p)]
    strays = [name for name in strays if not name.startswith(".")]
    if not strays:
        return []
    where = dataset.folder / "images"
    return [f"{where}: {len(strays)} entries are no images and left out, such as {strays[0]}."]
