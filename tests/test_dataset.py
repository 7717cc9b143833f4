"""The dataset folder: what belongs together, hint maps with foreign values, mixes of images."""

import json

import nibabel
import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wsseg.dataset import Item, open_dataset
from wsseg.errors import InputError
from wsseg.hints import Box, Click, Tag


def picture(path, values=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.ones((4, 5), np.uint8) if values is None else values).save(path)


def volume(path, values=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.ones((3, 4, 5), np.uint8) if values is None else values
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4), dtype=values.dtype), path)


def classes(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "classes.json").write_text(json.dumps(names))


@pytest.mark.parametrize("make", [picture, volume])
def test_everything_about_an_image_comes_together(tmp_path, make):
    suffix = ".png" if make is picture else ".nii.gz"
    shape = (4, 5) if make is picture else (3, 4, 5)
    scribbles, mask = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    scribbles[0], scribbles[1] = 255, 2
    mask[2] = 1
    make(tmp_path / f"images/a{suffix}")
    make(tmp_path / f"images/b{suffix}")
    make(tmp_path / f"hints/a{suffix}", scribbles)
    make(tmp_path / f"masks/a{suffix}", mask)
    classes(tmp_path, {"1": "nucleus", "2": "wall"})
    (tmp_path / "clicks.csv").write_text(
        "image,class,axis-0,axis-1,axis-2\n" + ("a,wall,1,2,3\n" if len(shape) == 3 else "a,wall,1,2,\n")
    )
    (tmp_path / "tags.csv").write_text("image,class\na,1\n")
    key, numbers = ("bbox3d", [0, 1, 2, 1, 1, 1]) if len(shape) == 3 else ("bbox", [2, 1, 1, 1])
    coco = {
        "images": [{"id": 1, "file_name": f"a{suffix}"}],
        "categories": [{"id": 1, "name": "wall"}],
        "annotations": [{"id": 5, "image_id": 1, "category_id": 1, key: numbers}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(coco))
    dataset = open_dataset(tmp_path)
    first, second = dataset.items
    assert first == Item("a", *[tmp_path / kind / f"a{suffix}" for kind in ("images", "hints", "masks")])
    assert second == Item("b", tmp_path / f"images/b{suffix}")
    image, hints = dataset.read(first)
    assert image.data.shape == (1, *shape)
    assert np.array_equal(hints.scribbles, scribbles)
    assert np.array_equal(hints.mask, mask)
    assert hints.clicks == (Click((1.0, 2.0, 3.0)[: len(shape)], 2),)
    start = (0, 1, 2)[-len(shape) :]
    assert hints.boxes == (Box(start, tuple(s + 1 for s in start), 2, 5),)
    assert hints.tags == {Tag(1)}
    hints.check(dataset.classes)
    assert dataset.read(second)[1].is_empty()
    assert (dataset.dims, dataset.channels, dataset.rgb) == (len(shape), 1, False)


def test_classes_come_from_what_is_marked(tmp_path):
    for stem in "abc":
        picture(tmp_path / f"images/{stem}.png")
    picture(tmp_path / "hints/a.png", np.full((4, 5), 7, np.uint8))
    picture(tmp_path / "masks/b.png", np.eye(4, 5, dtype=np.uint8) * 3)
    (tmp_path / "clicks.csv").write_text("image,class,axis-0,axis-1\nc,0,1,1\nc,5,1,1\n")
    (tmp_path / "tags.csv").write_text("image,class\na,9\n")
    assert open_dataset(tmp_path).classes == {k: f"class {k}" for k in (3, 5, 7, 9)}
    classes(tmp_path, {"3": "x", "5": "y", "7": "z", "9": "w", "11": "v"})
    assert open_dataset(tmp_path).classes == {3: "x", 5: "y", 7: "z", 9: "w", 11: "v"}


def test_clicks_of_napari_in_a_file_for_each_image(tmp_path):
    picture(tmp_path / "images/a.png")
    (tmp_path / "clicks").mkdir()
    (tmp_path / "clicks/a.csv").write_text("index,axis-0,axis-1\n0,1,2\n")
    (tmp_path / "clicks.csv").write_text("image,class,axis-0,axis-1\na,1,3,4\n")
    assert open_dataset(tmp_path).clicks == {"a": (Click((3.0, 4.0), 1), Click((1.0, 2.0), 1))}
    (tmp_path / "clicks/b.csv").write_text("index,axis-0,axis-1\n0,1,2\n")
    with pytest.raises(InputError, match=r"b\.csv: there is no image “b”"):
        open_dataset(tmp_path)


def test_foreign_hint_maps(tmp_path):
    """Both values are replaced at once: here 0 means background and 255 unknown."""
    picture(tmp_path / "images/a.png")
    picture(tmp_path / "hints/a.png", np.array([[0, 255, 1, 2, 0]] * 4, np.uint8))
    dataset = open_dataset(tmp_path, unknown=255, background=0)
    assert np.array_equal(dataset.read(dataset.items[0])[1].scribbles, [[255, 0, 1, 2, 255]] * 4)
    assert dataset.classes == {1: "class 1", 2: "class 2"}


def test_foreign_values_below_zero(tmp_path):
    picture(tmp_path / "images/a.png")
    (tmp_path / "hints").mkdir()
    tifffile.imwrite(tmp_path / "hints/a.tif", np.array([[-1, 0, 1, 0, -1]] * 4, np.float32))
    dataset = open_dataset(tmp_path, unknown=-1, background=0)
    assert np.array_equal(dataset.read(dataset.items[0])[1].scribbles, [[0, 255, 1, 255, 0]] * 4)
    alone = open_dataset(tmp_path)
    with pytest.raises(InputError, match=r"a\.tif: the value -1 is an unknown class.*--unknown -1 or"):
        alone.read(alone.items[0])


@settings(max_examples=40, deadline=None)
@given(
    values=hnp.arrays(np.uint8, st.just((4, 5)), elements=st.integers(0, 9)),
    unknown=st.none() | st.integers(0, 9),
    background=st.none() | st.integers(0, 9),
)
def test_any_foreign_hint_map(tmp_path_factory, values, unknown, background):
    folder = tmp_path_factory.mktemp("dataset")
    picture(folder / "images/a.png")
    picture(folder / "hints/a.png", values)
    if unknown is not None and unknown == background:
        with pytest.raises(InputError, match="they must differ"):
            open_dataset(folder, unknown=unknown, background=background)
        return
    dataset = open_dataset(folder, unknown=unknown, background=background)
    found = dataset.read(dataset.items[0])[1].scribbles
    for old, new in zip(values.ravel().tolist(), found.ravel().tolist(), strict=True):
        assert new == (0 if old == unknown else 255 if old == background else old)


def test_an_unknown_class_in_a_hint_map(tmp_path):
    picture(tmp_path / "images/a.png")
    picture(tmp_path / "hints/a.png", np.array([[0, 255, 1, 2, 254]] * 4, np.uint8))
    classes(tmp_path, {"1": "nucleus", "2": "wall"})
    dataset = open_dataset(tmp_path)
    sentence = (
        r"a\.png: the value 254 is an unknown class; known are 1 \(nucleus\), 2 \(wall\), .*"
        "or use --unknown 254 or --background 254"
    )
    with pytest.raises(InputError, match=sentence):
        dataset.read(dataset.items[0])
    dataset = open_dataset(tmp_path, background=254)
    assert dataset.read(dataset.items[0])[1].scribbles[0].tolist() == [0, 255, 1, 2, 255]


@pytest.mark.parametrize("value", [255, 300, 3])
def test_an_unknown_class_in_a_mask(tmp_path, value):
    picture(tmp_path / "images/a.png")
    picture(tmp_path / "masks/a.png", np.full((4, 5), value, np.uint16))
    classes(tmp_path, {"1": "nucleus"})
    dataset = open_dataset(tmp_path)
    with pytest.raises(InputError, match=rf"masks/a\.png: the value {value} is an unknown class"):
        dataset.read(dataset.items[0])


def test_grey_joins_colour(tmp_path):
    grey, colour = np.full((4, 5), 9, np.uint8), np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    picture(tmp_path / "images/a.png", grey)
    picture(tmp_path / "images/b.png", colour)
    dataset = open_dataset(tmp_path)
    assert (dataset.channels, dataset.rgb) == (3, True)
    first, second = (dataset.read(item)[0] for item in dataset.items)
    assert np.array_equal(first.data, np.stack([grey] * 3))
    assert np.array_equal(second.data, np.moveaxis(colour, -1, 0))
    assert first.rgb
    assert second.rgb


def test_other_mixes_are_refused(tmp_path):
    (tmp_path / "images").mkdir()
    picture(tmp_path / "images/a.png")
    for stem, count in (("b", 2), ("c", 2)):
        values = np.ones((count, 4, 5), np.uint8)
        tifffile.imwrite(tmp_path / f"images/{stem}.tif", values, metadata={"axes": "CYX"})
    dataset = open_dataset(tmp_path)
    with pytest.raises(InputError, match=r"b\.tif: has 2 channels where a\.png has 1; .* grey and RGB"):
        _ = dataset.channels
    volume(tmp_path / "images/d.nii.gz")
    with pytest.raises(InputError, match=r"d\.nii\.gz: has 3 spatial axes where a\.png has 2"):
        _ = open_dataset(tmp_path).dims


def test_channels_can_be_named(tmp_path):
    volume(tmp_path / "images/a.nii.gz", np.ones((3, 4, 5, 2), np.float32))
    volume(tmp_path / "hints/a.nii.gz", np.ones((3, 4, 5), np.uint8))
    dataset = open_dataset(tmp_path, channel_axis=3)
    assert dataset.channels == 2
    image, hints = dataset.read(dataset.items[0])
    assert image.data.shape == (2, 3, 4, 5)
    assert hints.scribbles.shape == (3, 4, 5)


def test_folders_that_are_no_dataset(tmp_path):
    with pytest.raises(InputError, match="has no folder images/"):
        open_dataset(tmp_path)
    with pytest.raises(InputError, match="nope: there is no such folder; check the name"):
        open_dataset(tmp_path / "nope")
    (tmp_path / "images").mkdir()
    (tmp_path / "images/notes.txt").write_text("none yet")
    with pytest.raises(InputError, match="images: holds no image"):
        open_dataset(tmp_path)


def test_equal_stems_and_strangers(tmp_path):
    picture(tmp_path / "images/a.png")
    picture(tmp_path / "hints/b.png")
    with pytest.raises(InputError, match=r"hints/b\.png: there is no image with the stem “b”"):
        open_dataset(tmp_path)
    picture(tmp_path / "images/b.png")
    picture(tmp_path / "images/b.jpg")
    with pytest.raises(InputError, match=r"b\.png: has the same stem “b” as .*b\.jpg"):
        open_dataset(tmp_path)


def test_what_does_not_fit_its_image(tmp_path):
    volume(tmp_path / "images/a.nii.gz")
    volume(tmp_path / "hints/a.nii.gz", np.ones((5, 4, 3), np.uint8))
    dataset = open_dataset(tmp_path)
    with pytest.raises(InputError, match=r"hints/a\.nii\.gz: has shape \(5, 4, 3\) but .*images/a\.nii\.gz"):
        dataset.read(dataset.items[0])
    values = np.ones((3, 4, 5), np.float32)
    values[1, 1, 1] = np.nan
    volume(tmp_path / "images/a.nii.gz", values)
    with pytest.raises(InputError, match="1 of 60 voxels are NaN or infinite"):
        dataset.read(dataset.items[0])
