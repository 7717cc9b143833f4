"""OME-Zarr: what ome-zarr-py writes we read, what we write it reads; slices are lazy and equal numpy's."""

import warnings

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.errors import InputError
from wsseg.formats.omezarr import LazyArray
from wsseg.images import (
    Image,
    mask_path,
    mask_writer,
    read_image,
    read_labels,
    write_mask,
    write_probabilities,
)

with warnings.catch_warnings():
    # ome-zarr 0.18 calls its own deprecated Scaler while it is imported
    warnings.simplefilter("ignore", DeprecationWarning)
    from ome_zarr.format import FormatV04, FormatV05
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader
    from ome_zarr.writer import write_image

FORMATS = [FormatV04(), FormatV05()]
SCALES = {"t": 1.0, "c": 1.0, "z": 2.0, "y": 0.5, "x": 0.25}


def numbers(*shape, dtype=np.uint16):
    return np.random.default_rng(0).integers(0, 1000, shape).astype(dtype)


def save(path, values, axes, version="0.5", *, chunks=None, whole=None, dtype=None):
    """OME-Zarr by hand, so that scale, translation and chunks are what the test says."""
    new = version == "0.5"
    group = zarr.create_group(store=str(path), zarr_format=3 if new else 2)
    array = group.create_array(
        "s0", shape=values.shape, chunks=chunks or values.shape, dtype=dtype or values.dtype
    )
    array[...] = values
    kinds = {"t": "time", "c": "channel"}
    multiscales = {
        "version": version,
        "axes": [{"name": a, "type": kinds.get(a, "space"), "unit": "micrometer"} for a in axes],
        "datasets": [
            {
                "path": "s0",
                "coordinateTransformations": [
                    {"type": "scale", "scale": [SCALES[a] for a in axes]},
                    {"type": "translation", "translation": [float(i) for i in range(len(axes))]},
                ],
            }
        ],
    }
    if whole:
        multiscales["coordinateTransformations"] = whole
    if new:
        group.attrs["ome"] = {"version": version, "multiscales": [multiscales]}
    else:
        group.attrs["multiscales"] = [multiscales]
    return path


@pytest.mark.parametrize("fmt", FORMATS, ids=lambda f: f.version)
@pytest.mark.parametrize("axes", ["yx", "zyx", "cyx", "czyx", "tcyx"])
def test_what_ome_zarr_writes_is_read(tmp_path, fmt, axes):
    values = numbers(*[{"t": 4, "c": 2, "z": 5, "y": 20, "x": 30}[a] for a in axes])
    path = tmp_path / "a.ome.zarr"
    scale = {a: SCALES[a] for a in axes}
    write_image(values, str(path), axes=axes, fmt=fmt, scale_factors=[], scale=scale)
    image = read_image(path)
    wanted = values if "c" in axes else values[None]
    wanted = wanted.swapaxes(0, 1) if axes == "tcyx" else wanted
    assert isinstance(image.data, LazyArray)
    assert np.array_equal(np.asarray(image.data), wanted)
    assert image.spacing == tuple(SCALES[a] for a in axes if a != "c")
    assert image.kind == "zarr"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["yx", "czyx"])
def test_what_we_write_ome_zarr_reads(tmp_path, version, axes):
    shape = [{"c": 2, "z": 5, "y": 20, "x": 30}[a] for a in axes]
    image = read_image(save(tmp_path / "a.ome.zarr", numbers(*shape), axes, version))
    mask = (numbers(*image.shape) % 3).astype(np.uint8)
    path = mask_path(tmp_path / "out", "a", image)
    assert path.name == "a.ome.zarr"
    write_mask(path, mask, image)
    (node,) = list(Reader(parse_url(str(path)))())
    assert np.array_equal(np.asarray(node.data[0]), mask)
    space = [a for a in axes if a != "c"]
    assert [a["name"] for a in node.metadata["axes"]] == space
    scale, translation = node.metadata["coordinateTransformations"][0]
    assert scale["scale"] == [SCALES[a] for a in space]
    assert translation["translation"] == [float(axes.index(a)) for a in space]
    assert np.array_equal(read_labels(path, image), mask)
    assert read_image(path).geometry == image.geometry
    assert zarr.open_group(str(path), mode="r").metadata.zarr_format == (3 if version == "0.5" else 2)


