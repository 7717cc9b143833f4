"""A map kept for undo, packed by a thread of its own: a volume takes longer than a window may wait."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from napari_plugin.blocks import packed, unpacked


class PackedMap:
    """The values of a map as they are now; the map may change from here on.

    Args:
        values: Copied at once, packed a while later.

    Attributes:
        shape: Of the map.
    """

    def __init__(self, values: np.ndarray) -> None:
        self.shape, self._type = values.shape, values.dtype
        thread = ThreadPoolExecutor(1, "wsseg packs a map")
        self._packed = thread.submit(packed, values.copy())
        thread.shutdown(wait=False)

    @property
    def nbytes(self) -> int:
        """Memory that it takes, packed; 0 while that is not known."""
        return len(self._packed.result()) if self._packed.done() else 0

    def values(self) -> np.ndarray:
        """The values, in an array of its own; waits for the thread where it has not done yet."""
        return unpacked(self._packed.result(), self._type, self.shape).copy()
