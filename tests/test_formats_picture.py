"""PNG and JPEG: modes of Pillow, palettes, labels, broken files."""

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wsseg.errors import InputError
from wsseg.images import peek_image, read_image, read_labels, write_mask, write_probabilities


def numbers(*shape, top=255, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, top, shape).astype(dtype)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (numbers(10, 12), numbers(10, 12)[None]),
        (numbers(10, 12, top=60000, dtype=np.uint16), numbers(10, 12, top=60000, dtype=np.uint16)[None]),
        (numbers(10, 12) > 100, (numbers(10, 12) > 100)[None]),
        (numbers(10, 12, 2), numbers(10, 12, 2)[None, ..., 0]),
        (numbers(10, 12, 3), np.moveaxis(numbers(10, 12, 3), -1, 0)),
        (numbers(10, 12, 4), np.moveaxis(numbers(10, 12, 4), -1, 0)[:3]),
    ],
)
def test_png_modes(tmp_path, values, wanted):
    path = tmp_path / "a.png"
    PIL.Image.fromarray(values).save(path)
    image = read_image(path)
    assert np.array_equal(image.data, wanted)
    assert image.rgb == (len(wanted) == 3)
    assert image.spacing == (1.0, 1.0)
    peeked = peek_image(path)
    assert (peeked.data.shape, peeked.data.dtype, peeked.rgb) == (wanted.shape, image.data.dtype, image.rgb)


def test_grey_stored_as_colour_stays_colour(tmp_path):
    grey = numbers(10, 12)
    PIL.Image.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.rgb
    assert np.array_equal(image.data, np.stack([grey] * 3))


def test_a_palette_becomes_its_colours_but_keeps_its_labels(tmp_path):
    indices = numbers(10, 12, top=3)
    picture = PIL.Image.fromarray(indices, mode=None).convert("P")
    picture.putdata(indices.ravel().tolist())
    colours = [(10, 20, 30), (200, 0, 0), (0, 99, 255)]
    picture.putpalette([c for colour in colours for c in colour])
    picture.save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.rgb
    assert np.array_equal(image.data, np.moveaxis(np.array(colours, np.uint8)[indices], -1, 0))
    assert np.array_equal(read_labels(tmp_path / "a.png"), indices)


@pytest.mark.parametrize(("name", "mode"), [("a.jpg", "L"), ("a.JPEG", "RGB"), ("b.jpg", "CMYK")])
def test_jpeg(tmp_path, name, mode):
    picture = PIL.Image.fromarray(numbers(16, 24, 3)).convert(mode)
    picture.save(tmp_path / name, format="JPEG")
    image = read_image(tmp_path / name)
    wanted = np.asarray(PIL.Image.open(tmp_path / name).convert("L" if mode == "L" else "RGB"))
    assert np.array_equal(image.data, wanted[None] if mode == "L" else np.moveaxis(wanted, -1, 0))


def test_labels_from_jpeg_or_colours_are_refused(tmp_path):
    PIL.Image.fromarray(numbers(10, 12)).save(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"a\.jpg: JPEG changes the labels"):
        read_labels(tmp_path / "a.jpg")
    PIL.Image.fromarray(numbers(10, 12, 3)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: has colours where labels are expected"):
        read_labels(tmp_path / "a.png")
    grey = numbers(10, 12, top=3)
    PIL.Image.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / "b.png")
    assert np.array_equal(read_labels(tmp_path / "b.png"), grey)


def test_resolution_comes_back(tmp_path):
    PIL.Image.fromarray(numbers(10, 12)).save(tmp_path / "a.png", dpi=(300, 150))
    image = read_image(tmp_path / "a.png")
    write_mask(tmp_path / "m.png", numbers(10, 12), image)
    with PIL.Image.open(tmp_path / "a.png") as source, PIL.Image.open(tmp_path / "m.png") as back:
        assert back.info["dpi"] == source.info["dpi"]


def test_probabilities_of_a_picture_are_tiff(tmp_path):
    PIL.Image.fromarray(numbers(10, 12)).save(tmp_path / "a.png")
    probabilities = np.random.default_rng(0).random((3, 10, 12)).astype(np.float32)
    write_probabilities(tmp_path / "p.tif", probabilities, read_image(tmp_path / "a.png"))
    assert np.array_equal(read_image(tmp_path / "p.tif").data, probabilities)
    with pytest.raises(InputError, match=r"p\.png: a PNG holds no probabilities; \.tif"):
        write_probabilities(tmp_path / "p.png", probabilities, read_image(tmp_path / "a.png"))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("kept", [0.01, 0.5, 0.9])
def test_a_file_cut_short_is_told(tmp_path, suffix, kept):
    PIL.Image.fromarray(numbers(60, 50, 3)).save(tmp_path / f"whole{suffix}")
    whole = (tmp_path / f"whole{suffix}").read_bytes()
    (tmp_path / f"cut{suffix}").write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InputError, match=rf"cut{suffix}: is not a readable PNG or JPEG"):
        read_image(tmp_path / f"cut{suffix}")


def test_damage_inside_is_told(tmp_path):
    PIL.Image.fromarray(numbers(60, 50)).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png: is not a readable PNG"):
        read_image(tmp_path / "a.png")


def test_a_large_picture_is_no_attack(tmp_path, monkeypatch):
    PIL.Image.fromarray(numbers(60, 50)).save(tmp_path / "a.png")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 2000)
    assert read_image(tmp_path / "a.png").shape == (60, 50)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match="too large for a picture; a TIFF or OME-Zarr is right"):
        read_image(tmp_path / "a.png")


@settings(max_examples=25, deadline=None)
@given(
    mask=hnp.arrays(
        dtype=st.sampled_from([np.uint8, np.uint16]),
        shape=hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    )
)
def test_any_mask_comes_back(tmp_path_factory, mask):
    folder = tmp_path_factory.mktemp("picture")
    PIL.Image.fromarray(mask).save(folder / "a.png")
    image = read_image(folder / "a.png")
    write_mask(folder / "m.png", mask, image)
    assert np.array_equal(read_labels(folder / "m.png", image), mask)
