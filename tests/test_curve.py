"""The small curve shows what it was given last; and what came of an action that may refuse."""

import pytest

from napari_plugin.trying import Tried


@pytest.mark.gui
def test_other_values_of_the_same_number_are_drawn(qtbot, monkeypatch):
    from napari_plugin.curve import Curve

    curve, drawn = Curve("agreement"), []
    qtbot.addWidget(curve)
    monkeypatch.setattr(curve, "update", lambda: drawn.append(1))
    curve.show_values([0.5, 0.9], 2)
    curve.show_values([0.5, 0.9], 2)
    assert len(drawn) == 1
    curve.show_values([0.1, 0.2], 2)  # of another image
    curve.show_values([0.1, 0.2], 2, 0.5)
    assert len(drawn) == 3


def test_an_action_that_gives_nothing_may_have_gone_well():
    assert Tried(True)
    assert Tried(True, 0).value == 0
    assert not Tried(False)
