"""Tagging without Qt: images, slices and stretches of them, undo, what contradicts, and tags.csv."""

import json

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from test_controller import run
from tiny import write_any

from napari_plugin.controller import Controller
from napari_plugin.layers import KEY, identity
from napari_plugin.reader import get_reader
from napari_plugin.taglayer import put_tags, tags_of
from wsseg.dataset import open_dataset
from wsseg.errors import InputError
from wsseg.hints import Tag

FLAT = ((0.0, 0.0), (0, 1))


def at(index: int, displayed=(1, 2)):
    """What the viewer says while slice `index` of the axis that is not displayed is on screen."""
    point = [0.0, 0.0, 0.0]
    point[next(axis for axis in range(3) if axis not in displayed)] = 3.0 * index + 5
    return point, displayed


def pictures(count: int = 3) -> Controller:
    viewer, rng = ViewerModel(), np.random.default_rng(0)
    for index in range(count):
        viewer.add_image(rng.random((8, 9)), name=f"leaf {index}", visible=index == 0)
    controller = Controller(viewer.layers)
    controller.choose_image(viewer.layers[0])
    controller.add_class()
    controller.rename_class(1, "rust")
    return controller


def volume() -> Controller:
    viewer = ViewerModel()
    values = np.random.default_rng(0).random((10, 8, 9))
    image = viewer.add_image(values, name="scan", scale=(3.0,) * 3, translate=(5.0,) * 3)
    controller = Controller(viewer.layers)
    controller.choose_image(image)
    controller.add_class()
    return controller


def test_a_key_says_that_a_class_is_there_and_takes_it_back():
    tags = pictures().tags
    assert not tags.is_used()
    tags.toggle(1, FLAT)
    assert tags.overview(FLAT).here == {1}  # and class 2 is absent
    tags.toggle(2, FLAT)
    assert tags.overview(FLAT).said == ({1, 2}, None, None)
    assert tags.is_used()
    tags.toggle(1, FLAT)
    tags.toggle(2, FLAT)
    assert tags.overview(FLAT).here is None  # as if nobody had pressed a key
    tags.toggle_none(FLAT)
    assert tags.overview(FLAT).here == set()
    tags.toggle(2, FLAT)
    assert tags.overview(FLAT).here == {2}
    tags.toggle_none(FLAT)
    tags.toggle_none(FLAT)
    assert not tags.is_used()
    tags.toggle(2, FLAT)
    tags.untag(FLAT)
    assert tags_of(tags.image) is None


def test_each_change_can_be_taken_back():
    controller = volume()
    tags = controller.tags
    tags.toggle(1, at(2))
    tags.toggle(2, at(2))
    assert tags.extend(at(5)) == 4
    assert tags.overview(at(5)).said == (None, None, *[{1, 2}] * 4, *[None] * 4)
    tags.undo()
    assert tags.overview(at(5)).said == (None, None, {1, 2}, *[None] * 7)
    tags.undo()
    assert tags.overview(at(2)).here == {1}
    tags.undo()
    with pytest.raises(InputError, match="nothing to undo"):
        tags.undo()
    assert tags_of(tags.image) is None


def test_a_stretch_of_slices_goes_both_ways_and_not_along_two_axes():
    tags = volume().tags
    with pytest.raises(InputError, match="Tag a slice first"):
        tags.extend(at(4))
    tags.toggle_none(at(7))
    assert tags.extend(at(6)) == 2
    tags.toggle(1, at(3))
    assert tags.extend(at(1)) == 3
    assert tags.overview(at(0)).said == (None, {1}, {1}, {1}, None, None, set(), set(), None, None)
    with pytest.raises(InputError, match="Tag a slice first"):
        tags.extend(at(4, displayed=(0, 2)))
    with pytest.raises(InputError, match="along axis 0 already, and axis 1 is the one that is not on screen"):
        tags.toggle(1, at(4, displayed=(0, 2)))
    with pytest.raises(InputError, match="leave the 3D view"):
        tags.toggle(1, ([0.0] * 3, (0, 1, 2)))
    assert tags.overview(([0.0] * 3, (0, 1, 2))).at is None


def test_a_slice_is_counted_along_the_axis_that_is_not_on_screen():
    tags = volume().tags
    tags.toggle(1, at(4, displayed=(2, 0)))
    assert tags_of(tags.image) == {Tag(1, 1, 4)}
    assert len(tags.overview(at(4, displayed=(0, 2))).said) == 8
    assert not tags.overview(at(4, displayed=(0, 2))).whole
    tags.untag(at(4, displayed=(0, 2)))
    tags.whole = True
    tags.toggle_none(at(4))
    assert tags_of(tags.image) == frozenset()
    assert tags.overview(at(4)).whole
    tags.whole = False
    assert tags.overview(at(4)).said == (frozenset(),) * 10
    tags.choose(tags.image)
    assert tags.whole  # as it is tagged
    tags.untag(at(4))
    tags.choose(tags.image)
    assert tags.whole  # and the next volume is tagged alike


