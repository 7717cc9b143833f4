"""What became of each box of an image in a round, kept in a file of its own: runs are resumed from these."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from wsseg.atomic import write_beside
from wsseg.boxes import Segment, shape_of
from wsseg.errors import InputError
from wsseg.hints import Box


@dataclass(frozen=True)
class Verdict:
    """What was decided about a box in a round.

    Attributes:
        box: Its id.
        decision: "first" (round 0), "kept", "reset" or "empty".
        why: In words.
        fill: Share of the box that the mask filled before the rules, 0 to 1.
        certainty: See `wsseg.recipes.certainty`, 0 to 1.
        change: 1 − overlap (IoU) with the mask of the round before; 0 in round 0.
    """

    box: int
    decision: str
    why: str
    fill: float
    certainty: float
    change: float


def save_round(path: Path, segments: Sequence[Segment], verdicts: Sequence[Verdict]) -> None:
    """Write the masks of an image's boxes, a bit a voxel, with the verdicts."""
    masks = [one.mask.ravel() for one in segments]
    known = [one.known.ravel() for one in segments]
    with write_beside(path) as fresh, open(fresh, "wb") as handle:
        np.savez(
            handle,
            mask=np.packbits(np.concatenate(masks) if masks else np.zeros(0, bool)),
            known=np.packbits(np.concatenate(known) if known else np.zeros(0, bool)),
            box=np.array([v.box for v in verdicts], np.int64),
            words=np.array([[v.decision, v.why] for v in verdicts], np.str_).reshape(-1, 2),
            numbers=np.array([[v.fill, v.certainty, v.change] for v in verdicts], np.float64).reshape(-1, 3),
        )


def load_round(path: Path, boxes: Sequence[Box]) -> tuple[list[Segment], list[Verdict]]:
    """Read what `save_round` wrote for these boxes.

    Raises:
        InputError: The file is damaged or of other boxes.
    """
    try:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as held:
            mask, known = held["mask"], held["known"]
            ids, words, numbers = held["box"], held["words"], held["numbers"]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise InputError(f"{path}: is damaged ({error}); start again with --overwrite.") from error
    total = sum(int(np.prod(shape_of(box))) for box in boxes)
    if ids.tolist() != [box.id for box in boxes] or len(mask) != -(-total // 8):
        raise InputError(
            f"{path}: is of other boxes; boxes.json was changed since, so start again with --overwrite."
        )
    inside, believed = (np.unpackbits(bits, count=total).astype(bool) for bits in (mask, known))
    segments, at = [], 0
    for box in boxes:
        shape = shape_of(box)
        part = slice(at, at + int(np.prod(shape)))
        segments.append(Segment(box, inside[part].reshape(shape), believed[part].reshape(shape)))
        at = part.stop
    verdicts = [
        Verdict(int(i), str(d), str(why), *map(float, row))
        for i, (d, why), row in zip(ids, words, numbers, strict=True)
    ]
    return segments, verdicts
