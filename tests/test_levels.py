"""Levels of multiscale images: placed as napari draws them, worked on like any image."""

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from tiny import write_picture

from napari_plugin.controller import Controller
from napari_plugin.layers import KEY, identity, to_image
from napari_plugin.levels import at_level, number_of, show_level, whole_of, words_of
from napari_plugin.results import find, find_or_make
from napari_plugin.scanfiles import of_layers
from napari_plugin.taglayer import tags_of
from wsseg.errors import InputError
from wsseg.hints import Tag


def pyramid(shape, kind=np.asarray, colour=False):
    """Means of 2, then of 2 again along each axis."""
    rng = np.random.default_rng(0)
    level = rng.normal(size=shape).astype(np.float32)
    found = []
    for _ in range(3):
        found.append(kind(np.stack([level] * 3, -1).clip(0, 1)) if colour else kind(level))
        for axis in range(level.ndim):
            level = (
                np.take(level, range(0, level.shape[axis], 2), axis)
                + np.take(level, range(1, level.shape[axis], 2), axis)
            ) / 2
    return found


@pytest.mark.parametrize("kind", [np.asarray, da.from_array])
@pytest.mark.parametrize("shape", [(64, 48), (16, 32, 40)])
def test_a_level_lies_over_the_voxels_that_it_is_of(shape, kind):
    ndim, turn = len(shape), np.eye(len(shape))
    turn[-2:, -2:] = [[0.8, -0.6], [0.6, 0.8]]  # within the slice
    viewer = ViewerModel()
    placed = {"scale": (2.0,) * (ndim - 1) + (3.0,), "translate": (5.0,) * ndim, "rotate": turn}
    whole = viewer.add_image(
        pyramid(shape, kind), multiscale=True, name="scan", units=("um",) * ndim, **placed
    )
    assert words_of(whole)[0] == " × ".join(str(n) for n in shape)
    assert at_level(viewer.layers, whole, 0) is whole
    level = at_level(viewer.layers, whole, 2)
    assert at_level(viewer.layers, whole, 2) is level
    assert list(viewer.layers) == [whole, level]
    assert (number_of(whole), number_of(level)) == (0, 2)
    assert whole_of(viewer.layers, level) is whole
    assert whole_of(viewer.layers, whole) is whole
    # the middle of a coarse voxel is the mean of the middles of its 4 x 4 (x 4) fine ones
    rng = np.random.default_rng(1)
    for _ in range(5):
        place = np.array([int(rng.integers(n // 4)) for n in shape])
        fine = np.stack(np.meshgrid(*[np.arange(4 * p, 4 * p + 4) for p in place], indexing="ij"), -1)
        middles = [whole.data_to_world(one) for one in fine.reshape(-1, ndim)]
        np.testing.assert_allclose(level.data_to_world(place), np.mean(middles, 0), atol=1e-9)
    np.testing.assert_allclose(to_image(level).spacing, np.multiply(to_image(whole).spacing, 4))
    assert level.units == whole.units
    np.testing.assert_array_equal(np.asarray(to_image(level).data)[0], np.asarray(whole.data[2]))
    viewer.layers.remove(whole)
    assert whole_of(viewer.layers, level) is None


def test_channels_and_colours_have_no_levels_of_their_own():
    viewer = ViewerModel()
    grey = pyramid((32, 24))
    channels = [np.stack([level] * 2) for level in grey]
    whole = viewer.add_image(channels, multiscale=True, name="two", axis_labels=("c", "y", "x"))
    assert words_of(whole) == ["32 × 24", "16 × 12", "8 × 6"]
    level = at_level(viewer.layers, whole, 1)
    assert to_image(level).shape == (16, 12)
    assert to_image(level).channels == 2
    np.testing.assert_allclose(to_image(level).spacing, (2, 2))
    colour = viewer.add_image(pyramid((32, 24), colour=True), multiscale=True, rgb=True, name="colour")
    assert words_of(colour) == ["32 × 24", "16 × 12", "8 × 6"]
    level = at_level(viewer.layers, colour, 2)
    assert to_image(level).rgb
    assert to_image(level).shape == (8, 6)


def test_other_images_have_none():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((8, 8)))
    assert whole_of(viewer.layers, image) is None
    assert whole_of(viewer.layers, None) is None


def test_hints_and_masks_of_each_level_are_its_own():
    viewer = ViewerModel()
    whole = viewer.add_image(pyramid((64, 48)), multiscale=True, name="scan")
    whole.metadata = {KEY: {"id": "a file"}}
    controller = Controller(viewer.layers)
    controller.choose_image(whole)
    assert controller.new_hints().data.shape == (64, 48)
    level = at_level(viewer.layers, whole, 1)
    assert identity(level) == "a file level 1"
    controller.choose_image(level)
    assert controller.hints is None
    hints = controller.new_hints()
    assert hints.data.shape == (32, 24)
    corner = hints.data_to_world((31, 23))
    np.testing.assert_allclose(corner, level.data_to_world((31, 23)))
    controller.choose_image(whole)
    assert controller.hints is not hints
    assert find(viewer.layers, level, "hints") is hints


@pytest.mark.parametrize("shape", [(64, 48), (16, 32, 40)])
def test_what_belongs_to_a_level_is_seen_with_it_alone(shape):
    viewer = ViewerModel()
    whole = viewer.add_image(pyramid(shape), multiscale=True, name="scan")
    other = viewer.add_image(np.random.default_rng(0).random(shape), name="other", visible=False)
    own = viewer.add_labels(np.zeros(shape, np.uint8), name="the user's own")
    controller = Controller(viewer.layers)

    def mark_all(image):
        """All that an image can have, by name."""
        controller.choose_image(image)
        made = [controller.new_hints(), controller.new_clicks(), controller.new_boxes()]
        roles = ("mask", "objects", "seeds", "locked", "held")
        made += [find_or_make(viewer.layers, image, role, controller.colours, None) for role in roles]
        return {image.name, *(layer.name for layer in made)}

    def seen():
        return {layer.name for layer in viewer.layers if layer.visible}

    finest = mark_all(whole)
    level = show_level(viewer.layers, whole, 1)
    assert seen() == {"scan level 1", own.name}
    coarse = mark_all(level)
    assert show_level(viewer.layers, whole, 0) is whole
    assert seen() == finest | {own.name}
    assert show_level(viewer.layers, whole, 1) is level
    assert seen() == coarse | {own.name}
    controller.tags.show_alone(other)  # as the next image of the kind
    assert seen() == {"other", own.name}


@pytest.mark.parametrize("shape", [(64, 48), (16, 32, 40)])
def test_tags_are_of_the_whole_image(shape):
    viewer = ViewerModel()
    whole = viewer.add_image(pyramid(shape), multiscale=True, name="scan")
    plain = viewer.add_image(np.random.default_rng(0).random(shape), name="plain")
    controller = Controller(viewer.layers)
    tags = controller.tags
    view = ([0.0] * len(shape), (len(shape) - 2, len(shape) - 1))
    controller.choose_image(whole)
    tags.whole = True
    tags.toggle(1, view)
    level = show_level(viewer.layers, whole, 1)
    controller.choose_image(level)
    assert tags.kin() == [whole, plain]  # or one image would be learnt from and held back
    assert (tags.overview(view).at, tags.overview(view).here) == (0, {1})
    assert list(tags.to_save()) == [whole]
    words = r"^{} at the finest level alone; scan level 1 is coarser: choose another Level\.$"
    for refused in (lambda: tags.toggle(2, view), lambda: tags.toggle_none(view), lambda: tags.untag(view)):
        with pytest.raises(InputError, match=words.format("Tags are given")):
            refused()
    with pytest.raises(InputError, match=words.format("Heat is found")):
        controller.find_heat()
    assert tags_of(whole) == {Tag(1)}
    assert tags_of(level) is None
    assert tags.next_image() is plain
    assert [layer.name for layer in viewer.layers if layer.visible] == ["plain"]
    controller.choose_image(plain)
    assert tags.next_image() is whole
    viewer.layers.remove(whole)
    controller.choose_image(level)  # of an image that was closed
    assert tags.kin() == [plain]
    with pytest.raises(InputError, match="No other image of this kind is open"):
        tags.next_image()


@pytest.mark.parametrize("shape", [(64, 48), (16, 32, 40)])
def test_a_level_is_no_scan_beside_its_image(shape):
    viewer = ViewerModel()
    whole = viewer.add_image(pyramid(shape), multiscale=True, name="scan")
    at_level(viewer.layers, whole, 1)
    assert [(scan.name, scan.image.shape) for scan in of_layers(viewer.layers)] == [("scan", shape)]
    viewer.layers.remove(whole)
    assert [scan.name for scan in of_layers(viewer.layers)] == ["scan_level_1"]


def test_slices_that_are_tagged_are_seen_from_a_coarse_level():
    viewer = ViewerModel()
    whole = viewer.add_image(pyramid((16, 32, 40)), multiscale=True, name="scan")
    controller = Controller(viewer.layers)
    controller.choose_image(whole)
    controller.tags.toggle(2, ([5.0, 0.0, 0.0], (1, 2)))
    controller.choose_image(show_level(viewer.layers, whole, 2))
    overview = controller.tags.overview(([5.0, 0.0, 0.0], (1, 2)))
    assert (len(overview.places), overview.at) == (16, None)
    assert [index for index, said in enumerate(overview.said) if said == {2}] == [5]


def test_the_next_image_of_a_folder_is_opened_from_a_level_too(tmp_path):
    levels = pyramid((32, 24))
    for stem in "ab":
        write_picture(tmp_path / "images" / f"{stem}.png", np.abs(levels[0]) * 50)
    viewer = ViewerModel()
    path = str(tmp_path / "images" / "a.png")
    own = {"id": path, "path": path, "dataset": str(tmp_path), "reached": "a"}
    whole = viewer.add_image(levels, multiscale=True, name="a", metadata={KEY: own})
    controller = Controller(viewer.layers)
    controller.choose_image(show_level(viewer.layers, whole, 1))
    assert controller.tags.next_image().name == "b"


@pytest.mark.gui
def test_the_panel_offers_levels(make_napari_viewer_proxy):
    from napari_plugin.widget import SegmentWidget

    viewer = make_napari_viewer_proxy()
    plain = viewer.add_image(np.random.default_rng(0).normal(size=(16, 16)), name="plain")
    panel = SegmentWidget(viewer)
    viewer.window.add_dock_widget(panel, name="wsseg")
    assert not panel.level.isVisibleTo(panel)
    whole = viewer.add_image(pyramid((64, 48)), multiscale=True, name="scan")
    panel.choose_image(whole)
    assert panel.level.isVisibleTo(panel)
    assert panel.level.levels.currentText() == "64 × 48"
    panel.level.levels.setCurrentIndex(1)
    panel.level.levels.activated.emit(1)
    level = panel.controller.image
    assert level.name == "scan level 1"
    assert not viewer.layers["scan"].visible
    assert panel.level.levels.currentText() == "32 × 24"
    panel.new_hints()
    hints = panel.controller.hints
    assert hints.data.shape == (32, 24)
    panel.level.levels.activated.emit(0)
    assert not hints.visible
    viewer.layers.selection.active = viewer.layers[hints.name]  # a click on its name: it is not seen
    assert panel.controller.image == whole
    assert viewer.layers["scan"].visible
    assert not level.visible
    panel.choose_image(plain)
    assert not panel.level.isVisibleTo(panel)
