"""What leaves the window, without a window: exports, measurements, other images, the line for the shell."""

import csv
import json
import shlex
import time

import nibabel
import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Layer
from test_controller import run
from tiny import AFFINE, decode, tiny_model, write_picture, write_volume, wsseg_

from napari_plugin.autosave import Autosave
from napari_plugin.controller import Controller
from napari_plugin.layers import KEY, identity, to_image
from napari_plugin.leavetool import checked
from napari_plugin.reader import read_file
from napari_plugin.results import find, find_or_make
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND
from wsseg.images import read_image, read_labels
from wsseg.measure import Cleaning
from wsseg.predict import Predictor
from wsseg.steps import Step


def scene(layer, *others) -> Controller:
    """A controller that works on this layer, other layers beside it."""
    viewer = ViewerModel()
    for each in (layer, *others):
        viewer.add_layer(each)
    controller = Controller(viewer.layers)
    controller.choose_image(layer)
    return controller


def volume(tmp_path):
    """A NIfTI as the reader opens it."""
    values = np.random.default_rng(0).integers(0, 200, (16, 12, 8)).astype(np.uint8)
    path = write_volume(tmp_path / "data" / "images" / "scan.nii.gz", values)
    (data,) = read_file(str(path))
    return Layer.create(*data)


def picture(name="cells", **options):
    values = np.random.default_rng(1).integers(0, 200, (20, 24)).astype(np.uint8)
    return Layer.create(values, {"name": name, **options}, "image")


def show(controller, role="mask"):
    """A mask with two squares of class 1 and a bar of class 2, or objects 5 and 9."""
    layer = find_or_make(controller.layers, controller.image, role, controller.colours, None)
    one, two = (1, 2) if role == "mask" else (5, 9)
    layer.data[1:4, 1:4] = one
    layer.data[10:12, 5:8] = one if role == "mask" else two
    if role == "mask":
        layer.data[6, 2:9] = two
    return layer.data.copy()


@pytest.mark.parametrize("name", ["NIfTI", "TIFF", "OME-Zarr"])
def test_a_volume_as_each_kind_of_file(tmp_path, name):
    c = scene(volume(tmp_path))
    mask = show(c)
    place = c.leaving.place_for("mask", name)
    assert place.parent == tmp_path / "data" / "images"
    path = tmp_path / "out" / place.name
    run(c, c.leaving.export("mask", name, path))
    found = read_labels(path)
    np.testing.assert_array_equal(found, mask if name == "NIfTI" else mask.T)
    assert f"Wrote {path.name}." in c.message
    if name == "NIfTI":
        np.testing.assert_array_equal(nibabel.load(path).affine, AFFINE)
    else:
        assert read_image(path).spacing == (2.0, 1.5, 1.0)
        assert "can't say where the image lies" in c.message
    assert c.run is None
    with pytest.raises(InputError, match="is there already"):
        checked(path.with_name("scan_mask"), path.name.removeprefix("scan_mask"))


def test_formats_suit_the_image(tmp_path):
    c = scene(volume(tmp_path))
    assert c.leaving.formats("mask") == ["NIfTI", "TIFF", "OME-Zarr"]
    c = scene(picture())
    assert c.leaving.formats("objects") == ["NIfTI", "TIFF", "OME-Zarr", "PNG", "COCO"]
    assert c.leaving.formats("probabilities") == ["NIfTI", "TIFF", "OME-Zarr"]


def test_a_turned_layer_keeps_its_place_in_nifti(tmp_path):
    layer = picture(scale=(2, 3), translate=(10, 20), rotate=30, units=("um", "um"))
    c = scene(layer)
    show(c)
    run(c, c.leaving.export("mask", "NIfTI", tmp_path / "a"))
    image = nibabel.load(tmp_path / "a.nii.gz")
    world = layer.data_to_world((3, 7))[::-1]
    np.testing.assert_allclose(image.affine @ [3, 7, 0, 1], [*world, 0, 1], atol=1e-5)
    assert image.header.get_xyzt_units()[0] == "micron"


