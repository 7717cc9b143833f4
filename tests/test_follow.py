"""The image at work and the layer that is drawn in stay together."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_plugin.controller import Controller
from napari_plugin.follow import Follow


@pytest.fixture
def two(ndim):
    """Two images with hints each, the second at work: (viewer, controller, follow, images, hints, busy)."""
    viewer = ViewerModel()
    controller = Controller(viewer.layers)
    images, hints, busy = [], [], []
    follow = Follow(viewer.layers, controller, controller.choose_image, lambda: bool(busy))
    for name in ("one", "two"):
        images.append(viewer.add_image(np.zeros((8,) * ndim), name=name))
        controller.choose_image(images[-1])
        hints.append(controller.new_hints())
    return viewer, controller, follow, images, hints, busy


@pytest.fixture(params=[2, 3])
def ndim(request):
    return request.param


def test_a_stroke_in_the_hints_of_another_image_is_undone_there(two, ndim):
    viewer, controller, _, images, hints, _ = two
    viewer.layers.selection.active = hints[0]
    assert controller.image == images[0]
    assert controller.hints == hints[0]
    hints[0].paint((2,) * ndim, 1)
    assert controller.timeline.words()[0] == "stroke of class 1"
    controller.timeline.undo()
    assert not hints[0].data.any()


def test_each_layer_that_can_be_drawn_in_brings_its_image(two):
    viewer, controller, _, images, hints, _ = two
    clicks, boxes = controller.new_clicks(), controller.new_boxes()
    viewer.layers.selection.active = hints[0]
    assert controller.clicks is None
    for layer, at in ((clicks, "clicks"), (hints[0], None), (boxes, "boxes")):
        viewer.layers.selection.active = layer
        assert controller.image == images[0 if layer == hints[0] else 1]
        if at == "clicks":
            assert controller.clicks == clicks
        if at == "boxes":
            assert controller.boxes.layer == boxes


def test_what_is_only_looked_at_changes_nothing(two):
    viewer, controller, _, images, hints, _ = two
    viewer.layers.selection.active = images[0]
    assert controller.image == images[1]
    viewer.layers.selection.active = None
    assert controller.image == images[1]
    hints[0].visible = False  # as those of a folder's other images, which become active as they are opened
    viewer.layers.selection.active = hints[0]
    assert controller.image == images[1]
    foreign = viewer.add_labels(np.zeros(images[0].data.shape, np.uint8))
    viewer.layers.selection.active = foreign
    assert controller.hints == hints[1]


def test_nothing_that_runs_is_stopped_and_one_is_told(two):
    viewer, controller, _, images, hints, busy = two
    busy.append(True)
    viewer.layers.selection.active = hints[0]
    assert controller.image == images[1]
    assert "one hints belongs to one" in controller.message
    busy.clear()
    viewer.layers.selection.active = hints[1]
    viewer.layers.selection.active = hints[0]
    assert controller.image == images[0]


def test_who_chooses_another_image_no_longer_draws_in_the_one_before(two):
    viewer, controller, follow, images, hints, _ = two
    viewer.layers.selection.active = hints[1]
    controller.choose_image(images[0])
    follow.leave()
    assert viewer.layers.selection.active == hints[0]
    assert controller.image == images[0]
    third = viewer.add_image(np.zeros(images[0].data.shape), name="three")
    viewer.layers.selection.active = hints[0]
    controller.choose_image(third)
    follow.leave()
    assert viewer.layers.selection.active == third
    assert controller.image == third


def test_of_two_layers_of_hints_the_one_that_is_drawn_in_counts(two):
    viewer, controller, _, images, hints, _ = two
    more = controller.new_hints()
    assert controller.hints == more
    viewer.layers.selection.active = hints[1]
    assert controller.hints == hints[1]
    assert controller.image == images[1]
