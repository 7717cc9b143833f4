"""Layers to arrays and back, without Qt: the grid must be kept, whatever transforms it has."""

import dask.array
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points

from napari_plugin.controller import Controller
from napari_plugin.layers import (
    belongs,
    finish_slice,
    make_clicks,
    make_labels,
    may_be_hints,
    on_screen,
    to_hints,
    to_image,
    transforms_of,
)
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND, Click

# napari says so of every volume that is turned out of its planes
pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")

COLOURS = {1: "#56B4E9", 2: "#E69F00"}
RNG = np.random.default_rng(0)


def moved_image(ndim: int) -> Image:
    """An image with every kind of transform at once."""
    shape = (6, 7, 8)[-ndim:]
    turn = 30.0 if ndim == 2 else (10.0, 20.0, 30.0)
    affine = np.eye(ndim + 1)
    affine[:-1, -1] = np.arange(ndim) + 5
    affine[0, 1] = 0.25
    return Image(
        RNG.random(shape),
        name="scan",
        scale=(3.0, 2.0, 0.5)[-ndim:],
        translate=(10.0, -4.0, 7.0)[-ndim:],
        rotate=turn,
        shear=(0.5, 0.1, -0.2)[: 1 if ndim == 2 else 3],
        affine=affine,
        units=("mm",) * ndim,
        axis_labels=("z", "y", "x")[-ndim:],
    )


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("role", ["hints", "mask"])
def test_new_labels_lie_exactly_on_the_image(ndim, role):
    image = moved_image(ndim)
    labels = make_labels(image, role, COLOURS)
    assert labels.data.shape == image.data.shape
    assert labels.data.dtype == np.uint8
    assert labels.units == image.units
    assert tuple(labels.axis_labels) == tuple(image.axis_labels)
    for corner in ([0] * ndim, [n - 1 for n in image.data.shape]):
        np.testing.assert_allclose(labels.data_to_world(corner), image.data_to_world(corner))
    assert labels.editable == (role in ("hints", "mask", "locked"))
    assert may_be_hints(labels) == (role == "hints")
    assert belongs(labels, image, role)
    assert not belongs(labels, moved_image(ndim), role)


@pytest.mark.parametrize("ndim", [2, 3])
def test_layers_to_hints_to_layers(ndim):
    image = moved_image(ndim)
    labels, clicks = make_labels(image, "hints", COLOURS), make_clicks(image, COLOURS, 2)
    drawn = RNG.choice(np.array([0, 1, 2, 255], np.uint8), size=image.data.shape)
    labels.data = drawn.copy()
    clicks.add([1.0] * ndim)
    clicks.feature_defaults = {"class": "0"}
    clicks.add([2.0] * ndim)
    hints = to_hints(image, labels, clicks, {1: "a", 2: "b"})
    labels.data[:] = 7  # a later stroke must not reach what was handed out
    np.testing.assert_array_equal(hints.scribbles, drawn)
    assert hints.clicks == (Click((1.0,) * ndim, 2), Click((2.0,) * ndim, 0))
    again = make_labels(image, "hints", COLOURS)
    again.data = np.asarray(hints.scribbles)
    np.testing.assert_allclose(again.data_to_world([1] * ndim), image.data_to_world([1] * ndim))


def test_spacing_is_that_of_all_transforms_together():
    # the columns of rotation times scale keep the length of the scale; an affine that doubles, doubles it
    turned = Image(np.zeros((4, 5, 6)), scale=(3, 2, 0.5), rotate=(10, 20, 30))
    assert to_image(turned).spacing == pytest.approx((3, 2, 0.5))
    doubled = Image(np.zeros((4, 5)), scale=(3, 1), affine=np.diag([2.0, 2.0, 1.0]))
    assert to_image(doubled).spacing == pytest.approx((6, 2))