def test_objects_and_classes_as_coco(tmp_path):
    c = scene(picture())
    mask = show(c)
    path = tmp_path / "masks.json"
    run(c, c.leaving.export("mask", "COCO", path))
    content = json.loads(path.read_text())
    found = {a["category_id"]: decode(a["segmentation"]) for a in content["annotations"]}
    for k in (1, 2):
        np.testing.assert_array_equal(found[k], mask == k)
    run(c, c.leaving.export("objects", "COCO", path))  # in place of those there
    content = json.loads(path.read_text())
    areas = sorted((a["category_id"], a["area"]) for a in content["annotations"])
    assert areas == [(1, 6), (1, 9), (2, 7)]
    assert len(content["images"]) == 1
    assert "3 objects of cells" in c.message
    objects = show(c, "objects")
    run(c, c.leaving.export("objects", "COCO", path))
    found = {a["id"]: decode(a["segmentation"]) for a in json.loads(path.read_text())["annotations"]}
    np.testing.assert_array_equal(found[9], objects == 9)
    run(c, c.leaving.export("objects", "PNG", tmp_path / "objects.png"))
    np.testing.assert_array_equal(read_labels(tmp_path / "objects.png"), objects)


def test_nothing_to_export_is_told(tmp_path):
    c = scene(picture())
    for kind, words in (
        ("mask", "no mask yet"),
        ("objects", "no mask yet"),
        ("probabilities", "Nothing tells"),
    ):
        with pytest.raises(InputError, match=words):
            c.leaving.export(kind, "TIFF", tmp_path / "a.tif")
    find_or_make(c.layers, c.image, "mask", c.colours, None)
    with pytest.raises(InputError, match="mask is empty"):
        run(c, c.leaving.export("mask", "COCO", tmp_path / "a.json"))
    assert not (tmp_path / "a.json").exists()
    find_or_make(c.layers, c.image, "objects", c.colours, None)
    c.layers.remove(find(c.layers, c.image, "mask"))
    with pytest.raises(InputError, match="classes of the objects"):
        c.leaving.export("mask", "TIFF", tmp_path / "a.tif")
    with pytest.raises(InputError, match="Choose an image"):
        Controller(ViewerModel().layers).leaving.apply_to_others()


def test_probabilities_are_what_the_network_says(tmp_path):
    c = scene(volume(tmp_path))
    c.model = tiny_model(3, spacing=(1.0, 1.5, 2.0))
    events = run(c, c.leaving.export("probabilities", "NIfTI", tmp_path / "p.nii.gz"))
    assert any(isinstance(e, Step) and e.stage == "predict" for e in events)
    image = read_image(tmp_path / "data" / "images" / "scan.nii.gz")
    truth = Predictor(c.model).predict(image, keep_probabilities=True).probabilities
    found = nibabel.load(tmp_path / "p.nii.gz")
    np.testing.assert_allclose(np.moveaxis(found.get_fdata(), -1, 0), truth, atol=1e-6)
    np.testing.assert_array_equal(found.affine, AFFINE)
    assert "background, ball" in c.message
    run(c, c.leaving.export("probabilities", "TIFF", tmp_path / "p.tif"))
    np.testing.assert_allclose(tifffile.imread(tmp_path / "p.tif"), truth.transpose(0, 3, 2, 1), atol=1e-6)


