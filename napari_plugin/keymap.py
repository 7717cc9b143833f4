"""The keys: which there are, what each does, and what the user made of them. Knows no Qt.

They stand in the manifest as settings too, so napari's Preferences have a page “wsseg” that changes them and
keeps them. napari's own page of shortcuts is no place for a plugin's: at each start it warns of every action
whose plugin is not loaded yet (napari 0.9.2, `action_manager.unbind_shortcut`).
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from app_model.types import KeyCode, KeyMod

if TYPE_CHECKING:
    from napari.viewer import Viewer

# name of an action: key, what it does; keys that napari leaves free
PANEL = {
    "next_class": ("N", "next class"),
    "background": ("Q", "background: brush or clicks"),
    "finish_slice": ("U", "unpainted of this slice is background"),
    "draw_boxes": ("W", "draw boxes"),
    "find_objects": ("J", "masks of boxes"),
    "go_or_stop": ("G", "go: Segment or Stop"),
    "hide_or_show": ("H", "hide or show what was found"),
    "go_to_next": (",", "go to where a hint helps most"),
    "accept_object": ("Shift+J", "accept the object under the cursor, or not"),
    "reject_object": ("Shift+N", "reject the object under the cursor"),
    "accept_slice": ("Shift+U", "accept this slice of the mask, or not"),
    "accept_region": ("Shift+K", "accept a region: draw a polygon"),
    "background_region": ("Shift+Q", "a region is all background: draw a polygon"),
    "hold_out": ("Shift+H", "hold this slice out for testing, or not"),
}
TAGS = {
    "next_image": ("K", "next image"),
    "extend_tags": (".", "tag all slices up to this one alike"),
    "undo_tag": ("Shift+Z", "undo of a tag"),
    "tag_none": ("Ctrl+0", "tag: none of the classes"),
    **{f"tag_{n}": (f"Ctrl+{n}", f"tag: class {n} of the table") for n in range(1, 10)},
}
KEYS = {**PANEL, **TAGS}

UNDO = KeyMod.CtrlCmd | KeyCode.KeyZ
REDO = KeyMod.CtrlCmd | KeyMod.Shift | KeyCode.KeyZ
FIXED = {UNDO: "undo, whatever came last", REDO: "redo"}  # bound by the row of buttons, for good


class Keys:
    """The keys of one panel.

    Args:
        viewer: That gets them.
        actions: What each action of `KEYS` does.
        changed: Called after the user has chosen other keys.

    Attributes:
        problems: What is wrong with keys that the user chose, a sentence each.
    """

    def __init__(
        self, viewer: "Viewer", actions: Mapping[str, Callable[[], Any]], changed: Callable[[], None]
    ) -> None:
        self._viewer, self._actions, self._changed = viewer, actions, changed
        self._bound: list[str] = []
        self.problems: list[str] = []
        self._bind()
        if (chosen := _settings()) is not None:
            chosen.events.connect(self._follow)

    def close(self) -> None:
        """Follow the preferences no more; the panel is gone."""
        if (chosen := _settings()) is not None:
            chosen.events.disconnect(self._follow)

    def _bind(self) -> None:
        for key in self._bound:
            self._viewer.bind_key(key)(None)
        keys, self.problems = read()
        self._bound = list(keys.values())
        for name, key in keys.items():
            action = self._actions[name]
            self._viewer.bind_key(key, lambda viewer, action=action: action(), overwrite=True)

    def _follow(self) -> None:
        self._bind()
        self._changed()


def read() -> tuple[dict[str, str], list[str]]:
    """The key of each action that has one, as app-model spells it, and what is wrong with those chosen.

    An action whose key is none, or taken already, has its usual one if that is free, else none.
    """
    keys, problems = _given(_wanted())
    shared = [
        f"{key} ({KEYS[name][1]}) is napari's too: {own}; some kinds of layers keep it for that."
        for name, key in keys.items()
        if (own := napari_has(key))
    ]
    return dict(keys), [*problems, *shared]


def told(name: str) -> str:
    """An action's key for a sentence, as in “press W”; what to look for in the palette where it has none."""
    return _given(_wanted())[0].get(name) or f"“{KEYS[name][1]}” in the command palette"


def fixed() -> dict[str, str]:
    """The keys that nobody can give to an action, as app-model spells them, and what each does."""
    from napari.utils.key_bindings import coerce_keybinding

    return {str(coerce_keybinding(key)): words for key, words in FIXED.items()}


def _wanted() -> tuple[str, ...]:
    """What the user wants for each action, in the order of `KEYS`."""
    chosen = _settings()
    return tuple(usual if chosen is None else getattr(chosen, name) for name, (usual, _) in KEYS.items())


@lru_cache(maxsize=1)  # sentences are made with every pulse, and keys change once a year
def _given(wanted: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    """`read` without a look at napari's own keys; nobody changes what it gives."""
    keys: dict[str, str] = {}
    problems = []
    taken = fixed()
    asked = dict(zip(KEYS, wanted, strict=True))
    # whoever keeps the usual key comes first: what one has just typed does not take it from there
    for name in sorted(KEYS, key=lambda name: asked[name] != KEYS[name][0]):
        usual, words = KEYS[name]
        key, text = spelt(asked[name]), asked[name].strip()
        if not text:
            continue
        if key is None:
            problems.append(f"“{text}” ({words}) is no key; “Shift+J”, “F5” or “.” are.")
        elif key in taken:
            problems.append(f"{key} ({words}) is taken: {taken[key]}.")
        for one in (key, spelt(usual)):
            if one is not None and one not in taken:
                keys[name], taken[one] = one, words
                break
    return {name: keys[name] for name in KEYS if name in keys}, problems


def spelt(text: str) -> str | None:
    """A key as app-model spells it, or None where it is no key: “shift+j” is “Shift+J”."""
    from napari.utils.key_bindings import coerce_keybinding

    try:
        parts = coerce_keybinding(text.strip()).parts
    except (ValueError, KeyError):
        return None
    if len(parts) != 1 or parts[0].is_modifier_key() or not str(parts[0].key):
        return None
    return str(parts[0])


def napari_has(key: str) -> str:
    """What napari itself does on a key, in the words of its settings; "" where it leaves it free."""
    from napari.settings import get_settings

    actions = get_settings().shortcuts.shortcuts.items()
    names = [name for name, keys in actions if key in [str(one) for one in keys]]
    return ", ".join(name.removeprefix("napari:").replace("_", " ") for name in names)


def _settings() -> Any:
    """What napari keeps for us; None where it does not know of us, as in a viewer without plugins."""
    from napari.settings import get_plugin_settings

    try:
        return get_plugin_settings("wsseg").keys
    except KeyError:
        return None