@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr"])
@pytest.mark.parametrize("shape", [(6, 8), (4, 6, 8)])
def test_grey_images_of_any_array_are_read_in_parts(kind, shape):
    values = RNG.integers(0, 255, shape, dtype=np.uint8)
    data = {
        "numpy": lambda: values,
        "dask": lambda: dask.array.from_array(values, chunks=3),
        "zarr": lambda: zarr.array(values, chunks=(3,) * len(shape)),
    }[kind]()
    image = to_image(Image(data, multiscale=False))
    assert image.shape == shape
    assert image.channels == 1
    part = tuple(slice(1, n, 2) for n in shape)
    got = image.data[(slice(None), *part)]
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got, values[part][None])
    np.testing.assert_array_equal(image.data[0, ..., 1:3], values[..., 1:3])
    np.testing.assert_array_equal(np.asarray(image.data), values[None])


@pytest.mark.parametrize("shape", [(6, 8), (3, 6, 8)])
@pytest.mark.parametrize("channels", [3, 4])
def test_colour_comes_first_and_alpha_goes(shape, channels):
    values = RNG.integers(0, 255, (*shape, channels), dtype=np.uint8)
    image = to_image(Image(values, rgb=True))
    assert image.rgb
    assert image.shape == shape
    np.testing.assert_array_equal(image.data[:, ...], np.moveaxis(values[..., :3], -1, 0))
    assert make_labels(Image(values, rgb=True), "hints", COLOURS).data.shape == shape


def test_multiscale_gives_the_finest_level_unread():
    levels = [dask.array.ones((64, 64)), dask.array.ones((32, 32))]
    image = to_image(Image(levels, multiscale=True))
    assert image.shape == (64, 64)


def test_a_first_axis_named_c_is_channels_and_no_layer_on_the_image_has_it():
    values = RNG.random((2, 4, 5, 6))
    layer = Image(values, axis_labels=("c", "z", "y", "x"), scale=(1, 3, 2, 1), translate=(0, 1, 2, 3))
    image = to_image(layer)
    assert (image.channels, image.shape, image.spacing) == (2, (4, 5, 6), pytest.approx((3, 2, 1)))
    np.testing.assert_array_equal(np.asarray(image.data), values)
    hints = make_labels(layer, "hints", COLOURS)
    np.testing.assert_allclose(hints.data_to_world((1, 1, 1)), layer.data_to_world((0, 1, 1, 1))[1:])
    assert tuple(hints.axis_labels) == ("z", "y", "x")
    assert set(transforms_of(layer)) == {"affine", "units", "axis_labels"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.zeros((2, 3, 4, 5)), "4 axes"),
        (np.zeros(7), "1 axes"),
    ],
)
def test_images_that_cannot_be_segmented_say_why(data, words):
    names = None if data.ndim > 1 else ("c", "x")
    layer = Image(data if data.ndim > 1 else data[None], axis_labels=names)
    with pytest.raises(InputError, match=words):
        to_image(layer)


def test_labels_that_are_no_hints_say_why():
    image = Image(np.zeros((3, 3)))
    with pytest.raises(InputError, match="holds the label 300"):
        to_hints(image, Labels(np.full((3, 3), 300)), None, {1: "a"})
    labels = Labels(np.ones((3, 3), np.uint8))
    cats = Points([[1, 1]], features={"class": ["cat"]})
    with pytest.raises(InputError, match="the class “cat”"):
        to_hints(image, labels, cats, {1: "dog"})
    with pytest.raises(InputError, match="no feature “class”"):
        to_hints(image, labels, Points([[1, 1]]), {1: "dog"})


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_rest_of_the_slice_becomes_background_and_undo_takes_it_back(order):
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 6, 7)), scale=(3, 1, 2), translate=(1, 2, 3))
    hints = make_labels(image, "hints", COLOURS)
    viewer.add_layer(hints)
    viewer.dims.order = order
    axis = order[0]
    viewer.dims.set_current_step(axis, 2)
    plane = tuple(2 if a == axis else slice(None) for a in range(3))
    hints.brush_size = 2
    hints.paint([2, 2, 2], 1)
    before = hints.data.copy()
    expected = before.copy()
    expected[plane] = np.where(before[plane] == 0, BACKGROUND, before[plane])
    count = finish_slice(hints, viewer.dims.point, viewer.dims.displayed)
    np.testing.assert_array_equal(hints.data, expected)
    assert count == (expected != before).sum()
    assert hints.contiguous  # the user's own settings are as they were
    hints.undo()
    np.testing.assert_array_equal(hints.data, before)
    hints.undo()
    assert not hints.data.any()


