"""What is saved of a coarse level: boxes in the file's voxels, masks on the level's grid, named for it."""

import csv
import json

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Layer
from test_controller import run
from test_levels import pyramid
from tiny import tiny_model

from napari_plugin.autosave import Autosave, newest_session
from napari_plugin.controller import Controller
from napari_plugin.layers import KEY
from napari_plugin.levels import at_finest, show_level
from napari_plugin.results import find, find_or_make
from wsseg.errors import InputError
from wsseg.hints import Box
from wsseg.images import read_image, read_labels
from wsseg.measure import Cleaning

SHAPES = [(64, 48), (16, 32, 40)]


@pytest.fixture(params=SHAPES, ids=["2D", "3D"])
def scene(request, tmp_path):
    """A controller at work on level 1 of a file's pyramid, and the pyramid as a whole."""
    levels = pyramid(request.param)
    path = tmp_path / "data" / "images" / "scan.tif"
    path.parent.mkdir(parents=True)
    tifffile.imwrite(path, levels[0])
    viewer = ViewerModel()
    whole = viewer.add_image(levels, multiscale=True, name="scan", metadata={KEY: {"path": str(path)}})
    controller = Controller(viewer.layers)
    controller.choose_image(show_level(viewer.layers, whole, 1))
    return controller, whole


def draw(controller, start, stop):
    """A box on the last two axes; in a volume from slice 1 to 2."""
    layer = controller.boxes.layer or controller.new_boxes()
    (a, b), (c, d) = start, stop
    corners = np.array([[a, b], [a, d], [c, d], [c, b]], float) - 0.5
    for depth in (1, 2)[: 2 if layer.ndim == 3 else 1]:
        data = corners if layer.ndim == 2 else np.insert(corners, 0, depth, axis=1)
        layer.add_rectangles(data)


def saved(controller, path):
    """What boxes.json says: images, and each box's number with start and stop along the last two axes."""
    run(controller, controller.save_boxes(path))
    content = json.loads(path.read_text())
    found = {}
    for entry in content["annotations"]:
        if "bbox3d" in entry:
            _, y, x, depth, height, width = entry["bbox3d"]
            found[entry["id"]] = (entry["bbox3d"][0], depth, (y, x), (y + height, x + width))
        else:
            x, y, width, height = entry["bbox"]
            found[entry["id"]] = (0, 0, (y, x), (y + height, x + width))
    return content["images"], found


def test_boxes_of_a_level_are_saved_in_the_voxels_of_the_file(scene):
    controller, whole = scene
    draw(controller, (3, 4), (8, 10))
    place = controller.place_for("boxes")
    assert place.name == "boxes.json"
    images, boxes = saved(controller, place)
    volume = whole.ndim == 3
    coarse = (2, 4) if volume else (0, 0)  # slices 1 and 2 are 2, 3, 4 and 5 of the file
    assert boxes == {1: (*coarse, (6, 8), (16, 20))}
    (image,) = images
    assert image["file_name"] == "scan.tif"
    shape = image["shape"] if volume else [image["height"], image["width"]]
    assert shape == list(whole.data[0].shape)
    controller.choose_image(whole)
    draw(controller, (20, 20), (30, 33))  # has number 1 as well
    fine = (1, 2) if volume else (0, 0)
    both = {1: (*fine, (20, 20), (30, 33)), 2: (*coarse, (6, 8), (16, 20))}
    assert saved(controller, place)[1] == both
    controller.choose_image(show_level(controller.layers, whole, 1))
    assert saved(controller, place)[1] == both  # from whichever level, as often as one likes
    controller.choose_image(show_level(controller.layers, whole, 2))
    assert saved(controller, place)[1] == both


