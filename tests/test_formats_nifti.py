"""NIfTI against nibabel: values, axes, header; what is broken is told in a sentence."""

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wsseg.errors import InputError
from wsseg.images import peek_image, read_image, read_labels, write_mask, write_probabilities

AFFINE = np.array([[0.5, 0.01, 0, 3], [-0.02, 0.7, 0, -4], [0, 0.03, 2.5, 5], [0, 0, 0, 1]])


def save(path, values, affine=AFFINE, made=nibabel.Nifti1Image):
    dtype = np.asarray(values).dtype
    nii = made(values, affine, dtype=dtype)
    nii.header.set_xyzt_units("mm", "sec")
    nibabel.save(nii, path)
    return path


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6), (1, 5, 6), (4, 5, 1)])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_axes_stay_as_nibabel_gives_them(tmp_path, shape, suffix):
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    path = save(tmp_path / f"a{suffix}", values)
    image = read_image(path)
    assert image.shape == shape
    assert image.channels == 1
    assert not image.rgb
    assert np.array_equal(image.data[0], np.asarray(nibabel.load(path).dataobj))
    assert image.spacing == tuple(float(z) for z in nibabel.load(path).header.get_zooms())


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", ">i2", ">u2", "i4", "u8", "i8", "f4", ">f4", "f8"])
def test_values_keep_their_type_in_native_byte_order(tmp_path, dtype):
    values = np.arange(24).reshape(2, 3, 4).astype(dtype)
    image = read_image(save(tmp_path / "a.nii", values))
    assert image.data.dtype == np.dtype(dtype).newbyteorder("=")
    assert image.data.dtype.isnative
    assert np.array_equal(image.data[0], values)


def test_a_big_endian_file_is_read(tmp_path):
    values = np.arange(24, dtype=">i2").reshape(2, 3, 4)
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nibabel.save(nibabel.Nifti1Image(values, AFFINE, header), tmp_path / "a.nii")
    assert (tmp_path / "a.nii").read_bytes()[:4] == b"\0\0\1\x5c"
    image = read_image(tmp_path / "a.nii")
    assert np.array_equal(image.data[0], values)
    write_mask(tmp_path / "m.nii", (values > 5).astype(np.uint8), image)
    assert np.array_equal(np.asarray(nibabel.load(tmp_path / "m.nii").dataobj), values > 5)


