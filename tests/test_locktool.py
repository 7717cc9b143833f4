"""What is accepted is locked: for training, in later masks, against strokes; and it can be taken back."""

import numpy as np
import pytest
from napari.components import ViewerModel
from scipy import ndimage
from test_instanttool import hasty, mask_of, paint, preview, ready, run, scene, unpainted  # noqa: F401

from napari_plugin.locktool import component
from napari_plugin.restoring import put_back
from napari_plugin.results import find
from wsseg.drawing import Drawing, differences
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND, with_locked
from wsseg.journal import Entry
from wsseg.weak import weak_labels


def answered(ndim: int, **extra):
    """A scene with strokes and an answer to them."""
    _, controller = ready(ndim, **extra)
    paint(controller)
    run(controller.instant, controller.instant.due())
    return controller


def accept(controller, *place) -> None:
    """The cursor on a voxel, and the key."""
    world = controller.image.data_to_world(place)
    ndim = len(place)
    controller.accept_object(world, [ndim - 2, ndim - 1])


@pytest.mark.parametrize("shape", [(90, 80), (70, 75, 72)])
def test_a_component_is_that_of_the_whole_image(shape):
    rng = np.random.default_rng(0)
    values = (ndimage.gaussian_filter(rng.normal(size=shape), 4) > 0.01).astype(np.uint8)
    values[(0,) * len(shape)] = 2
    pieces, _ = ndimage.label(values == 1, np.ones((3,) * len(shape)))
    for place in rng.permutation(np.argwhere(values == 1))[:5]:
        where, piece = component(values, tuple(int(p) for p in place))
        found = np.zeros(shape, bool)
        found[where] = piece
        np.testing.assert_array_equal(found, pieces == pieces[tuple(place)])
    where, piece = component(values, (0,) * len(shape))
    assert piece.size == 1
    assert where == (slice(0, 1),) * len(shape)


@pytest.mark.parametrize("ndim", [2, 3])
def test_an_accepted_object_counts_as_a_finished_label_and_can_be_taken_back(ndim):
    controller = answered(ndim, scale=(2.0,) * ndim, translate=(7.0,) * ndim)
    mask, middle = mask_of(controller), (12,) * ndim
    pieces, _ = ndimage.label(mask == 1, np.ones((3,) * ndim))
    own = pieces == pieces[middle]
    before = controller.read_hints()
    accept(controller, *middle)
    locked = controller.lock.map_of(controller.image)
    np.testing.assert_array_equal(locked == 1, own)
    touching = ndimage.binary_dilation(own, np.ones((3,) * ndim))
    np.testing.assert_array_equal(locked == BACKGROUND, touching & (mask == 0))
    assert f"{own.sum():,} voxels are locked" in controller.message
    labels = weak_labels(controller.read_hints())
    assert (labels.weight[own] == 1).all()
    assert (labels.target[own] == 1).all()
    assert not controller.read_hints().same(before)
    layer = controller.lock.layer_of(controller.image)
    assert tuple(layer.scale) == (2.0,) * ndim
    accept(controller, *middle)
    assert not controller.lock.map_of(controller.image).any()
    assert controller.read_hints().same(before)


def test_every_later_mask_keeps_it_whatever_strokes_and_networks_say():
    controller = answered(2)
    accept(controller, 12, 12)
    own = controller.lock.map_of(controller.image) == 1
    controller.hints.brush_size = 9
    controller.hints.paint((12, 12), BACKGROUND)  # against what was accepted
    run(controller.instant, controller.instant.due())
    assert (mask_of(controller)[own] == 1).all()
    preview(controller, 0, doubt=np.full((24, 24), 200, np.uint8))
    controller.instant.choose("network")
    np.testing.assert_array_equal(mask_of(controller) == 1, own)
    preview(controller, 1, doubt=np.full((24, 24), 200, np.uint8))
    pieces, _ = ndimage.label(mask_of(controller), np.ones((3, 3)))
    np.testing.assert_array_equal(pieces == pieces[12, 12], own)  # nothing grows from it
    assert not controller.instant.masks.doubt(controller.image)[own].any()
    accept(controller, 12, 12)  # no longer
    preview(controller, 0)
    assert not unpainted(controller).any()


