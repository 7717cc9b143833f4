"""TIFF against tifffile: axes by metadata, spacing, resolution, compression, broken files."""

import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wsseg.errors import InputError
from wsseg.images import peek_image, read_image, read_labels, write_mask, write_probabilities


def numbers(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def save(path, values, **options):
    tifffile.imwrite(path, values, **options)
    return path


@pytest.mark.parametrize(
    ("values", "options", "wanted"),
    [
        (numbers(20, 30), {}, numbers(20, 30)[None]),
        (numbers(5, 20, 30), {}, numbers(5, 20, 30)[None]),
        (numbers(5, 20, 30), {"metadata": None}, numbers(5, 20, 30)[None]),
        (numbers(1, 20, 30), {}, numbers(1, 20, 30)[None]),
        (numbers(3, 20, 30), {"photometric": "minisblack"}, numbers(3, 20, 30)[None]),
        (numbers(2, 20, 30), {"metadata": {"axes": "CYX"}}, numbers(2, 20, 30)),
        (
            numbers(5, 2, 20, 30),
            {"imagej": True, "metadata": {"axes": "ZCYX"}},
            numbers(5, 2, 20, 30).swapaxes(0, 1),
        ),
        (numbers(4, 20, 30), {"imagej": True, "metadata": {"axes": "TYX"}}, numbers(4, 20, 30)[None]),
        (
            numbers(4, 2, 20, 30),
            {"ome": True, "metadata": {"axes": "TCYX"}},
            numbers(4, 2, 20, 30).swapaxes(0, 1),
        ),
        (numbers(2, 4, 20, 30), {"ome": True, "metadata": {"axes": "CZYX"}}, numbers(2, 4, 20, 30)),
    ],
)
def test_axes_follow_the_metadata(tmp_path, values, options, wanted):
    path = save(tmp_path / "a.tif", values, **options)
    image = read_image(path)
    assert np.array_equal(image.data, wanted)
    assert not image.rgb
    assert peek_image(path).data.shape == wanted.shape


@pytest.mark.parametrize("separate", [False, True])
def test_colour_samples_are_rgb_without_alpha(tmp_path, separate):
    values = numbers(20, 30, 4)
    stored = np.moveaxis(values, -1, 0) if separate else values
    options = {"planarconfig": "separate"} if separate else {}
    path = save(tmp_path / "a.tif", stored, photometric="rgb", extrasamples=["unassalpha"], **options)
    image = read_image(path)
    assert image.rgb
    assert np.array_equal(image.data, np.moveaxis(values[..., :3], -1, 0))
    assert peek_image(path).rgb


def test_a_stack_of_colour_pages(tmp_path):
    values = numbers(5, 20, 30, 3)
    image = read_image(save(tmp_path / "a.tif", values, photometric="rgb"))
    assert image.rgb
    assert image.shape == (5, 20, 30)
    assert np.array_equal(image.data, np.moveaxis(values, -1, 0))


def test_channels_can_be_named(tmp_path):
    values = numbers(5, 3, 20, 30)
    path = save(tmp_path / "a.tif", values, photometric="minisblack")
    with pytest.raises(InputError, match=r"a\.tif: has the axes QQYX .* split the file, or say which axis"):
        read_image(path)
    assert np.array_equal(read_image(path, channel_axis=1).data, values.swapaxes(0, 1))
    plain = save(tmp_path / "b.tif", numbers(3, 20, 30), photometric="minisblack")
    assert read_image(plain, channel_axis=0).data.shape == (3, 20, 30)
    with pytest.raises(InputError, match="no axis 3"):
        read_image(plain, channel_axis=3)


def test_time_and_depth_at_once_are_refused(tmp_path):
    path = save(tmp_path / "a.tif", numbers(2, 3, 20, 30), imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(InputError, match=r"a\.tif: has the axes TZYX"):
        read_image(path)


def test_two_images_in_a_file_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(numbers(20, 30), metadata=None)
        writer.write(numbers(10, 12), metadata=None)
    with pytest.raises(InputError, match=r"a\.tif: holds 2 images"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", ["?", "u1", "<u2", ">u2", "i4", "f2", ">f4", "f8"])
def test_values_keep_their_type(tmp_path, dtype):
    values = numbers(4, 10, 12, dtype=dtype)
    byteorder = ">" if dtype.startswith(">") else "<"
    image = read_image(save(tmp_path / "a.tif", values, byteorder=byteorder, photometric="minisblack"))
    assert np.array_equal(image.data[0], values)
    assert image.data.dtype == (np.uint8 if dtype == "?" else np.dtype(dtype).newbyteorder("="))


def test_complex_is_refused(tmp_path):
    path = save(tmp_path / "a.tif", np.ones((4, 5), np.complex64))
    with pytest.raises(InputError, match="holds complex numbers"):
        read_image(path)


def test_imagej_spacing_and_resolution_come_back(tmp_path):
    path = save(
        tmp_path / "a.tif",
        numbers(5, 20, 30),
        imagej=True,
        resolution=(4.0, (7, 3)),
        metadata={"axes": "ZYX", "spacing": 2.5, "unit": "um"},
    )
    image = read_image(path)
    assert image.spacing == pytest.approx((2.5, 3 / 7, 0.25), abs=1e-12)
    write_mask(tmp_path / "m.tif", numbers(5, 20, 30), image)
    with tifffile.TiffFile(tmp_path / "m.tif") as back, tifffile.TiffFile(path) as source:
        assert back.series[0].axes == "ZYX"
        for name in ("spacing", "unit"):
            assert back.imagej_metadata[name] == source.imagej_metadata[name]
        for name in ("XResolution", "YResolution", "ResolutionUnit"):
            assert back.pages[0].tags[name].value == source.pages[0].tags[name].value
    assert read_image(tmp_path / "m.tif").spacing == image.spacing


@pytest.mark.parametrize("shape", [(20, 30), (5, 20, 30)])
def test_ome_sizes_come_back(tmp_path, shape):
    sizes = {"PhysicalSizeX": 0.1625, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.2}
    if len(shape) == 3:
        sizes["PhysicalSizeZ"] = 0.75
    metadata = {"axes": "ZYX"[-len(shape) :], **sizes}
    image = read_image(save(tmp_path / "a.ome.tif", numbers(*shape), metadata=metadata))
    assert image.spacing == (0.75, 0.2, 0.1625)[-len(shape) :]
    write_mask(tmp_path / "m.tif", numbers(*shape), image)
    back = read_image(tmp_path / "m.tif")
    assert back.spacing == image.spacing
    assert back.geometry["ome"]["PhysicalSizeXUnit"] == "µm"
    with tifffile.TiffFile(tmp_path / "m.tif") as tif:
        assert tif.is_ome


def test_a_printers_resolution_is_no_spacing_but_comes_back(tmp_path):
    options = {"resolution": (300, 300), "resolutionunit": "CENTIMETER"}
    path = save(tmp_path / "a.tif", numbers(5, 20, 30), **options)
    image = read_image(path)
    assert image.spacing == (1.0, 1.0, 1.0)
    write_mask(tmp_path / "m.tif", numbers(5, 20, 30), image)
    with tifffile.TiffFile(tmp_path / "m.tif") as back:
        assert back.pages[0].tags["XResolution"].value == (300, 1)
        assert back.pages[0].tags["ResolutionUnit"].value == 3


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("shape", [(20, 30), (5, 20, 30)])
@pytest.mark.parametrize("imagej", [False, True])
def test_probabilities_are_channels_first(tmp_path, dtype, shape, imagej):
    axes = {"axes": "ZYX"[-len(shape) :]}
    image = read_image(save(tmp_path / "a.tif", numbers(*shape), imagej=imagej, metadata=axes))
    probabilities = np.random.default_rng(0).random((3, *shape)).astype(dtype)
    write_probabilities(tmp_path / "p.tif", probabilities, image)
    assert np.array_equal(tifffile.imread(tmp_path / "p.tif"), probabilities)
    assert np.array_equal(read_image(tmp_path / "p.tif").data, probabilities)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("values", [numbers(4, 20, 30), numbers(4, 20, 30, dtype=np.uint16)])
def test_usual_compressions_are_read(tmp_path, compression, values):
    pages = [PIL.Image.fromarray(page) for page in values]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression=compression)
    image = read_image(tmp_path / "a.tif")
    assert np.array_equal(image.data[0], values)


def test_lzw_colour_is_read(tmp_path):
    values = numbers(20, 30, 3)
    PIL.Image.fromarray(values).save(tmp_path / "a.tif", compression="tiff_lzw")
    assert np.array_equal(read_image(tmp_path / "a.tif").data, np.moveaxis(values, -1, 0))


def test_a_palette_gives_its_indices(tmp_path):
    values = numbers(20, 30)
    colormap = np.zeros((3, 256), np.uint16)
    save(tmp_path / "a.tif", values, photometric="palette", colormap=colormap)
    assert np.array_equal(read_labels(tmp_path / "a.tif"), values)


@pytest.mark.parametrize("kept", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"imagej": True}, {"metadata": None}])
def test_a_file_cut_short_is_told(tmp_path, kept, options):
    whole = save(tmp_path / "whole.tif", numbers(10, 40, 50), **options).read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InputError, match=r"cut\.tif: is"):
        read_image(tmp_path / "cut.tif")