def test_boxes_that_cannot_be_saved_are_told(scene, tmp_path):
    controller, whole = scene
    with pytest.raises(InputError, match="No box is drawn yet"):
        controller.save_boxes(tmp_path / "boxes.json")
    draw(controller, (3, 3), (3, 9))  # no area
    with pytest.raises(InputError, match=r"^Box 1 has no area"):
        controller.save_boxes(tmp_path / "boxes.json")
    level = controller.image
    controller.choose_image(whole)
    draw(controller, (2, 2), (9, 9))
    with pytest.raises(InputError, match=r"^scan level 1: Box 1 has no area"):
        controller.save_boxes(tmp_path / "boxes.json")
    controller.choose_image(level)
    controller.boxes.layer.selected_data = set(range(len(controller.boxes.layer.data)))
    controller.boxes.layer.remove_selected()
    controller.layers.remove(whole)
    with pytest.raises(
        InputError, match="scan level 1: the image that it is a level of was closed, and boxes"
    ):
        controller.save_boxes(tmp_path / "boxes.json")
    assert not (tmp_path / "boxes.json").exists()


@pytest.mark.parametrize(
    ("start", "stop", "level", "finest", "scaled"),
    [
        ((0,), (1,), (32,), (65,), ((0,), (2,))),  # 2.03 times as fine, 65 voxels in 32
        ((31,), (32,), (32,), (65,), ((63,), (65,))),
        ((0, 3), (4, 5), (4, 8), (4, 32), ((0, 12), (4, 20))),  # the first axis is as fine
        ((1, 2, 3), (2, 4, 6), (5, 5, 5), (20, 10, 5), ((4, 4, 3), (8, 8, 6))),
    ],
)
def test_a_box_covers_the_fine_voxels_of_its_coarse_ones(start, stop, level, finest, scaled):
    (found,) = at_finest([Box(start, stop, 3, 7)], level, finest)
    assert found == Box(*scaled, 3, 7)


def test_neighbours_touch_and_none_is_empty_whatever_the_factor():
    for n in range(7, 40):
        ends = [box.stop for box in at_finest([Box((k,), (k + 1,), 1, 1) for k in range(7)], (7,), (n,))]
        starts = [box.start for box in at_finest([Box((k,), (k + 1,), 1, 1) for k in range(7)], (7,), (n,))]
        assert starts == [(0,), *ends[:-1]]
        assert ends[-1] == (n,)
        assert all(a < b for a, b in zip(starts, ends, strict=True))


@pytest.mark.parametrize("role", ["mask", "objects"])
def test_a_mask_of_a_level_has_a_name_and_a_grid_of_its_own(scene, role):
    controller, whole = scene
    level = controller.image
    layer = find_or_make(controller.layers, level, role, controller.colours, None)
    layer.data[..., 3:5, 2:9] = 2
    place = controller.place_for(role)
    assert place.name == f"scan_level1_{role}.tif"
    assert place.parent == controller.place_for("tags").parent / "images"
    run(controller, controller.save(role, place))
    np.testing.assert_array_equal(read_labels(place), layer.data)
    assert read_image(place).spacing == (2.0,) * whole.ndim
    path = place.with_name("out.ome.zarr")
    run(controller, controller.save(role, path))
    steps = read_image(path).geometry["transformations"][0]
    assert steps == [
        {"type": "scale", "scale": [2.0] * whole.ndim},
        {"type": "translation", "translation": [0.5] * whole.ndim},  # a coarse voxel lies over two fine ones
    ]
    controller.choose_image(whole)
    assert controller.place_for(role).name == f"scan_{role}.tif"


def test_exports_and_measurements_of_a_level_are_its_own(scene, tmp_path):
    controller, whole = scene
    level, leaving = controller.image, controller.leaving
    layer = find_or_make(controller.layers, level, "mask", controller.colours, None)
    layer.data[..., 3:5, 2:9] = 1
    assert leaving.place_for("mask", "OME-Zarr").name == "scan_level1_mask.ome.zarr"
    assert leaving.place_for("probabilities", "TIFF").name == "scan_level1_probabilities.tif"
    assert leaving.table_place().name == "scan_level1_measurements.csv"
    path = tmp_path / "mask.nii.gz"
    run(controller, leaving.export("mask", "NIfTI", path))
    affine = read_image(path).geometry["affine"]
    middle = affine[:3, :3] @ ([0] * (3 - whole.ndim) + [1] * whole.ndim)[::-1] + affine[:3, 3]
    assert sorted(np.abs(middle)) == [0.0] * (3 - whole.ndim) + [2.5] * whole.ndim  # of voxel (1, …)
    table = tmp_path / "table.csv"
    run(controller, leaving.measure(table, instances=False, cleaning=Cleaning()))
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert row["image"] == "scan level 1"
    assert float(row["volume"]) == pytest.approx(layer.data.sum() * 2.0**whole.ndim)


