"""A network's mask follows strokes that it has not learnt yet: around them it changes as the answer does.

Wherever the answer says something else than when the network was given its hints, and that hangs together
with a new stroke, the answer is believed; everywhere else the network is. Knows no Qt.
"""

import time
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from napari_plugin.blocks import Region

PACE = 0.5  # seconds at least from one time that the mask follows to the next while a network predicts
REACH = 32  # voxels around a change of paint in which the mask follows it


class Patches:
    """What there was when the network was given its hints, and its mask as it follows the answer since.

    All maps are of one image, (*S).
    """

    def __init__(self) -> None:
        self._painted: np.ndarray | None = None
        self._answer: np.ndarray | None = None
        self._patched: np.ndarray | None = None

    def mask(self, network: np.ndarray) -> np.ndarray:
        """The network's mask with what has changed; nobody may write into it."""
        return network if self._patched is None else self._patched

    def learns(self, painted: np.ndarray | None, answer: np.ndarray | None) -> None:
        """The network has these hints now, a hint map or None; `answer` was that to them, or None."""
        self._answer = None if answer is None else answer.copy()
        self._painted = None if painted is None or answer is None else painted.copy()
        self._patched = None

    def wrote(self, region: Region, mask: np.ndarray) -> None:
        """The network has said a piece of its mask."""
        if self._patched is not None:
            self._patched[region] = mask

    def follow(
        self,
        region: Region,
        network: np.ndarray,
        answer: np.ndarray,
        now: np.ndarray,
        locked: np.ndarray | None,
    ) -> np.ndarray | None:
        """Find anew what a part of the network's mask is.

        Args:
            region: The part: around a change of paint.
            network: As the network said it.
            answer: The newest one.
            now: The hint map that it is to.
            locked: What was accepted, a hint map; no stroke.

        Returns:
            bool (*region): where the answer is believed; None where there was no answer before.
        """
        if self._answer is None:
            return None
        if self._patched is None:
            self._patched = network.copy()
        painted = now[region]
        new = painted > 0 if self._painted is None else (painted > 0) & (painted != self._painted[region])
        if locked is not None:
            new &= locked[region] == 0
        said, full = answer[region], np.ones((3,) * network.ndim)
        pieces, count = ndimage.label(said != self._answer[region], full)
        touched = np.zeros(count + 1, bool)
        touched[pieces[ndimage.binary_dilation(new, full)]] = True
        touched[0] = False
        believed = touched[pieces]
        self._patched[region] = np.where(believed, said, network[region])
        return believed


class Windows:
    """Parts of an image around changes of paint, in which the network's mask follows the answer."""

    def __init__(self) -> None:
        self._since: list[Region] = []  # the network was given its hints
        self._asked: list[Region] = []  # those that the answer under way will tell of
        self._behind: list[Region] = []  # those that have to be followed
        self._taken = 0.0

    def clear(self) -> None:
        """The network has learnt all of it."""
        self._since, self._asked, self._behind = [], [], []

    def ask(self, window: Region | None) -> None:
        """An answer to a change begins."""
        if window is not None:
            self._asked = joined(self._asked, window)

    def answered(self) -> None:
        """The newest answer is there."""
        for window in self._asked:
            self._since, self._behind = joined(self._since, window), joined(self._behind, window)
        self._asked = []

    def said(self, region: Region) -> None:
        """The network has said this part anew."""
        for window in self._since:
            if overlap(window, region):
                self._behind = joined(self._behind, window)

    def is_due(self) -> bool:
        """Whether there is something to follow, and the last time was a while ago: pieces come fast."""
        return bool(self._behind) and time.monotonic() - self._taken >= PACE

    def take(self) -> list[Region]:
        """What has to be followed now."""
        behind, self._behind, self._taken = self._behind, [], time.monotonic()
        return behind


def changed(before: np.ndarray | None, now: np.ndarray | None) -> np.ndarray:
    """Where paint has come, changed or gone: flat indices into a hint map, in order.

    Args:
        before, now: Hint maps (*S), None = nothing painted.
    """
    if now is None:
        return np.flatnonzero(before) if before is not None else np.zeros(0, np.intp)
    return np.flatnonzero(now if before is None else now != before)


def around(where: np.ndarray, shape: tuple[int, ...]) -> Region | None:
    """The part of an image in which its mask follows a change; None where nothing has changed.

    Args:
        where: As `changed` gives it.
        shape: Of the image.
    """
    if not len(where):
        return None
    places = np.unravel_index(where, shape)
    return grown(tuple(slice(int(at.min()), int(at.max()) + 1) for at in places), shape)


def grown(region: Region, shape: tuple[int, ...]) -> Region:
    """A changed part of an image, with all in which its mask follows."""
    return tuple(
        slice(max(0, one.start - REACH), min(n, one.stop + REACH))
        for one, n in zip(region, shape, strict=True)
    )


def overlap(one: Region, other: Region) -> bool:
    """Whether two parts of an image have a voxel in common."""
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))


def joined(parts: Sequence[Region], more: Region) -> list[Region]:
    """Parts of an image and one more; those that overlap become one, so that nothing is done twice."""
    apart = [part for part in parts if not overlap(part, more)]
    if len(apart) == len(parts):
        return [*parts, more]
    together = [more, *(part for part in parts if overlap(part, more))]
    whole = tuple(
        slice(min(one.start for one in axis), max(one.stop for one in axis))
        for axis in zip(*together, strict=True)
    )
    return joined(apart, whole)
