"""Which level of a multiscale image is worked on; there only for one."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QLabel, QWidget

from napari_plugin.forms import narrow, row
from napari_plugin.levels import number_of, show_level, whole_of, words_of

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Image as ImageLayer

    from napari_plugin.controller import Controller


class LevelRow(QWidget):
    """Offers the levels of the image at work.

    Args:
        layers: The viewer's; an image is added to them for each level that is worked on.
        controller: The plugin's.
        choose: Works on another image.
    """

    def __init__(
        self, layers: "LayerList", controller: "Controller", choose: "Callable[[ImageLayer], None]"
    ) -> None:
        super().__init__()
        self._layers, self._controller, self._choose = layers, controller, choose
        self.levels = QComboBox()
        self.levels.setToolTip("Coarser levels are faster. Hints and masks of each are its own.")
        narrow(self.levels, 8)
        line = row(QLabel("Level"), self.levels, stretch=1)
        line.setContentsMargins(0, 0, 0, 0)
        self.setLayout(line)
        self.levels.activated.connect(self._take)
        self.show_state()

    def show_state(self) -> None:
        """Offer what there is now."""
        image = self._controller.image
        whole = whole_of(self._layers, image)
        self.setVisible(whole is not None)
        if whole is None or image is None:
            return
        words = words_of(whole)
        if [self.levels.itemText(k) for k in range(self.levels.count())] != words:
            self.levels.clear()
            self.levels.addItems(words)
        self.levels.setCurrentIndex(number_of(image))

    def _take(self, number: int) -> None:
        image, whole = self._controller.image, whole_of(self._layers, self._controller.image)
        if image is None or whole is None or number == number_of(image):
            return
        self._choose(show_level(self._layers, whole, number))
