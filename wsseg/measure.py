"""How large, how many, where and how bright: what a mask says in numbers. scikit-image and SciPy measure."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from wsseg.hints import Hints
from wsseg.weak import weak_labels
from wsseg.world import World

Row = dict[str, Any]


@dataclass(frozen=True)
class Cleaning:
    """What is done to a mask before it is measured, in this order. The mask itself stays as it is.

    Attributes:
        fill_holes: Background that a class or object encloses on all sides counts as its own.
        min_size: Connected parts smaller than this are left out, in the unit of volume (in 2D: area).
        largest: Of each class or object only the largest connected part counts.
    """

    fill_holes: bool = False
    min_size: float = 0.0
    largest: bool = False


def measure_classes(
    mask: np.ndarray,
    world: World,
    *,
    image: np.ndarray | None = None,
    hints: Hints | None = None,
    classes: Collection[int] = (),
    cleaning: Cleaning | None = None,
) -> list[Row]:
    """Measure each class of one mask.

    Args:
        mask: Class ids (*S), 0 = background.
        world: Where its voxels are.
        image: (C, *S), for intensities.
        hints: What a person marked on the image; boxes and tags, which name no voxels, are left out.
        classes: These have a row even where the mask has none of them.
        cleaning: What is done to the mask first.

    Returns:
        A row a class: "class"; "objects", its connected parts (voxels that touch by their faces); "voxels";
        "volume" (in 2D the area) and its "unit"; "centroid-0" …, the middle of its voxels in the world;
        "start-0" …, "stop-0" …, its half-open bounding box in voxels; with an image "mean", "sd", "min" and
        "max", with several channels "mean-0", "mean-1" …; with hints "hinted", the voxels hinted as this
        class, and "agreement", the share of them of which the mask says the same. With hints there is a row
        for class 0 too. None stands where there is nothing to tell.
    """
    mask = clean(mask, world, cleaning or Cleaning())
    parts = _parts(mask)
    sizes = np.bincount(parts.ravel(), minlength=1)
    owner = _owners(mask, parts, len(sizes))
    wanted = {int(k) for k in np.unique(owner[1:])} | set(classes)
    said = None if hints is None else weak_labels(hints, spacing=world.spacing)
    if said is not None:
        wanted |= {0, *said.counts()}
    # scikit-image takes 0 for what is not to be measured; with hints background is measured as well
    shifted = mask.astype(np.int32) + 1 if 0 in wanted else mask
    found = {row.pop("label") - (0 in wanted): row for row in _regions(shifted, world, image)}
    rows = []
    for k in sorted(wanted):
        objects = int(np.count_nonzero(owner[1:] == k)) if k else None
        row = {"class": k, "objects": objects, **found.get(k, _nothing(world))}
        if said is not None:
            here = said.known & (said.target == k)
            row |= _agreement(int(here.sum()), int((mask[here] == k).sum()))
        rows.append(row)
    return rows


def measure_objects(
    objects: np.ndarray,
    world: World,
    *,
    mask: np.ndarray | None = None,
    image: np.ndarray | None = None,
    hints: Hints | None = None,
    cleaning: Cleaning | None = None,
) -> list[Row]:
    """Measure each object of an instance map.

    Args:
        objects: Whole numbers (*S); 0 = background, every other value is one object.
        world: As `measure_classes`, like the rest.
        mask: Class ids (*S): an object's class is the one that most of its voxels have.
        image: For intensities.
        hints: What a person marked.
        cleaning: What is done to the objects first.

    Returns:
        A row an object: "object", its value; "class", None without a mask; the columns of `measure_classes`
        less "objects". Here "hinted" are the voxels in the object that are hinted as anything, and
        "agreement" is the share of them that are hinted as its class (without a mask: as any class and not
        as background).
    """
    objects, names = _numbered(objects)
    objects = clean(objects, world, cleaning or Cleaning())
    said = None if hints is None else weak_labels(hints, spacing=world.spacing)
    kinds = {} if mask is None else _majority(objects, mask)
    rows = []
    for row in _regions(objects, world, image):
        number = row.pop("label")
        row = {"object": int(names[number]), "class": kinds.get(number), **row}
        if said is not None:
            box = tuple(slice(row[f"start-{i}"], row[f"stop-{i}"]) for i in range(objects.ndim))
            here = (objects[box] == number) & said.known[box]
            told, kind = said.target[box][here], row["class"]
            row |= _agreement(len(told), int((told > 0 if kind is None else told == kind).sum()))
        rows.append(row)
    return rows


def clean(mask: np.ndarray, world: World, cleaning: Cleaning) -> np.ndarray:
    """The mask (*S), each value of it cleaned for itself; the one given stays as it is."""
    from scipy.ndimage import binary_fill_holes, find_objects

    if cleaning.fill_holes:
        filled = mask.copy()
        for index, box in enumerate(find_objects(mask.astype(np.int32)), 1):
            if box is not None:  # a hole lies within the bounding box, so the rest need not be looked at
                filled[box][binary_fill_holes(mask[box] == index) & (mask[box] == 0)] = index
        mask = filled
    if not (cleaning.min_size > 0 or cleaning.largest):
        return mask
    parts = _parts(mask)
    sizes = np.bincount(parts.ravel(), minlength=1)
    kept = sizes * world.voxel >= cleaning.min_size
    if cleaning.largest:
        owner = _owners(mask, parts, len(sizes))
        order = np.argsort(-sizes[1:], kind="stable") + 1
        _, first = np.unique(owner[order], return_index=True)
        kept &= np.isin(np.arange(len(sizes)), order[first])
    return np.where(kept[parts], mask, 0)


def _parts(mask: np.ndarray) -> np.ndarray:
    """int (*S): voxels of one value that touch by their faces have a number of their own, from 1 on."""
    from skimage.measure import label

    return label(mask, background=0, connectivity=1)


def _numbered(objects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The objects numbered without gaps, since SciPy lists all up to the last; and each number's value."""
    names, numbers = np.unique(objects, return_inverse=True)
    if len(names) == 0 or names[0] != 0:
        names, numbers = np.concatenate([[0], names]), numbers + 1
    return numbers.reshape(objects.shape).astype(np.int32), names


