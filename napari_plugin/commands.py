"""Commands for napari's menus and its command palette: each finds the widget, opening it where it must."""

from typing import TYPE_CHECKING

from napari.viewer import Viewer  # napari hands in the viewer by this annotation

from napari_plugin.docks import LEARN, PANEL, open_dock
from wsseg.hints import BACKGROUND

if TYPE_CHECKING:
    from napari_plugin.learnpage import LearnPage
    from napari_plugin.widget import SegmentWidget


def open_widget(viewer: Viewer) -> "SegmentWidget":
    """Open the widget, or bring it to the front."""
    return open_dock(viewer, PANEL)


def open_learn_page(viewer: Viewer) -> "LearnPage":
    """Open the page “Learn from my scans”, or bring it to the front."""
    return open_dock(viewer, LEARN)


def open_encoder(viewer: Viewer) -> None:
    """Let the next Segment start from a pretrained encoder."""
    open_widget(viewer).files.ask_open_encoder()


def segment(viewer: Viewer) -> None:
    """Train on all hints."""
    open_widget(viewer).segment()


def stop(viewer: Viewer) -> None:
    """End what runs; what is there is kept."""
    open_widget(viewer).stop()


def new_hints(viewer: Viewer) -> None:
    """Add a hints layer for the chosen image."""
    open_widget(viewer).new_hints()


def finish_slice(viewer: Viewer) -> None:
    """What is unpainted of this slice is background."""
    open_widget(viewer).finish_slice()


def apply_model(viewer: Viewer) -> None:
    """Predict the image with the model there is."""
    widget = open_widget(viewer)
    widget.begin(widget.controller.apply)


def save_mask(viewer: Viewer) -> None:
    """Save the mask with the image's geometry."""
    open_widget(viewer).files.ask_save("mask")


def export(viewer: Viewer) -> None:
    """Export what the panel's group Results says: the mask, objects or probabilities."""
    open_widget(viewer).leaving.ask_export()


def measure(viewer: Viewer) -> None:
    """Write a table of volumes, counts and places."""
    open_widget(viewer).leaving.ask_measure()


def apply_to_others(viewer: Viewer) -> None:
    """Predict all other open images with the model there is."""
    widget = open_widget(viewer)
    widget.begin(widget.controller.leaving.apply_to_others)


def go_to_next(viewer: Viewer) -> None:
    """Go to the slice, or the part of a picture, where a hint helps most."""
    open_widget(viewer).guide.go()


def accept_object(viewer: Viewer) -> None:
    """Lock the object of the mask under the cursor, or unlock it."""
    open_widget(viewer).guide.accept_object()


def reject_object(viewer: Viewer) -> None:
    """The object of the mask under the cursor is none: it becomes background, and is locked."""
    open_widget(viewer).guide.reject_object()


def accept_slice(viewer: Viewer) -> None:
    """Lock the mask of this slice, or unlock it."""
    open_widget(viewer).guide.accept_slice()


def accept_region(viewer: Viewer) -> None:
    """Draw a polygon: what the mask says in it is locked."""
    open_widget(viewer).guide.accept_region()


def background_region(viewer: Viewer) -> None:
    """Draw a polygon: all in it is background."""
    open_widget(viewer).guide.background_region()


def hold_out(viewer: Viewer) -> None:
    """Hold the paint of this slice out of training and score masks on it, or give it back."""
    open_widget(viewer).guide.hold_out()


def undo(viewer: Viewer) -> None:
    """Take back what came last, whatever it was."""
    open_widget(viewer).undo_row.undo()


def redo(viewer: Viewer) -> None:
    """Do again what was taken back last."""
    open_widget(viewer).undo_row.redo()


def draw_boxes(viewer: Viewer) -> None:
    """Take the rectangle tool, in a new layer where there is none."""
    open_widget(viewer).draw_boxes()


def find_heat(viewer: Viewer) -> None:
    """Learn from tags where each class is."""
    open_widget(viewer).tags.find_heat()


def use_seeds(viewer: Viewer) -> None:
    """Add the seeds that came of tags to the hints."""
    widget = open_widget(viewer)
    widget.begin(widget.controller.use_seeds)


def find_objects(viewer: Viewer) -> None:
    """Make a mask of each box."""
    open_widget(viewer).find_objects()


def new_clicks(viewer: Viewer) -> None:
    """Add a points layer for the chosen image and click."""
    open_widget(viewer).new_clicks()


def next_class(viewer: Viewer) -> None:
    """Go on with the next class of the table."""
    open_widget(viewer).next_class()


def background(viewer: Viewer) -> None:
    """Go on with background."""
    open_widget(viewer).take_class(BACKGROUND, boxes=False)


def add_class(viewer: Viewer) -> None:
    """Add a row to the table of classes."""
    widget = open_widget(viewer)
    widget.try_to(widget.controller.add_class)


def hide_or_show(viewer: Viewer) -> None:
    """Hide what was found, or show it again."""
    widget = open_widget(viewer)
    widget.try_to(widget.controller.toggle_mask)


def show_doubt(viewer: Viewer) -> None:
    """Show where the mask is in doubt, or hide that."""
    open_widget(viewer).guide.doubt.click()


def answer(viewer: Viewer) -> None:
    """Answer while one draws, or don't."""
    open_widget(viewer).instant.answer.click()


def all_boxed(viewer: Viewer) -> None:
    """Say that all objects have a box, or that they don't."""
    open_widget(viewer).box_rows.all_boxed.click()


def tag_none(viewer: Viewer) -> None:
    """Say that no class is in this image or slice, or take that back."""
    open_widget(viewer).tags.toggle_none()


def extend_tags(viewer: Viewer) -> None:
    """All slices from the last tagged one to this have its tags."""
    open_widget(viewer).tags.extend()


def next_image(viewer: Viewer) -> None:
    """Go to the next image; after the last one of a folder, more are opened."""
    open_widget(viewer).tags.next_image()


def restore(viewer: Viewer) -> None:
    """Bring back what was marked on this image in the newest session before."""
    open_widget(viewer).restore.restore()


def save_objects(viewer: Viewer) -> None:
    """Save numbered objects with the image's geometry."""
    open_widget(viewer).files.ask_save("objects")


def save_boxes(viewer: Viewer) -> None:
    """Save boxes as COCO."""
    open_widget(viewer).files.ask_save_boxes()


def save_tags(viewer: Viewer) -> None:
    """Save tags as a table."""
    open_widget(viewer).files.ask_save_tags()


def save_model(viewer: Viewer) -> None:
    """Save the model as a folder."""
    open_widget(viewer).files.ask_save_model()


def open_model(viewer: Viewer) -> None:
    """Go on from a model that was saved."""
    open_widget(viewer).files.ask_open_model()


def forget_model(viewer: Viewer) -> None:
    """Start anew with the next Segment."""
    widget = open_widget(viewer)
    widget.try_to(widget.controller.forget_model)


def drop_encoder(viewer: Viewer) -> None:
    """Start without the pretrained encoder."""
    widget = open_widget(viewer)
    widget.try_to(widget.encoder.drop)
