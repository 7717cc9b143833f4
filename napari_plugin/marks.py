"""What is marked on an image: its layers and the classes they know. Knows neither Qt nor the viewer."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_plugin.blocks import Strokes
from napari_plugin.boxtool import BoxTool
from napari_plugin.classtable import ClassTable
from napari_plugin.heldtool import HeldTool
from napari_plugin.itemhistory import ItemHistory
from napari_plugin.keymap import told
from napari_plugin.layers import (
    KEY,
    belongs,
    colormap,
    finish_slice,
    guard,
    identity,
    make_clicks,
    make_labels,
    to_hints,
    to_image,
)
from napari_plugin.locktool import LockTool
from napari_plugin.results import find, toggle
from napari_plugin.settings import WORDS, Settings, swap
from napari_plugin.tagtool import TagTool
from napari_plugin.timeline import Change, Timeline
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND, Hints, leave_out, with_locked

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Image as ImageLayer
    from napari.layers import Labels, Layer, Points, Shapes


SETTLED = 0.5  # seconds after the last stroke that the hand is taken to rest


class Marks:
    """The layers at work, and what the next stroke, click or box is.

    Args:
        layers: The viewer's layers; hints, clicks and boxes are added to them.

    Attributes:
        image, hints, clicks: The layers at work, or None.
        boxes: Those at work.
        tags: Those at work.
        lock: What was accepted of the mask.
        held: What is held out.
        table: The classes.
        timeline: Undo of all that is marked.
        settings: What the user says of the training.
        selected: The class that the brush paints, 255 for background.
        message: The last thing worth telling.
        touched: When strokes, slices, clicks or boxes last changed or may have, by `time.monotonic`.
    """

    def __init__(self, layers: "LayerList") -> None:
        self.layers = layers
        self.image: ImageLayer | None = None
        self.hints: Labels | None = None
        self.clicks: Points | None = None
        self.table = ClassTable()
        self.timeline = Timeline(
            layers, lambda: None if self.image is None else identity(self.image), self.mark_accepted
        )
        record = self.timeline.record
        self.strokes = Strokes(record, lambda: self.classes)
        self.click_history = ItemHistory("clicks", record, self.mark_changed)
        self.boxes = BoxTool(self.table, self.mark_changed, record)
        self.tags = TagTool(layers, self.table, self.timeline)
        self.lock = LockTool(layers, self.mark_accepted, record)
        self.held = HeldTool(layers, self.mark_changed, record, self.lock.map_of, self.new_hints)
        self.settings = Settings()
        self.selected = 1
        self.message = ""
        self.touched = 0.0
        self._changed: float | None = None  # when the hints last changed, None if they did not

    # layers

    def choose_image(self, layer: "ImageLayer | None") -> None:
        """Work on this image; its hints, clicks and boxes come along if it has some.

        Raises:
            InputError: It is no image that can be segmented; nothing is chosen then.
        """
        self.image = self.hints = self.clicks = None
        self.boxes.choose(None)
        self.tags.choose(None)
        if layer is None:
            return
        to_image(layer)
        self.image = layer
        for other in self.layers:
            if belongs(other, layer, "hints"):
                self.choose_hints(other)
            elif belongs(other, layer, "clicks"):
                self.choose_clicks(other)
            elif belongs(other, layer, "boxes"):
                self.choose_boxes(other)
        self.tags.choose(layer)
        self.paint_classes()

    def choose_hints(self, layer: "Labels | None") -> None:
        """Take hints from this Labels layer, and classes where it knows them."""
        self.hints, self.touched = layer, time.monotonic()
        if layer is None:
            return
        guard(layer)
        self._know_classes_of(layer)
        layer.events.paint.connect(self._painted)
        layer.events.set_data.connect(self.mark_changed)  # undo and redo say only this
        layer.events.selected_label.connect(self.follow_label)
        self.paint_classes()
        layer.selected_label = self.selected

    def new_hints(self) -> "Labels":
        """Add an empty hints layer for the image, ready to paint."""
        image = self.need_image()
        layer = make_labels(image, "hints", self.colours)
        self.layers.append(layer)
        self.choose_hints(layer)
        layer.brush_size = max(2, min(layer.data.shape[-2:]) // 40)
        return layer

    def new_clicks(self) -> "Points":
        """Add an empty layer for clicks."""
        layer = make_clicks(self.need_image(), self.colours, self._click_class())
        self.layers.append(layer)
        self.choose_clicks(layer)
        return layer

    def choose_clicks(self, layer: "Points | None") -> None:
        """Take clicks from this Points layer."""
        self.clicks, self.touched = layer, time.monotonic()
        self.click_history.follow(layer)
        guard(layer)
        if layer is not None:
            layer.events.data.connect(self._clicked)
            layer.events.features.connect(self._clicked)

    def choose_boxes(self, layer: "Shapes | None") -> None:
        """Take boxes from this Shapes layer, and classes where it knows them."""
        if layer is not None:
            self._know_classes_of(layer)
        guard(layer)
        self.boxes.choose(layer)
        self.paint_classes()

    def new_boxes(self) -> "Shapes":
        """Add an empty layer for boxes."""
        layer = self.boxes.new(self.need_image())
        self.layers.append(layer)
        self.choose_boxes(layer)
        return layer

    def accept_object(self, point: Sequence[float], displayed: Sequence[int]) -> None:
        """Accept the object under the cursor, or take that back; arguments as `LockTool.toggle_object`."""
        self.message = self.lock.toggle_object(self.need_image(), point, displayed, self.colours)

    def reject_object(self, point: Sequence[float], displayed: Sequence[int]) -> None:
        """The object under the cursor is none; arguments as `LockTool.reject_object`."""
        self.message = self.lock.reject_object(self.need_image(), point, displayed, self.colours)

    def accept_slice(self, point: Sequence[float], displayed: Sequence[int]) -> None:
        """Accept the slice on screen, or take that back; arguments as `LockTool.toggle_slice`."""
        self.message = self.lock.toggle_slice(self.need_image(), point, displayed, self.colours)

    def region_to_accept(self, displayed: Sequence[int]) -> "Labels":
        """The layer to draw in what is to be accepted; argument as of `LockTool.ready`."""
        self.message = f"Draw around what is right; {told('next_class')} goes on with the brush."
        return self.lock.ready(self.need_image(), displayed, self.colours)

    def region_of_background(self) -> "Labels":
        """The layer to draw in what is all background."""
        hints = self.hints if self.hints is not None else self.new_hints()
        self.select(BACKGROUND)
        self.message = f"Draw around what is all background; {told('next_class')} goes on with the brush."
        return hints

    def hold_out(self, point: Sequence[float], displayed: Sequence[int]) -> None:
        """Hold the paint of this slice out, or give it back; arguments as `HeldTool.toggle`."""
        with self.timeline.as_one("slice held out, or given back"):
            self.message = self.held.toggle(self.need_image(), self.hints, point, displayed, self.colours)

    def toggle_mask(self) -> None:
        """Show or hide the mask and the objects."""
        toggle(self.layers, self.image)

    # classes

    @property
    def classes(self) -> dict[int, str]:
        """Class id to name."""
        return self.table.names

    @property
    def colours(self) -> dict[int, str]:
        """Class id to "#RRGGBB"."""
        return self.table.colours

    def add_class(self, class_id: int | None = None) -> int:
        """Add a class, by default under the smallest free id, and paint with it."""
        k = self.table.add(class_id)
        self._note_class(f"new {self.classes[k]}", {k: None})
        self.paint_classes()
        self.select(k)
        return k

    def rename_class(self, class_id: int, name: str) -> None:
        """Give a class another name, one that no other class has."""
        before = self.classes[class_id]
        self.table.rename(class_id, name)
        if before != self.classes[class_id]:
            self._note_class(f"name {self.classes[class_id]}", {class_id: (before, self.colours[class_id])})
        self.paint_classes()

    def recolour_class(self, class_id: int, colour: str) -> None:
        """Give a class another colour, "#RRGGBB", in all layers."""
        before, self.table.colours[class_id] = self.colours[class_id], colour
        name = self.classes[class_id]
        if before != colour:
            self._note_class(f"colour of {name}", {class_id: (name, before)})
        self.paint_classes()

    def remove_class(self, class_id: int) -> None:
        """Take a class out of the table.

        Raises:
            InputError: It is the last one, or it is still marked.
        """
        if self.hints is not None and bool(np.any(np.asarray(self.hints.data) == class_id)):
            raise InputError(f"“{self.classes[class_id]}” is still painted in the hints; erase that first.")
        if self.lock.uses(self.image, class_id):
            raise InputError(
                f"“{self.classes[class_id]}” is accepted in the mask still; take that back first."
            )
        if self.held.uses(self.image, class_id):
            raise InputError(
                f"“{self.classes[class_id]}” is in a held-out slice still; give that back first."
            )
        if self.boxes.uses(class_id):
            raise InputError(f"There are boxes of “{self.classes[class_id]}” still; delete them first.")
        if self.tags.uses(class_id):
            raise InputError(f"Images are tagged with “{self.classes[class_id]}” still; untag them first.")
        before = self.classes[class_id], self.colours[class_id]
        self.table.remove(class_id)
        self._note_class(f"removing {before[0]}", {class_id: before})
        self.paint_classes()
        self.select(min(self.classes))

    def select(self, class_id: int) -> None:
        """Paint, click and draw boxes with this class from now on; 255 is background."""
        if class_id not in self.classes and class_id != BACKGROUND:
            self.add_class(class_id)
        self.selected = class_id
        for layer in (self.hints, find(self.layers, self.image, "mask")):
            if layer is not None:
                layer.selected_label = class_id
        if self.clicks is not None:
            self.clicks.feature_defaults = {"class": str(self._click_class())}
        self.boxes.select(class_id)
        self.tags.view.select(class_id)

    def next_class(self) -> int:
        """The class after the selected one in turn, background after the last."""
        order = [*self.classes, BACKGROUND]
        return order[(order.index(self.selected) + 1) % len(order)]

    def finish_slice(self, point: Sequence[float], displayed: Sequence[int]) -> None:
        """The rest of the slice on screen is background; arguments as `layers.finish_slice`."""
        hints = self.hints if self.hints is not None else self.new_hints()
        with self.timeline.as_one("rest of a slice is background"):
            count = finish_slice(hints, point, displayed)
        self.message = f"{count:,} voxels became background." if count else "It is finished already."

    def read_hints(self) -> Hints:
        """All that is marked now.

        Raises:
            InputError: Something marked makes no sense.
        """
        self._changed = None
        return self.peek_hints()

    def peek_hints(self) -> Hints:
        """The same for somebody who looks on: who reads them next still finds them changed."""
        image, boxes = self.need_image(), self.boxes
        drawn = boxes.read(image)
        hints = to_hints(image, self.hints, self.clicks, self.classes, drawn, all_boxed=boxes.all_boxed)
        hints = replace(hints, scribbles=with_locked(hints.scribbles, self.lock.map_of(image)))
        return leave_out(hints, self.held.map_of(image))

    def rests(self) -> bool:
        """Whether something has changed since it was last read, and the hand rests."""
        return self._changed is not None and time.monotonic() - self._changed >= SETTLED

    def need_image(self) -> "ImageLayer":
        if self.image is None or self.image not in self.layers:
            raise InputError("Choose an image first: open one, or take one from File > Open Sample > wsseg.")
        return self.image

    def _know_classes_of(self, layer: "Layer") -> None:
        """Take over the classes that a layer of hints brings along."""
        if known := layer.metadata.get(KEY, {}).get("classes"):
            self.table.replace(known)
            self.selected = min(self.classes)
            self.boxes.select(self.selected)

    def _click_class(self) -> int:
        return 0 if self.selected == BACKGROUND else self.selected

    def follow_label(self, event: Any) -> None:
        """The user picked a label in napari's own controls."""
        if (label := event.source.selected_label) != self.selected and label in (*self.classes, BACKGROUND):
            self.select(int(label))

    def _painted(self, event: Any) -> None:
        self.strokes.note(event.source, event.value)
        self.mark_changed()

    def _clicked(self, event: Any) -> None:
        """A click has come, moved or gone; while one is dragged, its features say so at each move."""
        done = str(getattr(event, "action", "")) in ("added", "changed", "removed")
        if event.source is self.clicks and (done or self.click_history.has_other_features()):
            self.click_history.note()
        self.mark_changed()

    def note_setting(
        self,
        words: str,
        owner: Any,
        name: str,
        value: Any,
        weigh: Callable[[Any], int] = lambda kept: 1000,
        *,
        goes_on: bool = False,
    ) -> None:
        """Set an attribute; undo sets it back. `weigh` as in `Change`, `goes_on` as in `Timeline.record`."""
        exchange = partial(swap, owner, name)
        before = exchange(value)
        if before is not value:
            change = Change(words, "settings", before, exchange, weigh=weigh)
            self.timeline.record(change, goes_on=goes_on)

    def set(self, name: str, value: Any) -> None:
        """Change one of `settings`; undo changes it back."""
        self.note_setting(WORDS[name], self.settings, name, value, goes_on=name == "steps")
        self.touched = time.monotonic()

    def _note_class(self, words: str, before: dict[int, tuple[str, str] | None]) -> None:
        self.timeline.record(Change(words, "classes", before, self.put_classes))

    def put_classes(self, told: dict[int, tuple[str, str] | None]) -> dict[int, tuple[str, str] | None]:
        """As `ClassTable.put`, and shown."""
        before = self.table.put(told)
        self.paint_classes()
        if self.selected not in (*self.classes, BACKGROUND):
            self.select(min(self.classes))
        return before

    def mark_changed(self) -> None:
        self._changed = self.touched = time.monotonic()

    def mark_accepted(self) -> None:
        """What was accepted has changed, or may have, as after undo; it is not scored."""
        self.held.look_again()
        self.mark_changed()

    def paint_classes(self) -> None:
        """Write classes and colours into the layers that show them."""
        for role in ("mask", "locked", "held"):
            if (layer := find(self.layers, self.image, role)) is not None:
                layer.colormap = colormap(self.colours)
        self.boxes.tidy()
        self.tags.view.paint_classes()
        if self.hints is not None:
            self.hints.colormap = colormap(self.colours)
        for layer in (self.hints, self.boxes.layer):
            if layer is not None:
                own = {**layer.metadata.get(KEY, {}), "classes": dict(self.classes)}
                layer.metadata = {**layer.metadata, KEY: own}
