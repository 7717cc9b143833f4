"""The door to a dataset folder: images, and whatever hints a person has for them, side by side."""

from collections.abc import Mapping
from pathlib import Path

from wsseg.check import Findings, check_dataset
from wsseg.errors import InputError
from wsseg.folder import Dataset, Item
from wsseg.images import is_image, list_images

__all__ = ["Dataset", "Findings", "Item", "check_dataset", "open_dataset"]


def open_dataset(
    folder: Path | str,
    *,
    unknown: int | None = None,
    background: int | None = None,
    channel_axis: int | None = None,
    lenient: bool = False,
    lenient_tables: bool = False,
) -> Dataset:
    """Open a dataset folder: images/, and any of hints/, masks/, the tables and classes.json.

    The tables (clicks.csv, boxes.json, tags.csv) are read and checked here; images, hint maps and masks
    when they are asked for. Clicks may also lie in clicks/<stem>.csv as napari's points layer saves them.

    Args:
        folder: The dataset folder.
        unknown: The value that says nothing in foreign hint maps; read as 0.
        background: The value of background in foreign hint maps; read as 255.
        channel_axis: Which stored axis is the channels, for NIfTI and TIFF images that do not say so.
        lenient: Leave out boxes with a mistake and images that can't be read; `Dataset.coco.refused` and
            `Dataset.broken` tell them.
        lenient_tables: Leave out boxes with a mistake, and tables with one, but no image, so that
            `check_dataset` can tell them all; `Dataset.bad_tables` has what is wrong with these.

    Raises:
        InputError: No images, two with one stem, a hint map without an image, a table with a mistake.
    """
    folder = Path(folder)
    if not folder.exists():
        raise InputError(f"{folder}: there is no such folder; check the name.")
    if not (folder / "images").is_dir():
        raise InputError(f"{folder}: has no folder images/; a dataset is a folder with images/ in it.")
    if unknown is not None and unknown == background:
        raise InputError(f"--unknown and --background are both {unknown}; they must differ.")
    images = list_images([entry for entry in _entries(folder / "images") if is_image(entry)])
    if not images:
        raise InputError(
            f"{folder / 'images'}: holds no image; NIfTI, TIFF, PNG, JPEG, OME-Zarr or DICOM folders are."
        )
    maps = {kind: _beside(folder / kind, images) for kind in ("hints", "masks")}
    items = tuple(
        Item(stem, path, maps["hints"].get(stem), maps["masks"].get(stem)) for stem, path in images.items()
    )
    return Dataset(
        folder,
        items,
        unknown=unknown,
        background=background,
        channel_axis=channel_axis,
        lenient=lenient,
        lenient_tables=lenient_tables,
    )


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _beside(folder: Path, images: Mapping[str, Path]) -> dict[str, Path]:
    """The label maps in a folder by stem, each of which must belong to an image."""
    maps = list_images([entry for entry in _entries(folder) if is_image(entry)])
    for stem, path in maps.items():
        if stem not in images:
            raise InputError(f"{path}: there is no image with the stem “{stem}”; rename or remove it.")
    return maps
