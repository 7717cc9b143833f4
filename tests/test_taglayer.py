"""Tags on image layers: what is said of an image or a slice, what can't be said of both, and what is kin."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_plugin.layers import KEY
from napari_plugin.taglayer import Place, is_heat, kin, put_tags, said, tags_of, to_rows, with_said
from wsseg.errors import InputError
from wsseg.hints import Tag

NONE = frozenset[Tag]()


def layer(shape=(4, 5, 6), **options):
    values = np.random.default_rng(0).random(shape)
    return ViewerModel().add_image(values, name="scan", **options)


def test_tags_stand_in_the_metadata_as_plain_numbers_beside_what_is_there():
    image = layer(metadata={KEY: {"path": "a.tif"}, "by": "another plugin"})
    assert tags_of(image) is None
    tags = frozenset({Tag(2), Tag(1, 0, 3), Tag(0, 0, 2)})
    put_tags(image, tags)
    assert image.metadata[KEY] == {"path": "a.tif", "tags": [[0, 0, 2], [1, 0, 3], [2, None, None]]}
    assert image.metadata["by"] == "another plugin"
    assert tags_of(image) == tags
    put_tags(image, NONE)
    assert tags_of(image) == NONE
    put_tags(image, None)
    assert tags_of(image) is None
    assert to_rows([]) == []


@pytest.mark.parametrize(
    ("tags", "whole", "third"),
    [
        (None, None, None),
        (NONE, set(), set()),  # of an image without any class no slice has one
        ({Tag(2), Tag(4)}, {2, 4}, None),
        ({Tag(2, 0, 3), Tag(5, 0, 3)}, None, {2, 5}),
        ({Tag(0, 0, 3)}, None, set()),
        ({Tag(1, 0, 2)}, None, None),
        ({Tag(1, 1, 3)}, None, None),
        ({Tag(7), Tag(1, 0, 3)}, {7}, {1}),  # a dataset may say both
    ],
)
def test_what_is_said_of_the_image_and_of_a_slice(tags, whole, third):
    image = layer()
    put_tags(image, None if tags is None else frozenset(tags))
    assert said(Place(image)) == whole
    assert said(Place(image, 0, 3)) == third


def test_saying_something_of_a_place_changes_that_place_alone():
    image = layer()
    three, two = Place(image, 0, 3), Place(image, 0, 2)
    tags = with_said(None, three, frozenset({1, 2}))
    assert tags == {Tag(1, 0, 3), Tag(2, 0, 3)}
    tags = with_said(tags, two, frozenset())
    assert tags == {Tag(1, 0, 3), Tag(2, 0, 3), Tag(0, 0, 2)}
    tags = with_said(tags, three, frozenset({2}))
    assert tags == {Tag(2, 0, 3), Tag(0, 0, 2)}
    assert with_said(with_said(tags, three, None), two, None) is None
    whole = Place(image)
    assert with_said(None, whole, frozenset()) == NONE
    assert with_said(NONE, whole, frozenset({3})) == {Tag(3)}
    assert with_said({Tag(3)}, whole, None) is None


@pytest.mark.parametrize(
    ("tags", "place", "told"),
    [
        ({Tag(1, 0, 2)}, (None, None), "Slices of scan are tagged already"),
        ({Tag(1)}, (0, 2), "scan is tagged as a whole already"),
        (NONE, (0, 2), "scan is tagged as a whole already"),
        ({Tag(1, 1, 2)}, (0, 2), "tagged along axis 1 already, and axis 0 is the one"),
    ],
)
def test_what_would_lose_other_tags_is_refused(tags, place, told):
    with pytest.raises(InputError, match=told):
        with_said(frozenset(tags), Place(layer(), *place), frozenset({1}))


def test_images_go_together_that_have_as_many_axes_and_channels():
    viewer, values = ViewerModel(), np.random.default_rng(0).random((6, 7, 3))
    one = viewer.add_image(values[..., 0], name="one")
    heat = viewer.add_image(values[..., 0], name="heat", metadata={KEY: {"role": "heat", "of": "x"}})
    viewer.add_image(values, name="volume")
    rgb = viewer.add_image(values, name="colour", rgb=True)
    viewer.add_labels(np.zeros((6, 7), np.uint8))
    viewer.add_image(np.zeros((2, 2, 2, 2)), name="four axes")
    two = viewer.add_image(values[:3, :, 0], name="two, of another size")
    assert kin(viewer.layers, one) == [one, two]
    assert kin(viewer.layers, rgb) == [rgb]
    assert is_heat(heat)
    assert is_heat(viewer.add_image(values[..., 0], metadata={KEY: {"role": "doubt", "of": "x"}}))
    assert not is_heat(one)
