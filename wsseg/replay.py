"""A session played again without a window: what is marked in the end, and where a person's time went."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsseg.atomic import link_or_copy, write_beside
from wsseg.boxfile import save_boxes
from wsseg.drawing import Drawing
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND, with_locked
from wsseg.images import Image, mask_path, peek_image, stem_of, write_mask
from wsseg.journal import Entry, read_journal
from wsseg.tables import write_clicks
from wsseg.tagfile import save_tags

PAUSE = 30.0  # seconds without a change that count as work; of a longer gap no more than this


@dataclass(frozen=True, eq=False)
class Session:
    """A session that was read.

    Attributes:
        about: What it is of: "image" (path or name), "shape", "spacing".
        drawing: What is marked in the end.
        statistics: JSON-ready, see `count`.
    """

    about: Mapping[str, Any]
    drawing: Drawing
    statistics: Mapping[str, Any]


def replay(
    folder: Path, *, until: int | None = None, watch: Callable[[Entry, Drawing], None] | None = None
) -> Session:
    """Play a session again.

    Args:
        folder: Of the session.
        until: Stop after so many changes; None = all.
        watch: Called before each change with it and the drawing so far, which goes on to change.

    Raises:
        InputError: There is none, or it is damaged.
    """
    about, entries = read_journal(folder)
    try:
        drawing = Drawing(tuple(int(n) for n in about["shape"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder}: does not say the shape of its image.") from error
    tally = Tally()
    for number, entry in enumerate(entries, 1):
        if until is not None and number > until:
            break
        tally.add(entry, drawing)
        if watch is not None:
            watch(entry, drawing)
        drawing.apply(entry)
    return Session(about, drawing, tally.report(drawing))


class Tally:
    """Counts while a session is played."""

    def __init__(self) -> None:
        self.first = self.last = 0.0
        self.changes = 0
        self.actions: Counter[str] = Counter()
        self.seconds: dict[str, float] = {}
        self.painted: Counter[int] = Counter()

    def add(self, entry: Entry, before: Drawing) -> None:
        """Count one change, before it is made."""
        self.first = self.first or entry.time
        gap = min(max(0.0, entry.time - self.last), PAUSE) if self.changes else 0.0
        self.last = entry.time
        self.changes += 1
        self.actions[entry.kind] += 1
        self.seconds[entry.kind] = self.seconds.get(entry.kind, 0.0) + gap
        if entry.kind == "hints" and entry.block is not None:
            own = 0 if before.hints is None else before.hints[entry.place]
            values, counts = np.unique(entry.block[entry.block != own], return_counts=True)
            self.painted.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))

    def report(self, drawing: Drawing) -> dict[str, Any]:
        """What was counted.

        Returns:
            "changes": how many; "actions" and "seconds": of each kind of change, seconds being the time since
            the change before, at most `PAUSE`; "working_seconds": their sum; "began", "ended": seconds since
            1970; "painted": voxels that strokes changed, by class, 0 = erased; "marked": what is there in the
            end.
        """
        names = {0: "erased", BACKGROUND: "background", **drawing.classes}
        marked = {"clicks": len(drawing.clicks), "boxes": len(drawing.boxes), "tags": len(drawing.tags or ())}
        voxels = 0 if drawing.hints is None else int(np.count_nonzero(drawing.hints))
        return {
            "changes": self.changes,
            "began": self.first,
            "ended": self.last,
            "working_seconds": sum(self.seconds.values()),
            "actions": dict(self.actions),
            "seconds": {kind: round(value, 3) for kind, value in self.seconds.items()},
            "painted": {names.get(k, str(k)): n for k, n in sorted(self.painted.items())},
            "marked": {"voxels": voxels, **marked},
        }


def write_dataset(session: Session, out: Path) -> None:
    """Write what is marked in the end as a dataset folder, with the image where its file is still there.

    What was held out of training is among the hints: whoever trains anew decides anew.

    Args:
        session: Played again.
        out: The folder to make; it may not be there yet.

    Raises:
        InputError: The folder is there, the image's file has another shape now, or the disk refuses.
    """
    if out.exists():
        raise InputError(f"{out}: is there already; a new folder is right.")
    drawing, source = session.drawing, Path(str(session.about.get("image", "image")))
    spacing = tuple(float(s) for s in session.about.get("spacing", [1.0] * len(drawing.shape)))
    like = Image(np.broadcast_to(np.uint8(0), (1, *drawing.shape)), spacing)
    if source.exists():
        like = peek_image(source)
        if like.shape != drawing.shape:
            raise InputError(f"{source}: has shape {like.shape} now, and the session is of {drawing.shape}.")
    stem = stem_of(source)
    with write_beside(out) as fresh:
        (fresh / "images").mkdir(parents=True)
        if source.exists():
            link_or_copy(source, fresh / "images" / source.name)
        names = {str(k): name for k, name in drawing.classes.items()}
        if names:
            text = json.dumps(names, indent=2, ensure_ascii=False)
            (fresh / "classes.json").write_text(text, encoding="utf-8")
        hints = with_locked(with_locked(drawing.held, drawing.hints), drawing.locked)
        if hints is not None and hints.any():
            write_mask(mask_path(fresh / "hints", stem, like), hints, like)
        if drawing.clicks:
            write_clicks(fresh / "clicks.csv", {stem: drawing.clicks}, len(drawing.shape))
        if drawing.tags is not None:
            save_tags(fresh / "tags.csv", {source.name: drawing.tags}, dict(drawing.classes))
        if drawing.boxes:
            save_boxes(fresh / "boxes.json", source.name, drawing.shape, drawing.boxes, dict(drawing.classes))
