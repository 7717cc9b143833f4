"""What was marked before comes back, in new layers, and undo with it. Knows no Qt."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_plugin.blocks import block_change, unpacked, words_of
from napari_plugin.boxlayer import make_boxes, to_shapes
from napari_plugin.itemhistory import Items
from napari_plugin.layers import identity
from napari_plugin.settings import swap
from napari_plugin.taglayer import put_tags
from napari_plugin.timeline import Action, Change
from wsseg.colours import class_colour

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer

    from napari_plugin.controller import Controller
    from napari_plugin.recall import Part, Step
    from napari_plugin.settings import Settings
    from wsseg.drawing import Drawing
    from wsseg.hints import Box, Click


def put_back(
    marks: "Controller", drawing: "Drawing", past: "Sequence[Step]" = (), future: "Sequence[Step]" = ()
) -> None:
    """Put what was marked before on the image at work, in new layers.

    Args:
        marks: Of the image at work.
        drawing: What was marked.
        past: The steps that led there, which undo takes back.
        future: Those that were taken back, see `recall`.
    """
    image = marks.need_image()
    if drawing.classes:
        marks.table.replace(drawing.classes)
        marks.colours.update(drawing.colours)
        marks.select(min(marks.classes))
    marks.settings.take(drawing.settings)
    if drawing.mask is not None:
        marks.instant.put_back(image, drawing.mask.copy(), settled=True)
    if drawing.locked is not None:
        marks.lock.put_back(image, drawing.locked, marks.colours)
    if drawing.held is not None:
        marks.held.put_back(image, drawing.held, marks.colours)
    kinds = {part.kind for step in (*past, *future) for part in step}
    if drawing.boxes or "boxes" in kinds:
        layer = make_boxes(image, marks.colours, marks.boxes.class_id, drawing.boxes)
        marks.layers.append(layer)
        marks.choose_boxes(layer)
    marks.boxes.all_boxed = drawing.all_boxed
    if drawing.tags is not None:
        put_tags(image, drawing.tags)
    if drawing.clicks or "clicks" in kinds:
        clicks, items = marks.new_clicks(), _items_of_clicks(drawing.clicks)
        clicks.data = np.array(items.data).reshape(-1, clicks.ndim)
        clicks.features = items.features
    if drawing.hints is not None:
        marks.new_hints().data = drawing.hints.copy()
    marks.paint_classes()
    # what was done before belongs to layers that are no longer at work
    marks.timeline.replace(
        identity(image), _actions(marks, image, past, back=True), _actions(marks, image, future, back=False)
    )


def _actions(
    marks: "Controller", image: "ImageLayer", steps: "Sequence[Step]", *, back: bool
) -> list[Action]:
    """Steps as undo wants them: `back` = to be taken back, else to be done again."""
    made = []
    for step in steps:
        changes = [change for part in step for change in _changes(marks, image, part, back=back)]
        if changes:
            made.append(Action(changes[-1].words, identity(image), changes[::-1] if back else changes))
    return made


def _changes(marks: "Controller", image: "ImageLayer", part: "Part", *, back: bool) -> list[Change]:
    """A part of a step; none where its layer is not there, or before there was anything."""
    kept = part.before if back else part.after
    if part.where is not None:
        return _map_changes(marks, image, part, kept)
    if part.kind in ("clicks", "boxes"):
        return _item_changes(marks, part, kept)
    if part.kind == "tags":
        exchange = partial(marks.tags.exchange, image)
        return [Change(f"tag of {image.name}", "tags", kept[0], exchange, image)]
    if part.kind == "settings":
        return [Change("settings", "settings", kept[0], partial(_swap_settings, marks.settings))]
    if not part.before[0]:
        return []  # a table that was not yet written
    table = {k: _class_of(kept, k) for k in {*part.before[0], *part.after[0]}}
    return [Change("classes", "classes", table, marks.put_classes)]


def _map_changes(marks: "Controller", image: "ImageLayer", part: "Part", kept: bytes) -> list[Change]:
    assert part.where is not None
    shape = [one.stop - one.start for one in part.where]
    before, after = (unpacked(one, np.dtype(np.uint8), shape) for one in (part.before, part.after))
    more = np.count_nonzero(after) > np.count_nonzero(before)
    if part.kind == "hints":
        words = words_of({int(k) for k in np.unique(after[after != before])}, marks.classes)
        return [block_change(words, "strokes", marks.hints, (part.where, kept))] if marks.hints else []
    if part.kind == "held":
        layer = marks.held.layer_of(image)
        words = "slice held out" if more else "slice given back"
        return [marks.held.change(words, layer, (part.where, kept))] if layer else []
    layer = marks.lock.layer_of(image)
    words = "accepted part of the mask" if more else "taking back what was accepted"
    return [block_change(words, "accepted", layer, (part.where, kept))] if layer else []


def _item_changes(marks: "Controller", part: "Part", kept: Any) -> list[Change]:
    history = marks.click_history if part.kind == "clicks" else marks.boxes.history
    of = _items_of_clicks if part.kind == "clicks" else _items_of_boxes
    changes = []
    if part.kind == "boxes" and part.before[1] != part.after[1]:
        exchange = partial(swap, marks.boxes, "all_boxed")
        changes.append(Change("all objects have a box", "settings", kept[1], exchange))
    if history.layer is not None and part.before[0] != part.after[0]:
        change = history.change(history.layer, of(part.before[0]), of(part.after[0]))
        change.kept = of(kept[0])
        changes.append(change)
    return changes


def _items_of_clicks(clicks: "Sequence[Click]") -> Items:
    classes = np.array([str(click.class_id) for click in clicks], object)
    return Items([np.array(click.position) for click in clicks], [], _table({"class": classes}))


def _items_of_boxes(boxes: "Sequence[Box]") -> Items:
    data, features = to_shapes(boxes)
    return Items(data, ["rectangle"] * len(data), _table(features))


def _table(columns: Mapping[str, np.ndarray]) -> Any:
    import pandas as pd  # takes a while, and is there when somebody draws

    return pd.DataFrame(columns)


def _class_of(values: tuple[Mapping[int, str], Mapping[int, str]], k: int) -> tuple[str, str] | None:
    names, colours = values
    return (names[k], colours.get(k, class_colour(k))) if k in names else None


def _swap_settings(settings: "Settings", kept: Mapping[str, Any]) -> dict[str, Any]:
    now = settings.told()
    settings.take(kept)
    return now