def test_pages_that_ome_names_must_be_there(tmp_path):
    content = save(tmp_path / "a.ome.tif", numbers(2, 20, 30), metadata={"axes": "ZYX"}).read_bytes()
    for name in (b"SizeZ", b"PlaneCount"):
        assert name + b'="2"' in content
        content = content.replace(name + b'="2"', name + b'="3"')
    (tmp_path / "a.ome.tif").write_bytes(content)
    with pytest.raises(InputError, match="its OME metadata names pages that are missing"):
        read_image(tmp_path / "a.ome.tif")


def test_a_unit_beyond_ascii_comes_back(tmp_path):
    metadata = {"axes": "ZYX", "unit": "Qm", "spacing": 0.5}
    path = save(tmp_path / "a.tif", numbers(5, 20, 30), imagej=True, metadata=metadata)
    path.write_bytes(path.read_bytes().replace(b"unit=Qm", b"unit=\xb5m"))
    image = read_image(path)
    write_mask(tmp_path / "m.tif", numbers(5, 20, 30), image)
    with tifffile.TiffFile(tmp_path / "m.tif") as back:
        assert back.imagej_metadata["unit"] == "\\u00B5m"  # as ImageJ writes it
    assert read_image(tmp_path / "m.tif").spacing == (0.5, 1.0, 1.0)


