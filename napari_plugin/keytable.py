"""What each key does, as the user has them now."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from napari_plugin.keymap import KEYS, PANEL, Keys, fixed, read

if TYPE_CHECKING:
    from napari.viewer import Viewer


class KeyTable(QWidget):
    """Binds the keys and shows them.

    Args:
        viewer: That gets the keys.
        actions: What each one does, see `Keys`.
    """

    def __init__(self, viewer: "Viewer", actions: Mapping[str, Callable[[], Any]]) -> None:
        super().__init__()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setColumnStretch(1, 1)
        self.keys = Keys(viewer, actions, self.show_keys)
        self.destroyed.connect(self.keys.close)
        self.show_keys()

    def show_keys(self) -> None:
        """Show them anew."""
        while (item := self._grid.takeAt(0)) is not None:
            old = cast(QWidget, item.widget())
            old.hide()
            old.deleteLater()
        keys, _ = read()
        rows = [(keys.get(name, "–"), KEYS[name][1]) for name in PANEL]
        for line, (key, meaning) in enumerate([*rows, *fixed().items()]):
            self._grid.addWidget(QLabel(f"<b>{key}</b>"), line, 0)
            self._grid.addWidget(_wrapped(meaning), line, 1)
        told = [*self.keys.problems, "Change them in Preferences > wsseg."]
        self._grid.addWidget(_wrapped("\n".join(told)), self._grid.rowCount(), 0, 1, 2)


def _wrapped(text: str) -> QLabel:
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)  # or the longest would say how narrow the panel can be
    return label
