"""The plugin's state and what may be done in it. Knows neither Qt nor the viewer, only its list of layers."""

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_plugin.boxwork import find_objects
from napari_plugin.encodertool import EncoderTool, read_encoder
from napari_plugin.events import Elsewhere, Event, Heat, Note, Objects, Opened, Preview, Seeds, Work
from napari_plugin.guidetool import GuideTool
from napari_plugin.instanttool import InstantTool
from napari_plugin.keymap import told
from napari_plugin.layers import file_of, on_screen, to_image
from napari_plugin.leavetool import LeaveTool, shown_as
from napari_plugin.leavework import save_mask
from napari_plugin.marks import Marks
from napari_plugin.maskhistory import model_bytes, run_change
from napari_plugin.results import find, find_or_make, show_objects
from napari_plugin.run import Run
from napari_plugin.saving import boxes_to_save, place_for, values_of
from napari_plugin.session import (
    Job,
    Wishes,
    apply_model,
    check_fits,
    read_model,
    save_boxes,
    segment,
)
from napari_plugin.tagwork import find_heat, find_seeds, save_tags
from wsseg.errors import InputError
from wsseg.steps import Step

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Image as ImageLayer
    from napari.layers import Labels, Layer

    from wsseg.model import Model
    from wsseg.propagate import Meaning


