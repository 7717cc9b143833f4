"""What the work under way sends to the main thread, besides `Step`s."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np

from wsseg.boxes import Segment
from wsseg.steps import Step

if TYPE_CHECKING:
    from wsseg.bags import Bags
    from wsseg.boxmasks import Found
    from wsseg.encoder import SavedEncoder
    from wsseg.model import Model
    from wsseg.tagheat import Heated


@dataclass(frozen=True, eq=False)
class Preview:
    """A piece of the mask: uint8 values for a region, and the model that made them.

    `doubt` is how much each of them is in doubt, as `in_bytes`, None where nobody knows.
    """

    region: tuple[slice, ...]
    mask: np.ndarray
    model: "Model"
    doubt: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Objects:
    """The masks of all boxes that are done, and what was found in each, by its id."""

    segments: tuple[Segment, ...]
    found: Mapping[int, "Found"]


@dataclass(frozen=True, eq=False)
class Heat:
    """Heat of tagged images, and the tags that it was learned from."""

    bags: "Bags"
    heated: "Heated"


@dataclass(frozen=True, eq=False)
class Seeds:
    """The seeds of the image: uint8 hint map (*S)."""

    seeds: np.ndarray


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """The mask of another image, uint8 (*S), and which of those it is that the work was given."""

    number: int
    mask: np.ndarray


@dataclass(frozen=True)
class Note:
    """A sentence for the user; the work goes on."""

    text: str


@dataclass(frozen=True, eq=False)
class Opened:
    """A pretrained encoder, and the folder that it was read from."""

    encoder: "SavedEncoder"
    folder: Path


def in_bytes(doubt: np.ndarray) -> np.ndarray:
    """Doubt, 0 to 1, as uint8, 0 to 255: all that a layer needs, in a quarter of the memory."""
    return np.rint(255 * doubt).astype(np.uint8)


Event = Step | Preview | Objects | Heat | Seeds | Elsewhere | Note | Opened
Work = Generator[Event, None, Union["Model", None]]