def test_transformations_of_the_whole_image_count_and_come_back(tmp_path):
    whole = [{"type": "scale", "scale": [1.0, 10.0, 10.0, 10.0]}]
    image = read_image(save(tmp_path / "a.zarr", numbers(2, 3, 4, 5), "czyx", whole=whole))
    assert image.spacing == (20.0, 5.0, 2.5)
    write_mask(tmp_path / "m.ome.zarr", np.ones((3, 4, 5), np.uint8), image)
    back = read_image(tmp_path / "m.ome.zarr")
    assert back.spacing == image.spacing
    assert back.geometry["transformations"][1] == [{"type": "scale", "scale": [10.0, 10.0, 10.0]}]


@pytest.mark.parametrize(
    ("shape", "axes", "wanted"),
    [
        ((1, 2, 1, 20, 30), "tczyx", (2, 20, 30)),
        ((1, 2, 5, 20, 30), "tczyx", (2, 5, 20, 30)),
        ((4, 2, 1, 20, 30), "tczyx", (2, 4, 20, 30)),
        ((1, 20, 30), "zyx", (1, 1, 20, 30)),
    ],
)
def test_padding_is_left_out(tmp_path, shape, axes, wanted):
    values = numbers(*shape)
    image = read_image(save(tmp_path / "a.ome.zarr", values, axes))
    assert image.data.shape == wanted
    assert np.array_equal(np.sort(np.asarray(image.data), axis=None), np.sort(values, axis=None))
    write_mask(tmp_path / "m.ome.zarr", np.ones(image.shape, np.uint8), image)
    assert read_labels(tmp_path / "m.ome.zarr", image).shape == image.shape


def test_time_and_depth_at_once_are_refused(tmp_path):
    path = save(tmp_path / "a.zarr", numbers(2, 1, 3, 4, 5), "tczyx")
    with pytest.raises(InputError, match=r"a\.zarr: has the axes .* split it"):
        read_image(path)


def test_other_zarr_is_told(tmp_path):
    zarr.create_group(store=str(tmp_path / "a.zarr"))
    with pytest.raises(InputError, match=r"a\.zarr: is Zarr without OME-NGFF metadata"):
        read_image(tmp_path / "a.zarr")
    (tmp_path / "b.zarr").mkdir()
    with pytest.raises(InputError, match=r"b\.zarr: is not a readable OME-Zarr"):
        read_image(tmp_path / "b.zarr")
    with pytest.raises(InputError, match="holds complex numbers"):
        read_image(save(tmp_path / "c.zarr", np.ones((3, 4), np.complex64), "yx"))


def test_the_one_image_of_bioformats2raw_is_found(tmp_path):
    path = tmp_path / "a.zarr"
    group = zarr.create_group(store=str(path), zarr_format=2)
    group.attrs["bioformats2raw.layout"] = 3
    save(path / "0", numbers(3, 4, 5), "zyx", "0.4")
    assert read_image(path).shape == (3, 4, 5)
    save(path / "1", numbers(3, 4, 5), "zyx", "0.4")
    with pytest.raises(InputError, match="holds 2 images; name one of them"):
        read_image(path)


def test_a_damaged_chunk_is_told_when_it_is_read(tmp_path):
    path = save(tmp_path / "a.zarr", numbers(4, 5, 6), "zyx", chunks=(2, 5, 6))
    image = read_image(path)
    chunk = path / "s0" / "c" / "1" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:10])
    assert image.data[:, :2].shape == (1, 2, 5, 6)
    with pytest.raises(InputError, match=r"a\.zarr: a chunk can't be read"):
        image.data[:, 2:]


