"""What holds for every kind of file: names, atomic writing, agreement of labels and image, clear errors."""

import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wsseg.errors import InputError
from wsseg.formats.labels import count_values
from wsseg.images import (
    Image,
    check_values,
    is_image,
    list_images,
    mask_path,
    mask_writer,
    peek_image,
    probabilities_path,
    read_image,
    read_labels,
    stem_of,
    write_mask,
    write_probabilities,
)


def picture(path, shape=(4, 5), dtype=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.ones(shape, dtype)).save(path)
    return path


def volume(path, values=None):
    values = np.ones((3, 4, 5), np.uint8) if values is None else values
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4), dtype=values.dtype), path)
    return path


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.nii.gz", "a"),
        ("a.b.nii", "a.b"),
        ("a.ome.tif", "a"),
        ("a.OME.TIFF", "a"),
        ("a.tif", "a"),
        ("dir/a.PNG", "a"),
        ("a.jpeg", "a"),
        ("a.ome.zarr", "a"),
        ("a.zarr", "a"),
        ("scan.001", "scan.001"),
        ("a.gz", "a.gz"),
    ],
)
def test_stems(name, stem):
    assert stem_of(name) == stem
    assert stem_of(Path(name)) == stem


def test_images_are_listed_by_stem(tmp_path):
    picture(tmp_path / "b.png")
    volume(tmp_path / "a.nii.gz")
    (tmp_path / "README.md").write_text("no image")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "c.ome.zarr").mkdir()
    assert list(list_images(tmp_path)) == ["a", "b", "c"]
    assert list_images([tmp_path / "b.png", tmp_path / "b.png"]) == {"b": tmp_path / "b.png"}
    assert list_images(str(tmp_path / "a.nii.gz")) == {"a": tmp_path / "a.nii.gz"}
    assert not is_image(tmp_path / "README.md")
    assert not is_image(tmp_path / "missing.png")


def test_equal_stems_name_both_files(tmp_path):
    picture(tmp_path / "a.png")
    volume(tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=r"a\.png: has the same stem “a” as .*a\.nii\.gz"):
        list_images(tmp_path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.tif", "a.png", "a.jpg"])
def test_missing_and_empty_files(tmp_path, name):
    with pytest.raises(InputError, match=f"{name}: there is no such file"):
        read_image(tmp_path / name)
    (tmp_path / name).write_bytes(b"")
    for read in (read_image, peek_image, read_labels):
        with pytest.raises(InputError, match=rf"{name}: is empty \(0 bytes\)"):
            read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.txt", "a", "a.zarr"])
def test_files_of_no_known_kind(tmp_path, name):
    (tmp_path / name).write_bytes(b"something")
    with pytest.raises(InputError, match=f"{name}: is no kind of image that wsseg knows"):
        read_image(tmp_path / name)
    with pytest.raises(InputError, match="wsseg knows"):
        list_images([tmp_path / name])


def test_one_dicom_file_is_told_to_be_a_folder(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"something")
    with pytest.raises(InputError, match="name the folder that holds its series"):
        read_image(tmp_path / "a.dcm")


@pytest.mark.parametrize(
    ("kind", "mask", "probabilities"),
    [
        ("nifti", "a.nii.gz", "a.nii.gz"),
        ("dicom", "a.nii.gz", "a.nii.gz"),
        ("tiff", "a.tif", "a.tif"),
        ("picture", "a.png", "a.tif"),
        ("zarr", "a.ome.zarr", "a.ome.zarr"),
        ("array", "a.tif", "a.tif"),
    ],
)
def test_where_results_go(kind, mask, probabilities):
    image = Image(np.zeros((1, 4, 5)), (1.0, 1.0), kind=kind)
    assert mask_path("out", "a", image) == Path("out") / mask
    assert probabilities_path("out", "a", image) == Path("out") / probabilities


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".tif", ".png", ".ome.zarr"])
@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)])
def test_an_image_made_in_memory_can_have_any_kind_of_mask(tmp_path, suffix, shape):
    image = Image(np.zeros((2, *shape)), tuple(2.0 + i for i in range(len(shape))))
    assert (image.shape, image.ndim, image.channels) == (shape, len(shape), 2)
    mask = np.random.default_rng(0).integers(0, 300, shape)
    path = tmp_path / f"a{suffix}"
    if suffix == ".png" and len(shape) == 3:
        with pytest.raises(InputError, match="a PNG holds no volume"):
            write_mask(path, mask, image)
        return
    write_mask(path, mask, image)
    assert np.array_equal(read_labels(path, image), mask)


@pytest.mark.parametrize("suffix", [".nii.gz", ".tif", ".png"])
def test_a_cancel_leaves_the_old_file(tmp_path, suffix):
    image = Image(np.zeros((1, 4, 5)), (1.0, 1.0))
    path = tmp_path / f"a{suffix}"
    write_mask(path, np.ones((4, 5), np.uint8), image)
    before = path.read_bytes()

    def stop():
        with mask_writer(path, image) as mask:
            mask[0] = 2
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with mask_writer(path, image, np.uint16) as mask:
        mask[1:3, 2] = 7
    wanted = np.zeros((4, 5), np.uint16)
    wanted[1:3, 2] = 7
    assert np.array_equal(read_labels(path, image), wanted)


