"""The panel works on the image whose hints the user selects. Knows no Qt.

Undo and autosave follow the image at work: strokes in the hints of another one would be in neither.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_plugin.layers import KEY, identity

if TYPE_CHECKING:
    from napari.components.layerlist import LayerList
    from napari.layers import Image as ImageLayer
    from napari.layers import Layer

    from napari_plugin.controller import Controller


class Follow:
    """Keeps the active layer and the image at work together, whichever of the two changes.

    Args:
        layers: The viewer's.
        controller: The plugin's.
        choose_image: Works on another image.
        busy: Whether something runs, which another image would stop.
    """

    def __init__(
        self,
        layers: "LayerList",
        controller: "Controller",
        choose_image: "Callable[[ImageLayer], object]",
        busy: Callable[[], bool],
    ) -> None:
        self._layers, self._controller = layers, controller
        self._choose_image, self._busy = choose_image, busy
        layers.selection.events.active.connect(self._selected)

    def leave(self) -> None:
        """Another image was chosen: hints of the one before are no longer what is drawn in."""
        c, active = self._controller, self._layers.selection.active
        owner = None if active is None else self._owner(active)
        if owner is not None and c.image is not None and owner != c.image:
            self._layers.selection.active = next(
                layer for layer in (c.hints, c.clicks, c.boxes.layer, c.image) if layer is not None
            )

    def _selected(self, event: Any) -> None:
        layer, c = event.value, self._controller
        # layers that are just being opened become active too; those of other images are hidden
        owner = None if layer is None or not layer.visible else self._owner(layer)
        if owner is None:
            return
        if owner != c.image:
            if self._busy():
                c.message = (
                    f"{layer.name} belongs to {owner.name}, and something runs on another image: press Stop, "
                    "or wait, before you mark in it."
                )
                return
            self._choose_image(owner)
        role = layer.metadata[KEY]["role"]
        if role == "hints" and layer != c.hints:
            c.choose_hints(layer)
        elif role == "clicks" and layer != c.clicks:
            c.choose_clicks(layer)
        elif role == "boxes" and layer != c.boxes.layer:
            c.choose_boxes(layer)

    def _owner(self, layer: "Layer") -> "ImageLayer | None":
        """The image that a layer to draw in is of."""
        own = layer.metadata.get(KEY, {})
        if own.get("role") not in ("hints", "clicks", "boxes", "mask", "locked"):
            return None
        of = own.get("of")
        return next((x for x in self._layers if type(x).__name__ == "Image" and identity(x) == of), None)
