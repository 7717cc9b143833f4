"""The check of a classifier of tags, and where its scores are cut.

The check comes before anyone trusts a map: on held-back images, how well the scores part images with a class
from those without it (AUC), how often "there or not" is right, and how often a constant guess would be.
"""

import copy
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata

from wsseg.classifier import ClassifierConfig, TagModel, probabilities
from wsseg.heat import Heater
from wsseg.steps import Step
from wsseg.tagged import Tagged

CENTRED = 100  # images that offsets are found on, at most
CHANCE = 0.6  # AUC up to which a classifier has found nothing
SURE = 0.75  # AUC from which it has, however few images were held back
ONE_SIDED = 1.64  # standard deviations that chance reaches in 1 of 20 runs


def check_classifier(
    model: TagModel, held: Sequence[Tagged], device: str, words: str
) -> Generator[Step, None, dict[str, Any]]:
    """AUC and accuracy of each class on held-back images; a step an image.

    Returns:
        {"auc": {class id: AUC}, "accuracy": …, "constant": the better constant guess, "held_back": words,
        "meaningless": [class ids whose AUC is not clearly above 0.5]}.
    """
    heater = Heater(model, device=device)
    scores = []
    for index, one in enumerate(held, 1):
        scores.append(heater.score(one.image, one.statistics))
        yield Step("check", index, len(held), info={"file": one.bag.item.image.name})
    table = np.stack([one.present for one in held])
    said = np.stack(scores)
    guess = probabilities(torch.from_numpy(said), exclusive=model.config.exclusive).numpy() > 0.5
    found: dict[str, Any] = {"auc": {}, "accuracy": {}, "constant": {}, "held_back": words, "meaningless": []}
    for column, k in enumerate(model.config.class_ids):
        truth = table[:, column]
        area = auc(said[:, column], truth)
        found["auc"][str(k)] = area
        found["accuracy"][str(k)] = float((guess[:, column] == truth).mean())
        found["constant"][str(k)] = float(max(truth.mean(), 1 - truth.mean()))
        if area < least_auc(int(truth.sum()), int((~truth).sum())):
            found["meaningless"].append(k)
    return found


def check_words(config: ClassifierConfig) -> list[str]:
    """What the check of a classifier found, a line a class."""
    quality = config.quality or {}
    lines = []
    for k, name in config.classes.items():
        auc, right = quality["auc"][str(k)], quality["accuracy"][str(k)]
        line = f"Class {k} ({name}): AUC {auc:.2f}, right {right:.0%} (a constant guess: "
        line += f"{quality['constant'][str(k)]:.0%}), on {quality['held_back']} held back"
        lines.append(line + ("; its maps mean nothing." if k in quality["meaningless"] else "."))
    return lines


def centred(model: TagModel, tagged: Sequence[Tagged], device: str) -> TagModel:
    """The model with each class's offset moved to where 0 parts images with it from those without best.

    Training sees patches in varied colours and with each batch's own norms, whole images score differently;
    the order of images does not change by this, only the side of 0 that they are on.
    """
    if model.config.exclusive:
        return model
    some = tagged[:: -(-len(tagged) // CENTRED)]
    heater = Heater(model, device=device)
    scores = np.stack([heater.score(one.image, one.statistics) for one in some])
    table = np.stack([one.present for one in some])
    net = copy.deepcopy(model.net).cpu()
    with torch.no_grad():
        for column, (own, truth) in enumerate(zip(scores.T, table.T, strict=True)):
            if 0 < truth.sum() < len(truth):
                net.head.bias[column] -= best_cut(own, truth)
    return TagModel(model.config, net.eval())


def best_cut(scores: np.ndarray, truth: np.ndarray) -> float:
    """The middle of where a threshold has the best mean of both sides' shares that are right.

    Args:
        scores: (N,).
        truth: bool (N,), with at least one of either.
    """
    order = np.sort(scores)
    cuts = (order[1:] + order[:-1]) / 2
    right = np.array([((scores > cut)[truth].mean() + (scores <= cut)[~truth].mean()) for cut in cuts])
    best = cuts[right >= right.max() - 1e-9]
    return float(best[len(best) // 2])


def auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Area under the ROC curve: how often one of `truth` scores higher than one of the rest; ties count half.

    Args:
        scores: (N,).
        truth: bool (N,), with at least one of either.
    """
    there = int(truth.sum())
    ranks = rankdata(scores)[truth].sum()
    return float((ranks - there * (there + 1) / 2) / (there * (len(truth) - there)))


def least_auc(there: int, absent: int) -> float:
    """The AUC that chance alone hardly reaches with so many images with and without a class.

    The deviation of the AUC of random scores is √((m + n + 1) / 12mn) (Mann & Whitney 1947). With a handful
    of images that would ask for the impossible, so `SURE` is enough in any case.
    """
    deviation = np.sqrt((there + absent + 1) / (12 * there * absent))
    return float(np.clip(0.5 + ONE_SIDED * deviation, CHANCE, SURE))