def test_results_that_do_not_fit_are_refused(tmp_path):
    image = Image(np.zeros((1, 4, 5)), (1.0, 1.0))
    for mask, reason in [
        (np.zeros((5, 4), np.uint8), r"shape \(5, 4\), its image \(4, 5\)"),
        (np.full((4, 5), -1), "whole numbers from 0 to 65535"),
        (np.full((4, 5), 65536), "whole numbers from 0 to 65535"),
        (np.zeros((4, 5)), "not float64"),
    ]:
        with pytest.raises(InputError, match=reason):
            write_mask(tmp_path / "a.png", mask, image)
    with pytest.raises(InputError, match=r"a\.jpg: can't hold a mask"):
        write_mask(tmp_path / "a.jpg", np.zeros((4, 5), np.uint8), image)
    with pytest.raises(InputError, match=r"\(classes, \*\(4, 5\)\) is right"):
        write_probabilities(tmp_path / "p.tif", np.zeros((4, 5), np.float32), image)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "spacing", "reason"),
    [
        (np.zeros((1, 5)), (1.0,), "has 1 spatial axes"),
        (np.zeros((1, 2, 3, 4, 5)), (1.0,) * 4, "has 4 spatial axes"),
        (np.zeros((1, 0, 5)), (1.0, 1.0), "holds no voxels"),
        (np.zeros((1, 4, 5)), (1.0, 0.0), "does not fit"),
        (np.zeros((1, 4, 5)), (1.0, 1.0, 1.0), "does not fit"),
    ],
)
def test_images_are_checked_when_made(data, spacing, reason):
    with pytest.raises(InputError, match=reason):
        Image(data, spacing)


def test_a_line_is_no_image(tmp_path):
    volume(tmp_path / "a.nii", np.ones(5, np.uint8))
    with pytest.raises(InputError, match=r"a\.nii: has 1 spatial axes; 2 or 3 are right"):
        read_image(tmp_path / "a.nii")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_voxels_that_are_no_numbers_are_counted(tmp_path, dtype):
    values = np.ones((3, 4, 5), dtype)
    image = read_image(volume(tmp_path / "good.nii", values))
    check_values(image)
    values[0, 0, :2] = np.nan
    values[1, 2, 3] = np.inf
    image = read_image(volume(tmp_path / "bad.nii", values))
    with pytest.raises(InputError, match=r"bad\.nii: 3 of 60 voxels are NaN or infinite"):
        check_values(image)


@pytest.mark.parametrize(("bad", "shown"), [(0.5, "0.5"), (np.nan, "nan"), (np.inf, "inf")])
def test_labels_are_whole_numbers(tmp_path, bad, shown):
    values = np.array([[0, 1, 2], [-1, 255, 3]], np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values)
    labels = read_labels(tmp_path / "a.tif")
    assert labels.dtype.kind == "i"
    assert np.array_equal(labels, values)
    values[0, 0] = bad
    tifffile.imwrite(tmp_path / "b.tif", values)
    with pytest.raises(InputError, match=rf"b\.tif: holds the value {shown}, which is no whole number"):
        read_labels(tmp_path / "b.tif")


def test_labels_have_one_number_a_voxel(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((2, 4, 5), np.uint8), metadata={"axes": "CYX"})
    with pytest.raises(InputError, match=r"a\.tif: has 2 channels"):
        read_labels(tmp_path / "a.tif")


def test_labels_agree_with_their_image(tmp_path):
    image = read_image(volume(tmp_path / "a.nii"))
    assert read_labels(volume(tmp_path / "b.nii"), image).shape == (3, 4, 5)
    tifffile.imwrite(tmp_path / "c.tif", np.ones((5, 4, 3), np.uint8), photometric="minisblack")
    with pytest.raises(InputError, match=r"c\.tif: has shape \(5, 4, 3\) but .*a\.nii has .*other way round"):
        read_labels(tmp_path / "c.tif", image)
    with pytest.raises(InputError, match=r"d\.png: has shape \(4, 5\) but .*a\.nii has \(3, 4, 5\); both"):
        read_labels(picture(tmp_path / "d.png"), image)


def test_axes_of_one_voxel_may_be_left_out(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((1, 4, 5), np.uint8))
    image = read_image(tmp_path / "a.tif")
    assert image.shape == (1, 4, 5)
    assert read_labels(picture(tmp_path / "m.png"), image).shape == (1, 4, 5)
    flat = read_image(picture(tmp_path / "b.png"))
    assert read_labels(tmp_path / "a.tif", flat).shape == (4, 5)


def test_only_the_library_that_is_needed_is_loaded(tmp_path):
    code = (
        "import sys\nfrom wsseg.images import read_image\n"
        f"read_image({str(picture(tmp_path / 'a.png'))!r})\n"
        "assert not {'zarr', 'pydicom', 'nibabel', 'tifffile'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@settings(max_examples=30, deadline=None)
@given(
    labels=hnp.arrays(
        dtype=st.sampled_from([np.uint8, np.uint16, np.int32]),
        shape=hnp.array_shapes(min_dims=2, max_dims=3, max_side=5),
        elements=st.integers(0, 200),
    )
)
def test_values_are_counted(labels):
    wanted = {}
    for value in labels.ravel().tolist():
        wanted[value] = wanted.get(value, 0) + 1
    assert count_values(labels) == wanted
