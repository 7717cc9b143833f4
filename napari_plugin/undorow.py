"""Undo and Redo: two buttons and their keys, which take back whatever came last, and show where that was."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QWidget

from napari_plugin.forms import button, row
from napari_plugin.keymap import REDO, UNDO, fixed
from napari_plugin.layers import KEY
from napari_plugin.trying import Tried

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer

    from napari_plugin.controller import Controller
    from napari_plugin.timeline import Action

DRAWN = ("Labels", "Points", "Shapes")  # layers that people draw in; __class__ sees through napari's proxies


class UndoRow(QWidget):
    """Shows the controller's timeline and calls it.

    napari looks for a key in the chosen layer first, and every Labels layer has an undo of its own there. So
    the keys are bound in each of our layers and in the viewer; layers of others keep what they have.

    Args:
        viewer: That is turned to where something was undone.
        controller: The plugin's.
        try_to: Calls something and shows its sentence where it refuses; says whether it went well.
    """

    def __init__(self, viewer: "Viewer", controller: "Controller", try_to: Callable[..., Tried]) -> None:
        super().__init__()
        self.viewer, self.controller, self.try_to = viewer, controller, try_to
        self._served: set[Any] = set()  # ids of layers that have the keys
        self.undo_button, self.redo_button = button("Undo", self.undo), button("Redo", self.redo)
        line = row(self.undo_button, self.redo_button, stretch=0)
        line.setStretch(1, 1)
        line.setContentsMargins(0, 0, 0, 0)
        self.setLayout(line)
        viewer.bind_key(UNDO, lambda viewer: self._pressed(self.undo), overwrite=True)
        viewer.bind_key(REDO, lambda viewer: self._pressed(self.redo), overwrite=True)
        self.show_state()

    def undo(self) -> None:
        """Take back what came last on this image."""
        self._go("Undone", self.controller.timeline.undo)

    def redo(self) -> None:
        """Do again what was taken back last."""
        self._go("Done again", self.controller.timeline.redo)

    def show_state(self) -> None:
        """Say what each button would do, and give new layers of ours the keys."""
        buttons = (self.undo_button, "Undo"), (self.redo_button, "Redo")
        words = self.controller.timeline.words()
        for (made, name), key, what in zip(buttons, fixed(), words, strict=True):
            made.setEnabled(bool(what))
            made.setToolTip(f"{name}: {what} ({key})" if what else f"There is nothing to {name.lower()}.")
        for layer in self.viewer.layers:
            if layer.unique_id not in self._served and self._is_ours(layer):
                self._served.add(layer.unique_id)
                layer.bind_key(UNDO, lambda layer: self._pressed_in(layer, "undo"), overwrite=True)
                layer.bind_key(REDO, lambda layer: self._pressed_in(layer, "redo"), overwrite=True)

    def _go(self, said: str, act: "Callable[[], Action]") -> None:
        def go() -> None:
            action = act()
            self.controller.message = f"{said}: {action.words}."
            self._look_at(action)

        if self.try_to(go):
            self.viewer.status = self.controller.message

    def _pressed(self, act: Callable[[], None]) -> None:
        """The key was pressed, and the chosen layer has none for it."""
        layer = self.viewer.layers.selection.active
        if layer is not None and layer.__class__.__name__ in DRAWN and not self._is_ours(layer):
            self.viewer.status = f"{layer.name} is no layer of wsseg; napari has no undo for it."
        else:
            act()

    def _pressed_in(self, layer: Any, name: str) -> None:
        """The key was pressed in a layer that is ours, or was."""
        if self._is_ours(layer):
            getattr(self, name)()
        elif hasattr(layer, name):
            getattr(layer, name)()

    def _is_ours(self, layer: "Layer") -> bool:
        c = self.controller
        return bool(layer.metadata.get(KEY, {}).get("role")) or layer in (c.hints, c.clicks, c.boxes.layer)

    def _look_at(self, action: "Action") -> None:
        """Show the layer and the slice that changed; the camera moves where that is far off."""
        change = next((change for change in action.changes if change.layer is not None), None)
        if change is None or change.layer is None:
            return
        change.layer.visible = True
        if change.place is not None and self.viewer.dims.ndisplay == 2:
            self._turn_to(change.layer, *change.place)

    def _turn_to(self, layer: "Layer", low: Sequence[float], high: Sequence[float]) -> None:
        """Turn to the nearest slice of a part of a layer, from `low` to `high` in its data coordinates."""
        dims, camera = self.viewer.dims, self.viewer.scene.camera
        before = dims.ndim - layer.ndim
        hidden = [axis for axis in range(layer.ndim) if axis + before not in dims.displayed]
        here = np.array(layer.world_to_data(dims.point[before:]))
        aim = np.where([axis in hidden for axis in range(layer.ndim)], np.clip(here, low, high), here)
        if np.abs(aim - here).max() > 0.5:
            world = layer.data_to_world(aim)
            dims.set_point([axis + before for axis in hidden], [world[axis] for axis in hidden])
        corners = np.array([layer.data_to_world(corner) for corner in product(*zip(low, high, strict=True))])
        plane = corners[:, [axis - before for axis in dims.displayed]]
        start, stop, centre = plane.min(0), plane.max(0), np.array(camera.center[-2:])
        reach = np.array(self.viewer.canvas.size) / camera.zoom / 2
        if (stop < centre - reach).any() or (start > centre + reach).any():
            camera.center = (*camera.center[:-2], *(start + stop) / 2)
