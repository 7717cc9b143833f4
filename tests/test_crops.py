"""Boxes on a common grid: against a polynomial that linear sampling keeps, and there and back again."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.crops import MARGIN, SIDES, cut_boxes, radius, resample, side_of
from wsseg.hints import Box

SHAPE = {2: (40, 50), 3: (30, 24, 40)}
BOX = {2: Box((10, 12), (26, 28), 1, 7), 3: Box((8, 6, 10), (16, 14, 18), 1, 7)}


def ramp(dims, slopes=(1.0, -2.0, 0.5)):
    """A linear function of the position, which linear sampling gives back exactly."""
    grid = np.indices(SHAPE[dims]).astype(np.float32)
    return sum(s * g for s, g in zip(slopes, grid, strict=False))[None]


@pytest.mark.parametrize("dims", [2, 3])
def test_a_linear_image_is_sampled_exactly(dims):
    box, side = BOX[dims], SIDES[dims][0]
    found = resample(ramp(dims), box, side)[0].numpy()
    margin = round(MARGIN * side)
    sides = np.subtract(box.stop, box.start)
    cells = (np.indices(found.shape).reshape(dims, -1).T - margin + 0.5) / side
    places = np.array(box.start) + cells * sides - 0.5
    expected = places @ np.array((1.0, -2.0, 0.5)[:dims])
    assert np.allclose(found.ravel(), expected, atol=1e-3)


@pytest.mark.parametrize("dims", [2, 3])
def test_there_and_back_is_the_same_on_the_box(dims):
    box, image = BOX[dims], ramp(dims)
    crops = cut_boxes(image, [box], SIDES[dims][0], [box])
    back = crops.to_box(0, resample(image, box, crops.side)[0])
    place = tuple(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))
    assert np.allclose(back, image[0][place], atol=0.1)


def test_a_fine_pattern_is_averaged_and_not_aliased():
    stripes = (np.indices((320, 320))[1] % 2).astype(np.float32)[None]
    box = Box((96, 96), (224, 224), 1, 1)
    assert np.allclose(resample(stripes, box, 32), 0.5, atol=0.02)


@pytest.mark.parametrize("dims", [2, 3])
def test_cells_outside_the_image_and_in_other_boxes_are_marked(dims):
    size = (16, 16, 16)[:dims]
    box = Box((0,) * dims, (8,) * dims, 1, 1)
    other = Box((8,) + (0,) * (dims - 1), (16,) + (8,) * (dims - 1), 1, 2)
    side = SIDES[dims][0]
    crops = cut_boxes(np.random.default_rng(0).normal(size=(1, *size)), [box], side, [box, other])
    margin = round(MARGIN * side)
    assert not crops.valid[0, : margin - side // 8].any()  # half a voxel's rim belongs to the image
    assert crops.valid[0][crops.inside].all()
    assert not crops.others[0][crops.inside].any()
    beside = (slice(margin + side, None), *[slice(margin, margin + side)] * (dims - 1))
    assert crops.others[0][beside].all()
    assert crops.inside.sum() == side**dims


@pytest.mark.parametrize("dims", [2, 3])
def test_rivals_are_largest_in_the_middle_of_the_other_box(dims):
    box = Box((0,) * dims, (16,) * dims, 1, 1)
    other = Box((8,) + (0,) * (dims - 1), (24,) + (16,) * (dims - 1), 1, 2)  # centred on this one's last face
    image = np.random.default_rng(0).normal(size=(1, *(40,) * dims))
    crops = cut_boxes(image, [box], SIDES[dims][0], [box, other])
    side, margin = crops.side, round(MARGIN * crops.side)
    middle = (margin + side // 2,) * (dims - 1)
    line = crops.rivals[0][(slice(margin, margin + side), *middle)].numpy()
    cells = (np.arange(side) + 0.5) / side * 16  # from the box's first face, voxels
    across = (0.5 / side * 2) ** 2 * (dims - 1)  # the middle lies half a cell beside the centre
    assert np.allclose(line, np.maximum(0, 1 - ((cells - 16) / 8) ** 2 - across), atol=1e-3)
    assert cut_boxes(image, [box], SIDES[dims][0], [box]).rivals.sum() == 0


@pytest.mark.parametrize("dims", [2, 3])
def test_crops_are_standardised_each_by_itself(dims):
    image = np.random.default_rng(0).normal(5, 3, (2, *SHAPE[dims])).astype(np.float32)
    crops = cut_boxes(image, [BOX[dims]] * 2, SIDES[dims][0], [BOX[dims]])
    assert torch.allclose(crops.guide.flatten(1).mean(1), torch.zeros(2), atol=1e-4)
    assert torch.allclose(crops.guide.flatten(1).std(1, unbiased=False), torch.ones(2), atol=1e-4)
    constant = cut_boxes(np.full((1, *SHAPE[dims]), 7.0), [BOX[dims]], SIDES[dims][0], [])
    assert torch.equal(constant.guide, torch.zeros_like(constant.guide))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_box_in_any_image_can_be_cut(data):
    dims = data.draw(st.sampled_from([2, 3]))
    shape = data.draw(st.tuples(*[st.integers(1, 20)] * dims))
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    box = Box(start, stop, 1, 1)
    crops = cut_boxes(np.indices(shape).sum(0)[None], [box], side_of(box), [box])
    assert torch.isfinite(crops.guide).all()
    back = crops.to_box(0, torch.ones_like(crops.guide[0, 0]))
    assert back.shape == tuple(b - a for a, b in zip(start, stop, strict=True))
    assert np.allclose(back, 1)


def test_large_boxes_get_the_finer_grid():
    assert side_of(Box((0, 0), (20, 30), 1, 1)) == SIDES[2][0]
    assert side_of(Box((0, 0), (90, 60), 1, 1)) == SIDES[2][1]
    assert side_of(Box((0,) * 3, (40,) * 3, 1, 1)) == SIDES[3][1]


def test_the_radius_is_one_on_the_ellipse_and_on_the_faces():
    ellipse, box = radius(32, 2), radius(32, 2, power=np.inf)
    assert (ellipse <= 1).float().sum() / (box < 1).float().sum() == pytest.approx(np.pi / 4, abs=0.01)
