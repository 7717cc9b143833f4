"""Places and units of every kind of file, from its own metadata."""

import nibabel
import numpy as np
import pytest
import tifffile
import zarr
from tiny import AFFINE, write_picture

from wsseg.images import Image, read_image
from wsseg.world import World, world_of


def volume(path, affine=AFFINE, *, unit="mm"):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), affine)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


def test_nifti_has_the_place_in_the_scanner(tmp_path):
    world = world_of(read_image(volume(tmp_path / "a.nii.gz")))
    index = np.array([[0, 0, 0], [1, 2, 3.0]])
    np.testing.assert_allclose(world.place(index), nibabel.affines.apply_affine(AFFINE, index))
    assert world.unit == "mm³"
    assert world.voxel == pytest.approx(abs(np.linalg.det(AFFINE[:3, :3])))


@pytest.mark.parametrize(("unit", "told"), [("unknown", "mm³"), ("micron", "µm³"), ("meter", "m³")])
def test_nifti_without_a_unit_means_mm(tmp_path, unit, told):
    assert world_of(read_image(volume(tmp_path / "a.nii.gz", unit=unit))).unit == told


def test_a_flat_nifti_keeps_its_two_axes_in_three_dimensions(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5), np.uint8), AFFINE), tmp_path / "a.nii.gz")
    world = world_of(read_image(tmp_path / "a.nii.gz"))
    np.testing.assert_allclose(world.place(np.array([[2, 3]]))[0], (AFFINE @ [2, 3, 0, 1])[:3])
    assert world.unit == "mm²"


def test_ome_zarr_has_scale_translation_and_units(tmp_path):
    group = zarr.create_group(store=str(tmp_path / "a.ome.zarr"), zarr_format=3)
    group.create_array("0", shape=(3, 4, 5), dtype="uint8")
    own = [{"type": "scale", "scale": [2, 0.5, 0.5]}, {"type": "translation", "translation": [10, 20, 30]}]
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": own}]}],
    }
    world = world_of(read_image(tmp_path / "a.ome.zarr"))
    np.testing.assert_allclose(world.place(np.array([[1, 2, 4]])), [[12, 21, 32]])
    assert world.unit == "µm³"
    assert world.voxel == 0.5


def test_a_translation_before_a_scale_is_scaled_too():
    steps = [{"type": "translation", "translation": [1, 2]}, {"type": "scale", "scale": [3, 4]}]
    image = Image(np.zeros((1, 2, 2)), (3.0, 4.0), kind="zarr", geometry={"transformations": (steps, [])})
    np.testing.assert_allclose(world_of(image).place(np.zeros((1, 2))), [[3, 8]])


def test_tiffs_by_ome_and_by_imagej(tmp_path):
    values = np.zeros((3, 4, 5), np.uint8)
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0}
    tifffile.imwrite(tmp_path / "a.ome.tif", values, metadata={**metadata, "PhysicalSizeZUnit": "nm"})
    world = world_of(read_image(tmp_path / "a.ome.tif"))
    assert world.unit == "nm·µm·µm"
    assert world.voxel == 0.5
    metadata = {"axes": "ZYX", "spacing": 3.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "b.tif", values, imagej=True, metadata=metadata, resolution=(2.0, 2.0))
    world = world_of(read_image(tmp_path / "b.tif"))
    assert world.unit == "µm³"
    assert world.voxel == 0.75
    np.testing.assert_allclose(world.place(np.array([[1, 1, 2]])), [[3, 0.5, 1]])


def test_who_says_nothing_counts_voxels(tmp_path):
    world = world_of(read_image(write_picture(tmp_path / "a.png", np.zeros((4, 5)))))
    assert (world.unit, world.voxel) == ("pixels", 1)
    assert world_of(Image(np.zeros((1, 2, 2, 2)), (1.0,) * 3)).unit == "voxels"
    assert world_of(Image(np.zeros((1, 2, 2, 2)), (1.0, 1.0, 2.0))).unit == ""


@pytest.mark.parametrize(
    ("spacing", "units", "told"),
    [
        ((1.0, 1.0), ("", ""), "pixels"),
        ((1.0, 1.0, 1.0), ("", "", ""), "voxels"),
        ((2.0, 2.0), ("", ""), ""),
        ((1.0, 1.0), ("µm", "µm"), "µm"),
        ((3.0, 1.0, 1.0), ("s", "µm", "µm"), ""),
    ],
)
def test_a_distance_has_a_unit_where_all_axes_have_the_same(spacing, units, told):
    assert World(np.eye(len(spacing) + 1)[:-1], spacing, units).length == told
