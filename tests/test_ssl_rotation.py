"""Turns: how many are legal, that they are turns, that they come undone."""

from collections import Counter

import numpy as np
import pytest
import torch
from test_ssl_parts import tiny_encoder

from pretrain.method import Setting
from pretrain.rotation import Rotation, Turn, turns
from wsseg.unet import Encoder, plan_encoder

ISOTROPIC, FLAT = (1.0, 1.0, 1.0), (3.0, 1.0, 1.1)


@pytest.mark.parametrize(
    ("spacing", "kind", "count"),
    [
        ((1.0, 1.0), "all", 4),
        ((1.0, 2.0), "all", 2),
        (ISOTROPIC, "all", 24),
        (ISOTROPIC, "axes", 10),
        (ISOTROPIC, "plane", 4),
        (FLAT, "all", 8),
        (FLAT, "plane", 4),
        ((1.0, 1.0, 4.0), "all", 8),
        ((1.0, 2.0, 4.0), "all", 4),
    ],
)
def test_how_many_turns_there_are(spacing, kind, count):
    found = turns(spacing, kind)
    assert len(set(found)) == len(found) == count
    assert found[0] == Turn(tuple(range(len(spacing))), (False,) * len(spacing))


@pytest.mark.parametrize("spacing", [(1.0, 1.0), ISOTROPIC, FLAT])
def test_turns_are_a_group_without_mirror_images(spacing):
    dims = len(spacing)
    matrices = []
    for turn in turns(spacing):
        matrix = np.zeros((dims, dims))
        for new, (old, mirrored) in enumerate(zip(turn.order, turn.mirrored, strict=True)):
            matrix[new, old] = -1 if mirrored else 1
        assert np.linalg.det(matrix) == pytest.approx(1)
        matrices.append(matrix)
    keys = {m.tobytes() for m in matrices}
    assert len(keys) == len(matrices)
    for a in matrices:
        assert all((a @ b + 0.0).tobytes() in {(m + 0.0).tobytes() for m in matrices} for b in matrices)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), ISOTROPIC, FLAT])
def test_undone_gives_the_image_back_and_all_turns_differ(spacing):
    dims = len(spacing)
    images = torch.randn(2, 1, *(4,) * dims)
    results = set()
    for turn in turns(spacing):
        assert torch.equal(turn.undo(turn.apply(images)), images)
        results.add(turn.apply(images).numpy().tobytes())
    assert len(results) == len(turns(spacing))


def test_turns_of_a_picture_are_those_of_torch():
    image = torch.randn(1, 1, 5, 5)
    found = [turn.apply(image) for turn in turns((1.0, 1.0))]
    for k in range(4):
        assert sum(torch.equal(torch.rot90(image, k, (2, 3)), f) for f in found) == 1


def test_the_coarse_axis_stays_where_it_is():
    volume = torch.arange(4.0).view(1, 1, 4, 1, 1).expand(1, 1, 4, 4, 4)
    for turn in turns(FLAT):
        turned = turn.apply(volume)
        assert torch.equal(turned.amin((3, 4)), turned.amax((3, 4)))  # slices are still slices


def make(spacing, size, **options) -> Rotation:
    encoder = plan_encoder(channels_in=1, spacing=spacing, size=size, channels=(4, 8))
    return Rotation(Encoder(encoder), Setting(size, spacing, "other", 50, 0), **options)


def test_labels_tell_the_turn_and_are_uniform(dims):
    method = make((1.0,) * dims, (16,) * dims)
    method.size = (16,) * dims  # whole crops, so that they can be turned back
    images = torch.randn(24, 1, *(16,) * dims)
    seen = Counter()
    for _ in range(20):
        turned, labels = method.draw(images)
        assert turned.shape == (48, 1, *(16,) * dims)
        assert (labels[:24] != labels[24:]).all()  # two different turns of each image
        for index, label in enumerate(labels.tolist()):
            back = method.turns[label].undo(turned[index : index + 1])[0]
            assert torch.equal(back, images[index % 24])
        seen.update(labels.tolist())
        assert len(set(labels[:24].tolist())) > 1  # one draw an image
    expected = 20 * 48 / len(method.turns)
    assert len(seen) == len(method.turns)
    assert max(abs(count - expected) for count in seen.values()) < 5 * expected**0.5


def test_windows_keep_their_shape_under_every_turn():
    method = make((3.0, 1.0, 1.0), (8, 32, 24))
    turned, labels = method.draw(torch.randn(4, 1, 8, 32, 24))
    assert turned.shape[3] == turned.shape[4]
    assert method(torch.randn(4, 1, 8, 32, 24), labels[:4]).item() > 0
    assert method.metrics["chance"] == pytest.approx(1 / 8)


def test_fewer_kinds_of_turns_can_be_asked_for():
    method = make(ISOTROPIC, (16,) * 3, kind="axes", copies=1)
    assert method.head[-1].out_features == 10
    assert len(method.draw(torch.randn(5, 1, 16, 16, 16))[1]) == 5


def test_crops_too_small_are_refused():
    encoder = tiny_encoder(2)
    with pytest.raises(ValueError, match="smaller than the encoder takes"):
        Rotation(encoder, Setting((16, 1), (1.0, 1.0), "other", 50, 0))
