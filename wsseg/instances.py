"""How good instances are: predicted objects matched with true ones.

Two objects match at a threshold t where their IoU is above t. From t = 0.5 on each object then has at most
one partner (two partners would have to share voxels), so no assignment has to be solved; that is why
thresholds start there. Per threshold, with TP matched pairs, FP and FN unmatched predicted and true objects:

- precision TP/(TP+FP), recall TP/(TP+FN), F1 2TP/(2TP+FP+FN);
- `ap` is TP/(TP+FP+FN), averaged over t = 0.5, 0.55 … 0.95: the score of the 2018 Data Science Bowl.

Where there are no objects in either mask every one of them is 1; a precision or recall without objects to
divide by is 0 otherwise.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))


@dataclass(frozen=True)
class Matches:
    """Predicted and true objects of one image.

    Attributes:
        iou: For each true object the largest IoU with any predicted object, 0 where none overlaps.
        truth: How many true objects there are.
        predicted: How many predicted objects there are.
        hits: For each of `THRESHOLDS`, how many pairs match.
    """

    iou: np.ndarray
    truth: int
    predicted: int
    hits: tuple[int, ...]

    def scores(self) -> dict[str, Any]:
        """Mean IoU per true object (None without one), `ap`, and the rest by threshold, ready for JSON."""
        tp = np.array(self.hits, float)
        objects = self.truth + self.predicted
        nothing = objects == 0
        by_name = {
            "f1": np.ones_like(tp) if nothing else 2 * tp / objects,
            "precision": np.full_like(tp, nothing) if not self.predicted else tp / self.predicted,
            "recall": np.full_like(tp, nothing) if not self.truth else tp / self.truth,
        }
        ap = 1.0 if nothing else float(np.mean(tp / (objects - tp)))
        tables = {
            name: {f"{t:g}": float(v) for t, v in zip(THRESHOLDS, values, strict=True)}
            for name, values in by_name.items()
        }
        return {"mean_iou": float(self.iou.mean()) if self.truth else None, "ap": ap, **tables}


def match_objects(predicted: np.ndarray, truth: np.ndarray) -> Matches:
    """Match the objects of two instance maps.

    Args:
        predicted: Whole numbers (*S) ≥ 0; 0 = background, every other value is one object.
        truth: The same.

    Raises:
        ValueError: The shapes differ, or a value is below 0.
    """
    if predicted.shape != truth.shape:
        raise ValueError(
            f"predicted has shape {predicted.shape}, truth {truth.shape}; both must be the same."
        )
    if predicted.min(initial=0) < 0 or truth.min(initial=0) < 0:
        raise ValueError("Instance maps hold whole numbers from 0 on; there are values below 0.")
    # the table of overlaps is far too large to hold densely, so pairs that occur are counted as one number
    some = (predicted != 0) | (truth != 0)
    mine, theirs = predicted[some].astype(np.int64), truth[some].astype(np.int64)
    base = int(mine.max(initial=0)) + 1
    pairs, voxels = np.unique(theirs * base + mine, return_counts=True)
    rows, columns = pairs // base, pairs % base
    true_ids, row = np.unique(rows, return_inverse=True)
    predicted_ids, column = np.unique(columns, return_inverse=True)
    true_sizes = np.bincount(row, voxels)
    predicted_sizes = np.bincount(column, voxels)

    real = (rows != 0) & (columns != 0)
    iou = voxels / (true_sizes[row] + predicted_sizes[column] - voxels)
    best = np.zeros(len(true_ids))
    np.maximum.at(best, row[real], iou[real])
    return Matches(
        iou=best[true_ids != 0],
        truth=int(np.count_nonzero(true_ids)),
        predicted=int(np.count_nonzero(predicted_ids)),
        hits=tuple(int(np.count_nonzero(iou[real] > t)) for t in THRESHOLDS),
    )
