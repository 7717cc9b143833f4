"""Permutations as far apart as the literature's best; tiles of their cells; the answer undone."""

from collections import Counter

import numpy as np
import pytest
import torch
from test_ssl_parts import tiny_encoder

from pretrain.jigsaw import Jigsaw
from pretrain.method import Setting
from pretrain.permutations import far_permutations, least_distance
from pretrain.tiles import PLAIN, cut_tiles, prepare, tiling
from wsseg.unet import Encoder, plan_encoder


@pytest.mark.parametrize(("tiles", "count", "least"), [(9, 100, 6), (8, 100, 5), (27, 100, 24), (4, 4, 4)])
def test_the_set_is_far_apart(tiles, count, least):
    orders = far_permutations(tiles, count)
    assert orders.shape == (count, tiles)
    assert (np.sort(orders, 1) == np.arange(tiles)).all()
    slow = min((orders[i] != orders[j]).sum() for i in range(count) for j in range(i))
    assert slow == least_distance(orders) >= least


def test_there_are_no_more_orders_than_there_are():
    assert len(far_permutations(3, 100)) == 6
    assert least_distance(far_permutations(3, 1)) == 3


def test_the_seed_decides():
    far_permutations.cache_clear()
    first = far_permutations(8, 20, 1)
    far_permutations.cache_clear()
    assert (far_permutations(8, 20, 1) == first).all()
    assert (far_permutations(8, 20, 2) != first).any()


@pytest.mark.parametrize(
    ("size", "spacing", "divisor", "grid", "tile"),
    [
        ((96, 96), (1, 1), (8, 8), (3, 3), (24, 24)),
        ((255, 255), (1, 1), (1, 1), (3, 3), (63, 63)),  # the paper's cells of 85; its tiles have 64
        ((48, 48), (1, 1), (8, 8), (2, 2), (16, 16)),  # nine would have no gaps between them
        ((48, 48, 48), (1, 1, 1), (8, 8, 8), (2, 2, 2), (16, 16, 16)),
        ((96, 96, 96), (1, 1, 1), (8, 8, 8), (3, 3, 3), (24, 24, 24)),
        ((12, 96, 96), (5, 1, 1), (2, 8, 8), (1, 3, 3), (8, 24, 24)),  # slices are not cut apart
    ],
)
def test_tiles_suit_size_and_spacing(size, spacing, divisor, grid, tile):
    assert tiling(size, spacing, divisor) == (grid, tile)


def test_crops_too_small_are_refused_with_what_would_do():
    with pytest.raises(ValueError, match=r"too small to be cut into tiles: at least \(38, 38\)"):
        tiling((37, 37), (1, 1), (8, 8))
    assert tiling((38, 38), (1, 1), (8, 8)) == ((2, 2), (16, 16))


def make(dims: int, **options) -> Jigsaw:
    size = {2: (24, 24), 3: (16, 16, 16)}[dims]
    return Jigsaw(tiny_encoder(dims), Setting(size, (1.0,) * dims, "other", 50, 0), **options)


def test_tiles_come_from_their_cells_with_gaps_and_jitter(dims):
    method = make(dims)
    size = {2: (24, 24), 3: (16, 16, 16)}[dims]
    where = torch.arange(float(np.prod(size))).view(1, 1, *size).repeat(6, 1, *[1] * dims)
    tiles = cut_tiles(where, method.grid, method.tile, method.views.generator)
    cell = np.array(size) // method.grid
    assert tiles.shape == (6, np.prod(method.grid), 1, *method.tile)
    starts = set()
    for image in tiles:
        for number, tile in enumerate(image[:, 0]):
            places = np.stack(np.unravel_index(tile.numpy().astype(int).ravel(), size), 1)
            low = np.array(np.unravel_index(number, method.grid)) * cell
            assert (places.min(0) >= low).all()
            assert (places.max(0) < low + cell).all()
            assert (places.max(0) - places.min(0) + 1 == method.tile).all()
            starts.add(tuple(places.min(0) - low))
    assert len(starts) > 3  # cut at a place of its own each


def test_every_tile_is_normalised_on_its_own(dims):
    method = make(dims)
    tiles = torch.randn(5, 1, *method.tile) * 3 + torch.arange(5.0).view(-1, *[1] * (dims + 1)) * 10
    done = prepare(tiles, method.views).flatten(1)
    assert torch.allclose(done.mean(1), torch.zeros(5), atol=1e-4)
    assert torch.allclose(done.square().mean(1), torch.ones(5), atol=1e-3)


def test_labels_tell_the_order_in_which_tiles_are_laid(dims, monkeypatch):
    """With each tile's number for its code, the head sees exactly the orders of the labels."""
    method = make(dims, copies=3)
    number = int(np.prod(method.grid))
    seen = {}

    def code(features):
        tiles = torch.arange(number).repeat(len(features) // number)
        return tiles.float().view(-1, 1)

    def head(laid):
        seen["laid"] = laid
        return torch.zeros(len(laid), len(method.orders), requires_grad=True)

    monkeypatch.setattr(method, "draw", lambda count: seen.setdefault("labels", draw(count)))
    draw = Jigsaw.draw.__get__(method)
    del method.code, method.head
    method.code, method.head = code, head
    size = {2: (24, 24), 3: (16, 16, 16)}[dims]
    method(torch.randn(4, 1, *size), torch.arange(4))
    assert torch.equal(seen["laid"].long(), method.orders[seen["labels"].flatten()])


def test_orders_are_uniform_and_differ_between_copies():
    method = make(2, orders=10, copies=2)
    counts = Counter()
    for _ in range(100):
        labels = method.draw(10)
        assert labels.shape == (2, 10)
        assert (labels[0] != labels[1]).all()
        counts.update(labels.flatten().tolist())
    assert len(counts) == 10
    assert max(abs(n - 200) for n in counts.values()) < 70


def test_images_of_too_many_flat_tiles_do_not_count(dims):
    method = make(dims)
    size = {2: (24, 24), 3: (16, 16, 16)}[dims]
    images = torch.randn(3, 1, *size)
    images[1] *= PLAIN / 10  # nothing but faint noise
    half = [slice(None)] * dims
    half[0] = slice(0, size[0] // 3)
    images[(2, 0, *half)] = 0  # some flat tiles; the rest tells the order
    method(images, torch.arange(3))
    assert method.metrics["solvable"] == pytest.approx(2 / 3)
    assert method(images[1:2].repeat(2, *[1] * (dims + 1)), torch.arange(2)).item() == 0


def test_far_apart_slices():
    plan = plan_encoder(channels_in=1, spacing=(5.0, 1.0, 1.0), size=(6, 24, 24), channels=(4, 8))
    method = Jigsaw(Encoder(plan), Setting((6, 24, 24), (5.0, 1.0, 1.0), "mr", 50, 0))
    assert method.grid == (1, 3, 3)
    assert method(torch.randn(2, 1, 6, 24, 24), torch.arange(2)).isfinite()
