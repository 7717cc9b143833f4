"""The plugin's docks, side by side as tabs."""

from typing import Any

PANEL, LEARN = "wsseg", "Learn from my scans"  # as napari.yaml names them


def open_dock(viewer: Any, name: str) -> Any:
    """Open a dock of this plugin, or bring it to the front; gives its widget."""
    dock, widget = viewer.window.add_plugin_dock_widget("wsseg", name, tabify=True)
    dock.raise_()
    return widget
