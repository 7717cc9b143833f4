"""A dataset folder, read once and again only when it has changed on disk. Knows neither Qt nor napari."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsseg.dataset import Dataset

# Of images only which ones there are: their values are read when they are asked for.
WATCHED = ("*.json", "*.csv", "images", "hints", "hints/*", "masks", "masks/*", "clicks", "clicks/*")
Stamp = frozenset[tuple[str, int, int]]
_LOOKED_AT: dict[tuple[str, int, int], frozenset[int]] = {}  # see `Dataset.looked_at`


def dataset_at(folder: str) -> "Dataset":
    """The dataset in a folder; the one that was read before, if nothing has changed in it since.

    Raises:
        InputError: It is no dataset, or a table in it has a mistake.
    """
    return _read(Path(folder), _stamp(Path(folder)))


@lru_cache(maxsize=1)
def _read(folder: Path, stamp: Stamp) -> "Dataset":
    """The dataset, kept until another folder or another stamp is asked for.

    What label maps hold is kept longer: tags that were saved must not make the window read a thousand maps.
    """
    from wsseg.dataset import open_dataset

    dataset = open_dataset(folder)
    dataset.looked_at = _LOOKED_AT
    return dataset


def _stamp(folder: Path) -> Stamp:
    """Path, time of change and size of all that `open_dataset` looks at."""
    found = set()
    for path in (path for pattern in WATCHED for path in folder.glob(pattern)):
        try:
            status = path.stat()
        except OSError:
            continue  # gone since it was listed, or a link to nowhere
        found.add((str(path), status.st_mtime_ns, status.st_size))
    return frozenset(found)
