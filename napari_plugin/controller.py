"""The plugin's state and what may be done in it. Knows neither Qt nor the viewer, only its list of layers."""

import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_plugin.classtable import ClassTable
from napari_plugin.layers import (
    KEY,
    belongs,
    colormap,
    file_of,
    finish_slice,
    make_clicks,
    make_labels,
    on_screen,
    to_hints,
    to_image,
)
from napari_plugin.run import Run
from napari_plugin.session import (
    Event,
    Job,
    Note,
    Preview,
    Wishes,
    Work,
    apply_model,
    check_fits,
    read_model,
    save_mask,
    segment,
)
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND
from wsseg.images import mask_path, peek_image, stem_of
from wsseg.steps import Step

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Image as ImageLayer
    from napari.layers import Labels, Points

    from wsseg.model import Model
    from wsseg.propagate import Meaning

SETTLED = 0.5  # seconds after the last stroke before a running training is given the new hints


class Controller:
    """What is loaded, what is marked, which model there is, and what runs.

    Args:
        layers: The viewer's layers; hints, clicks and masks are added to them.

    Attributes:
        image, hints, clicks: The layers at work, or None.
        table: The classes.
        selected: The class that the brush paints, 255 for background.
        model: The newest model, or None.
        run: What runs now, or None.
        losses: The training loss after each step of the newest training.
        generation: Grows with each run; what an older one still sends is dropped.
        message: The last thing worth telling.
    """

    def __init__(self, layers: "LayerList") -> None:
        self.layers = layers
        self.image: ImageLayer | None = None
        self.hints: Labels | None = None
        self.clicks: Points | None = None
        self.table = ClassTable()
        self.selected = 1
        self.model: Model | None = None
        self.run: Run | None = None
        self.losses: list[float] = []
        self.generation = 0
        self.message = ""
        self._changed: float | None = None  # when the hints last changed, None if they did not

    # layers

    def choose_image(self, layer: "ImageLayer | None") -> None:
        """Work on this image; its hints and clicks come along if it has some.

        Raises:
            InputError: It is no image that can be segmented; nothing is chosen then.
        """
        self.image = self.hints = self.clicks = None
        if layer is None:
            return
        to_image(layer)
        self.image = layer
        for other in self.layers:
            if belongs(other, layer, "hints"):
                self.choose_hints(other)
            elif belongs(other, layer, "clicks"):
                self.clicks = other

    def choose_hints(self, layer: "Labels | None") -> None:
        """Take hints from this Labels layer, and classes where it knows them."""
        self.hints = layer
        if layer is None:
            return
        if known := layer.metadata.get(KEY, {}).get("classes"):
            self.table.replace(known)
            self.selected = min(self.classes)
        layer.events.paint.connect(self._mark_changed)
        layer.events.set_data.connect(self._mark_changed)  # undo and redo say only this
        layer.events.selected_label.connect(self._follow_label)
        self._paint_classes()
        layer.selected_label = self.selected

    def new_hints(self) -> "Labels":
        """Add an empty hints layer for the image, ready to paint."""
        image = self._need_image()
        layer = make_labels(image, "hints", self.colours)
        self.layers.append(layer)
        self.choose_hints(layer)
        layer.brush_size = max(2, min(layer.data.shape[-2:]) // 40)
        return layer

    def new_clicks(self) -> "Points":
        """Add an empty layer for clicks."""
        self.clicks = make_clicks(self._need_image(), self.colours, self._click_class())
        self.layers.append(self.clicks)
        return self.clicks

    def mask_of(self, image: "ImageLayer") -> "Labels":
        """The mask layer of an image, made below the hints if there is none."""
        for layer in self.layers:
            if belongs(layer, image, "mask"):
                return layer
        mask = make_labels(image, "mask", self.colours)
        at = list(self.layers).index(image) + 1 if image in self.layers else len(self.layers)
        self.layers.insert(at, mask)
        if self.hints is not None:
            self.layers.selection.active = self.hints  # or the user's next stroke would go nowhere
        return mask

    def toggle_mask(self) -> None:
        """Show or hide the mask."""
        for layer in self.layers:
            if self.image is not None and belongs(layer, self.image, "mask"):
                layer.visible = not layer.visible

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
        self._paint_classes()
        self.select(k)
        return k

    def rename_class(self, class_id: int, name: str) -> None:
        """Give a class another name, one that no other class has."""
        self.table.rename(class_id, name)
        self._paint_classes()

    def recolour_class(self, class_id: int, colour: str) -> None:
        """Give a class another colour, "#RRGGBB", in all layers."""
        self.table.colours[class_id] = colour
        self._paint_classes()

    def remove_class(self, class_id: int) -> None:
        """Take a class out of the table.

        Raises:
            InputError: It is the last one, it is still marked, or work is under way.
        """
        if self.run is not None:
            raise InputError("Classes stay as they are while work is under way; press Stop first.")
        if self.hints is not None and bool(np.any(np.asarray(self.hints.data) == class_id)):
            raise InputError(f"“{self.classes[class_id]}” is still painted in the hints; erase that first.")
        self.table.remove(class_id)
        self._paint_classes()
        self.select(min(self.classes))

    def select(self, class_id: int) -> None:
        """Paint and click with this class from now on; 255 is background."""
        if class_id not in self.classes and class_id != BACKGROUND:
            self.add_class(class_id)
        self.selected = class_id
        if self.hints is not None:
            self.hints.selected_label = class_id
        if self.clicks is not None:
            self.clicks.feature_defaults = {"class": str(self._click_class())}

    def select_next(self) -> None:
        """Go through the classes in turn, background after the last."""
        order = [*self.classes, BACKGROUND]
        self.select(order[(order.index(self.selected) + 1) % len(order)])

    def finish_slice(self, point: Sequence[float], displayed: Sequence[int]) -> None:
        """The rest of the slice on screen is background; arguments as `layers.finish_slice`."""
        hints = self.hints if self.hints is not None else self.new_hints()
        count = finish_slice(hints, point, displayed)
        self.message = (
            f"{count:,} voxels of this slice are now background." if count else "It is finished already."
        )

    # work: each of these gives a generator for a worker

    def segment(self, steps: int | None = None, objects: "Meaning" = "auto") -> Work:
        """Learn from all hints, going on from the model there is.

        Raises:
            InputError: Something is missing; the sentence says what.
        """
        image = self._need_image()
        if self.hints is None:
            raise InputError("Nothing is marked yet: press New beside Hints, then paint or finish a slice.")
        hints = to_hints(self.hints, self.clicks, self.classes)
        if hints.is_empty():
            raise InputError(f"Nothing is marked yet: paint on “{self.hints.name}”, or finish a slice (U).")
        for k in sorted(hints.class_ids() - set(self.classes)):
            self.add_class(k)
        marked = {k: name for k, name in self.classes.items() if k in hints.class_ids()}
        if not marked:
            raise InputError("Only background is marked; mark at least one class as well.")
        as_image = to_image(image)
        if self.model is not None:
            check_fits(self.model, as_image, image.name)
        unmarked = [name for k, name in self.classes.items() if k not in marked]
        self.message = f"Nothing marked of {', '.join(unmarked)}: left out." if unmarked else ""
        wishes = self._begin(image)
        assert self.run is not None
        self.run.given, self.losses = hints, self.run.losses
        return segment(Job(as_image, hints, marked, image.name, self.model, steps, objects), wishes)

    def apply(self) -> Work:
        """Predict the image with the model there is, without training.

        Raises:
            InputError: There is no model, or it does not fit the image.
        """
        image = self._need_image()
        if self.model is None:
            raise InputError("There is no model yet: press Segment to train one, or open one.")
        as_image = to_image(image)
        check_fits(self.model, as_image, image.name)
        self._know(self.model)
        return apply_model(self.model, as_image, image.name, self._begin(image))

    def save_mask(self, path: Path) -> Generator[Step, None, None]:
        """Write the mask as it is now, with the geometry of the image's file.

        Raises:
            InputError: There is no mask.
        """
        image = self._need_image()
        mask = next((layer for layer in self.layers if belongs(layer, image, "mask")), None)
        if mask is None:
            raise InputError("There is no mask yet: press Segment first.")
        values = np.array(mask.data)
        self._begin(image)
        return save_mask(path, values, to_image(image), file_of(image), image.name)

    def mask_path(self) -> Path:
        """A good place for the mask: beside the image, in its kind of file."""
        image = self._need_image()
        source = file_of(image)
        if source is None:
            return mask_path("", f"{image.name}_mask", to_image(image))
        return mask_path(source.parent, f"{stem_of(source)}_mask", peek_image(source))

    def save_model(self, folder: Path) -> None:
        """Write the model folder.

        Raises:
            InputError: There is no model, or the disk refuses.
        """
        if self.model is None:
            raise InputError("There is no model yet: press Segment first.")
        self.model.save(folder)
        self.message = f"Saved the model as {folder.name}."

    def open_model(self, folder: Path) -> Work:
        """Read a model folder; when it is there its classes become the table's."""
        self._begin(None)
        return read_model(folder)

    def forget_model(self) -> None:
        """Start from fresh weights next time."""
        self.model = None
        self.message = "The next run starts from fresh weights."

    # while work runs

    def tick(self, point: Sequence[float], displayed: Sequence[int]) -> None:
        """Tell the running work what is on screen and, when the hand rests, what was painted since."""
        if self.run is None or self.run.image is None:
            return
        if len(displayed) == 2:
            self.run.wishes.focus = on_screen(self.run.image, point, displayed)
        if self.run.given is None or self.hints is None or self._changed is None:
            return
        if time.monotonic() - self._changed < SETTLED:
            return
        self._changed = None
        try:
            hints = to_hints(self.hints, self.clicks, self.classes)
        except InputError as error:
            self.message = str(error)
            return
        before = self.run.given
        assert hints.scribbles is not None
        if hints.clicks != before.clicks or not np.array_equal(hints.scribbles, np.asarray(before.scribbles)):
            self.run.given = hints
            self.run.wishes.hints.append(hints)

    def take(self, event: Event, generation: int) -> None:
        """Take what a worker sent, on the main thread; what an older run sends is dropped."""
        if self.run is None or generation != self.generation:
            return
        if isinstance(event, Preview):
            assert self.run.image is not None
            mask = self.mask_of(self.run.image)
            mask.data[event.region] = event.mask
            mask.refresh(extent=False)
            self.model = event.model
        elif isinstance(event, Note):
            self.message = f"{self.message} {event.text}".strip()
        else:
            self.run.step = event
            if event.stage == "train":
                self.run.started = self.run.started or time.monotonic()
                self.run.trained = event
                self.run.losses.append(event.loss or 0.0)

    def keep(self, model: "Model | None", generation: int) -> None:
        """Keep the model that a run returned; one that was read from disk brings its classes."""
        if self.run is None or generation != self.generation or model is None:
            return
        self.model = model
        if self.run.image is None:
            self._know(model)
            self.message = "Opened the model: Apply predicts this image, Segment trains on."

    def end(self, generation: int) -> None:
        """A run is over, however it ended."""
        if generation == self.generation:
            self.run = None

    def drop(self) -> None:
        """Take no more from the run under way."""
        self.generation += 1
        self.run = None

    def _know(self, model: "Model") -> None:
        """Take over a model's classes, beside those of the table that it does not know."""
        self.table.replace({**self.classes, **model.config.classes})
        self._paint_classes()

    def _begin(self, image: "ImageLayer | None") -> Wishes:
        self.generation += 1
        self._changed = None
        self.run = Run(image, Wishes())
        return self.run.wishes

    def _need_image(self) -> "ImageLayer":
        if self.image is None or self.image not in self.layers:
            raise InputError("Choose an image first: open one, or take one from File > Open Sample > wsseg.")
        return self.image

    def _click_class(self) -> int:
        return 0 if self.selected == BACKGROUND else self.selected

    def _follow_label(self) -> None:
        """The user picked a label in napari's own controls."""
        if self.hints is not None and self.hints.selected_label in (*self.classes, BACKGROUND):
            self.selected = int(self.hints.selected_label)

    def _mark_changed(self) -> None:
        self._changed = time.monotonic()

    def _paint_classes(self) -> None:
        """Write classes and colours into the layers that show them."""
        for layer in self.layers:
            if self.image is not None and belongs(layer, self.image, "mask"):
                layer.colormap = colormap(self.colours)
        if self.hints is not None:
            self.hints.colormap = colormap(self.colours)
            own = self.hints.metadata.get(KEY, {})
            self.hints.metadata = {**self.hints.metadata, KEY: {**own, "classes": dict(self.classes)}}
