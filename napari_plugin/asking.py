"""Asks for the name of a file to write to."""

from collections.abc import Callable
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QWidget

from napari_plugin.trying import Tried


def ask_file(
    parent: QWidget,
    try_to: Callable[..., Tried],
    place: Callable[[], Path],
    title: str,
    kind: str = "",
    *,
    merge: bool = False,
) -> str:
    """A name to write to; empty where there is no place for it, which is told, or the user wants none.

    Args:
        parent: Of the dialog.
        try_to: Calls something and shows its sentence where it refuses; see `Tried`.
        place: Gives the place that is offered.
        title: Of the dialog.
        kind: Files that it shows, such as "COCO (*.json)".
        merge: Whether a file that is there is added to, so that nobody needs to be asked about it.
    """
    if not (found := try_to(place)):
        return ""
    options = QFileDialog.Option.DontConfirmOverwrite if merge else QFileDialog.Option(0)
    return QFileDialog.getSaveFileName(parent, title, str(found.value), kind, options=options)[0]