def test_the_next_image_is_shown_alone_with_its_layers():
    controller = pictures()
    hints = controller.new_hints()
    chosen = controller.tags.next_image()
    assert chosen.name == "leaf 1"
    assert [layer.visible for layer in controller.layers] == [False, True, False, False]
    controller.choose_image(chosen)
    assert controller.tags.overview(FLAT).at == 1
    assert controller.tags.last is None
    controller.tags.show_alone(controller.layers[0])
    assert hints.visible
    with pytest.raises(InputError, match="No other image of this kind"):
        volume().tags.next_image()


def test_classes_that_are_tagged_stay_and_come_along():
    controller = pictures()
    controller.tags.toggle(2, FLAT)
    with pytest.raises(InputError, match="tagged with “class 2” still"):
        controller.remove_class(2)
    other = controller.layers[1]
    put_tags(other, frozenset({Tag(5)}))
    other.metadata[KEY]["classes"] = {"1": "name in the file", "5": "mould"}
    controller.choose_image(other)
    assert controller.classes == {1: "rust", 2: "class 2", 5: "mould"}  # what was renamed keeps its name
    fresh = Controller(controller.layers)
    fresh.choose_image(controller.layers[0])
    assert set(fresh.classes) == {1, 2, 5}


def test_what_the_tags_cannot_teach_is_told_before_any_work():
    controller = pictures()
    with pytest.raises(InputError, match="Nothing is tagged yet"):
        controller.find_heat()
    controller.tags.toggle(1, FLAT)
    with pytest.raises(InputError, match=r"The tags: every tagged image has class 1 \(rust\)"):
        controller.find_heat()
    with pytest.raises(InputError, match="press Heat, then Use as hints"):
        controller.segment()
    controller.new_hints().data[2, 3] = 2
    with pytest.raises(InputError, match="leaf 0: class 2 is marked on it but not among its tags"):
        controller.find_heat()
    with pytest.raises(InputError, match="no seeds of this image yet"):
        controller.use_seeds()
    assert controller.run is None
    with pytest.raises(InputError, match="There are no tags yet"):
        volume().save_tags("tags.csv")


@pytest.fixture
def dataset(tmp_path):
    """A dataset of three volumes, the first with tagged slices, the second with none; and its layers."""
    rng = np.random.default_rng(0)
    for stem in "abc":
        write_any(tmp_path / "images", stem, rng.integers(0, 99, (4, 5, 6)).astype(np.uint8))
    (tmp_path / "classes.json").write_text(json.dumps({"1": "head", "2": "tail"}))
    (tmp_path / "tags.csv").write_text("image,class,axis,slice\na,head,2,1\na,,2,3\nb,,,\n")
    viewer = ViewerModel()
    for data in get_reader(str(tmp_path))(str(tmp_path)):
        viewer.add_layer(Layer.create(*data))
    return tmp_path, viewer


def test_tags_of_a_dataset_are_read_and_come_back_to_it(dataset):
    folder, viewer = dataset
    controller = Controller(viewer.layers)
    controller.choose_image(viewer.layers["a"])
    assert controller.classes == {1: "head", 2: "tail"}
    point, displayed = (0.0, 0.0, 4.0), (0, 1)  # the stored z has 2 mm
    assert controller.tags.overview((point, displayed)).at == 2
    assert controller.tags.overview((point, displayed)).said == (None, {1}, None, set(), None, None)
    controller.tags.toggle(2, (point, displayed))
    controller.choose_image(viewer.layers["c"])
    controller.tags.toggle(1, (point, displayed))
    assert controller.place_for("tags") == folder / "tags.csv"
    run(controller, controller.save_tags(controller.place_for("tags")))
    assert dict(open_dataset(folder).tags) == {
        "a": {Tag(1, 2, 1), Tag(2, 2, 2), Tag(0, 2, 3)},
        "b": frozenset(),
        "c": {Tag(1, 2, 2)},
    }


def test_tags_of_what_would_be_mixed_up_are_not_saved(dataset):
    folder, viewer = dataset
    controller = Controller(viewer.layers)
    controller.choose_image(viewer.layers["a"])
    before = (folder / "tags.csv").read_text()
    own = viewer.layers["a"]
    turned = viewer.add_image(own.data.T.copy(), name="turned", metadata={KEY: dict(own.metadata[KEY])})
    assert identity(turned) == identity(own)
    with pytest.raises(InputError, match=r"shows a\.nii\.gz in another order of axes"):
        run(controller, controller.save_tags(folder / "tags.csv"))
    viewer.layers.remove(turned)
    viewer.add_image(own.data, name="twice", metadata={KEY: dict(own.metadata[KEY])})
    with pytest.raises(InputError, match=r"Two images are called a\.nii\.gz"):
        run(controller, controller.save_tags(folder / "tags.csv"))
    assert (folder / "tags.csv").read_text() == before
