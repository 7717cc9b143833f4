"""A shape learned over the boxes of a class, for objects that look alike in their box: thin, bent, askew.

GrabCut (Rother et al. 2004) knows nothing of where in its box an object lies; we say an ellipse, which is
wrong for a hippocampus: it fills a seventh of its box. All boxes lie on one grid, so what the colours of one
box leave open, those of the others may tell. No truth is seen: the shape is as large as it must be to reach
the faces of a tight box, and it is used only where it is far smaller than the ellipse and masks are sharper.
"""

import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, label
from torch import Tensor

from wsseg.atomic import write_beside
from wsseg.boxes import THIN
from wsseg.boxfit import FitConfig, colour_score, fit_boxes
from wsseg.boximages import BoxImages
from wsseg.crops import SIDES, Crops, cut_boxes, radius
from wsseg.folder import Item
from wsseg.hints import Box
from wsseg.recipes import View, sharpness
from wsseg.steps import Step
from wsseg.tables import read_json

T = TypeVar("T")
Wish = Literal["auto", "learned", "ellipse"]
SAMPLE = 64  # boxes of a class that its shape is learned from
LEAST = 8  # with fewer of them there is nothing to learn from
TIMES = 2  # the boxes are fitted with the shape so far, and the shape is learned from them again
REACH = 0.9  # of the box along each axis: what the largest piece of the shape spans
SMOOTH = 0.044  # of the box's side
STEEP = 4 / 3  # most that a profile says; the ellipse's is 1 in the middle
FIT = FitConfig(turns=2)
BATCH = 16
FILE = "shapes.json"


@dataclass(frozen=True, eq=False)
class Learned:
    """The shape of a class, and whether it pays.

    Attributes:
        profile: float32 (*G) on the small grid, above 0 where the object is likely, as 1 − r² of an ellipse.
        sharp: Mean sharpness of the boxes' masks with it, 0 to 1; see `wsseg.recipes.sharpness`.
        ellipse: The same with the soft ellipse.
    """

    profile: Tensor
    sharp: float
    ellipse: float

    @property
    def size(self) -> float:
        """Of the shape, by that of the inscribed ellipse."""
        dims = self.profile.ndim
        round_ = radius(SIDES[dims][0], dims) < 1
        inside = radius(SIDES[dims][0], dims, power=np.inf) < 1
        return float(((self.profile > 0) & inside).sum() / round_.sum())

    @property
    def pays(self) -> bool:
        """Whether the objects are no ellipses, and their masks sharper with it."""
        return self.size < THIN and self.sharp > self.ellipse


def learn_shape(crops: Crops) -> Learned:
    """Learn a shape from boxes of one class.

    First from colours alone: how much likelier than its surroundings each cell is, the mean over all boxes.
    Then, in turns, each box is fitted with the shape so far and the shape is the mean of what was found.

    Args:
        crops: The boxes, of any images, on the small grid.
    """
    even = 0.5 * crops.inside.float().expand(len(crops.boxes), *crops.inside.shape)
    profile = _profile(crops, colour_score(crops, even).clamp(-6, 6))
    for _ in range(TIMES):
        profile = _profile(crops, torch.logit(_fitted(crops, profile), eps=0.002))
    sharp, ellipse = (
        float(np.mean([sharpness(one) for one in _fitted(crops, shape).numpy()])) for shape in (profile, None)
    )
    return Learned(profile, sharp, ellipse)


def _profile(crops: Crops, scores: Tensor) -> Tensor:
    """What the boxes say together, 0 at the border of the shape, in standard deviations within the box."""
    inside = crops.inside.numpy()
    mean = gaussian_filter(scores.mean(0).numpy(), SMOOTH * crops.side)
    mean = mean - _border(mean, inside, REACH * crops.side)
    profile = torch.from_numpy(mean / max(float(mean[inside].std()), 1e-6))
    return profile.clamp(-STEEP, STEEP).float()


def _border(values: np.ndarray, inside: np.ndarray, reach: float) -> float:
    """The largest value above which one piece in the box is `reach` cells long on every axis."""
    ordered = np.sort(values[inside])[::-1]
    low, high = 0, len(ordered) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if _spans(inside & (values > ordered[middle]), reach):
            high = middle
        else:
            low = middle
    return float(ordered[high])


