"""What is said of the training is undone like a stroke, comes back with a session, and steers answers."""

import numpy as np
import pytest
from napari.components import ViewerModel
from test_instanttool import hasty, paint, ready, run  # noqa: F401

from napari_plugin.controller import Controller
from napari_plugin.restoring import put_back
from napari_plugin.settings import Settings
from wsseg.drawing import Drawing, differences
from wsseg.journal import Entry


@pytest.mark.parametrize(("name", "value"), [("objects", "alike"), ("steps", 1000), ("keep_learning", True)])
def test_each_is_undone_and_done_again(name, value):
    controller = Controller(ViewerModel().layers)
    usual = getattr(controller.settings, name)
    controller.set(name, value)
    assert getattr(controller.settings, name) == value
    assert controller.timeline.words()[0] in ("what strokes mark", "training steps", "Keep learning")
    controller.timeline.undo()
    assert getattr(controller.settings, name) == usual
    controller.timeline.redo()
    assert getattr(controller.settings, name) == value


def test_what_was_said_is_in_the_session_and_comes_back():
    before, now = Drawing((4, 4)), Drawing((4, 4))
    said = Settings("marked", 200, keep_learning=True)
    now.settings = said.told()
    (found,) = differences(before, now)
    assert found == ("settings", {"objects": "marked", "steps": 200, "keep_learning": True}, None)
    kind, values, block = found
    before.apply(Entry(0.0, kind, values, block))
    assert before.settings == now.settings
    assert not list(differences(before, now))
    viewer = ViewerModel()
    viewer.add_image(np.random.default_rng(0).normal(size=(4, 4)))
    controller = Controller(viewer.layers)
    controller.choose_image(viewer.layers[0])
    put_back(controller, before)
    assert controller.settings.told() == now.settings


def test_what_another_version_wrote_is_left_out():
    settings = Settings()
    settings.take({"objects": "magic", "steps": "many", "keep_learning": 1, "speed": 9})
    assert settings.told() == {}
    for steps in (-1, 100_001):
        settings.take({"steps": steps})
        assert settings.told() == {}
    settings.take({"steps": 5})
    assert settings.told() == {"steps": 5}


@pytest.mark.parametrize("ndim", [2, 3])
def test_what_strokes_mean_is_answered_anew_also_after_undo(ndim, monkeypatch):
    import napari_plugin.instanttool as module

    _, controller = ready(ndim)
    tool, asked = controller.instant, []
    respond = module.respond

    def noted(looked, hints, focus, objects, more):
        asked.append(objects)
        return respond(looked, hints, focus, objects, more)

    monkeypatch.setattr(module, "respond", noted)
    paint(controller)
    run(tool, tool.due())
    assert tool.due() is None
    controller.set("objects", "marked")
    run(tool, tool.due())
    controller.timeline.undo()
    run(tool, tool.due())
    assert asked == ["auto", "marked", "auto"]
    controller.set("steps", 7)
    assert tool.due() is None  # that is for networks


@pytest.mark.gui
def test_the_rows_show_them(make_napari_viewer_proxy):
    from napari_plugin.widget import SegmentWidget

    viewer = make_napari_viewer_proxy()
    viewer.add_image(np.random.default_rng(0).normal(size=(16, 16)))
    panel = SegmentWidget(viewer)
    viewer.window.add_dock_widget(panel, name="wsseg")
    settings, rows = panel.controller.settings, panel.training
    rows.steps.setValue(40)
    rows.keep.setChecked(True)
    rows.objects.setCurrentIndex(rows.objects.findData("alike"))
    assert settings.told() == {"objects": "alike", "steps": 40, "keep_learning": True}
    for _ in range(3):
        panel.undo_row.undo()
    assert settings.told() == {}
    assert (rows.steps.value(), rows.keep.isChecked(), rows.objects.currentData()) == (0, False, "auto")
    panel.undo_row.redo()
    assert rows.steps.value() == 40
