"""What was marked before comes back, in new layers. Knows no Qt."""

from typing import TYPE_CHECKING

import numpy as np

from napari_plugin.boxlayer import make_boxes
from napari_plugin.results import find_or_make
from napari_plugin.taglayer import put_tags

if TYPE_CHECKING:
    from napari_plugin.marks import Marks
    from wsseg.drawing import Drawing


def put_back(marks: "Marks", drawing: "Drawing") -> None:
    """Put what was marked before on the image at work, in new layers."""
    image = marks.need_image()
    if drawing.classes:
        marks.table.replace(drawing.classes)
        marks.colours.update(drawing.colours)
        marks.select(min(marks.classes))
    marks.settings.take(drawing.settings)
    if drawing.mask is not None:
        mask = find_or_make(marks.layers, image, "mask", marks.colours, None)
        mask.data = drawing.mask.copy()
    if drawing.locked is not None:
        marks.lock.put_back(image, drawing.locked, marks.colours)
    if drawing.held is not None:
        marks.held.put_back(image, drawing.held, marks.colours)
    if drawing.boxes:
        layer = make_boxes(image, marks.colours, marks.boxes.class_id, drawing.boxes)
        marks.layers.append(layer)
        marks.choose_boxes(layer)
    marks.boxes.all_boxed = drawing.all_boxed
    if drawing.tags is not None:
        put_tags(image, drawing.tags)
    if drawing.clicks:
        clicks = marks.new_clicks()
        clicks.data = np.array([click.position for click in drawing.clicks])
        clicks.features = {"class": [str(click.class_id) for click in drawing.clicks]}
    if drawing.hints is not None:
        marks.new_hints().data = drawing.hints.copy()
    marks.paint_classes()
    marks.timeline.clear()  # what was done before belongs to layers that are no longer at work