def test_each_level_finds_its_own_session(scene, tmp_path):
    controller, whole = scene
    level, place = controller.image, tmp_path / "sessions"
    found = {}
    for image in (level, whole):
        controller.choose_image(image)
        controller.new_hints().data[..., :3] = 1
        controller.mark_changed()
        autosave = Autosave(controller, place)
        autosave.close()
        found[image.name] = newest_session(place, image)
    assert len(set(found.values())) == 2
    assert newest_session(place, level) == found["scan level 1"] is not None
    again = Controller(ViewerModel().layers)  # as after a crash
    fresh = again.layers
    opened = Layer.create(
        whole.data, {"name": "scan", "multiscale": True, "metadata": whole.metadata}, "image"
    )
    fresh.append(opened)
    assert newest_session(place, opened) == found["scan"]
    assert newest_session(place, show_level(fresh, opened, 1)) == found["scan level 1"]
    assert newest_session(place, show_level(fresh, opened, 2)) is None


def test_coco_masks_of_a_level_are_refused(tmp_path):
    viewer = ViewerModel()
    whole = viewer.add_image(pyramid((64, 48)), multiscale=True, name="scan")
    controller = Controller(viewer.layers)
    controller.choose_image(show_level(viewer.layers, whole, 1))
    find_or_make(viewer.layers, controller.image, "mask", controller.colours, None).data[3:5] = 1
    words = (
        "^COCO names pixels of the file, so it is written at the finest level alone; scan level 1 is coarser"
    )
    with pytest.raises(InputError, match=words):
        controller.leaving.place_for("mask", "COCO")
    with pytest.raises(InputError, match=words):
        controller.leaving.export("mask", "COCO", tmp_path / "masks.json")
    assert controller.run is None
    controller.choose_image(whole)
    assert controller.leaving.place_for("mask", "COCO").name == "masks.json"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_is_applied_to_the_same_level_of_others(shape):
    viewer, rng = ViewerModel(), np.random.default_rng(1)
    here, other, unopened = (
        viewer.add_image(pyramid(shape), multiscale=True, name=name) for name in ("here", "other", "unopened")
    )
    plain = viewer.add_image(rng.normal(size=[n // 2 for n in shape]).astype(np.float32), name="plain")
    controller = Controller(viewer.layers)
    controller.model = tiny_model(len(shape))
    controller.choose_image(show_level(viewer.layers, here, 1))

    def masked(apply):
        """The names of the images that get a mask."""
        for layer in [layer for layer in viewer.layers if layer.name.endswith("mask")]:
            viewer.layers.remove(layer)
        run(controller, apply())
        images = [layer for layer in viewer.layers if type(layer).__name__ == "Image"]
        return {layer.name for layer in images if find(viewer.layers, layer, "mask") is not None}

    apply = controller.leaving.apply_to_others
    assert masked(apply) == {"plain"}
    left_out = "Left out, since their level 1 is not open (choose it in Level once): other, unopened."
    assert left_out in controller.message
    show_level(viewer.layers, other, 1)
    show_level(viewer.layers, other, 2)
    assert masked(apply) == {"plain", "other level 1"}
    assert "once): unopened." in controller.message
    viewer.layers.remove(plain)
    viewer.layers.remove(unopened)
    viewer.layers.remove(viewer.layers["other level 1"])
    with pytest.raises(InputError, match=r"^Left out, since their level 1 is not open .*: other\.$"):
        apply()
    controller.choose_image(here)
    assert masked(apply) == {"other"}  # at its finest, and no level of its own
