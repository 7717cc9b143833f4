"""What a person marked on one image, held and checked: the start of the path of data.

A hint map is what is painted, in a napari layer and in a file alike: 0 = nothing said, k = class k (1…254),
255 = background. Every kind of hint ends as `wsseg.weak.WeakLabels`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from wsseg.errors import InputError
from wsseg.formats.labels import count_values

BACKGROUND = 255  # in hint maps only; in masks and targets background is 0


@dataclass(frozen=True)
class Click:
    """A point a person set. `position` is in voxels of the stored array; class 0 is a background click."""

    position: tuple[float, ...]
    class_id: int


@dataclass(frozen=True)
class Box:
    """A box around one object: half-open voxel intervals [start, stop) per axis."""

    start: tuple[int, ...]
    stop: tuple[int, ...]
    class_id: int
    id: int


@dataclass(frozen=True)
class Tag:
    """A class that is present somewhere in the image, or in one slice of it (`axis` and `slice`)."""

    class_id: int
    axis: int | None = None
    slice: int | None = None


@dataclass(frozen=True, eq=False)
class Hints:
    """All that a person marked on one image.

    Attributes:
        shape: The image's spatial shape S, axes as stored.
        scribbles: uint8 hint map (*S) with scribbles and finished slices, or None.
        mask: Finished dense mask (*S), 0 = background, k = class k, or None.
        clicks: Points.
        boxes: Boxes around objects; held and checked here, turned into labels elsewhere.
        tags: Classes present; None = nobody tagged this image, empty = tagged as "none of them".
        all_boxed: Whether every object has a box, so that outside of the boxes is background. A dataset's
            boxes.json says so.
        unknown: bool (*S), or None: where nothing is known of a voxel, whatever hints beside it reach there.

    Raises:
        InputError: A map's shape differs from `shape`, a position lies outside, a box is empty.
    """

    shape: tuple[int, ...]
    scribbles: np.ndarray | None = None
    mask: np.ndarray | None = None
    clicks: tuple[Click, ...] = ()
    boxes: tuple[Box, ...] = ()
    tags: frozenset[Tag] | None = None
    all_boxed: bool = True
    unknown: np.ndarray | None = None

    def __post_init__(self) -> None:
        if len(self.shape) not in (2, 3):
            raise InputError(
                f"Hints need an image with 2 or 3 spatial axes; this one has shape {self.shape}."
            )
        maps = (("hint map", self.scribbles), ("mask", self.mask), ("map of what is unknown", self.unknown))
        for name, array in maps:
            if array is None:
                continue
            if array.shape != self.shape:
                raise InputError(
                    f"The {name} has shape {array.shape}, the image {self.shape}; both must be the same."
                )
            if array.dtype.kind not in "ub" and not (array.dtype.kind == "i" and array.min(initial=0) >= 0):
                raise InputError(
                    f"The {name} holds {array.dtype}; it must hold whole numbers from 0 to "
                    f"{255 if name == 'hint map' else 65535}."
                )
        for click in self.clicks:
            _check_inside(click.position, self.shape)
        for box in self.boxes:
            _check_box(box, self.shape)

    def is_empty(self) -> bool:
        """Whether nothing at all is marked."""
        return not (self.name_voxels() or self.boxes or self.tags is not None)

    def same(self, other: "Hints") -> bool:
        """Whether another says just the same."""
        maps = [(getattr(self, name), getattr(other, name)) for name in ("scribbles", "mask", "unknown")]
        lists = ("shape", "clicks", "boxes", "tags", "all_boxed")
        return all(getattr(self, name) == getattr(other, name) for name in lists) and all(
            np.array_equal(a, b) if a is not None and b is not None else a is b for a, b in maps
        )

    def name_voxels(self) -> bool:
        """Whether anything says what single voxels are, which boxes and tags do not."""
        painted = self.scribbles is not None and bool(self.scribbles.any())
        return painted or self.mask is not None or bool(self.clicks)

    def class_ids(self) -> frozenset[int]:
        """The classes named by any hint, background left out."""
        ids = {hint.class_id for hint in (*self.clicks, *self.boxes, *(self.tags or ()))}
        if self.scribbles is not None:
            ids |= set(count_values(self.scribbles)) - {BACKGROUND}
        if self.mask is not None:
            ids |= set(count_values(self.mask))
        return frozenset(ids - {0})

    def check(self, classes: Mapping[int, str], name: str = "The hints") -> None:
        """Check every hint against the known classes.

        Args:
            classes: Class id to name.
            name: What to call these hints in the sentence, such as the file.

        Raises:
            InputError: A hint names a class that is not among `classes`.
        """
        unknown = sorted(self.class_ids() - set(classes))
        if unknown:
            known = ", ".join(f"{k} ({classes[k]})" for k in sorted(classes))
            raise InputError(
                f"{name}: value {unknown[0]} is no known class; known are {known}, 0 = nothing said and "
                f"255 = background (a foreign hint map can be read with --unknown or --background "
                f"{unknown[0]})."
            )


def with_locked(painted: np.ndarray | None, locked: np.ndarray | None) -> np.ndarray | None:
    """Paint and what was accepted in one hint map: where both say something, what was accepted counts.

    Args:
        painted, locked: uint8 hint maps (*S), or None; neither is changed.
    """
    if locked is None or not locked.any():
        return painted
    return locked.copy() if painted is None else np.where(locked > 0, locked, painted)


def leave_out(hints: Hints, held: np.ndarray | None) -> Hints:
    """The hints without what lies in held-out voxels: no paint and no click there; boxes and tags stay.

    A click beside them is taken to hold for a few voxels around it, but for none of these.

    Args:
        hints: They are not changed.
        held: Hint map (*S), or None.
    """
    if held is None or not held.any():
        return hints
    scribbles = None if hints.scribbles is None else np.where(held > 0, np.uint8(0), hints.scribbles)
    clicks = tuple(one for one in hints.clicks if not held[tuple(np.round(one.position).astype(int))])
    return replace(hints, scribbles=scribbles, clicks=clicks, unknown=held > 0 if clicks else None)


def _check_inside(position: tuple[float, ...], shape: tuple[int, ...]) -> None:
    inside = len(position) == len(shape) and all(
        np.isfinite(p) and -0.5 <= p < n - 0.5 for p, n in zip(position, shape, strict=True)
    )
    if not inside:
        raise InputError(
            f"The click at {tuple(position)} lies outside the image of shape {shape}; "
            "a click has one position in voxels per axis."
        )


def _check_box(box: Box, shape: tuple[int, ...]) -> None:
    inside = len(box.start) == len(box.stop) == len(shape) and all(
        0 <= a < b <= n for a, b, n in zip(box.start, box.stop, shape, strict=True)
    )
    if not inside:
        raise InputError(
            f"Box {box.id} from {box.start} to {box.stop} is empty or leaves the image of shape {shape}."
        )
