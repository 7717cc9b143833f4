"""Goes on learning by itself when more is marked after a run. Knows no Qt."""

from typing import TYPE_CHECKING

from wsseg.errors import InputError

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer

    from napari_plugin.controller import Controller
    from wsseg.hints import Hints


class KeepLearning:
    """Knows what the last run has learnt from, and whether there is more since.

    Args:
        controller: The plugin's; its settings say whether the user wants it.
    """

    def __init__(self, controller: "Controller") -> None:
        self.controller = controller
        self._image: ImageLayer | None = None  # of the last run, and what it was given last
        self._learnt: Hints | None = None

    def note(self) -> None:
        """To be called often while something runs: hints are swapped in as they change."""
        run = self.controller.run
        if run is not None and run.given is not None:
            self._image, self._learnt = run.image, run.given

    def due(self) -> bool:
        """Whether to go on now; to be called often while nothing runs.

        The hand must rest, and the image must be the one that was learnt from: to look at another one starts
        nothing. What is wrong with hints is said by the run that the user starts.
        """
        c = self.controller
        if not c.settings.keep_learning or c.model is None or self._learnt is None:
            return False
        if c.image != self._image or not c.rests():
            return False
        try:
            return not c.read_hints().same(self._learnt)
        except InputError:
            return False