def test_taken_back_it_leaves_the_rim_of_its_neighbour():
    controller = answered(2)
    shown = find(controller.layers, controller.image, "mask")
    mask = np.zeros((24, 24), np.uint8)
    mask[5:8, 5:8], mask[5:8, 9:12] = 1, 1  # one voxel between them
    controller.hints.data[:] = 0
    controller.instant.masks.put("instant", controller.image, lambda: shown, (...,), mask)
    accept(controller, 6, 6)
    alone = controller.lock.map_of(controller.image).copy()
    accept(controller, 6, 10)
    accept(controller, 6, 10)
    np.testing.assert_array_equal(controller.lock.map_of(controller.image), alone)
    accept(controller, 6, 10)
    accept(controller, 6, 6)
    locked = controller.lock.map_of(controller.image)
    np.testing.assert_array_equal(np.argwhere(locked).min(0), [4, 8])
    np.testing.assert_array_equal(np.argwhere(locked).max(0), [8, 12])
    assert (locked[4:9, 8] == BACKGROUND).all()


def test_what_is_accepted_in_one_mask_is_kept_in_the_other():
    controller = answered(2)
    preview(controller, 0)
    accept(controller, 12, 12)
    own = controller.lock.map_of(controller.image) == 1
    controller.instant.choose("network")
    np.testing.assert_array_equal(mask_of(controller) == 1, own)


def test_an_accepted_slice_is_finished_background_included():
    controller = answered(3, scale=(2.0, 1.0, 1.0))
    mask = mask_of(controller)[12].copy()
    assert mask.any()
    controller.accept_slice((24.0, 0.0, 0.0), [1, 2])
    locked = controller.lock.map_of(controller.image)
    np.testing.assert_array_equal(locked[12], np.where(mask == 0, BACKGROUND, mask))
    assert not np.delete(locked, 12, 0).any()
    assert weak_labels(controller.read_hints()).known[12].all()
    before = mask_of(controller)[12].copy()
    controller.hints.paint((12, 3, 3), 1)
    run(controller.instant, controller.instant.due())
    np.testing.assert_array_equal(mask_of(controller)[12], before)
    controller.accept_slice((24.0, 0.0, 0.0), [1, 2])
    assert "Taken back" in controller.message
    assert not locked.any()


def test_the_rest_of_a_slice_keeps_what_was_accepted_before():
    controller = answered(3)
    accept(controller, 12, 12, 12)
    preview(controller, 0)
    controller.instant.choose("network")
    before = controller.lock.map_of(controller.image).copy()
    controller.accept_slice((12, 0, 0), [1, 2])
    now = controller.lock.map_of(controller.image)
    np.testing.assert_array_equal(now[12], np.where(before[12] > 0, before[12], BACKGROUND))


@pytest.mark.parametrize("ndim", [2, 3])
def test_undo_and_redo_of_what_was_accepted(ndim):
    controller = answered(ndim)
    before = controller.read_hints()
    accept(controller, *(12,) * ndim)
    after = controller.lock.map_of(controller.image).copy()
    assert controller.timeline.words()[0] == "accepted object"
    accept(controller, *(12,) * ndim)
    assert not controller.lock.map_of(controller.image).any()
    controller.timeline.undo()
    np.testing.assert_array_equal(controller.lock.map_of(controller.image), after)
    controller.timeline.undo()
    assert controller.read_hints().same(before)
    controller.timeline.redo()
    np.testing.assert_array_equal(controller.lock.map_of(controller.image), after)
    controller.timeline.redo()
    assert not controller.lock.map_of(controller.image).any()


def test_what_can_not_be_accepted_is_told():
    _, controller = scene(3)
    with pytest.raises(InputError, match="no mask to accept"):
        accept(controller, 1, 1, 1)
    controller = answered(3)
    with pytest.raises(InputError, match="no object under the cursor"):
        accept(controller, 1, 1, 1)
    with pytest.raises(InputError, match="outside of the image"):
        accept(controller, 12, 12, 30)
    with pytest.raises(InputError, match="2D view"):
        controller.accept_object((12, 12, 12), [0, 1, 2])
    mask_of(controller)[0] = 0
    with pytest.raises(InputError, match="is empty"):
        controller.accept_slice((0, 0, 0), [1, 2])
    accept(controller, 12, 12, 12)
    controller.add_class()
    controller.hints.data[:] = 0
    with pytest.raises(InputError, match="take that back first"):
        controller.remove_class(1)


