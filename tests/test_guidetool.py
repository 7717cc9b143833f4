"""Where to mark next, in the plugin without Qt: lists, words, and the layer of doubt."""

import numpy as np
import pytest
from napari.components import ViewerModel
from test_instanttool import hasty, paint, preview, ready, run, scene  # noqa: F401

from napari_plugin.controller import Controller
from napari_plugin.guidetool import find_places
from napari_plugin.taglayer import is_heat
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND, Hints
from wsseg.steps import finish


def look(controller: Controller, displayed) -> list:
    """What the panel's worker does, without a thread."""
    work = controller.guide.ask(displayed)
    assert work is not None
    places = finish(work)
    assert controller.guide.take(places)
    return places


def answered(ndim: int, **extra) -> tuple[ViewerModel, Controller]:
    """A scene with strokes and an answer to them."""
    viewer, controller = ready(ndim, **extra)
    paint(controller)
    run(controller.instant, controller.instant.due())
    return viewer, controller


def test_it_goes_through_the_list_until_something_changes():
    _, controller = answered(3, scale=(3.0, 1.0, 1.0), translate=(5.0, 0.0, 0.0))
    guide = controller.guide
    places = look(controller, [1, 2])
    assert {place.axis for place in places} == {0}
    first = guide.next()
    assert first.axis == 0
    assert first.point[0] == pytest.approx(5 + 3 * places[0].index)
    assert f"Slice {places[0].index}," in guide.told
    assert "in doubt" in guide.told
    assert "(1 of 5)" in guide.told
    controller.hints.refresh()  # as when another slice is looked at
    controller.mark_changed()
    assert guide.ask([1, 2]) is None
    assert guide.next().point[0] == pytest.approx(5 + 3 * places[1].index)
    assert guide.ask([0, 2]) is not None  # another axis
    controller.hints.paint((3, 3, 3), BACKGROUND)
    assert guide.ask([0, 2]) is not None
    look(controller, [1, 2])
    run(controller.instant, controller.instant.due())
    assert guide.ask([1, 2]) is not None  # another mask


def test_a_slice_that_was_finished_is_not_suggested_again():
    _, controller = answered(3)
    index = look(controller, [1, 2])[0].index
    controller.finish_slice((index, 0, 0), (1, 2))
    run(controller.instant, controller.instant.due())
    assert index not in [place.index for place in look(controller, [1, 2])]


def test_windows_of_a_picture():
    viewer = ViewerModel()
    values = np.random.default_rng(0).normal(size=(60, 80))
    controller = Controller(viewer.layers)
    controller.choose_image(viewer.add_image(values, scale=(2.0, 2.0)))
    controller.new_hints().paint((5, 5), 1)
    places = look(controller, [0, 1])
    goal = controller.guide.next()
    assert goal.axis is None
    assert goal.size == (32, 32)
    assert (goal.low, goal.high) == ((-1, -1), (119, 159))
    rows, columns = places[0].region
    assert goal.point == (rows.start + rows.stop, columns.start + columns.stop)
    assert "in the widest gap" in controller.guide.told  # there is no mask yet
    assert rows.start > 10 or columns.start > 10


def test_the_network_is_asked_too():
    _, controller = scene(3)
    doubt = np.zeros((24, 24, 24), np.uint8)
    doubt[4] = 200
    preview(controller, 1, doubt=doubt)
    assert look(controller, [1, 2])[0].index == 4
    controller.guide.next()
    assert controller.guide.told == "Slice 4, 78% in doubt (1 of 5)"
    doubt = np.zeros((24, 24, 24), np.uint8)
    doubt[:, 7] = 200
    preview(controller, 1, doubt=doubt)
    controller.guide.choice = "any axis"
    place = look(controller, [1, 2])[0]
    assert (place.axis, place.index) == (1, 7)


def test_chance_goes_elsewhere_every_time():
    _, controller = scene(3)
    controller.guide.choice = "random"
    seen = set()
    for at in range(6):
        controller.hints.paint((3, 3, at), 1)
        seen.add(look(controller, [1, 2])[0].index)
    assert len(seen) > 1


def test_where_all_is_marked_it_says_so():
    _, controller = scene(2)
    controller.hints.data = np.full((24, 24), BACKGROUND, np.uint8)
    assert look(controller, [0, 1]) == []
    with pytest.raises(InputError, match="Everything is marked"):
        controller.guide.next()
    controller.choose_image(None)
    with pytest.raises(InputError, match="Choose an image"):
        controller.guide.ask([0, 1])


def test_a_list_of_another_image_is_dropped():
    viewer, controller = scene(2)
    places = finish(controller.guide.ask([0, 1]))
    controller.choose_image(viewer.add_image(np.zeros((9, 9)), name="other"))
    assert not controller.guide.take(places)


def test_the_layer_of_doubt_follows_the_mask_on_show():
    viewer, controller = answered(2, scale=(2.0, 3.0))
    guide, active = controller.guide, viewer.layers.selection.active
    guide.show(True)
    layer = guide.layer
    assert viewer.layers.selection.active is active
    assert tuple(layer.scale) == (2, 3)
    assert is_heat(layer)
    assert list(viewer.layers).index(layer) == 1  # above the image, below mask and hints
    own = controller.instant.masks.doubt(controller.image)
    np.testing.assert_array_equal(layer.data, own)
    assert not own[controller.hints.data > 0].any()
    assert own.any()
    preview(controller, 1, doubt=np.full((24, 24), 50, np.uint8))
    guide.follow()
    np.testing.assert_array_equal(layer.data, own)  # the answer is still on show
    controller.instant.choose("network")
    guide.follow()
    assert (layer.data[controller.hints.data == 0] == 50).all()
    assert not layer.data[controller.hints.data > 0].any()  # paint stays, so it is in no doubt
    preview(controller, 1)  # what strokes reach: nobody knows
    guide.follow()
    assert not layer.data.any()
    guide.show(False)
    assert guide.layer is None


def test_without_a_mask_there_is_no_doubt():
    _, controller = scene(2)
    with pytest.raises(InputError, match="Nothing is in doubt yet"):
        controller.guide.show(True)


def test_a_worker_needs_nothing_but_plain_values():
    hints = Hints((12, 8, 8), np.zeros((12, 8, 8), np.uint8))
    doubt = np.zeros(hints.shape, np.uint8)
    doubt[:, 2] = 9
    places = finish(find_places(hints, None, (1.0,) * 3, doubt, "any axis", [0, 1, 2], 0))
    assert (places[0].axis, places[0].index) == (1, 2)
