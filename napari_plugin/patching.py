"""A network's mask follows strokes that it has not learnt yet: around them it changes as the answer does.

Wherever the answer says something else than when the network was given its hints, and that hangs together
with a new stroke, the answer is believed; everywhere else the network is. Knows no Qt.
"""

import numpy as np
from scipy import ndimage

from napari_plugin.blocks import Region
from wsseg.hints import BACKGROUND

REACH = 32  # voxels around a change of paint in which the mask follows it


class Patches:
    """What there was when the network was given its hints, and its mask as it said it.

    All maps are of one image, (*S).
    """

    def __init__(self) -> None:
        self._painted: np.ndarray | None = None
        self._answer: np.ndarray | None = None
        self._network: np.ndarray | None = None

    def learns(self, painted: np.ndarray | None, answer: np.ndarray | None) -> None:
        """The network has these hints now, a hint map or None; this was the answer to them, if there was one.

        Its mask is taken as it is then, with earlier changes: it is about to say it anew.
        """
        self._answer = None if answer is None else answer.copy()
        self._painted = None if painted is None or answer is None else painted.copy()
        self._network = None

    def wrote(self, region: Region, mask: np.ndarray) -> None:
        """The network has said a piece of its mask."""
        if self._network is not None:
            self._network[region] = mask

    def follow(
        self,
        region: Region,
        network: np.ndarray,
        answer: np.ndarray,
        now: np.ndarray,
        locked: np.ndarray | None,
    ) -> np.ndarray | None:
        """Change a part of the network's mask.

        Args:
            region: The part: around a change of paint.
            network: Its mask, changed in place.
            answer: The newest one.
            now: The hint map that it is to.
            locked: What was accepted, a hint map; no stroke.

        Returns:
            bool (*region): where the answer is believed; None where there was no answer before.
        """
        if self._answer is None:
            return None
        if self._network is None:
            self._network = network.copy()
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
        values = np.where(believed, said, self._network[region])
        network[region] = np.where(new, np.where(painted == BACKGROUND, 0, painted), values)
        return believed


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
    return tuple(
        slice(max(0, int(at.min()) - REACH), min(n, int(at.max()) + REACH + 1))
        for at, n in zip(places, shape, strict=True)
    )