def test_scaled_values_are_float32_and_scaled(tmp_path):
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    path = save(tmp_path / "a.nii", stored)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([0.25, -3], "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(content)
    assert np.allclose(nibabel.load(path).get_fdata(), stored * 0.25 - 3)
    image = read_image(path)
    assert image.data.dtype == np.float32
    assert np.allclose(image.data[0], nibabel.load(path).get_fdata(), atol=1e-6)
    assert peek_image(path).data.dtype == np.float32
    write_mask(tmp_path / "m.nii", stored, image)
    assert np.array_equal(read_labels(tmp_path / "m.nii", image), stored)


def test_rgb_voxels_are_three_channels(tmp_path):
    colours = np.zeros((2, 3, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for i, name in enumerate("RGB"):
        colours[name] = np.arange(24).reshape(2, 3, 4) + 50 * i
    nibabel.save(nibabel.Nifti1Image(colours, AFFINE), tmp_path / "a.nii.gz")
    image = read_image(tmp_path / "a.nii.gz")
    assert image.rgb
    assert np.array_equal(image.data, np.stack([colours[name] for name in "RGB"]))


def test_complex_is_refused(tmp_path):
    path = save(tmp_path / "a.nii", np.ones((2, 3, 4), np.complex64))
    with pytest.raises(InputError, match=r"a\.nii: holds complex numbers"):
        read_image(path)


@pytest.mark.parametrize("shape", [(4, 5, 6, 2), (4, 5, 6, 1, 2)])
def test_vector_images_are_channels(tmp_path, shape):
    values = np.random.default_rng(0).integers(0, 99, shape).astype(np.int16)
    nii = nibabel.Nifti1Image(values, AFFINE)
    nii.header.set_intent("vector")
    nibabel.save(nii, tmp_path / "a.nii")
    image = read_image(tmp_path / "a.nii")
    assert image.data.shape == (2, 4, 5, 6)
    assert np.array_equal(image.data, np.moveaxis(values.reshape(4, 5, 6, 2), -1, 0))
    assert len(image.spacing) == 3
    write_mask(tmp_path / "m.nii.gz", np.ones((4, 5, 6), np.uint8), image)
    back = nibabel.load(tmp_path / "m.nii.gz")
    assert back.shape == (4, 5, 6)
    assert np.array_equal(back.affine, nii.affine.astype(np.float32))


def test_a_fourth_axis_needs_a_reason(tmp_path):
    values = np.random.default_rng(0).random((4, 5, 6, 2)).astype(np.float32)
    path = save(tmp_path / "a.nii", values)
    with pytest.raises(InputError, match=r"a\.nii: has 4 axes .* split it into volumes.*channel_axis"):
        read_image(path)
    for axis in (3, -1):
        assert np.array_equal(read_image(path, channel_axis=axis).data, np.moveaxis(values, -1, 0))
    assert peek_image(path, channel_axis=3).data.shape == (2, 4, 5, 6)
    with pytest.raises(InputError, match="no axis 4"):
        read_image(path, channel_axis=4)


def test_one_time_point_is_no_axis(tmp_path):
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
    image = read_image(save(tmp_path / "a.nii", values))
    assert np.array_equal(image.data[0], values[..., 0])


@pytest.mark.parametrize("made", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("codes", [(1, 1), (4, 0), (0, 2), (0, 0)])
def test_geometry_comes_back_bit_for_bit(tmp_path, made, codes):
    nii = made(np.zeros((4, 5, 6), np.int16), AFFINE)
    nii.set_sform(AFFINE, code=codes[0])
    nii.set_qform(np.diag([0.5, 0.7, 2.5, 1]), code=codes[1])
    nii.header.set_xyzt_units("micron", "msec")
    nii.header["pixdim"][4] = 7.25
    nii.header["cal_max"] = 500
    nii.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"a patient's name"))
    nibabel.save(nii, tmp_path / "a.nii.gz")
    image = read_image(tmp_path / "a.nii.gz")
    mask = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype(np.uint8)
    write_mask(tmp_path / "m.nii.gz", mask, image)
    back, source = nibabel.load(tmp_path / "m.nii.gz"), nibabel.load(tmp_path / "a.nii.gz")
    assert type(back) is type(source)
    same = ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "pixdim", "xyzt_units", "dim")
    same += ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
    for name in same:
        assert back.header[name].tobytes() == source.header[name].tobytes(), name
    assert np.array_equal(back.affine, source.affine)
    # the display window and the notes belong to the image, not to its grid
    assert back.header["cal_max"] == 0
    assert len(source.header.extensions) == 1
    assert len(back.header.extensions) == 0
    assert back.header.get_slope_inter() in ((None, None), (1.0, 0.0))
    assert np.array_equal(np.asarray(back.dataobj), mask)


@pytest.mark.parametrize(("top", "dtype"), [(255, np.uint8), (256, np.uint16), (65535, np.uint16)])
def test_masks_are_as_small_as_they_can_be(tmp_path, top, dtype):
    image = read_image(save(tmp_path / "a.nii", np.zeros((2, 3, 4), np.float32)))
    mask = np.zeros((2, 3, 4), np.int64)
    mask[1, 1, 1] = top
    write_mask(tmp_path / "m.nii.gz", mask, image)
    assert nibabel.load(tmp_path / "m.nii.gz").get_data_dtype() == dtype
    assert np.array_equal(read_labels(tmp_path / "m.nii.gz", image), mask)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 6)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_probabilities_have_channels_last_and_come_back_first(tmp_path, shape, dtype):
    image = read_image(save(tmp_path / "a.nii", np.zeros(shape, np.float32)))
    probabilities = np.random.default_rng(0).random((3, *shape)).astype(dtype)
    write_probabilities(tmp_path / "p.nii.gz", probabilities, image)
    stored = nibabel.load(tmp_path / "p.nii.gz")
    assert stored.shape == (*shape, 3)
    assert np.array_equal(stored.affine, nibabel.load(tmp_path / "a.nii").affine)
    back = read_image(tmp_path / "p.nii.gz")
    assert np.array_equal(back.data, probabilities)
    assert back.spacing == image.spacing


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.95])
def test_a_file_cut_short_is_told(tmp_path, suffix, kept):
    values = np.random.default_rng(0).integers(0, 30000, (20, 20, 20)).astype(np.int16)
    whole = save(tmp_path / f"whole{suffix}", values).read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InputError, match=rf"cut{suffix}: is .*(cut short|not a readable)"):
        read_image(path)


@pytest.mark.parametrize("content", [b"no nifti at all" * 100, b"\x1f\x8b" + b"rubbish" * 100])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_file_of_another_kind_is_told(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: is not a readable NIfTI"):
        read_image(tmp_path / name)


def test_an_affine_that_differs_is_told(tmp_path):
    image = read_image(save(tmp_path / "a.nii", np.zeros((2, 3, 4), np.float32)))
    moved, close = AFFINE.copy(), AFFINE.copy()
    moved[0, 3] += 0.01
    close[0, 3] += 0.0005
    labels = np.ones((2, 3, 4), np.uint8)
    assert read_labels(save(tmp_path / "near.nii", labels, close), image).sum() == 24
    with pytest.raises(
        InputError, match=r"far\.nii: its affine differs from that of .*a\.nii by up to 0\.01"
    ):
        read_labels(save(tmp_path / "far.nii", labels, moved), image)


def test_unset_spacing_counts_as_one(tmp_path):
    nii = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.uint8), None)
    nii.header["pixdim"][1:4] = [0, 2, np.nan]
    nibabel.save(nii, tmp_path / "a.nii")
    assert read_image(tmp_path / "a.nii").spacing == (1.0, 2.0, 1.0)


@settings(max_examples=25, deadline=None)
@given(
    values=hnp.arrays(
        dtype=st.sampled_from([np.dtype(t) for t in ("u1", ">i2", "<u2", "i4", "f4", ">f8")]),
        shape=hnp.array_shapes(min_dims=2, max_dims=3, max_side=4),
        elements=st.integers(0, 100),
    )
)
def test_any_array_comes_back(tmp_path_factory, values):
    path = save(tmp_path_factory.mktemp("nifti") / "a.nii", values)
    image = read_image(path)
    assert np.array_equal(image.data[0], values)
    assert (peek_image(path).data.shape, peek_image(path).data.dtype) == (image.data.shape, image.data.dtype)
    write_mask(path.with_name("m.nii"), values.astype(np.uint8), image)
    assert np.array_equal(read_labels(path.with_name("m.nii"), image), values)
