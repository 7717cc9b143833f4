"""Commands of the palette do what the panel's keys and buttons do; one window, since each costs seconds."""

from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManifest

import napari_plugin
from napari_plugin import commands, keymap, widget
from wsseg.hints import BACKGROUND

# keys whose command has another name, and those of one class each, which are buttons
OTHERWISE = {"go_or_stop": "segment", "undo_tag": "undo"}
BUTTONS = {f"tag_{n}" for n in range(1, 10)}


def test_each_key_has_a_command_in_the_palette():
    manifest = PluginManifest.from_file(Path(napari_plugin.__file__).with_name("napari.yaml"))
    there = {command.python_name for command in manifest.contributions.commands}
    for name in (*keymap.KEYS.keys() - BUTTONS, "undo", "redo"):
        assert f"napari_plugin.commands:{OTHERWISE.get(name, name)}" in there


@pytest.mark.gui
def test_commands_do_what_they_say(make_napari_viewer_proxy, qtbot, monkeypatch):
    viewer = make_napari_viewer_proxy()
    for name in ("one", "two"):
        viewer.add_image(np.random.default_rng(0).normal(0, 0.1, (16, 16)), name=name)
    panel = widget.SegmentWidget(viewer)
    viewer.window.add_dock_widget(panel, name="wsseg")
    monkeypatch.setattr(commands, "open_widget", lambda viewer: panel)
    c = panel.controller
    panel.choose_image(viewer.layers["one"])
    commands.new_hints(viewer)
    commands.new_clicks(viewer)
    assert viewer.layers.selection.active == c.clicks
    commands.add_class(viewer)
    assert list(c.classes) == [1, 2]
    before = c.selected
    commands.next_class(viewer)
    assert c.selected != before
    commands.background(viewer)
    assert c.selected == BACKGROUND
    assert viewer.layers.selection.active == c.clicks  # one goes on clicking
    c.clicks.add((3.0, 3.0))
    assert c.peek_hints().clicks[0].class_id == 0
    viewer.layers.selection.active = c.hints
    commands.next_class(viewer)
    assert viewer.layers.selection.active == c.hints
    assert c.hints.mode == "paint"
    qtbot.waitUntil(lambda: c.instant.on, timeout=60_000)  # by itself, on a small image
    commands.answer(viewer)
    assert not c.instant.on
    shown = panel.guide.doubt.isChecked()
    commands.show_doubt(viewer)
    assert panel.guide.doubt.isChecked() is not shown
    commands.draw_boxes(viewer)
    assert viewer.layers.selection.active == c.boxes.layer
    commands.all_boxed(viewer)
    assert c.boxes.all_boxed
    commands.undo(viewer)
    assert not c.boxes.all_boxed
    commands.next_image(viewer)
    assert c.image == viewer.layers["two"]
    commands.tag_none(viewer)
    assert c.image.metadata["wsseg"]["tags"] == []  # looked at: none of the classes
    commands.forget_model(viewer)
    commands.drop_encoder(viewer)
