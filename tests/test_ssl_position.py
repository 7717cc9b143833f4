"""Relative position: labels are the neighbours' places."""

from collections import Counter

import numpy as np
import pytest
import torch
from test_ssl_parts import tiny_encoder

import pretrain.position
from pretrain.method import Setting
from pretrain.position import Position
from wsseg.unet import Encoder, plan_encoder

SIZE = {2: (24, 24), 3: (18, 18, 18)}


def make(dims: int, **options) -> Position:
    return Position(tiny_encoder(dims), Setting(SIZE[dims], (1.0,) * dims, "other", 50, 0), **options)


def test_labels_are_where_the_tiles_lie(dims, monkeypatch):
    """With a tile's place for its code, the label follows from the difference of the two codes."""
    method = make(dims, copies=3)
    size = SIZE[dims]
    axes = [torch.arange(float(n)) for n in size]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij")).repeat(4, 1, *[1] * dims)  # (N, d, *S)
    seen = {}

    def head(pairs):
        seen["difference"] = pairs[:, dims:] - pairs[:, :dims]
        return torch.zeros(len(pairs), method.neighbours, requires_grad=True)

    def draw(count):
        return seen.setdefault("labels", Position.draw(method, count))

    monkeypatch.setattr(pretrain.position, "prepare", lambda tiles, views: tiles)
    monkeypatch.setattr(method, "draw", draw)
    del method.code, method.head, method.encoder
    method.encoder = lambda tiles: [tiles]
    method.code, method.head = torch.nn.Identity(), head
    method(places, torch.arange(4))
    step = (seen["difference"] / (torch.tensor(size) / 3)).round().int().numpy()
    assert np.abs(step).max() == 1
    number = np.ravel_multi_index(tuple((step + 1).T), (3,) * dims)
    middle = 3**dims // 2
    assert (number != middle).all()
    assert (number - (number > middle) == seen["labels"].flatten().numpy()).all()


def test_neighbours_are_uniform_and_different():
    method = make(2, copies=4)
    counts = Counter()
    for _ in range(50):
        labels = method.draw(10)
        assert all(len(set(row)) == 4 for row in labels.tolist())
        counts.update(labels.flatten().tolist())
    assert sorted(counts) == list(range(8))
    assert max(abs(n - 250) for n in counts.values()) < 70


def test_pairs_with_a_flat_tile_do_not_count(dims):
    method = make(dims)
    images = torch.randn(3, 1, *SIZE[dims])
    centre = (slice(None), slice(None), *[slice(n // 3, 2 * n // 3) for n in SIZE[dims]])
    images[centre] = 0
    assert method(images, torch.arange(3)).item() == 0


def test_neighbours_in_the_plane_alone_where_slices_are_far_apart():
    plan = plan_encoder(channels_in=1, spacing=(5.0, 1.0, 1.0), size=(6, 24, 24), channels=(4, 8))
    method = Position(Encoder(plan), Setting((6, 24, 24), (5.0, 1.0, 1.0), "mr", 50, 0))
    assert method.neighbours == 8
    with pytest.raises(ValueError, match="too small to be cut into tiles: at least"):
        Position(Encoder(plan), Setting((6, 12, 12), (5.0, 1.0, 1.0), "mr", 50, 0))
