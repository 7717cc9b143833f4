"""Two folders of masks -> one report: predictions against the truth."""

from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wsseg.errors import InputError
from wsseg.formats.labels import count_values
from wsseg.images import peek_image, read_labels
from wsseg.instances import THRESHOLDS, Matches, match_objects
from wsseg.metrics import ABSENT, Scores, score_masks
from wsseg.robot_doubts import instance_doubts
from wsseg.steps import Step
from wsseg.whichmasks import list_masks
from wsseg.world import world_of

NAMES = ("dice", "iou", "hd95", "surface_dice")


def evaluate_folder(
    pred_dir: Path | str,
    truth_dir: Path | str,
    *,
    instances: bool = False,
    tolerance: float = 1.0,
    matching: bool = False,
) -> Generator[Step, None, dict[str, Any]]:
    """Measure every mask of a folder against the true one of the same stem.

    Args:
        pred_dir: Folder of masks, 0 = background.
        truth_dir: Folder of true masks; the spacing is taken from here.
        instances: The masks are instance maps, each value an object: all objects together count as class 1,
            and they are matched as well.
        tolerance: For the surface Dice, the distance that is still right, in the files' unit.
        matching: Score the truths that have a prediction and leave out the others, which flatters a model
            that failed on these; else each must have one.

    Yields:
        A `Step` an image.

    Returns:
        The report, ready for JSON. "classes": for each class id (as text) the mean of "dice", "iou", "hd95"
        and "surface_dice" over the images, and "n", the images averaged; None where no image has the class
        (distances). A class of any image counts in all: absent from both masks it scores 1 in overlap and is
        left out of distances, absent from one 0 and the image's diagonal. "mean": over the classes.
        "instances" (if asked for): "mean_iou" over all true objects, "ap" and, by threshold, "f1",
        "precision" and "recall", each the mean over images (see `wsseg.instances`); "n", the true objects.
        "unit": of all distances, such as "mm" or "pixels"; "" where no file says, None where they differ.
        "images": for each stem its own "classes", "mean" and "instances". "unmatched": the stems of masks in
        `pred_dir` that have no truth; "missing": those of truths that have no prediction and were left out.
        "doubts": what is odd about the true masks, see `wsseg.robot_doubts`.

    Raises:
        InputError: A folder holds no masks, a true mask has no predicted one (with `matching` none has), or
            two differ in shape.
    """
    predictions, truths = _masks(pred_dir), _masks(truth_dir)
    missing = [stem for stem in truths if stem not in predictions]
    if missing and not (matching and len(missing) < len(truths)):
        raise InputError(_missing_words(Path(pred_dir), missing, truths, matching))
    truths = {stem: path for stem, path in truths.items() if stem in predictions}
    scores: dict[str, dict[int, Scores]] = {}
    matches: dict[str, Matches] = {}
    values: dict[str, set[int]] = {}
    units: set[str] = set()
    for index, (stem, path) in enumerate(truths.items(), 1):
        like = peek_image(path)
        units.add(world_of(like).length)
        truth = read_labels(path)
        predicted = read_labels(predictions[stem], like)
        for labels, where in ((truth, path), (predicted, predictions[stem])):
            if labels.min(initial=0) < 0:
                raise InputError(f"{where}: holds values below 0; 0 is background, classes are from 1 on.")
        if instances:
            matches[stem] = match_objects(predicted, truth)
            predicted, truth = predicted != 0, truth != 0
        own = _classes(truth)
        values[stem] = set() if instances else own
        classes = own | _classes(predicted)
        scores[stem] = score_masks(predicted, truth, sorted(classes), like.spacing, tolerance)
        yield Step("evaluate", index, len(truths), info={"image": stem})
    unmatched = sorted(set(predictions) - set(truths))
    doubts = instance_doubts(values)
    unit = units.pop() if len(units) == 1 else None
    return {
        **_report(scores, matches),
        "unit": unit,
        "unmatched": unmatched,
        "missing": missing,
        "doubts": doubts,
    }


def _masks(folder: Path | str) -> dict[str, Path]:
    folder = Path(folder)
    if not folder.exists():
        raise InputError(f"{folder}: there is no such folder; check the name.")
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder; the folder of masks is right.")
    return list_masks(folder)


def _missing_words(pred_dir: Path, missing: list[str], truths: Mapping[str, Path], matching: bool) -> str:
    """That truths have no prediction, and what to do about it."""
    stem, *others = missing
    more = f", nor for {len(others)} more of {len(truths)} truths" if others else ""
    said = f"{pred_dir}: has no mask “{stem}” for {truths[stem]}{more}"
    if matching:
        return f"{said}; files are matched by their names less the suffix, and none has a partner."
    return f"{said}; predict what is missing, or add --matching to score the others alone."


def _classes(labels: np.ndarray) -> set[int]:
    if labels.dtype == bool:
        return {1} if labels.any() else set()
    return set(count_values(labels)) - {0}


def _report(scores: Mapping[str, Mapping[int, Scores]], matches: Mapping[str, Matches]) -> dict[str, Any]:
    # instances have one class by definition, also in a folder without a single object
    classes = [1] if matches else sorted({k for found in scores.values() for k in found})
    every = {stem: {k: found.get(k, ABSENT) for k in classes} for stem, found in scores.items()}
    report = _of_classes({k: [found[k] for found in every.values()] for k in classes})
    if matches:
        report["instances"] = _of_objects(matches.values())
    report["images"] = {}
    for stem, found in every.items():
        own = _of_classes({k: [score] for k, score in found.items()})
        if matches:
            own["instances"] = _of_objects([matches[stem]])
        report["images"][stem] = own
    return report


def _of_classes(scores: Mapping[int, list[Scores]]) -> dict[str, Any]:
    """ "classes" and "mean" of the scores by class."""
    classes = {
        str(k): {**{name: _mean(getattr(s, name) for s in found) for name in NAMES}, "n": len(found)}
        for k, found in scores.items()
    }
    return {
        "classes": classes,
        "mean": {name: _mean(values[name] for values in classes.values()) for name in NAMES},
    }


def _of_objects(matches: Iterable[Matches]) -> dict[str, Any]:
    matches = list(matches)
    each = [match.scores() for match in matches]
    iou = np.concatenate([match.iou for match in matches])
    report: dict[str, Any] = {
        "mean_iou": float(iou.mean()) if len(iou) else None,
        "ap": _mean(values["ap"] for values in each),
    }
    for name in ("f1", "precision", "recall"):
        report[name] = {f"{t:g}": _mean(values[name][f"{t:g}"] for values in each) for t in THRESHOLDS}
    return {**report, "n": len(iou)}


def _mean(values: Iterable[Any]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
