"""DICOM series written by pydicom: order, values, affine, masks as NIfTI, and series that aren't whole."""

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from wsseg.errors import InputError
from wsseg.formats.labels import onto_grid
from wsseg.images import is_image, mask_path, peek_image, read_image, read_labels, stem_of, write_mask

SHAPE = (4, 5, 6)
AXIAL = (1, 0, 0, 0, 1, 0)
OBLIQUE = (0.8, 0.6, 0, 0, 0, -1)


def numbers(dtype=np.int16):
    return np.random.default_rng(0).integers(0, 1000, SHAPE).astype(dtype)


def save(folder, volume, *, orientation=AXIAL, gap=2.5, origin=(10.0, -20.0, 30.0), **tags):
    """A series whose file names and instance numbers say nothing about the order."""
    folder.mkdir(parents=True, exist_ok=True)
    across, down = np.array(orientation, float).reshape(2, 3)
    series = generate_uid()
    for index, plane in enumerate(volume):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        one.SeriesInstanceUID = series
        one.Rows, one.Columns = plane.shape[:2]
        one.SamplesPerPixel = 3 if plane.ndim == 3 else 1
        one.PhotometricInterpretation = "RGB" if plane.ndim == 3 else "MONOCHROME2"
        if plane.ndim == 3:
            one.PlanarConfiguration = 0
        one.BitsAllocated = one.BitsStored = plane.dtype.itemsize * 8
        one.HighBit = one.BitsStored - 1
        one.PixelRepresentation = int(plane.dtype.kind == "i")
        one.ImageOrientationPatient = list(orientation)
        place = np.array(origin) + index * gap * np.cross(across, down)
        one.ImagePositionPatient = [round(float(p), 6) for p in place]
        one.PixelSpacing = [0.75, 0.5]
        for name, value in tags.items():
            setattr(one, name, value)
        one.PixelData = plane.tobytes()
        one.save_as(folder / f"{(index * 7) % 10}_{index}.dcm", enforce_file_format=True)
    return folder


def test_slices_are_sorted_by_place(tmp_path):
    volume = numbers()
    folder = save(tmp_path / "ct.001", volume)
    image = read_image(folder)
    assert np.array_equal(image.data[0], volume)
    assert image.data.dtype == np.int16
    assert image.spacing == (2.5, 0.75, 0.5)
    assert image.kind == "dicom"
    assert is_image(folder)
    assert stem_of(folder) == "ct.001"
    peeked = peek_image(folder)
    assert (peeked.data.shape, peeked.data.dtype) == (image.data.shape, image.data.dtype)


def test_rescale_gives_hounsfield_units(tmp_path):
    volume = numbers(np.uint16)
    image = read_image(save(tmp_path / "ct", volume, RescaleSlope="0.5", RescaleIntercept="-1024"))
    assert image.data.dtype == np.float32
    assert np.array_equal(image.data[0], volume * np.float32(0.5) - 1024)
    assert peek_image(tmp_path / "ct").data.dtype == np.float32


def test_colour_series(tmp_path):
    volume = np.random.default_rng(0).integers(0, 255, (*SHAPE, 3)).astype(np.uint8)
    image = read_image(save(tmp_path / "us", volume))
    assert image.rgb
    assert np.array_equal(image.data, np.moveaxis(volume, -1, 0))


@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE])
def test_the_affine_is_the_standards_formula(tmp_path, orientation):
    """DICOM PS3.3 C.7.6.2.1.1, by a loop over voxels; x and y change sign from LPS to RAS."""
    folder = save(tmp_path / "mr", numbers(), orientation=orientation)
    affine = read_image(folder).geometry["affine"]
    slices = sorted(
        (pydicom.dcmread(p) for p in folder.iterdir()),
        key=lambda s: float(np.dot(s.ImagePositionPatient, np.cross(orientation[:3], orientation[3:]))),
    )
    for z, one in enumerate(slices):
        for y, x in ((0, 0), (3, 2), (4, 5)):
            place = (
                np.array(one.ImagePositionPatient, float)
                + np.array(orientation[:3]) * one.PixelSpacing[1] * x
                + np.array(orientation[3:]) * one.PixelSpacing[0] * y
            )
            assert np.allclose((affine @ [z, y, x, 1])[:3], place * [-1, -1, 1], atol=1e-5)


def test_one_slice_is_a_volume_of_one(tmp_path):
    image = read_image(save(tmp_path / "ct", numbers()[:1], SliceThickness="3"))
    assert image.shape == (1, 5, 6)
    assert image.spacing == (3.0, 0.75, 0.5)


@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE])
def test_the_mask_is_nifti_in_place(tmp_path, orientation):
    image = read_image(save(tmp_path / "ct", numbers(), orientation=orientation))
    path = mask_path(tmp_path / "out", "ct", image)
    assert path.name == "ct.nii.gz"
    mask = (numbers() % 3).astype(np.uint8)
    write_mask(path, mask, image)
    back = nibabel.load(path)
    assert np.allclose(back.affine, image.geometry["affine"], atol=1e-4)
    assert np.allclose(back.header.get_qform(), image.geometry["affine"], atol=1e-4)
    assert int(back.header["sform_code"]) == 1
    assert np.allclose(back.header.get_zooms(), image.spacing)
    assert np.array_equal(read_labels(path, image), mask)


