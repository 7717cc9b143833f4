"""Keys: free in napari, the same in the manifest, changed by the preferences, told as they are."""

from pathlib import Path

import pytest
from napari.components import ViewerModel
from npe2 import PluginManifest

import napari_plugin
from napari_plugin import keymap
from napari_plugin.keymap import KEYS, Keys, napari_has, read, spelt, told

MANIFEST = Path(napari_plugin.__file__).with_name("napari.yaml")


@pytest.fixture
def chosen(monkeypatch):
    """What the preferences keep for us, as napari makes it of our manifest."""
    from napari.settings._plugin_config_generator import _build_single_config_model

    manifest = PluginManifest.from_file(MANIFEST)
    settings = _build_single_config_model(manifest.contributions.configurations["keys"], "keys")()
    monkeypatch.setattr(keymap, "_settings", lambda: settings)
    return settings


def test_the_manifest_has_the_same_keys():
    stands = PluginManifest.from_file(MANIFEST).contributions.configurations["keys"].properties
    assert {name: one.default for name, one in stands.items()} == {
        name: key for name, (key, _) in KEYS.items()
    }
    assert {name: one.title.lower() for name, one in stands.items()} == {
        name: words.lower() for name, (_, words) in KEYS.items()
    }


def test_usual_keys_are_free_and_differ(chosen):
    keys, problems = read()
    assert problems == []
    assert list(keys) == list(KEYS)
    assert len(set(keys.values())) == len(KEYS)
    assert all(napari_has(key) == "" for key in keys.values())


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("shift+j", "Shift+J"),
        (" F5 ", "F5"),
        ("Control-0", "Ctrl+0"),
        (".", "."),
        ("", None),
        ("Sh", None),
        ("Shift", None),
        ("ü", None),
        ("Ctrl+K Ctrl+S", None),
    ],
)
def test_spelling(text, key):
    assert spelt(text) == key


def test_what_is_wrong_with_a_choice_is_told(chosen):
    chosen.next_class = "W"
    keys, problems = read()
    assert problems == ["W (next class) is taken: draw boxes."]
    assert (keys["next_class"], keys["draw_boxes"]) == ("N", "W")
    chosen.next_class = "Foo"
    keys, problems = read()
    assert problems == ["“Foo” (next class) is no key; “Shift+J”, “F5” or “.” are."]
    assert keys["next_class"] == "N"
    chosen.next_class = "P"
    keys, problems = read()
    assert keys["next_class"] == "P"
    assert "activate labels paint mode" in problems[0]
    chosen.next_class, chosen.background = "Q", "N"  # two change places
    keys, problems = read()
    assert (keys["next_class"], keys["background"], problems) == ("Q", "N", [])
    chosen.next_class, chosen.background = "Foo", "N"  # the usual key of one has another now
    keys, _ = read()
    assert "next_class" not in keys or keys["next_class"] != keys["background"]


def test_an_action_can_have_no_key(chosen):
    assert told("draw_boxes") == "W"
    chosen.draw_boxes = "f6"
    assert told("draw_boxes") == "F6"
    chosen.draw_boxes = " "
    assert "draw_boxes" not in read()[0]
    assert told("draw_boxes") == "“draw boxes” in the command palette"


def test_a_viewer_follows_the_preferences(chosen):
    viewer, did, changes = ViewerModel(), [], []
    keys = Keys(
        viewer, {name: lambda name=name: did.append(name) for name in KEYS}, lambda: changes.append(1)
    )

    def press(key):
        bound = {str(one): action for one, action in viewer.keymap.items()}
        bound[key](viewer)

    press("W")
    chosen.draw_boxes = "F6"
    assert changes
    press("F6")
    assert did == ["draw_boxes", "draw_boxes"]
    assert "W" not in {str(key) for key in viewer.keymap}
    chosen.next_class = "F6"
    assert keys.problems == ["F6 (draw boxes) is taken: next class."]
    press("F6")
    press("W")  # whoever lost a key has its usual one
    assert did[2:] == ["next_class", "draw_boxes"]
    keys.close()
    chosen.draw_boxes = "F7"
    assert "F7" not in {str(key) for key in viewer.keymap}


@pytest.mark.parametrize(("name", "text"), [("finish_slice", "ctrl+z"), ("tag_1", "Shift+Control+Z")])
def test_undo_and_redo_keep_their_keys(chosen, name, text):
    viewer, did = ViewerModel(), []
    for key in ("Ctrl+Z", "Ctrl+Shift+Z"):  # as the row of buttons, which is there before
        viewer.bind_key(key, lambda viewer, key=key: did.append(key))
    keys = Keys(viewer, {name: lambda name=name: did.append(name) for name in KEYS}, lambda: None)

    def press_all():
        for key in ("Ctrl+Z", "Ctrl+Shift+Z", KEYS[name][0]):
            {str(one): action for one, action in viewer.keymap.items()}[key](viewer)
        pressed = list(did)
        did.clear()
        return pressed

    setattr(chosen, name, text)
    taken = {"ctrl+z": "Ctrl+Z (unpainted of this slice is background) is taken: undo, whatever came last."}
    assert keys.problems == [taken.get(text, "Ctrl+Shift+Z (tag: class 1 of the table) is taken: redo.")]
    assert press_all() == ["Ctrl+Z", "Ctrl+Shift+Z", name]
    setattr(chosen, name, KEYS[name][0])
    assert keys.problems == []
    assert press_all() == ["Ctrl+Z", "Ctrl+Shift+Z", name]


def test_a_sentence_does_not_look_through_all_keys_each_time(chosen, monkeypatch):
    looked = []
    monkeypatch.setattr(keymap, "spelt", lambda text: looked.append(text) or spelt(text))
    monkeypatch.setattr(keymap, "napari_has", lambda key: pytest.fail("a sentence needs no word of napari's"))
    chosen.draw_boxes = "F6"
    assert told("draw_boxes") == "F6"
    count = len(looked)
    assert count >= len(KEYS)
    assert [told(name) for name in ("draw_boxes", "next_class", "tag_1")] == ["F6", "N", "Ctrl+1"]
    assert len(looked) == count
    chosen.draw_boxes = "F7"
    assert told("draw_boxes") == "F7"


def test_without_the_manifest_keys_are_the_usual_ones(monkeypatch):
    import napari.settings

    def unknown(name):
        raise KeyError(name)

    monkeypatch.setattr(napari.settings, "get_plugin_settings", unknown)
    assert read() == ({name: spelt(key) for name, (key, _) in KEYS.items()}, [])


@pytest.mark.gui
def test_preferences_change_the_panel(make_napari_viewer_proxy, chosen, qtbot):
    from qtpy.QtWidgets import QLabel

    from napari_plugin.widget import SegmentWidget

    viewer = make_napari_viewer_proxy()
    panel = SegmentWidget(viewer)
    viewer.window.add_dock_widget(panel, name="wsseg")

    def shown():
        return [label.text() for label in panel.keys.findChildren(QLabel)]

    assert "<b>W</b>" in shown()
    chosen.draw_boxes = "F6"
    qtbot.waitUntil(lambda: "<b>W</b>" not in shown(), timeout=10_000)  # gone with Qt's next round
    assert "<b>F6</b>" in shown()
    chosen.next_class = "F6"
    assert any("is taken" in text for text in shown())
