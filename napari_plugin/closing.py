"""Closing napari's window while something runs: it asks first, then stops and keeps what is there."""

from collections.abc import Callable
from typing import Any
from weakref import ref

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMainWindow, QMessageBox, QWidget

SESSION = "The mask and the model as they are now stay in the session; Restore brings them back."
CONTINUE = "What was learned is kept; Continue goes on from there another time."


class CloseGuard(QObject):
    """Watches the window that a docked widget is in.

    A close that a program asks for, a script's `viewer.close()` or napari's own File > Exit (which asks by
    itself), is not questioned; `leave` is called all the same.

    Args:
        widget: The docked widget.
        busy: Says what is under way; "" while nothing is.
        kept: What becomes of it.
        leave: Each is called in turn: they stop it and keep what is there.
    """

    def __init__(
        self, widget: QWidget, busy: Callable[[], str], kept: str, *leave: Callable[[], None]
    ) -> None:
        super().__init__(widget)
        self._widget, self._busy, self._kept, self._leave = widget, busy, kept, leave
        self._found: ref[QMainWindow] | None = (
            None  # weak: this belongs to the window, not the other way round
        )
        widget.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Notice where the widget is docked, and that this window is to be closed."""
        if watched is self._widget and event.type() == QEvent.Type.Show:
            self._watch()
        elif watched is self.window() and event.type() == QEvent.Type.Close and (words := self._busy()):
            if event.spontaneous() and not self.ask(words):
                event.ignore()
                return True
            for each in self._leave:
                each()
        return False

    def window(self) -> QMainWindow | None:
        """The window that is watched."""
        return None if self._found is None else self._found()

    def ask(self, words: str) -> bool:
        """Whether the user wants to leave."""
        box = QMessageBox(self.window())
        box.setWindowTitle("wsseg")
        box.setIcon(QMessageBox.Icon.Question)
        box.setText(f"{words}\n\nStop and close napari? {self._kept}")
        stop = box.addButton("Stop and close", QMessageBox.ButtonRole.AcceptRole)
        stay = box.addButton("Go on", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(stay)
        box.setEscapeButton(stay)
        box.exec()
        return box.clickedButton() is stop

    def _watch(self) -> None:
        above = self._widget.parentWidget()
        while above is not None and not isinstance(above, QMainWindow):
            above = above.parentWidget()
        if above is not None and above is not self.window():
            self._found = ref(above)
            above.installEventFilter(self)
