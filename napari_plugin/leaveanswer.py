"""Export of what the answer while drawing says of each class: found again by the worker. No Qt, no napari.

An answer keeps its mask and its doubt alone, since chances take four bytes a voxel and class. The same
question gives the same answer, so that they are found again when somebody wants them.
"""

from collections.abc import Generator, Mapping
from pathlib import Path

import numpy as np

from napari_plugin.backend import loading
from napari_plugin.events import Event, Note
from napari_plugin.instantwork import Asked, respond
from napari_plugin.leavework import Shown
from wsseg.convert import as_format
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND
from wsseg.images import write_probabilities
from wsseg.steps import Step

PIECE = 2**20  # voxels that are brought in line with the mask at once
TIE = 1e-3  # chances that are no further apart are the same: a walk ends when it is near enough


def export_answer(
    path: Path,
    format_name: str,
    shown: Shown,
    asked: Asked,
    mask: np.ndarray,
    marked: np.ndarray | None,
    names: Mapping[int, str],
) -> Generator[Event, None, None]:
    """Give the answer on show again and write what it says of each class, background first, then by id.

    Where the mask says what is painted or accepted, that is certain.

    Args:
        path, format_name: The file.
        shown: The image.
        asked: What the answer was asked for.
        mask: What is on show, class ids (*S).
        marked: What is painted or accepted now, hint map (*S), or None.
        names: Class id to name.

    Raises:
        InputError: Fewer than two classes are marked, the mask is not what the answer says, the format holds
            no real numbers, or the disk refuses.
    """
    yield from loading("answers")
    like, world = shown.like()
    hinted = np.zeros_like(mask) if marked is None else marked
    certain = hinted == np.where(mask == 0, BACKGROUND, mask)
    ids, chances = yield from _again(asked, np.unique(mask[certain]))
    if count := agree(chances, ids, mask, certain):
        raise InputError(
            f"The mask on show was changed since it was answered, in {count:,} voxels: "
            "draw another stroke for a new answer, then export that."
        )
    yield Step("save", 0, 1)
    write_probabilities(path, *as_format(chances, like, format_name, world))
    yield Step("save", 1, 1)
    told = ", ".join(names.get(int(k), f"class {k}") if k else "background" for k in ids)
    yield Note(f"Wrote {path.name}: {told}, in this order.")


def agree(chances: np.ndarray, ids: np.ndarray, mask: np.ndarray, certain: np.ndarray) -> int:
    """Make chances sum to one, in place, and the mask's class the likeliest one.

    Args:
        chances: float32 (K, *S), 0 or more; in the end 0 to 1.
        ids: Class ids (K,), ascending.
        mask: Class ids (*S).
        certain: bool (*S): where the mask is right.

    Returns:
        In how many voxels the mask says what is clearly not the likeliest class; there it is made so too.
    """
    differ, thick = 0, max(1, PIECE // int(np.prod(mask.shape[1:])))
    for start in range(0, len(mask), thick):
        where = slice(start, start + thick)
        part, said, sure = chances[:, where], mask[where], certain[where]
        part[:, sure] = ids[:, None] == said[sure]
        part /= part.sum(0)
        unlike = ids[part.argmax(0)] != said
        few, own = part[:, unlike], ids[:, None] == said[unlike]  # (K, N)
        gap = few.max(0) - (few * own).max(0)
        differ += int(np.count_nonzero(gap > TIE))
        few += own * (gap + TIE / 2)
        part[:, unlike] = few / few.sum(0)
    return differ


def _again(asked: Asked, more: np.ndarray) -> Generator[Event, None, tuple[np.ndarray, np.ndarray]]:
    """Class ids (K,), ascending, those in `more` among them, and chances of each, float32 (K, *S).

    Raises:
        InputError: Fewer than two classes are marked.
    """
    from wsseg.instant import Focus

    shape = asked.looked.features.shape
    found: tuple[np.ndarray, np.ndarray] | None = None
    focus = Focus(tuple(slice(0, n) for n in shape))
    for event in respond(asked.looked, asked.hints, focus, asked.objects, chances=True):
        if isinstance(event, Step):
            yield event
        elif event.ids is not None and event.chances is not None:
            if found is None:
                ids = np.union1d(event.ids, more)
                found = ids, np.zeros((len(ids), *shape), np.float32)
            for k, one in zip(np.searchsorted(found[0], event.ids), event.chances, strict=True):
                found[1][k][event.region] = one
    if found is None:
        raise InputError("There are no probabilities: mark two classes, or one and background.")
    return found