@pytest.mark.parametrize("dtype", ["?", ">u2", "<i4", "f4", ">f8"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_values_keep_their_type(tmp_path, dtype, version):
    values = numbers(3, 4, 5, dtype=dtype)
    image = read_image(save(tmp_path / "a.zarr", values, "zyx", version))
    assert image.data[0].dtype == image.data.dtype
    assert image.data.dtype == (np.uint8 if dtype == "?" else np.dtype(dtype).newbyteorder("="))
    assert np.array_equal(image.data[0], values)


def test_a_mask_is_written_block_by_block(tmp_path):
    image = read_image(save(tmp_path / "a.zarr", numbers(6, 8, 10), "zyx", chunks=(2, 8, 10)))
    wanted = np.zeros((6, 8, 10), np.uint16)
    with mask_writer(tmp_path / "m.ome.zarr", image, np.uint16) as mask:
        assert not isinstance(mask, np.ndarray)
        assert mask.shape == image.shape
        for start in range(0, 6, 4):
            block = numbers(*wanted[start : start + 4, 1:7].shape)
            mask[start : start + 4, 1:7] = wanted[start : start + 4, 1:7] = block
        assert not (tmp_path / "m.ome.zarr").exists()
    assert np.array_equal(read_labels(tmp_path / "m.ome.zarr", image), wanted)

    def stop():
        with mask_writer(tmp_path / "n.ome.zarr", image) as mask:
            mask[0] = 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "m.ome.zarr"]


@pytest.mark.parametrize(
    ("shape", "chunks", "wanted"),
    [
        ((3, 40, 50), (2, 16, 64), (2, 16, 50)),
        ((40, 4, 300), (40, 4, 300), (32, 4, 256)),
    ],
)
def test_chunks_are_the_images_but_not_too_large(tmp_path, shape, chunks, wanted):
    image = read_image(save(tmp_path / "a.zarr", numbers(*shape), "zyx", chunks=chunks))
    write_mask(tmp_path / "m.ome.zarr", np.ones(shape, np.uint8), image)
    assert zarr.open_group(str(tmp_path / "m.ome.zarr"), mode="r")["0"].chunks == wanted


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_probabilities_are_channels_first(tmp_path, version):
    image = read_image(save(tmp_path / "a.zarr", numbers(3, 4, 5), "zyx", version))
    probabilities = np.random.default_rng(0).random((2, 3, 4, 5)).astype(np.float16)
    write_probabilities(tmp_path / "p.ome.zarr", probabilities, image)
    back = read_image(tmp_path / "p.ome.zarr")
    assert np.array_equal(np.asarray(back.data), probabilities)
    assert back.spacing == image.spacing


def test_a_numpy_image_can_be_written_as_ome_zarr(tmp_path):
    image = Image(data=np.zeros((1, 3, 4, 5)), spacing=(3.0, 2.0, 1.0))
    write_mask(tmp_path / "m.ome.zarr", np.ones((3, 4, 5), np.uint8), image)
    assert read_image(tmp_path / "m.ome.zarr").spacing == (3.0, 2.0, 1.0)


KEYS = st.one_of(
    st.integers(-2, 1),
    st.slices(4),
).filter(lambda k: not isinstance(k, slice) or k.step is None or k.step > 0)


@settings(max_examples=80, deadline=None)
@given(
    axes=st.sampled_from(["yx", "zyx", "czyx", "tcyx", "cyx"]),
    keys=st.lists(KEYS, max_size=4),
    ellipsis=st.integers(0, 4),
)
def test_slices_equal_numpys(axes, keys, ellipsis):
    shape = [{"t": 4, "c": 2, "z": 3, "y": 4, "x": 5}[a] for a in axes]
    values = numbers(*shape)
    array = zarr.create_array(store=zarr.storage.MemoryStore(), data=values, chunks=(2,) * len(shape))
    channel = axes.index("c") if "c" in axes else None
    order = (channel, *[i for i in range(len(axes)) if i != channel])
    wanted = values[None] if channel is None else np.moveaxis(values, channel, 0)
    lazy = LazyArray(array, order, None)
    keys = keys[: wanted.ndim]
    if channel is None and keys and keys[0] in (1, -2):
        keys[0] = 0
    if ellipsis <= len(keys):
        keys.insert(ellipsis, Ellipsis)
    key = tuple(keys)
    assert lazy.shape == wanted.shape
    assert np.array_equal(lazy[key], wanted[key])
    assert lazy[key].shape == wanted[key].shape


def test_slices_that_are_not_basic_are_refused():
    array = zarr.create_array(store=zarr.storage.MemoryStore(), data=numbers(3, 4))
    lazy = LazyArray(array, (None, 0, 1), None)
    for key in (np.s_[:, ::-1], np.s_[0, 3], np.s_[0, 0, 0, 0], np.s_[..., ...]):
        with pytest.raises(IndexError):
            lazy[key]
