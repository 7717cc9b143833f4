"""The manifest: what it names is there; samples, reader and commands do what it says."""

import json
from importlib import import_module
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
import zarr
from napari.components import ViewerModel
from napari.layers import Layer
from npe2 import PluginManifest
from test_formats_dicom import save

import napari_plugin
from napari_plugin import sample
from napari_plugin.controller import Controller
from napari_plugin.layers import KEY, to_image
from napari_plugin.reader import get_reader
from napari_plugin.taglayer import tags_of
from wsseg.hints import Tag

MANIFEST = Path(napari_plugin.__file__).with_name("napari.yaml")


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_file(MANIFEST)


def test_every_command_can_be_imported(manifest):
    for command in manifest.contributions.commands:
        module, _, name = command.python_name.partition(":")
        assert callable(getattr(import_module(module), name))


def test_widget_readers_samples_and_menus_name_commands_that_are_there(manifest):
    parts = manifest.contributions
    ids = {command.id for command in parts.commands}
    used = {entry.command for part in (parts.widgets, parts.readers, parts.sample_data) for entry in part}
    used |= {entry.command for entries in parts.menus.values() for entry in entries}
    assert used <= ids
    assert [widget.display_name for widget in parts.widgets] == ["wsseg", "Learn from my scans"]
    assert {"napari/layers/segment", "napari/layers/annotate"} <= set(parts.menus)
    assert all(command.title and len(command.title) < 60 for command in parts.commands)


@pytest.mark.parametrize(("name", "shape"), [("coins", (303, 384)), ("retina", (706, 706))])
def test_samples_are_images_to_segment(name, shape):
    (layer,) = (Layer.create(*data) for data in getattr(sample, name)())
    image = to_image(layer)
    assert image.shape == shape
    assert image.channels == (3 if name == "retina" else 1)


def test_the_brain_keeps_its_axes_and_its_place():
    pytest.importorskip("nilearn", reason="the brain comes with the extra demo")
    (layer,) = (Layer.create(*data) for data in sample.brain())
    image = to_image(layer)
    assert image.shape == (99, 117, 95)
    assert image.spacing == pytest.approx((2, 2, 2))
    assert np.abs(np.diag(image.geometry["affine"]))[:3] == pytest.approx(2)


def save_nifti(path: Path, values: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 2.0, 3.0, 1.0])), path)
    return path


def test_nifti_is_read_as_stored(tmp_path):
    values = np.random.default_rng(0).random((5, 6, 7), np.float32)
    path = save_nifti(tmp_path / "scan.nii.gz", values)
    ((data, options, kind),) = get_reader(str(path))(str(path))
    np.testing.assert_array_equal(data, values)
    assert (kind, options["name"], options["scale"]) == ("image", "scan", (1.0, 2.0, 3.0))
    layer = Layer.create(data, options, kind)
    assert tuple(layer.axis_labels) == ("x", "y", "z")
    assert str(layer.units[0]) == "millimeter"


def test_ome_zarr_is_read_lazily_with_channels_first(tmp_path):
    path = tmp_path / "cells.ome.zarr"
    values = np.random.default_rng(0).integers(0, 99, (2, 6, 8), dtype=np.uint16)
    group = zarr.create_group(store=str(path), zarr_format=3)
    group.create_array("0", data=values, chunks=(1, 3, 4))
    axes = [{"name": "c", "type": "channel"}] + [
        {"name": n, "type": "space", "unit": "micrometer"} for n in "yx"
    ]
    scale = [{"type": "scale", "scale": [1.0, 0.5, 0.25]}]
    dataset = {"path": "0", "coordinateTransformations": scale}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [dataset]}]}
    ((data, options, kind),) = get_reader(str(path))(str(path))
    assert not isinstance(data, np.ndarray)
    image = to_image(Layer.create(data, options, kind))
    assert (image.channels, image.shape, image.spacing) == (2, (6, 8), pytest.approx((0.5, 0.25)))
    np.testing.assert_array_equal(np.asarray(image.data[:, 1:3, 2:]), values[:, 1:3, 2:])


