"""Matching of objects: hand-made cases and a slow double loop."""

import numpy as np
import pytest

from wsseg.instances import THRESHOLDS, match_objects


def row(*lengths_and_ids):
    """A 1 x N instance map: (length, id) runs."""
    return np.concatenate([np.full(n, k) for n, k in lengths_and_ids])[None]


def test_by_hand():
    truth = row((10, 1), (5, 0), (10, 2), (5, 0), (4, 7))
    predicted = row((8, 3), (7, 0), (10, 9), (9, 0))  # IoU 0.8, 1.0, and one missed
    predicted[0, 11] = 4  # and one of background
    found = match_objects(predicted, truth)
    assert found.iou.tolist() == [0.8, 1.0, 0.0]
    assert (found.truth, found.predicted) == (3, 3)
    # above 0.5 … 0.75 both pairs match, from 0.8 on only the exact one: 0.8 is not above 0.8
    assert found.hits == (2, 2, 2, 2, 2, 2, 1, 1, 1, 1)
    scores = found.scores()
    assert scores["mean_iou"] == pytest.approx(0.6)
    assert scores["f1"]["0.5"] == pytest.approx(2 / 3)
    assert scores["f1"]["0.95"] == pytest.approx(1 / 3)
    assert scores["precision"]["0.75"] == pytest.approx(2 / 3)
    assert scores["ap"] == pytest.approx((6 * 2 / 4 + 4 * 1 / 5) / 10)
    assert list(scores["f1"]) == ["0.5", "0.55", "0.6", "0.65", "0.7", "0.75", "0.8", "0.85", "0.9", "0.95"]


def test_iou_equal_to_the_threshold_is_no_match():
    assert match_objects(row((5, 1), (5, 0)), row((10, 1))).hits == (0,) * 10  # IoU 0.5
    assert match_objects(row((6, 1), (4, 0)), row((10, 1))).hits[:3] == (1, 1, 0)  # IoU 0.6


@pytest.mark.parametrize("shape", [(40, 50), (10, 20, 20)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_against_a_double_loop(shape, seed):
    truth = grown(shape, seed)
    predicted = np.roll(truth, 1, axis=-1) * 3
    predicted[..., :9] = 0
    found = match_objects(predicted.astype(np.uint16), truth)
    ious = np.array(
        [
            [
                np.sum((truth == t) & (predicted == p)) / np.sum((truth == t) | (predicted == p))
                for p in np.unique(predicted)[1:]
            ]
            for t in np.unique(truth)[1:]
        ]
    )
    np.testing.assert_allclose(found.iou, ious.max(1))
    assert found.hits == tuple(int((ious > t).sum()) for t in THRESHOLDS)
    # the claim in the module's head: nobody has two partners above one half
    assert ((ious > 0.5).sum(0) <= 1).all()
    assert ((ious > 0.5).sum(1) <= 1).all()


def grown(shape, seed):
    """A map of 12 cells around random centres."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    centres = rng.random((12, len(shape))) * shape
    distances = np.linalg.norm(grid[..., None, :] - centres, axis=-1)
    return np.where(distances.min(-1) < min(shape) / 4, distances.argmin(-1) + 1, 0)


def test_nothing_anywhere_is_perfect_and_one_side_empty_is_not():
    empty, some = np.zeros((4, 4), int), np.eye(4, dtype=int)
    both = match_objects(empty, empty).scores()
    assert both["mean_iou"] is None
    assert both["ap"] == both["f1"]["0.5"] == both["precision"]["0.5"] == both["recall"]["0.9"] == 1
    for pair in ((empty, some), (some, empty)):
        scores = match_objects(*pair).scores()
        assert (
            scores["ap"] == scores["f1"]["0.5"] == scores["precision"]["0.5"] == scores["recall"]["0.5"] == 0
        )
    assert match_objects(empty, some).scores()["mean_iou"] == 0


def test_large_ids_and_wrong_input():
    big = np.full((3, 3), 2**31 - 1, np.int64)
    assert match_objects(big, big).scores()["ap"] == 1
    with pytest.raises(ValueError, match="shape"):
        match_objects(np.zeros((2, 2), int), np.zeros((2, 3), int))
    with pytest.raises(ValueError, match="below 0"):
        match_objects(np.full((2, 2), -1), np.zeros((2, 2), int))
