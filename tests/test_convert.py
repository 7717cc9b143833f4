"""Masks as other kinds of files: a marked voxel is the same voxel, at the same place, of the same size."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from tiny import AFFINE, write_picture, write_volume

from wsseg.convert import SUFFIXES, as_format, format_of, keeps_place
from wsseg.errors import InputError
from wsseg.images import Image, peek_image, read_image, read_labels, write_mask, write_probabilities
from wsseg.world import World, world_of

SHAPE = (6, 5, 4)


def spot() -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[1, 2, 3] = 7
    return mask


def sources(folder):
    """The same grid as every kind of file."""
    values = np.arange(120).reshape(SHAPE).astype(np.uint8)
    yield peek_image(write_volume(folder / "a.nii.gz", values))
    sizes = {"PhysicalSizeZ": 2.0, "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.25}
    tifffile.imwrite(
        folder / "a.ome.tif", values, photometric="minisblack", metadata={"axes": "ZYX", **sizes}
    )
    yield peek_image(folder / "a.ome.tif")
    tiff = peek_image(folder / "a.ome.tif")
    places = World(np.hstack([np.diag(tiff.spacing), [[10.0], [20], [30]]]), tiff.spacing, ("nm",) * 3)
    converted = as_format(values, tiff, "OME-Zarr", places)
    write_mask(folder / "a.ome.zarr", *converted)
    yield peek_image(folder / "a.ome.zarr")
    yield Image(values[None], (3.0, 2.0, 1.0))


@pytest.mark.parametrize("name", ["NIfTI", "TIFF", "OME-Zarr"])
def test_each_kind_as_each_other(tmp_path, name):
    for source in sources(tmp_path):
        path = tmp_path / f"{source.kind}-as-{name}{SUFFIXES[name]}"
        write_mask(path, *as_format(spot(), source, name))
        made = read_image(path)
        turned = source.kind == "nifti" and name != "NIfTI"
        index = np.argwhere(read_labels(path) == 7)
        np.testing.assert_array_equal(index, [[3, 2, 1] if turned else [1, 2, 3]])
        before, after = world_of(source), world_of(made)
        spacing, factor = (before.spacing[::-1] if turned else before.spacing), 1.0
        if name == "NIfTI" and before.units[0] == "nm":
            factor = 1e-3  # NIfTI has no nanometres
        np.testing.assert_allclose(after.spacing, np.multiply(spacing, factor), rtol=1e-6)
        if before.units[0] not in ("nm", "") and not (name == "NIfTI" and before.units[0] == ""):
            assert after.units == before.units
        if name == "NIfTI" and source.kind != "nifti":
            there = before.place(np.array([[1, 2, 3]]))[:, ::-1]  # x, y, z of what is stored z, y, x
            np.testing.assert_allclose(after.place(index), there * factor, rtol=1e-6)
        if keeps_place(source, name) and name != "NIfTI":
            np.testing.assert_allclose(after.place(index), before.place(np.array([[1, 2, 3]])))


def test_its_own_kind_keeps_all_bit_for_bit(tmp_path):
    source = peek_image(write_volume(tmp_path / "a.nii.gz", np.zeros(SHAPE, np.uint8)))
    values, like = as_format(spot(), source, "NIfTI")
    assert like is source
    write_mask(tmp_path / "b.nii.gz", values, like)
    np.testing.assert_array_equal(nibabel.load(tmp_path / "b.nii.gz").affine, AFFINE)
    assert not keeps_place(source, "OME-Zarr")  # it is turned
    assert not keeps_place(source, "TIFF")


def test_a_nifti_that_lies_straight_keeps_its_place_in_ome_zarr(tmp_path):
    affine = np.diag([2.0, 3, 4, 1])
    affine[:3, 3] = [10, 20, 30]
    source = peek_image(write_volume(tmp_path / "a.nii.gz", np.zeros(SHAPE, np.uint8), affine))
    write_mask(tmp_path / "b.ome.zarr", *as_format(spot(), source, "OME-Zarr"))
    made = world_of(read_image(tmp_path / "b.ome.zarr"))
    np.testing.assert_allclose(made.place(np.array([[3, 2, 1]])), [[30 + 12, 20 + 6, 10 + 2]])
    assert made.unit == "mm³"
    assert keeps_place(source, "OME-Zarr")
    assert not keeps_place(source, "TIFF")


def test_an_array_with_an_affine_counts_as_nifti():
    image = Image(np.zeros((1, *SHAPE)), (1.0,) * 3, geometry={"affine": AFFINE})
    values, like = as_format(spot(), image, "TIFF")
    assert values.shape == like.shape == (4, 5, 6)
    _, like = as_format(spot(), image, "NIfTI")
    np.testing.assert_array_equal(like.geometry["affine"], AFFINE)


def test_probabilities_keep_their_channels_in_front(tmp_path):
    source = peek_image(write_volume(tmp_path / "a.nii.gz", np.zeros(SHAPE, np.uint8)))
    said = np.stack([spot() == 0, spot() != 0]).astype(np.float32)
    write_probabilities(tmp_path / "b.tif", *as_format(said, source, "TIFF"))
    stored = tifffile.imread(tmp_path / "b.tif")
    assert stored.shape == (2, 4, 5, 6)
    assert stored[1, 3, 2, 1] == 1
    assert stored[1].sum() == 1


def test_pictures(tmp_path):
    source = peek_image(write_picture(tmp_path / "a.png", np.zeros((5, 7))))
    mask = np.zeros((5, 7), np.uint8)
    mask[1, 6] = 3
    for name, suffix in SUFFIXES.items():
        write_mask(tmp_path / f"b{suffix}", *as_format(mask, source, name))
        np.testing.assert_array_equal(read_labels(tmp_path / f"b{suffix}"), mask)
    affine = nibabel.load(tmp_path / "b.nii.gz").affine
    np.testing.assert_allclose(affine @ [1, 6, 0, 1], [6, 1, 0, 1])  # x runs along the last stored axis
    flat = Image(np.zeros((1, 5, 7)), (1.0, 1.0), geometry={"affine": np.diag([2.0, 1, 1, 1])})
    assert as_format(mask, flat, "PNG")[0].shape == (7, 5)  # x first, as NIfTI has it
    with pytest.raises(InputError, match="holds no volume"):
        as_format(spot(), Image(np.zeros((1, *SHAPE)), (1.0,) * 3), "PNG")


def test_labels_in_ome_zarr_say_that_they_are_labels(tmp_path):
    import zarr

    image = Image(np.zeros((1, *SHAPE)), (1.0,) * 3)
    write_mask(tmp_path / "a.ome.zarr", *as_format(spot(), image, "OME-Zarr"))
    assert "image-label" in zarr.open_group(str(tmp_path / "a.ome.zarr"), mode="r").attrs["ome"]
    said = np.zeros((2, *SHAPE), np.float32)
    write_probabilities(tmp_path / "b.ome.zarr", *as_format(said, image, "OME-Zarr"))
    assert "image-label" not in zarr.open_group(str(tmp_path / "b.ome.zarr"), mode="r").attrs["ome"]


def test_the_name_of_a_file_says_its_format():
    names = {
        "a.nii": "NIfTI",
        "a.nii.gz": "NIfTI",
        "a.b.TIF": "TIFF",
        "a.ome.tiff": "TIFF",
        "a.zarr": "OME-Zarr",
    }
    for name, right in {**names, "a.png": "PNG", "a.jpg": "PNG", "a.csv": None, "a": None}.items():
        assert format_of(Path("folder.zarr") / name) == right
