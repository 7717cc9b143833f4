"""Words in the panel: they take room while there are any, and are shown as they stand."""

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_plugin.forms import Sentence

pytestmark = pytest.mark.gui


def test_a_sentence_takes_room_while_it_says_something(qtbot):
    panel = QWidget()
    qtbot.addWidget(panel)
    column, told = QVBoxLayout(panel), Sentence()
    column.addWidget(told)
    panel.show()
    empty = panel.sizeHint().height()
    told.tell("Nothing is marked yet.")
    assert told.isVisible()
    assert panel.sizeHint().height() > empty
    told.tell("")
    assert not told.isVisible()
    assert panel.sizeHint().height() == empty


def test_a_name_is_no_markup(qtbot):
    told = Sentence()
    qtbot.addWidget(told)
    plain = Sentence()
    qtbot.addWidget(plain)
    told.setText("<b>cell</b>")
    plain.setText("cell")
    assert told.textFormat() == Qt.TextFormat.PlainText
    assert told.sizeHint().width() > plain.sizeHint().width()
