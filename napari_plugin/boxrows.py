"""The rows of the widget that are about boxes, shown where boxes are."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QCheckBox, QSpinBox, QVBoxLayout, QWidget

from napari_plugin.forms import button, form, row
from napari_plugin.layers import to_image
from napari_plugin.trying import Tried

if TYPE_CHECKING:
    from napari_plugin.controller import Controller


class BoxRows(QWidget):
    """How far a rectangle reaches, whether all objects are boxed, and masks of all boxes anew.

    Args:
        controller: The plugin's.
        try_to: Calls it and shows its sentence where it refuses; see `Tried`.
        find_objects: Makes masks of all boxes.
    """

    def __init__(
        self, controller: "Controller", try_to: Callable[..., Tried], find_objects: Callable[[], None]
    ) -> None:
        super().__init__()
        self.controller = controller
        self.slices = QSpinBox()
        self.slices.setSpecialValueText("two rectangles")
        self.slices.setSuffix(" slices")
        self.slices.setMaximum(9999)
        self.slices.setToolTip("How far a rectangle reaches in a volume; or draw both ends of the box.")
        self.slices.valueChanged.connect(controller.boxes.set_depth)
        self.all_boxed = QCheckBox("All objects have a box")
        self.all_boxed.setToolTip("Then all outside of the boxes is background when the network learns.")
        self.all_boxed.toggled.connect(lambda on: try_to(controller.say_all_boxed, on))
        self.depth_row = QWidget()
        self.depth_row.setLayout(form(("Depth", self.slices)))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.depth_row)
        column.addLayout(row(self.all_boxed, button("Masks of boxes", find_objects), stretch=0))

    def show_state(self) -> None:
        """Show the rows that are of use now."""
        c = self.controller
        self.setVisible(c.boxes.layer is not None)
        self.depth_row.setVisible(c.image is not None and to_image(c.image).ndim == 3)
        self.all_boxed.blockSignals(True)
        self.all_boxed.setChecked(c.boxes.all_boxed)
        self.all_boxed.blockSignals(False)