def table(path):
    with open(path, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_measurements_of_what_is_shown_with_time_and_agreement(tmp_path):
    c = scene(picture(scale=(2, 3), translate=(10, 20), units=("um", "um")))
    c.rename_class(1, "cell")
    c.add_class()
    mask = show(c)
    hints = c.new_hints()
    hints.data[1, 1:6] = 1  # three of five are right
    hints.data[15, :] = BACKGROUND
    autosave = Autosave(c, tmp_path / "sessions")
    c.leaving.session = autosave.folder
    assert autosave.folder() is None
    autosave.pulse()
    while autosave.busy():
        time.sleep(0.01)
    run(c, c.leaving.measure(tmp_path / "a", instances=False, cleaning=Cleaning()))
    autosave.close()
    zero, one, two = table(tmp_path / "a.csv")
    assert (one["name"], one["class"], one["objects"], one["unit"]) == ("cell", "1", "2", "µm²")
    assert float(one["volume"]) == 6 * (mask == 1).sum()
    rows, columns = np.nonzero(mask == 1)
    assert float(one["centroid-0"]) == pytest.approx(10 + 2 * rows.mean())
    assert float(one["centroid-1"]) == pytest.approx(20 + 3 * columns.mean())
    assert float(one["mean"]) == pytest.approx(c.image.data[mask == 1].mean())
    assert (one["hinted"], one["agreement"], zero["agreement"], two["agreement"]) == ("5", "0.6", "1", "")
    assert float(one["working_seconds"]) >= 0
    assert c.leaving.table_place().name == "cells_measurements.csv"
    assert c.leaving.unit() == "µm²"


def test_measurements_of_objects_cleaned(tmp_path):
    c = scene(picture())
    show(c)
    clean = Cleaning(min_size=7)
    run(c, c.leaving.measure(tmp_path / "a.csv", instances=True, cleaning=clean))
    assert [(row["class"], row["voxels"]) for row in table(tmp_path / "a.csv")] == [("1", "9"), ("2", "7")]
    show(c, "objects")
    run(c, c.leaving.measure(tmp_path / "b.csv", instances=True, cleaning=Cleaning()))
    assert [(row["object"], row["voxels"]) for row in table(tmp_path / "b.csv")] == [("5", "9"), ("9", "6")]
    assert "working_seconds" in table(tmp_path / "b.csv")[0]
    assert not (tmp_path / "b.html").exists()
    run(c, c.leaving.measure(tmp_path / "c.csv", instances=True, cleaning=clean, page=True))
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "1 object in 1 mask." in page  # the other has 6 voxels
    assert "c.html" in c.message
    assert page.count("<img") == 1


def test_other_images_are_predicted_and_marked_ones_stay():
    here, other, marked = picture("here"), picture("other"), picture("marked")
    deep = Layer.create(np.random.default_rng(0).random((9, 9, 9)), {"name": "deep"}, "image")
    other.data = other.data[::-1].copy()
    c = scene(here, other, marked, deep)
    with pytest.raises(InputError, match="no model yet"):
        c.leaving.apply_to_others()
    c.model = tiny_model(2)
    c.choose_image(marked)
    c.new_hints()
    kept = show(c)
    c.choose_image(here)
    other.visible = False
    events = run(c, c.leaving.apply_to_others())
    steps = [e for e in events if isinstance(e, Step) and e.stage == "others"]
    assert [s.index for s in steps] == list(range(1, steps[-1].total + 1))
    truth = Predictor(c.model).predict(to_image(other)).mask
    found = find(c.layers, other, "mask")
    np.testing.assert_array_equal(found.data, truth)
    assert not found.visible
    np.testing.assert_array_equal(find(c.layers, marked, "mask").data, kept)
    assert find(c.layers, deep, "mask") is None
    assert find(c.layers, here, "mask") is None
    assert "Masks of 1 other image." in c.message
    assert "marked on them: marked." in c.message
    assert "deep is 3D" in c.message
    assert c.image is here


def test_progress_ends_at_its_total_where_tiles_are_made_smaller(monkeypatch):
    def small(config, image, **options):
        yield from ()
        return (8, 8)

    monkeypatch.setattr("napari_plugin.session.told_prediction", small)
    c = scene(picture("here"), picture("other"), picture("last"))
    c.model = tiny_model(2)
    events = run(c, c.leaving.apply_to_others())
    steps = [e for e in events if isinstance(e, Step) and e.stage == "others"]
    assert len(steps) > steps[0].total
    indices = [s.index for s in steps]
    assert indices == sorted(indices)
    assert indices[-1] == steps[-1].total


def test_other_images_stop_between_tiles_and_leave_no_half_mask():
    here, other, last = picture("here"), picture("other"), picture("last")
    c = scene(here, other, last)
    c.model = tiny_model(2)
    work = c.leaving.apply_to_others()
    for event in work:
        c.take(event, c.generation)
        if find(c.layers, other, "mask") is not None:
            break
        if isinstance(event, Step) and event.stage == "others" and event.index == 1:
            assert find(c.layers, other, "mask") is None
    c.drop()
    for event in work:  # what the worker still sends is dropped
        c.take(event, c.generation - 1)
    assert find(c.layers, last, "mask") is None
    c = scene(picture("alone"))
    c.model = tiny_model(2)
    with pytest.raises(InputError, match="No other image is open"):
        c.leaving.apply_to_others()


def test_the_line_for_the_shell_can_be_run_as_it_is(tmp_path):
    path = write_picture(tmp_path / "my images" / "a.png", np.arange(480).reshape(20, 24) % 200)
    (data,) = read_file(str(path))
    c = scene(Layer.create(*data))
    c.model = tiny_model(2)
    assert c.leaving.line == ""
    c.save_model(tmp_path / "model")
    words = shlex.split(c.leaving.line)
    assert words[:2] == ["wsseg", "predict"]
    shown = wsseg_(*words[1:])
    assert "1 predicted" in shown.stdout
    assert (tmp_path / "model-masks" / "a.png").exists()
    assert identity(c.image) == str(path)
    assert c.image.metadata[KEY]["path"] == str(path)
    c = scene(picture())
    c.model = tiny_model(2)
    c.save_model(tmp_path / "second")
    assert "FOLDER_OF_IMAGES" in c.leaving.line