def _spans(mask: np.ndarray, reach: float) -> bool:
    """Whether the largest connected piece of a mask is so many cells long along every axis."""
    pieces, count = label(mask)
    if not count:
        return False
    largest = np.nonzero(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1)
    return all(line.max() - line.min() + 1 >= reach for line in largest)


def _fitted(crops: Crops, profile: Tensor | None) -> Tensor:
    parts = (_part(crops, slice(at, at + BATCH)) for at in range(0, len(crops.boxes), BATCH))
    return torch.cat([fit_boxes(part, FIT, profile=profile) for part in parts])


def _part(crops: Crops, which: slice) -> Crops:
    return replace(
        crops,
        boxes=crops.boxes[which],
        guide=crops.guide[which],
        valid=crops.valid[which],
        others=crops.others[which],
        rivals=crops.rivals[which],
    )


def cut_together(parts: Iterable[tuple[View, Sequence[Box]]]) -> Crops:
    """Boxes of several images on the small grid, as one batch.

    Args:
        parts: What is seen of an image, and which of its boxes are wanted, one or more.
    """
    cut = [cut_boxes(view.values, boxes, SIDES[view.values.ndim - 1][0], view.boxes) for view, boxes in parts]
    return Crops(
        tuple(box for one in cut for box in one.boxes),
        cut[0].side,
        torch.cat([one.guide for one in cut]),
        torch.cat([one.valid for one in cut]),
        torch.cat([one.others for one in cut]),
        torch.cat([one.rivals for one in cut]),
    )


def learn_shapes(images: BoxImages, wish: Wish, room: Path) -> Generator[Step, None, dict[int, Learned]]:
    """The shapes of all classes that are used, kept in a working folder and taken from there another time.

    Args:
        images: Looked through already.
        wish: "auto", those that pay; "learned", all; "ellipse", none.
        room: The working folder.

    Returns:
        Class id to its shape; without the classes whose boxes are fitted with the soft ellipse.
    """
    if wish == "ellipse":
        return {}
    path = room / FILE
    if not path.is_file():
        found = {}
        for index, k in enumerate(images.classes, 1):
            chosen = _chosen(images, k)
            if len(chosen) >= LEAST:
                found[k] = learn_shape(cut_together(_opened(images, chosen)))
            yield Step("learn shapes", index, len(images.classes), info={"class": images.classes[k]})
        _save(path, found)
    learned = _load(path)
    return {k: one for k, one in learned.items() if wish == "learned" or one.pays}


def _chosen(images: BoxImages, class_id: int) -> list[tuple[Item, Box]]:
    """Boxes of a class from all over the dataset; looked through twice, never all held at once."""
    wanted = set(spread(range(sum(1 for _ in _all(images, class_id)))))
    return [pair for index, pair in enumerate(_all(images, class_id)) if index in wanted]


def _all(images: BoxImages, class_id: int) -> Iterator[tuple[Item, Box]]:
    for item in images.items:
        yield from ((item, box) for box in images.boxes(item) if box.class_id == class_id)


def spread(every: Sequence[T], most: int = SAMPLE) -> list[T]:
    """At most so many of them, evenly from the first to the last."""
    if len(every) <= most:
        return list(every)
    return [every[int(i)] for i in np.linspace(0, len(every) - 1, most)]


def _opened(images: BoxImages, chosen: Sequence[tuple[Item, Box]]) -> Iterator[tuple[View, list[Box]]]:
    """Image by image, so that one is in memory at a time."""
    for _, pairs in groupby(chosen, key=lambda pair: pair[0].stem):
        some = list(pairs)
        yield images.open(some[0][0]).view, [box for _, box in some]


def _save(path: Path, learned: Mapping[int, Learned]) -> None:
    content = {
        k: {"profile": one.profile.tolist(), "sharp": one.sharp, "ellipse": one.ellipse}
        for k, one in learned.items()
    }
    with write_beside(path) as fresh:
        fresh.write_text(json.dumps(content), encoding="utf-8")


def _load(path: Path) -> dict[int, Learned]:
    return {
        int(k): Learned(torch.tensor(row["profile"]), row["sharp"], row["ellipse"])
        for k, row in read_json(path).items()
    }
