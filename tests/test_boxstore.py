"""Rounds on disk: there and back, and damage told."""

import numpy as np
import pytest

from wsseg.boxes import Segment, core, ellipse, unknown
from wsseg.boxstore import Verdict, load_round, save_round
from wsseg.errors import InputError
from wsseg.hints import Box


def some(dims):
    boxes = [Box((1,) * dims, (8,) * dims, 1, 5), Box((3,) * dims, (6,) * dims, 2, 9)]
    segments: list[Segment] = [core(boxes[0]), ellipse(boxes[1])]
    verdicts = [
        Verdict(5, "kept", "", 0.25, 0.5, 0.125),
        Verdict(9, "reset", "fills 10 % of its box – zu wenig", 0.1, 0.0, 1.0),
    ]
    return boxes, segments, verdicts


def test_there_and_back(tmp_path, dims):
    boxes, segments, verdicts = some(dims)
    save_round(tmp_path / "a" / "b.npz", segments, verdicts)
    found, told = load_round(tmp_path / "a" / "b.npz", boxes)
    assert told == verdicts
    for one, other in zip(segments, found, strict=True):
        assert one.box == other.box
        assert np.array_equal(one.mask, other.mask)
        assert np.array_equal(one.known, other.known)


def test_an_image_without_boxes(tmp_path):
    save_round(tmp_path / "none.npz", [], [])
    assert load_round(tmp_path / "none.npz", []) == ([], [])


def test_other_boxes_and_damage_are_told(tmp_path, dims):
    boxes, segments, verdicts = some(dims)
    path = tmp_path / "b.npz"
    save_round(path, segments, verdicts)
    with pytest.raises(InputError, match="other boxes"):
        load_round(path, boxes[:1])
    grown = [boxes[0], Box((0,) * dims, (9,) * dims, 2, 9)]
    with pytest.raises(InputError, match="other boxes"):
        load_round(path, grown)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="damaged"):
        load_round(path, boxes)
    np.savez(path, anything=np.zeros(3))
    with pytest.raises(InputError, match="damaged"):
        load_round(path, boxes)


def test_a_bit_a_voxel(tmp_path):
    box = Box((0, 0), (200, 100), 1, 1)
    save_round(tmp_path / "b.npz", [unknown(box)], [Verdict(1, "kept", "", 0, 0, 0)])
    assert (tmp_path / "b.npz").stat().st_size < 2 * 200 * 100 / 8 + 3000
