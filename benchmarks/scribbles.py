"""Scribbles: wsseg against pixel classification, random walker and a plain masked cross-entropy.

nuclei: robot scribbles of about 100 pixels an image, one run over all images. human: real scribbles of three
people on ten images; every image and person is a run of its own, because each image has its own object. All
methods get the same scribbles; Dice is that of the foreground over the whole image, the mean over images.

`forest` is scikit-image's TrainableSegmenter with its multi-scale features and its default forest, fitted on
each image alone; `walker` its random walker; `plain` our network with masked cross-entropy and nothing else.

`walk` is our own random walker alone; `ours` is `wsseg fit` and `wsseg predict --hints`, and the column
`network` what its model says without the strokes.
"""

import csv
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from skimage.feature import multiscale_basic_features
from skimage.future import TrainableSegmenter
from skimage.segmentation import random_walker

from benchmarks.common import keep, options, pack, table
from wsseg.device import choose_device, precision
from wsseg.fit import default_steps, fit_steps, make_sample, plan_model
from wsseg.hints import BACKGROUND, Hints
from wsseg.images import Image, in_colour, read_image, read_labels
from wsseg.losses import weighted_cross_entropy
from wsseg.normalise import Normalisation
from wsseg.patches import Sample
from wsseg.predict import Predictor
from wsseg.propagate import walk
from wsseg.robot import annotate
from wsseg.steps import finish
from wsseg.train import TrainConfig, Trainer

CLASSES = {1: "object"}
DIRECT = 2**19  # pixels; a larger image would take scikit-image's direct solver many minutes
TOUCHED = 127  # of 255: an anti-aliased stroke counts from half a pixel's cover


@dataclass(frozen=True, eq=False)
class Task:
    """One image with its scribbles and truth; tasks of the same group are learnt together."""

    group: str
    image: Image
    scribbles: np.ndarray
    truth: np.ndarray


def nuclei(seed: int, images: int | None) -> Iterator[Task]:
    """The robot scribbles on nuclei; the first `images` by name, None = all."""
    folder = pack("nuclei")
    for path in sorted((folder / "images").glob("*.png"))[:images]:
        image = read_image(path)
        truth = read_labels(folder / "labels" / f"{path.stem}.tif") > 0
        if image.channels == 1:  # grey and colour in one run: grey is repeated, as in a dataset folder
            image = in_colour(image)
        rng = np.random.default_rng([seed, int(path.stem[:8], 16)])
        hints = annotate(truth.astype(np.uint8), "scribbles", rng=rng, pixels=100)
        assert hints.scribbles is not None
        yield Task("nuclei", image, hints.scribbles, truth)


def human(seed: int, images: int | None) -> Iterator[Task]:
    """Real scribbles; one of the three people a seed."""
    folder = pack("scribbles_human")
    with open(folder / "index.csv", encoding="utf-8") as handle:
        names = sorted({row["id"] for row in csv.DictReader(handle)})
    for name in names[:images]:
        with np.load(folder / f"{name}.npz") as held:
            image, truth, strokes = held["image"], held["seg"] > 0.5, held["scribbles"][seed % 3]
        scribbles = np.zeros(image.shape, np.uint8)
        scribbles[strokes[1] > TOUCHED] = BACKGROUND
        scribbles[strokes[0] > TOUCHED] = 1
        yield Task(name, Image(image[None], (1.0, 1.0)), scribbles, truth)


def forest(tasks: list[Task], seed: int, steps: int | None) -> list[np.ndarray]:
    """TrainableSegmenter, multi-scale features up to sigma 16, one fit an image."""
    masks = []
    for task in tasks:
        values = np.moveaxis(np.asarray(task.image.data), 0, -1).squeeze()
        axis = -1 if values.ndim == 3 else None

        def features(picture: np.ndarray, axis: int | None = axis) -> np.ndarray:
            return multiscale_basic_features(picture, sigma_min=1, sigma_max=16, channel_axis=axis)

        segmenter = TrainableSegmenter(features_func=features)
        segmenter.fit(values, _labels(task))
        masks.append(segmenter.predict(values) == 1)
    return masks


def walker(tasks: list[Task], seed: int, steps: int | None) -> list[np.ndarray]:
    """scikit-image's random walker with its default beta, solved directly where that fits in memory."""
    masks = []
    for task in tasks:
        values = np.moveaxis(np.asarray(task.image.data, float), 0, -1).squeeze()
        axis = -1 if values.ndim == 3 else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-image advises other solvers
            mode = "bf" if task.truth.size <= DIRECT else "cg_j"
            masks.append(random_walker(values, _labels(task), mode=mode, tol=1e-4, channel_axis=axis) == 1)
    return masks