def test_a_nifti_of_another_program_is_turned_onto_the_series(tmp_path):
    """As dcm2niix writes it: (x, y, z) with y flipped; the voxel must be at the same millimetre."""
    image = read_image(save(tmp_path / "ct", numbers()))
    mask = (numbers() % 3).astype(np.uint8)
    turned = mask.transpose(2, 1, 0)[:, ::-1]
    nii = nibabel.Nifti1Image(mask, image.geometry["affine"])
    other = nibabel.Nifti1Image(turned, flipped(nii.affine, mask.shape))
    nibabel.save(other, tmp_path / "m.nii.gz")
    assert np.array_equal(read_labels(tmp_path / "m.nii.gz", image), mask)
    # nibabel agrees that both lie in the same place
    ours, theirs = nibabel.as_closest_canonical(nii), nibabel.as_closest_canonical(other)
    assert np.allclose(ours.affine, theirs.affine)
    assert np.array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
    moved = nibabel.Nifti1Image(turned, other.affine + 0.01)
    nibabel.save(moved, tmp_path / "moved.nii.gz")
    with pytest.raises(InputError, match=r"moved\.nii\.gz: its shape .* are not the grid of"):
        read_labels(tmp_path / "moved.nii.gz", image)


def flipped(affine, shape):
    """The affine of `mask.transpose(2, 1, 0)[:, ::-1]`."""
    index = np.array([[0, 0, 1, 0], [0, -1, 0, shape[1] - 1], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    return affine @ index


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1)])
@pytest.mark.parametrize("flips", [(), (0,), (1, 2)])
def test_any_order_and_direction_of_axes_is_undone(order, flips):
    affine = read_affine = np.array([[0, 0, -0.5, 3], [0, -0.75, 0, 2], [2.5, 0, 0, 1], [0, 0, 0, 1]])
    labels = numbers()
    nii = nibabel.Nifti1Image(labels.astype(np.int16), read_affine)
    orientation = np.array([(new, -1 if axis in flips else 1) for axis, new in enumerate(order)])
    other = nii.as_reoriented(orientation)
    turned = onto_grid(np.asarray(other.dataobj), other.affine, labels.shape, affine)
    assert np.array_equal(turned, labels)


def test_a_missing_slice_is_told(tmp_path):
    folder = save(tmp_path / "ct", np.zeros((6, 5, 6), np.int16))
    next(folder.glob("*_3.dcm")).unlink()
    with pytest.raises(InputError, match=r"between 4_2\.dcm and 8_4\.dcm are 5 mm where 2\.5 mm are usual"):
        read_image(folder)


def test_doubled_slices_are_told(tmp_path):
    folder = save(tmp_path / "ct", numbers())
    (folder / "again.dcm").write_bytes((folder / "0_0.dcm").read_bytes())
    with pytest.raises(InputError, match="lie at the same place"):
        read_image(folder)


def test_mixed_series_are_told(tmp_path):
    save(tmp_path / "ct", numbers())
    save(tmp_path / "other", numbers())
    for file in (tmp_path / "other").iterdir():
        file.rename(tmp_path / "ct" / f"other{file.name}")
    with pytest.raises(InputError, match=r"ct: mixes 2 series \(of 4, 4 files\)"):
        read_image(tmp_path / "ct")


def test_slices_of_two_sizes_are_told(tmp_path):
    folder = save(tmp_path / "ct", numbers(), SeriesInstanceUID="1.2.3")
    save(tmp_path / "b", numbers()[:1, :, :4], origin=(10, -20, 100), SeriesInstanceUID="1.2.3")
    (tmp_path / "b" / "0_0.dcm").rename(folder / "b.dcm")
    with pytest.raises(InputError, match="differ in size, orientation or pixel spacing"):
        read_image(folder)


@pytest.mark.parametrize("name", ["ImagePositionPatient", "PixelSpacing"])
def test_slices_without_a_place_are_told(tmp_path, name):
    folder = save(tmp_path / "ct", numbers(), **{name: None})
    with pytest.raises(InputError, match=rf"does not say where its slice lies \({name}\)"):
        read_image(folder)


def test_many_frames_in_a_file_are_refused(tmp_path):
    folder = save(tmp_path / "ct", numbers()[:1], NumberOfFrames=3)
    with pytest.raises(InputError, match=r"many slices in one file; convert it to NIfTI"):
        read_image(folder)


@pytest.mark.parametrize("kept", [100, 200, -30])
def test_a_slice_cut_short_is_told(tmp_path, kept):
    folder = save(tmp_path / "ct", numbers())
    file = next(folder.glob("*_2.dcm"))
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(InputError, match=file.name):
        read_image(folder)


def test_other_files_in_the_folder_do_no_harm(tmp_path):
    folder = save(tmp_path / "ct", numbers())
    (folder / "README.txt").write_text("Scanned on a Monday.")
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    assert np.array_equal(read_image(folder).data[0], numbers())


def test_a_folder_without_slices_is_no_image(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("nothing")
    assert not is_image(tmp_path / "notes")
    with pytest.raises(InputError, match="notes: is a folder without DICOM slices"):
        read_image(tmp_path / "notes")
