"""Tags of scans, from the tags.csv beside them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pretrain.scans import Scan
from wsseg.errors import InputError
from wsseg.hints import Tag
from wsseg.images import is_image, peek_image, stem_of
from wsseg.tables import Known, read_synonyms, read_tags

TABLE, CLASSES = "tags.csv", "classes.json"


def find_table(scans: Sequence[Scan]) -> Path:
    """The tags.csv beside the scans: in their folder, or beside their folder where that is called images/.

    Raises:
        InputError: There is none, or several.
    """
    found = {table: None for scan in scans for table in _places(scan.path) if table.is_file()}
    if not found:
        raise InputError(
            f"{_places(scans[0].path)[0]}: is missing; --method supcon learns from tags, a table with the "
            "columns image,class beside the scans. --method simclr needs none."
        )
    if len(found) > 1:
        raise InputError(
            f"{' and '.join(map(str, list(found)[:2]))}: both hold tags; scans with one {TABLE} are right."
        )
    return next(iter(found))


def with_tags(scans: Sequence[Scan]) -> list[Scan]:
    """The scans with what tags.csv says of them, see `pretrain.scans.Scan.tags`.

    Raises:
        InputError: There is no table, or it has a mistake, tells no scans apart, or tags slices that crops
            are not cut along.
    """
    table = find_table(scans)
    classes = table.with_name(CLASSES)
    words = read_synonyms(classes) if classes.is_file() else None
    names = {number: own[0] for number, own in words.items()} if words else None
    images = _images(table)  # all that the table may name, whether or not they are learned from
    known = Known(frozenset(images), lambda stem: peek_image(images[stem]).shape, names)
    tags = read_tags(table, known, words)
    own = [tags.get(stem_of(scan.path)) if table in _places(scan.path) else None for scan in scans]
    numbers = sorted({tag.class_id for some in own for tag in some or ()} - {0})
    rows = [_rows(scan, some, numbers, table) for scan, some in zip(scans, own, strict=True)]
    said = np.concatenate(rows)
    if len(np.unique(said[(said >= 0).all(1)], axis=0)) < 2:
        raise InputError(f"{table}: tells none of these scans from the others; tags that differ are right.")
    return [replace(scan, tags=some) for scan, some in zip(scans, rows, strict=True)]


def _rows(scan: Scan, tags: frozenset[Tag] | None, numbers: list[int], table: Path) -> np.ndarray:
    """int8 (1 or slices, K)."""
    if tags is None:
        return np.full((1, len(numbers)), -1, np.int8)
    slices = [tag for tag in tags if tag.axis is not None]
    if not slices:
        there = {tag.class_id for tag in tags}
        return np.array([[number in there for number in numbers]], np.int8)
    if any(tag.axis != scan.axis for tag in slices):
        cut = "crops are volumes" if scan.axis is None else f"crops are cut along axis {scan.axis}"
        raise InputError(
            f"{table}: tags slices of {scan.path.name} along axis {slices[0].axis}, but {cut}; tags of whole "
            "scans are right, or --dims 2 with slices along the coarsest axis."
        )
    rows = np.full((scan.slices, len(numbers)), -1, np.int8)
    for index in {tag.slice for tag in slices}:
        there = {tag.class_id for tag in slices if tag.slice == index}
        rows[index] = [number in there for number in numbers]
    return rows


def _places(path: Path) -> list[Path]:
    """Where the table of a scan may be, the likelier first."""
    folders = [path.parent.parent, path.parent] if path.parent.name == "images" else [path.parent]
    return [folder / TABLE for folder in folders]


def _images(table: Path) -> dict[str, Path]:
    inside = table.parent / "images"
    entries = [*table.parent.iterdir(), *(inside.iterdir() if inside.is_dir() else ())]
    return {stem_of(entry): entry for entry in entries if is_image(entry)}