class Plain(Trainer):
    """Masked cross-entropy and nothing else: no Dice, no augmentation."""

    def _loss(self, net, images, labels, generator):
        with precision(self.device):
            scores = net(images).float()
        return weighted_cross_entropy(scores, labels[:, 0].long(), labels[:, 1])


def plain(tasks: list[Task], seed: int, steps: int | None) -> list[np.ndarray]:
    """The same network, patches and steps as ours, trained by `Plain`."""
    samples = _samples(tasks)
    config = TrainConfig(steps=steps or default_steps(samples), seed=seed)
    trainer = Plain(samples, plan_model(samples, CLASSES, Normalisation()), config)
    return _predict(finish(trainer.steps()), tasks)


def ours(tasks: list[Task], seed: int, steps: int | None) -> list[np.ndarray]:
    """What `wsseg fit` and `wsseg predict --hints` do; the network's own word is kept for its row."""
    samples = _samples(tasks)
    config = TrainConfig(steps=steps or default_steps(samples), seed=seed)
    predictor = Predictor(finish(fit_steps(samples, CLASSES, config)).model)
    masks = []
    for task, sample in zip(tasks, samples, strict=True):
        said = predictor.predict(sample.image, keep_probabilities=True)
        NETWORK.append(_dice(said.mask == 1, task.truth))
        masks.append(predictor.honour(said, sample).mask == 1)
    return masks


def walk_alone(tasks: list[Task], seed: int, steps: int | None) -> list[np.ndarray]:
    """Our random walker without any network: what a user sees before training begins."""
    return [finish(walk(sample, 2, 0.0, choose_device("auto"))).argmax(0) == 1 for sample in _samples(tasks)]


def _dice(mask: np.ndarray, truth: np.ndarray) -> float:
    return 2 * float((mask & truth).sum()) / max(int(mask.sum() + truth.sum()), 1)


def _labels(task: Task) -> np.ndarray:
    """scikit-image's labels: 0 unknown, 1 object, 2 background."""
    return np.where(task.scribbles == BACKGROUND, 2, task.scribbles).astype(np.uint8)


def _samples(tasks: list[Task]) -> list[Sample]:
    hints = [Hints(task.truth.shape, scribbles=task.scribbles) for task in tasks]
    return [
        make_sample(task.image, hint, CLASSES, Normalisation(), f"{task.group} {i}")
        for i, (task, hint) in enumerate(zip(tasks, hints, strict=True))
    ]


def _predict(model, tasks: list[Task]) -> list[np.ndarray]:
    predictor = Predictor(model)
    return [predictor.predict(task.image).mask == 1 for task in tasks]


METHODS: dict[str, Callable[[list[Task], int, int | None], list[np.ndarray]]] = {
    "forest": forest,
    "walker": walker,
    "plain": plain,
    "walk": walk_alone,
    "ours": ours,
}
NETWORK: list[float] = []  # Dice of the network alone, filled by `ours`
DATA = {"nuclei": nuclei, "human": human}


def main() -> None:
    """Every method on every set and seed; mean Dice and seconds to the result."""
    chosen = options(
        __doc__,
        data={"nargs": "+", "default": list(DATA), "choices": list(DATA)},
        methods={"nargs": "+", "default": list(METHODS), "choices": list(METHODS)},
        images={"type": int, "default": None, "help": "only the first N images"},
    )
    rows = []
    for name in chosen.data:
        for seed in chosen.seeds:
            tasks = list(DATA[name](seed, chosen.images))
            groups = {task.group: [t for t in tasks if t.group == task.group] for task in tasks}
            for method in chosen.methods:
                begin, scores = time.monotonic(), []
                NETWORK.clear()
                for group in groups.values():
                    masks = METHODS[method](group, seed, chosen.steps)
                    scores += [_dice(m, t.truth) for m, t in zip(masks, group, strict=True)]
                seconds = time.monotonic() - begin
                row = {"data": name, "seed": seed, "method": method, "dice": float(np.mean(scores))}
                alone = float(np.mean(NETWORK)) if NETWORK else None
                rows.append({**row, "network": alone, "images": len(tasks), "seconds": seconds})
                keep("scribbles", rows[-1])
    table(rows)


if __name__ == "__main__":
    main()