class Controller(Marks):
    """What is marked, which model there is, and what runs.

    Args:
        layers: The viewer's layers; hints, clicks, boxes and masks are added to them.

    Attributes:
        model: The newest model, or None.
        encoder: What a first training starts from.
        run: What runs now, or None.
        losses: The training loss after each step of the newest training.
        generation: Grows with each run; what an older one still sends is dropped.
        instant: Answers while one draws.
        guide: Where to mark next.
        leaving: Exports, measurements, other images.
    """

    def __init__(self, layers: "LayerList") -> None:
        super().__init__(layers)
        self.model: Model | None = None
        self.encoder = EncoderTool()
        self.run: Run | None = None
        self.losses: list[float] = []
        self.generation = 0
        self.instant = InstantTool(self, self._mask_of, self.encoder)
        self.guide = GuideTool(self, self.instant.masks)
        self.leaving = LeaveTool(self, lambda: self.model, self.instant.asked, self._begin, self._mask_of)

    def remove_class(self, class_id: int) -> None:
        """Take a class out of the table.

        Raises:
            InputError: It is the last one, it is still marked, or work is under way.
        """
        if self.run is not None:
            raise InputError("Classes stay as they are while work is under way; press Stop first.")
        super().remove_class(class_id)

    def say_all_boxed(self, yes: bool) -> None:
        """Whether every object has a box, so that outside of all boxes is background."""
        self.note_setting("all objects have a box", self.boxes, "all_boxed", yes)
        if self.run is not None:
            self.mark_changed()

    def hold_out(self, point: Sequence[float], displayed: Sequence[int]) -> None:
        """Hold the paint of this slice out, or give it back; arguments as `HeldTool.toggle`."""
        super().hold_out(point, displayed)
        learnt = self.model is not None or (self.run is not None and self.run.given is not None)
        if learnt and self.held.is_held(self.image, point, displayed):
            self.message += " The model has seen it, though: Forget model, then Segment, for an honest score."

    # work: each of these gives a generator for a worker

    def segment(self, steps: int | None = None, objects: "Meaning" = "auto") -> Work:
        """Learn from all hints, going on from the model there is.

        Raises:
            InputError: Something is missing; the sentence says what.
        """
        image = self.need_image()
        hints = self.read_hints()
        if hints.is_empty():
            raise InputError(
                self.boxes.told()
                or (
                    "Tags alone are no hints yet: press Heat, then Use as hints."
                    if self.tags.is_used()
                    else ""
                )
                or "Nothing is marked yet: press New beside Hints and paint or finish a slice "
                f"({told('finish_slice')}), or draw boxes ({told('draw_boxes')})."
            )
        for k in sorted(hints.class_ids() - set(self.classes)):
            self.add_class(k)
        marked = {k: name for k, name in self.classes.items() if k in hints.class_ids()}
        if not marked:
            raise InputError("Only background is marked; mark at least one class as well.")
        as_image = to_image(image)
        if self.model is not None:
            check_fits(self.model, as_image, image.name)
        else:
            self.encoder.check(as_image, image.name)
        unmarked = [name for k, name in self.classes.items() if k not in marked]
        left_out = f"Nothing marked of {', '.join(unmarked)}: left out." if unmarked else ""
        self.message = f"{self.boxes.told()} {left_out}".strip()
        wishes = self._begin(image, "Segment")
        assert self.run is not None
        self.run.given, self.losses = hints, self.run.losses
        self.instant.learns(hints)
        if objects == "auto" and self.tags.view.in_hints(image, self.hints):
            objects = "off"  # seeds are no strokes
        job = Job(as_image, hints, marked, image.name, self.model, steps, objects, self.boxes.found)
        return segment(replace(job, encoder=self.encoder.saved), wishes)

    def find_objects(self, *, again: bool = False) -> Work:
        """Turn boxes into masks, each with its box's number; only boxes that something has changed for.

        Args:
            again: All of them.

        Raises:
            InputError: There is no box.
        """
        image = self.need_image()
        hints = self.read_hints()
        if not hints.boxes and find(self.layers, image, "objects") is None:
            raise InputError(self.boxes.missing())
        self.message = self.boxes.told()
        self._begin(image)
        return find_objects(to_image(image), hints, image.name, {} if again else self.boxes.found)

    def find_heat(self, steps: int | None = None) -> Work:
        """Learn from the tags of all images of a kind where each class is.

        Raises:
            InputError: The tags don't tell classes apart, or something painted contradicts them.
        """
        image = self.need_image()
        job = self.tags.heat_job(self.hints, steps)
        self.message = ""
        self._begin(image)
        assert self.run is not None
        self.losses = self.run.losses
        return find_heat(job)

    def use_seeds(self) -> Work:
        """Sharpen the seeds of the image and add them to its hints, where nothing is painted.

        Raises:
            InputError: There are none.
        """
        image = self.need_image()
        job = self.tags.view.job(self.hints)
        if self.hints is None:
            self.new_hints()
        self._begin(image)
        return find_seeds(job)

    def objects_due(self) -> bool:
        """Whether boxes, or strokes beside them, have changed since, and the hand rests."""
        return self.rests() and self.run is None and self.boxes.layer is not None and self.image is not None

    def apply(self) -> Work:
        """Predict the image with the model there is, without training.

        Raises:
            InputError: There is no model, or it does not fit the image.
        """
        image = self.need_image()
        if self.model is None:
            raise InputError("There is no model yet: press Segment to train one, or open one.")
        as_image = to_image(image)
        check_fits(self.model, as_image, image.name)
        self._know(self.model)
        return apply_model(self.model, as_image, image.name, self._begin(image, "Apply model"))

    def place_for(self, role: str) -> Path:
        """A good place for the "mask", the "objects" or the "boxes" of the image.

        Raises:
            InputError: There is no image.
        """
        return place_for(self.need_image(), role)

    def save(self, role: str, path: Path) -> Generator[Step, None, None]:
        """Write the "mask" or the "objects" as they are now, with the geometry of the image's file.

        Raises:
            InputError: There is none.
        """
        image = self.need_image()
        values = values_of(self.layers, image, role, self.boxes)
        self._begin(image)
        return save_mask(path, values, shown_as(image))

    def save_boxes(self, path: Path) -> Generator[Step, None, None]:
        """Write the boxes as COCO, those of all levels; what the file says of other images stays.

        Raises:
            InputError: There are none, or one can't be used.
        """
        image = self.need_image()
        whole, boxes = boxes_to_save(self.layers, image, self.boxes)
        self._begin(image)
        return save_boxes(path, boxes, dict(self.classes), to_image(whole), file_of(whole), whole.name)

    def save_tags(self, path: Path) -> Generator[Step, None, None]:
        """Write the tags of all open images of a kind; what the table says of others stays.

        Raises:
            InputError: There are none.
        """
        image = self.need_image()
        tagged = [
            (layer.name, file_of(layer), to_image(layer), tags) for layer, tags in self.tags.to_save().items()
        ]
        self._begin(image)
        return save_tags(path, tagged, dict(self.classes))

    def save_model(self, folder: Path) -> None:
        """Write the model folder.

        Raises:
            InputError: There is no model, or the disk refuses.
        """
        if self.model is None:
            raise InputError("There is no model yet: press Segment first.")
        self.model.save(folder)
        self.leaving.saved_model(folder)
        self.message = f"Saved the model as {folder.name}."

    def open_model(self, folder: Path) -> Work:
        """Read a model folder; when it is there its classes become the table's."""
        self._begin(None)
        return read_model(folder)

    def forget_model(self) -> None:
        """Start from fresh weights, or from the encoder, next time."""
        self.note_setting("Forget model", self, "model", None, model_bytes)
        what = "fresh weights" if self.encoder.saved is None else f"the encoder {self.encoder.folder.name}"
        self.message = f"The next run starts from {what}."

    def use_encoder(self, folder: Path) -> Work:
        """Read an encoder folder; the next training starts from it, and no longer from the model there is."""
        self._begin(None)
        return read_encoder(folder)

    def drop_encoder(self) -> None:
        """Start without the encoder; a model that came from it goes on as it is."""
        self.encoder.drop()
        goes_on = "" if self.model is None else " The model there is goes on; Forget model starts anew."
        self.message = f"The encoder is dropped.{goes_on}"

    # while work runs

    def words(self) -> str:
        """What is going on, in a line; "" while nothing is."""
        return "" if self.run is None else self.run.words()

    def tick(self, point: Sequence[float], displayed: Sequence[int]) -> None:
        """Tell the running work what is on screen and, when the hand rests, what was painted since."""
        if self.run is None or self.run.image is None:
            return
        self.run.wishes.touched = self.touched
        if len(displayed) == 2:
            self.run.wishes.focus = on_screen(self.run.image, point, displayed)
        if self.run.given is None or not self.rests():
            return
        try:
            hints = self.read_hints()
        except InputError as error:
            self.message = str(error)
            return
        if not hints.same(self.run.given):
            self.run.given = hints
            self.instant.learns(hints)
            self.run.wishes.hints.append(hints)

    def take(self, event: Event, generation: int) -> None:
        """Take what a worker sent, on the main thread; what an older run sends is dropped."""
        if self.run is None or generation != self.generation:
            return
        if isinstance(event, Preview):
            self.instant.show_network(self.run.image, event, self.run.trained, generation)
            self.model, self.run.shown = event.model, True
        elif isinstance(event, Objects):
            show_objects(self._result("objects"), event.segments, self.boxes.segments)
            self.boxes.found, self.boxes.segments = event.found, event.segments
        elif isinstance(event, Opened):
            self.encoder.take(event)
            self.forget_model()
        elif isinstance(event, Heat):
            assert self.run.image is not None
            self.tags.view.take(event.bags, event.heated, self.run.image)
        elif isinstance(event, Seeds):
            self._add_seeds(event.seeds)
        elif isinstance(event, Elsewhere):
            self.instant.masks.forget(self.leaving.take(event))
        elif isinstance(event, Note):
            self.message = f"{self.message} {event.text}".strip()
        else:
            self.run.take(event)

    def keep(self, model: "Model | None", generation: int) -> None:
        """Keep the model that a run returned; one that was read from disk brings its classes."""
        if self.run is None or generation != self.generation or model is None:
            return
        self.model, self.run.shown = model, True
        self.instant.end_of_run(self.run.image, generation)
        if self.run.image is None:
            self._know(model)
            self.message = "Opened the model: Apply predicts this image, Segment trains on."

    def end(self, generation: int) -> None:
        """A run is over, however it ended."""
        if generation == self.generation:
            self._close()

    def drop(self) -> None:
        """Take no more from the run under way."""
        self.generation += 1
        self._close()

    def _close(self) -> None:
        """No run is under way; one that came to nothing can't be undone."""
        if self.run is not None and self.run.change is not None and not self.run.shown:
            self.timeline.withdraw(self.run.change)
        self.run = None

    def _add_seeds(self, seeds: np.ndarray) -> None:
        """Add seeds of the running work's image to its hints."""
        assert self.run is not None
        assert self.run.image is not None
        hints = self.hints
        if hints is None or hints.data.shape != seeds.shape:
            hints = self.new_hints()
        with self.timeline.as_one("seeds as hints"):
            count = self.tags.view.place(seeds, hints, self.run.image)
        self.message = (
            f"{count:,} voxels were added to the hints; Ctrl+Z takes them back. Paint over what is wrong, "
            "then press Segment."
        )

    def _know(self, model: "Model") -> None:
        """Take over a model's classes, beside those of the table that it does not know."""
        self.table.replace({**self.classes, **model.config.classes})
        self.paint_classes()

    def _begin(self, image: "ImageLayer | None", words: str = "") -> Wishes:
        """Work begins on an image; `words` is what undo calls it, "" where the mask stays as it is."""
        self.generation += 1
        self.run = Run(image, Wishes())
        if image is not None and words:
            self.run.change = run_change(self, image, words)
            self.timeline.record(self.run.change)
        return self.run.wishes

    def _result(self, role: str) -> "Labels":
        """The layer of the running work's image that shows its mask or objects."""
        assert self.run is not None
        assert self.run.image is not None
        return self._layer_of(self.run.image, role)

    def _mask_of(self, image: "ImageLayer") -> "Labels":
        return self._layer_of(image, "mask")

    def _layer_of(self, image: "ImageLayer", role: str) -> "Labels":
        at_work = (self.boxes.layer, self.hints)
        active = self.layers.selection.active
        keep: Layer | None = (
            active if active in at_work else next((x for x in at_work if x is not None), None)
        )
        return find_or_make(self.layers, image, role, self.colours, keep)