def test_big_files_and_pyramids(tmp_path):
    values = numbers(64, 64)
    assert np.array_equal(read_image(save(tmp_path / "big.tif", values, bigtiff=True)).data[0], values)
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as writer:
        writer.write(values, subifds=1, tile=(16, 16))
        writer.write(values[::2, ::2], subfiletype=1, tile=(16, 16))
    assert np.array_equal(read_image(tmp_path / "pyramid.tif").data[0], values)


def test_rubbish_is_told(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"no tiff at all" * 50)
    with pytest.raises(InputError, match=r"a\.tif: is not a readable TIFF"):
        read_image(tmp_path / "a.tif")


@settings(max_examples=25, deadline=None)
@given(
    mask=hnp.arrays(
        dtype=st.sampled_from([np.uint8, np.uint16]),
        shape=hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=5),
    )
)
def test_any_mask_comes_back(tmp_path_factory, mask):
    folder = tmp_path_factory.mktemp("tiff")
    save(folder / "a.tif", mask, photometric="minisblack", metadata={"axes": "ZYX"[-mask.ndim :]})
    image = read_image(folder / "a.tif")
    assert image.shape == mask.shape
    write_mask(folder / "m.tif", mask, image)
    assert np.array_equal(read_labels(folder / "m.tif", image), mask)
    assert np.array_equal(tifffile.imread(folder / "m.tif").reshape(mask.shape), mask)