def _owners(mask: np.ndarray, parts: np.ndarray, count: int) -> np.ndarray:
    """The value of the mask in each part, by its number; 0 for what is in none."""
    owner = np.zeros(count, np.int64)
    owner[parts.ravel()] = mask.ravel()
    return owner


def _regions(labels: np.ndarray, world: World, image: np.ndarray | None) -> list[Row]:
    """What scikit-image measures of each value above 0, with its "label"."""
    from skimage.measure import regionprops_table

    if not labels.any():
        return []
    wanted = ["label", "area", "centroid", "bbox"]
    values = None
    if image is not None:
        wanted += [f"intensity_{name}" for name in ("mean", "std", "min", "max")]
        values = image[0] if len(image) == 1 else np.moveaxis(np.asarray(image), 0, -1)
    table = regionprops_table(labels, values, properties=wanted)
    n = labels.ndim
    places = world.place(np.stack([table[f"centroid-{i}"] for i in range(n)], -1))
    rows = []
    for index, number in enumerate(table["label"].tolist()):
        voxels = round(float(table["area"][index]))
        row: Row = {"label": number, "voxels": voxels, "volume": voxels * world.voxel, "unit": world.unit}
        row |= {f"centroid-{i}": float(value) for i, value in enumerate(places[index])}
        row |= {f"start-{i}": int(table[f"bbox-{i}"][index]) for i in range(n)}
        row |= {f"stop-{i}": int(table[f"bbox-{i + n}"][index]) for i in range(n)}
        for key in table:
            if key.startswith("intensity_"):
                name = key.removeprefix("intensity_").replace("std", "sd")
                row[name] = float(table[key][index])
        rows.append(row)
    return rows


def _nothing(world: World) -> Row:
    return {"voxels": 0, "volume": 0.0, "unit": world.unit}


def _agreement(hinted: int, agreed: int) -> Row:
    return {"hinted": hinted, "agreement": agreed / hinted if hinted else None}


def _majority(objects: np.ndarray, mask: np.ndarray) -> dict[int, int]:
    """Object to the class that most of its voxels have."""
    inside = objects != 0
    pairs, counts = np.unique(np.stack([objects[inside], mask[inside]]), axis=1, return_counts=True)
    order = np.argsort(counts, kind="stable")  # the most frequent comes last and stays
    return {int(number): int(kind) for number, kind in pairs[:, order].T}