def test_where_both_say_something_what_was_accepted_counts():
    painted, locked = (np.array(values, np.uint8) for values in ([1, 1, 0, 0], [2, 0, 255, 0]))
    np.testing.assert_array_equal(with_locked(painted, locked), [2, 1, 255, 0])
    np.testing.assert_array_equal(with_locked(None, locked), locked)
    assert with_locked(painted, None) is painted
    assert with_locked(painted, locked * 0) is painted


@pytest.mark.parametrize("ndim", [2, 3])
def test_it_is_journalled_and_comes_back(ndim):
    controller = answered(ndim)
    accept(controller, *(12,) * ndim)
    locked = controller.lock.map_of(controller.image)
    now, played = Drawing(locked.shape, locked=locked), Drawing(locked.shape)
    (change,) = differences(played, now)
    assert change[0] == "locked"
    played.apply(Entry(0.0, *change))
    np.testing.assert_array_equal(played.locked, locked)
    np.testing.assert_array_equal(played.to_hints().scribbles, locked)
    other = ViewerModel()
    controller.layers.clear()
    later = type(controller)(other.layers)
    later.choose_image(other.add_image(np.zeros(locked.shape), name="square"))
    put_back(later, played)
    np.testing.assert_array_equal(later.lock.map_of(later.image), locked)
    assert later.read_hints().same(played.to_hints())


def test_a_training_learns_it_and_its_mask_keeps_it():
    controller = answered(2)
    accept(controller, 12, 12)
    locked = controller.lock.map_of(controller.image)
    work, generation = controller.segment(steps=2), controller.generation
    given = controller.run.given
    np.testing.assert_array_equal(given.scribbles[locked > 0], locked[locked > 0])
    while True:
        try:
            controller.take(next(work), generation)
        except StopIteration as end:
            controller.keep(end.value, generation)
            break
    controller.end(generation)
    assert controller.instant.masks.on() == "network"
    np.testing.assert_array_equal(
        mask_of(controller)[locked > 0], np.where(locked == BACKGROUND, 0, locked)[locked > 0]
    )


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_rejected_object_is_background_in_every_later_mask_and_undo_brings_it_back(ndim):
    controller = answered(ndim, scale=(2.0,) * ndim)
    image, middle = controller.image, (12,) * ndim
    mask = mask_of(controller).copy()
    pieces, _ = ndimage.label(mask == 1, np.ones((3,) * ndim))
    own = pieces == pieces[middle]
    world, displayed = image.data_to_world(middle), [ndim - 2, ndim - 1]
    controller.reject_object(world, displayed)
    assert f"{own.sum():,} voxels are background" in controller.message
    np.testing.assert_array_equal(mask_of(controller), np.where(own, 0, mask))
    np.testing.assert_array_equal(controller.lock.map_of(image) == BACKGROUND, own)
    labels = weak_labels(controller.read_hints())
    assert (labels.weight[own] == 1).all()
    assert (labels.target[own] == 0).all()
    run(controller.instant, controller.instant.due())
    assert not mask_of(controller)[own].any()
    with pytest.raises(InputError, match="no object under the cursor"):
        controller.reject_object(world, displayed)
    assert controller.timeline.words()[0] == "rejected object"
    controller.timeline.undo()
    assert not controller.lock.map_of(image).any()
    run(controller.instant, controller.instant.due())
    np.testing.assert_array_equal(mask_of(controller)[own], mask[own])
    controller.timeline.redo()
    assert not mask_of(controller)[own].any()
    assert (controller.lock.map_of(image)[own] == BACKGROUND).all()


def test_what_was_accepted_is_not_rejected():
    controller = answered(2)
    accept(controller, 12, 12)
    before = controller.lock.map_of(controller.image).copy()
    with pytest.raises(InputError, match="This object is accepted; Shift"):
        controller.reject_object((12, 12), [0, 1])
    np.testing.assert_array_equal(controller.lock.map_of(controller.image), before)