def test_a_dataset_folder_opens_with_its_hints(tmp_path):
    rng = np.random.default_rng(0)
    for folder in ("images", "hints", "masks"):
        (tmp_path / folder).mkdir()
    for stem in ("a", "b"):
        save_nifti(tmp_path / "images" / f"{stem}.nii.gz", rng.random((5, 6, 7), np.float32))
    hints, mask = rng.choice(np.array([0, 1, 255], np.uint8), (5, 6, 7)), np.zeros((5, 6, 7), np.uint8)
    mask[2] = 2
    save_nifti(tmp_path / "hints" / "a.nii.gz", hints)
    save_nifti(tmp_path / "masks" / "b.nii.gz", mask)
    (tmp_path / "classes.json").write_text(json.dumps({"1": "grey", "2": "white"}))
    (tmp_path / "clicks.csv").write_text("image,class,axis-0,axis-1,axis-2\na,white,1,2,3\n")
    viewer = ViewerModel()
    for data in get_reader(str(tmp_path))(str(tmp_path)):
        viewer.add_layer(Layer.create(*data))
    assert [layer.name for layer in viewer.layers] == ["a", "a hints", "a clicks", "b", "b hints"]
    controller = Controller(viewer.layers)
    controller.choose_image(viewer.layers["a"])
    np.testing.assert_array_equal(controller.hints.data, hints)
    assert controller.classes == {1: "grey", 2: "white"}
    assert controller.clicks is viewer.layers["a clicks"]
    controller.segment()
    assert controller.run.given.clicks[0].class_id == 2
    controller.choose_image(viewer.layers["b"])
    np.testing.assert_array_equal(controller.hints.data, np.where(mask == 2, 2, 255))
    assert viewer.layers["b"].metadata[KEY]["path"].endswith("b.nii.gz")


@pytest.mark.parametrize("shape", [(6, 7), (4, 5, 6)])
def test_of_a_large_dataset_the_next_images_are_opened_when_one_goes_on_past_the_last(tmp_path, shape):
    for folder in ("images", "hints"):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(0)
    stems = [f"s{index:02}" for index in range(18)]
    for stem in stems:
        picture = rng.integers(0, 99, shape).astype(np.uint8)
        tifffile.imwrite(tmp_path / "images" / f"{stem}.tif", picture, photometric="minisblack")
    full = np.full(shape, 255, np.uint8)
    tifffile.imwrite(tmp_path / "hints" / "s13.tif", full, photometric="minisblack")
    (tmp_path / "tags.csv").write_text("image,class\ns14.tif,cell\n")
    (tmp_path / "classes.json").write_text(json.dumps({"1": "cell"}))
    viewer = ViewerModel()
    for data in get_reader(str(tmp_path))(str(tmp_path)):
        viewer.add_layer(Layer.create(*data))
    assert [layer.name for layer in viewer.layers] == stems[:12]
    assert [layer.visible for layer in viewer.layers] == [True] + [False] * 11
    controller = Controller(viewer.layers)
    seen = []
    controller.choose_image(viewer.layers[0])
    for _ in range(18):
        controller.choose_image(controller.tags.next_image())
        seen.append(controller.image.name)
        if seen[-1] == "s13":
            assert viewer.layers["s13 hints"].visible
            assert (controller.hints.data == 255).all()
        if seen[-1] == "s12":
            assert [layer.name for layer in viewer.layers][12:] == ["s12", "s13", "s13 hints", "s14", "s15"]
            assert [layer.name for layer in viewer.layers if layer.visible] == ["s12"]
    assert seen == [*stems[1:], stems[0]]  # each once, then the first again
    assert tags_of(viewer.layers["s14"]) == frozenset({Tag(1)})
    assert len(controller.tags.kin()) == 18


def test_what_is_not_ours_is_left_to_others(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    assert get_reader(str(tmp_path / "notes.txt")) is None
    assert get_reader(str(tmp_path)) is None
    assert get_reader([str(tmp_path / "a.nii"), str(tmp_path / "b.nii")]) is None


@pytest.mark.parametrize(
    ("metadata", "unit"),
    [
        ({"axes": "ZYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0}, "µm"),
        ({"axes": "ZYX", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "blorps"}, "pixel"),
        ({"axes": "ZYX", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "("}, "pixel"),
        ({"axes": "ZYX"}, "pixel"),
    ],
)
def test_a_tiff_has_the_units_that_it_names(tmp_path, metadata, unit):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.zeros((3, 8, 9), np.uint8), ome=True, metadata=metadata)
    ((data, options, _),) = get_reader(str(path))(str(path))
    assert options["units"][-1] == unit
    assert str(Layer.create(data, options, "image").units[-1]) in ("micrometer", "pixel")


def test_a_series_of_slices_is_shown_slice_by_slice(tmp_path):
    """DICOM is stored slice first, unlike NIfTI: the first axis is z, and millimetres belong to it."""
    volume = np.random.default_rng(0).integers(0, 1000, (4, 5, 6)).astype(np.int16)
    ((data, options, kind),) = get_reader(str(save(tmp_path / "series", volume)))(str(tmp_path / "series"))
    assert kind == "image"
    np.testing.assert_array_equal(data, volume)
    assert options["axis_labels"] == ("z", "y", "x")
    np.testing.assert_allclose(options["scale"], (2.5, 0.75, 0.5))
    assert options["units"] == ("mm",) * 3
