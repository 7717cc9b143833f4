"""Which folder of masks a person means: classes and numbered objects lie in folders side by side."""

from collections.abc import Collection, Mapping
from pathlib import Path

from wsseg.errors import InputError
from wsseg.images import is_image, list_images
from wsseg.tables import read_classes

RECORD = "predict.json"  # of wsseg predict, beside the class masks that it made
OBJECTS = "instances"  # numbered objects, as predict --instances and refine leave them
INSIDE = {"masks": "the class masks", OBJECTS: "the numbered objects"}


def list_masks(where: Path | str) -> dict[str, Path]:
    """The masks in a folder, or the one mask, by stem.

    Raises:
        InputError: There is none; the sentence names the folder inside that holds some.
    """
    where = Path(where)
    if not where.exists():
        raise InputError(f"{where}: there is no such file or folder; check the name.")
    masks = list_images(where)
    if masks:
        return masks
    inside = [f"{where / name} ({what})" for name, what in INSIDE.items() if _holds_masks(where / name)]
    if inside:
        raise InputError(f"{where}: holds no masks itself; name {' or '.join(inside)}.")
    raise InputError(f"{where}: holds no masks; NIfTI, TIFF, PNG or OME-Zarr are right.")


def objects_within(where: Path) -> Path | None:
    """The folder of numbered objects in a folder of masks, which is taken for them, or None."""
    folder = where / OBJECTS
    return folder if folder.is_dir() else None


def objects_near(where: Path) -> Path | None:
    """The folder of numbered objects in the folder of these masks or beside it, or None."""
    folder = _folder_of(where)
    places = [folder / OBJECTS, folder.parent / OBJECTS]
    if folder.name == OBJECTS:
        return None
    return next((place for place in places if _holds_masks(place)), None)


def class_doubts(where: Path | str, values: Collection[int], named: Mapping[int, str]) -> list[str]:
    """Whether masks whose values were taken for objects look as if these were classes.

    Args:
        where: The folder of masks, or a mask; without a folder of numbered objects that was taken instead.
        values: All that they hold, but 0; none = not looked at.
        named: Class id to name, where another table than the classes.json beside the folder tells.
    """
    where = Path(where)
    taken = f"{where}: each of its values was taken for one object, but"
    if (near := objects_near(where)) is not None:
        return [f"{taken} the numbered objects lie in {near}; name that folder."]
    folder = _folder_of(where)
    if folder.name == OBJECTS:
        return []
    cure = "leave out --instances, or name a folder of numbered objects."
    if (folder / RECORD).is_file():
        return [f"{taken} wsseg predict made these masks, and their values are classes; {cure}"]
    classes = dict(named) or _classes_beside(folder)
    if values and set(values) <= set(classes):
        found = ", ".join(f"{k} ({classes[k]})" for k in sorted(values))
        return [f"{taken} they are ids of classes, {found}; {cure}"]
    return []


def object_doubts(where: Path | str) -> list[str]:
    """Whether masks whose values were taken for classes lie where numbered objects do."""
    if _folder_of(Path(where)).name != OBJECTS:
        return []
    return [
        f"{where}: {OBJECTS}/ holds numbered objects, which were taken for as many classes; --instances "
        "takes them for objects."
    ]


def _folder_of(where: Path) -> Path:
    """The folder that masks lie in; a mask may be a folder itself."""
    whole = where if where.name not in ("", "..") else where.resolve()  # “.” has no parent by its name
    return whole.parent if is_image(whole) else whole


def _holds_masks(folder: Path) -> bool:
    return folder.is_dir() and any(is_image(entry) for entry in folder.iterdir())


def _classes_beside(folder: Path) -> dict[int, str]:
    """The classes of the dataset folder that masks lie in; none where nobody says."""
    table = folder.parent / "classes.json"
    try:
        return read_classes(table) if table.is_file() else {}
    except InputError:  # it was not asked for, so its mistakes are not told
        return {}