def test_a_finished_picture_and_a_volume_view():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((6, 7)))
    hints = viewer.add_labels(np.zeros((6, 7), np.uint8))
    assert finish_slice(hints, viewer.dims.point, viewer.dims.displayed) == 42
    assert finish_slice(hints, viewer.dims.point, viewer.dims.displayed) == 0
    with pytest.raises(InputError, match="2D view"):
        finish_slice(hints, (0, 0, 0), (0, 1, 2))


def test_what_is_on_screen():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 20, 30)), scale=(3, 1, 2))
    viewer.dims.set_current_step(0, 4)
    image.corner_pixels = np.array([[0, 3, 4], [0, 9, 29]])
    box = on_screen(image, viewer.dims.point, viewer.dims.displayed)
    assert box == (slice(4, 5), slice(3, 10), slice(4, 30))
    image.corner_pixels = np.zeros((2, 3), int)  # no window has drawn it yet: all of the slice
    assert on_screen(image, viewer.dims.point, viewer.dims.displayed)[1:] == (slice(0, 20), slice(0, 30))


@pytest.mark.parametrize("ndim", [2, 3])
def test_hints_of_another_shape_than_the_image_are_refused_in_words(ndim):
    image = moved_image(ndim)
    labels = Labels(np.ones([n + 1 for n in image.data.shape], np.uint8), name="of another scan")
    with pytest.raises(InputError, match=r"of another scan: has shape .*; press New"):
        to_hints(image, labels, None, {1: "cell"})


@pytest.mark.parametrize("ndim", [2, 3])
def test_delete_does_not_take_hints_unless_they_are_unlocked(ndim):
    viewer = ViewerModel()
    controller = Controller(viewer.layers)
    controller.choose_image(viewer.add_image(np.zeros((8,) * ndim), name="one"))
    hints, clicks, boxes = controller.new_hints(), controller.new_clicks(), controller.new_boxes()
    foreign = viewer.add_labels(np.zeros((8,) * ndim, np.uint8))
    controller.choose_hints(foreign)  # a layer that the user has made goes as before
    viewer.layers.selection = {hints, clicks, boxes, foreign}
    viewer.layers.remove_selected()  # what the key does
    assert {"one hints", "one clicks", "one boxes"} <= {layer.name for layer in viewer.layers}
    assert foreign not in viewer.layers
    hints.locked = False
    viewer.layers.selection = {hints}
    viewer.layers.remove_selected()
    assert hints not in viewer.layers


def test_frames_of_a_film_are_marked_one_by_one():
    viewer = ViewerModel()
    film = viewer.add_image(
        np.zeros((5, 8, 8)), name="film", scale=(2.5, 0.5, 0.5), axis_labels=("t", "y", "x")
    )
    controller = Controller(viewer.layers)
    controller.choose_image(film)
    hints = controller.new_hints()
    assert tuple(hints.axis_labels) == ("t", "y", "x")
    hints.data[3, 2:4, 2:4] = 1
    controller.finish_slice((3 * 2.5, 0.0, 0.0), (1, 2))
    told = controller.read_hints()
    assert told.shape == (5, 8, 8)
    assert (told.scribbles[3] == 1).sum() == 4
    assert (told.scribbles[3] == BACKGROUND).sum() == 60
    assert not np.delete(told.scribbles, 3, axis=0).any()
