"""Dice against what a person did: a robot looks at the mask on show and draws a stroke where it is wrong.

It begins with a stroke in the largest object of each class and one beside them. Then, action after action, it
draws one through the largest wrong piece that it sees: anywhere in a picture, in one slice of a volume. Which
slice, a rule of `wsseg.guidance` tells (`--places`); one without an error costs a look and is passed over.
An action takes the seconds of `wsseg.robot.SECONDS`.

What is on show is what the panel shows by itself: the answer while drawing (`instant`), from a third of
training on the mask of the network that the plugin trains meanwhile (`network`), `--pace` steps an action
with the hints swapped in as they come. So the strokes are those that the mask on show needs; all methods
are given the same ones. `forest` is scikit-image's default forest on its own multi-scale features (as
ilastik's).

nuclei: every 30th picture; human: every third; hippocampus: every 30th of the first 100 volumes; em: three
bodies, each alone, half the resolution. Dice is the mean over classes and images.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
from scipy import ndimage
from skimage.feature import multiscale_basic_features
from skimage.future import fit_segmenter, predict_segmenter
from skimage.io import imread
from sklearn.ensemble import RandomForestClassifier

from benchmarks.common import keep, options, pack, table
from benchmarks.interactive import hippocampus
from benchmarks.scribbles import Task, human, nuclei
from napari_plugin.events import in_bytes
from napari_plugin.instantwork import Answer, Looked, look, respond
from wsseg.fit import make_sample, prepare, read_strokes
from wsseg.guidance import Rule, Situation, doubt_of, suggest
from wsseg.hints import BACKGROUND, Hints
from wsseg.images import Image
from wsseg.instant import Focus
from wsseg.normalise import Normalisation
from wsseg.predict import Predictor
from wsseg.robot import SECONDS
from wsseg.steps import finish
from wsseg.strokes import draw_strokes
from wsseg.train import TrainConfig, Trainer

PIXELS = 50  # of a stroke
BESIDE = 12  # pixels: so near to objects is the first stroke on background
LOOKS = 20  # slices without an error in a row, after which a person is content
SETTLED = 3  # the network's mask is shown from a third of its training on, as in the panel
BODIES = (5, 10, 20)  # ranks by size
HALF = (32, 45, 45)  # voxels of 20 nm on each side of a body's middle


def em(seed: int, images: int | None) -> Iterator[Task]:
    """Bodies of neurons, by size, in a window around the middle of each."""
    folder = pack("em_fibsem_neurons")
    grey, bodies = imread(folder / "image.tif")[:160], imread(folder / "bodies.tif")[:160]
    by_size = np.argsort(-np.bincount(bodies.ravel())[1:]) + 1
    for rank in BODIES[:images]:
        truth = bodies == by_size[rank]
        middle = [int(np.median(at)) for at in np.nonzero(truth)]
        window = tuple(
            slice(start := min(max(0, m - 2 * h), n - 4 * h), start + 4 * h)
            for m, h, n in zip(middle, HALF, truth.shape, strict=True)
        )
        shape = tuple(n for h in HALF for n in (2 * h, 2))
        values = grey[window].reshape(shape).mean((1, 3, 5), dtype=np.float32)
        covered = truth[window].reshape(shape).mean((1, 3, 5)) >= 0.5
        yield Task(f"body {rank}", Image(values[None], (20.0,) * 3), np.zeros(covered.shape), covered)


DATA = {
    "nuclei": lambda seed, images: list(nuclei(seed, None))[::30][:images],
    "human": lambda seed, images: list(human(seed, None))[::3][:images],
    "hippocampus": lambda seed, images: list(hippocampus(seed, None))[::3][:images],
    "em": em,
}


@dataclass(eq=False)
class Answered:
    """What the instant head says so far."""

    looked: Looked
    mask: np.ndarray
    doubt: np.ndarray
    more: float | None = None

    def learn(self, painted: np.ndarray) -> None:
        """As the plugin does after each stroke."""
        whole = tuple(slice(0, n) for n in painted.shape)
        hints = Hints(painted.shape, scribbles=painted)
        for piece in respond(self.looked, hints, Focus(whole), before=self.more):
            if isinstance(piece, Answer):
                self.more = piece.more
                self.mask[piece.region] = piece.mask
                self.doubt[piece.region] = 0 if piece.doubt is None else piece.doubt


@dataclass(eq=False)
class Robot:
    """A person before one image.

    Attributes:
        painted: The hint map so far.
        seconds: That it took so far.
    """

    truth: np.ndarray
    spacing: tuple[float, ...]
    rng: np.random.Generator
    painted: np.ndarray = field(init=False)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.painted = np.zeros(self.truth.shape, np.uint8)

    def begin(self) -> None:
        """A stroke in the largest object of each class and one beside them, in the fullest slice."""
        filled = (self.truth > 0).sum(tuple(range(1, self.truth.ndim)))
        at = () if self.truth.ndim == 2 else (int(filled.argmax()),)
        plane = self.truth[at]
        for k in np.unique(plane[plane > 0]):
            self._stroke(at, _largest(plane == k), int(k))
        near = ndimage.binary_dilation(plane > 0, iterations=BESIDE)
        self._stroke(at, near & ~ndimage.binary_dilation(plane > 0), BACKGROUND)

    def correct(self, mask: np.ndarray, doubt: np.ndarray, place: Rule) -> bool:
        """One stroke through the largest wrong piece that is seen; False where none is found."""
        wrong = (mask != self.truth) & (self.painted == 0)
        passed = self.painted > 0
        for _ in range(LOOKS if wrong.ndim == 3 else 1):
            at = self._next(passed, doubt, place)
            if wrong[at].any():
                piece = _largest(wrong[at])
                kinds = np.bincount(self.truth[at][piece])
                kind = int(kinds.argmax())
                self._stroke(at, piece & (self.truth[at] == kind), kind or BACKGROUND)
                return True
            self.seconds += SECONDS["look"]
            passed = passed.copy()
            passed[at] = True
        return False

    def _next(self, passed: np.ndarray, doubt: np.ndarray, place: Rule) -> tuple[int, ...]:
        if passed.ndim == 2:
            return ()
        now = Situation(passed, self.spacing, doubt / 255)
        found = suggest(now, place, axes=[0], seed=int(self.rng.integers(2**31)))
        return () if not found else (int(found[0].region[0].start),)

    def _stroke(self, at: tuple[int, ...], room: np.ndarray, value: int) -> None:
        # half of the pixels go to the objects: to the room, for everything else is left out
        drawn, _ = draw_strokes(
            room.astype(np.uint8), ndimage.label(room)[0], rng=self.rng, pixels=2 * PIXELS
        )
        self.painted[at][drawn == 1] = value
        self.seconds += SECONDS["look"] + SECONDS["scribble"]


def _largest(wrong: np.ndarray) -> np.ndarray:
    pieces, _ = ndimage.label(wrong)
    return pieces == 1 + np.bincount(pieces[pieces > 0])[1:].argmax()


class Forest:
    """scikit-image's forest on its own features."""

    def __init__(self, image: Image) -> None:
        values = np.moveaxis(np.asarray(image.data), 0, -1)
        colour = None if image.channels == 1 else -1
        values = values[..., 0] if colour is None else values
        self.features = multiscale_basic_features(values, sigma_min=1, sigma_max=16, channel_axis=colour)

    def says(self, painted: np.ndarray) -> np.ndarray:
        """The mask after these strokes."""
        marks = np.where(painted == BACKGROUND, 1, np.where(painted > 0, painted + 1, 0))
        forest = RandomForestClassifier(n_estimators=100, random_state=0)  # the default of scikit-image
        return predict_segmenter(self.features, fit_segmenter(marks, self.features, forest)) - 1


class Network:
    """The network that is trained meanwhile, and what it says so far."""

    mask: np.ndarray
    doubt: np.ndarray

    def __init__(self, task: Task, steps: int, seed: int) -> None:
        self.task = task
        self.classes = {int(k): f"class {k}" for k in np.unique(task.truth) if k}
        self.config = TrainConfig(steps=steps, seed=seed)
        self.trainer: Trainer | None = None

    def learn(self, painted: np.ndarray, steps: int) -> None:
        """So many more steps with these strokes, and the mask and doubt after them."""
        hints = Hints(painted.shape, scribbles=painted)
        sample = make_sample(self.task.image, hints, self.classes, Normalisation(), self.task.group)
        objects, (implied,) = finish(read_strokes([sample], self.classes, self.config))
        if self.trainer is None:
            self.trainer = prepare([implied], self.classes, self.config, objects=objects)
            self.run = self.trainer.steps()
        else:
            self.trainer.set_samples([implied], objects)
        for _, _ in zip(range(steps), self.run, strict=False):
            pass
        predictor = Predictor(self.trainer.model)
        said = predictor.predict(sample.image, keep_probabilities=True)
        said = predictor.honour(said, sample)
        assert said.mask is not None
        assert said.probabilities is not None
        self.mask, self.doubt = said.mask, in_bytes(doubt_of(said.probabilities))


def _dice(mask: np.ndarray, truth: np.ndarray) -> float:
    pairs = [(mask == k, truth == k) for k in np.unique(truth) if k]
    return float(np.mean([2 * (a & b).sum() / max(a.sum() + b.sum(), 1) for a, b in pairs]))


def one(
    task: Task, place: Rule, actions: int, pace: int, seed: int
) -> tuple[dict[str, list[float]], list[float]]:
    """Dice of each method after each action, and the seconds of a person's time until then."""
    truth = task.truth.astype(np.int64)
    robot = Robot(truth, task.image.spacing, np.random.default_rng([seed, truth.size]))
    looked = finish(look(task.image, task.group))
    answer = Answered(looked, np.zeros(truth.shape, np.uint8), np.zeros(truth.shape, np.uint8))
    forest = Forest(task.image)
    network = Network(task, pace * actions, seed) if pace else None
    shown: Answered | Network = answer
    curves: dict[str, list[float]] = {}
    seconds: list[float] = []
    robot.begin()
    for count in range(1, actions + 1):
        answer.learn(robot.painted.copy())
        masks = {"instant": answer.mask, "forest": forest.says(robot.painted)}
        if network is not None:
            network.learn(robot.painted.copy(), pace)
            masks["network"] = network.mask
            shown = network if count * SETTLED > actions else answer
            masks["on show"] = shown.mask
        for method, mask in masks.items():
            curves.setdefault(method, []).append(_dice(mask, truth))
        seconds.append(robot.seconds)
        if not robot.correct(shown.mask, shown.doubt, place):
            break
    for values in (*curves.values(), seconds):
        values.extend([values[-1]] * (actions - len(values)))
    return curves, seconds


def main() -> None:
    """Every set, with each rule for the next slice."""
    chosen = options(
        __doc__,
        data={"nargs": "+", "default": list(DATA), "choices": list(DATA)},
        places={"nargs": "+", "default": ["doubt", "random"], "choices": list(get_args(Rule))},
        actions={"type": int, "default": 12},
        pace={"type": int, "default": 30, "help": "training steps an action, 0 = no network"},
        images={"type": int, "default": None, "help": "only the first N images"},
    )
    rows = []
    for name in chosen.data:
        for place in chosen.places:
            if place != chosen.places[0] and name in ("nuclei", "human"):
                continue  # a picture is seen whole
            begin = time.monotonic()
            found = [
                one(task, place, chosen.actions, chosen.pace, seed)
                for seed in chosen.seeds
                for task in DATA[name](seed, chosen.images)
            ]
            for method in found[0][0]:
                curve = np.mean([curves[method] for curves, _ in found], 0)
                spent = np.mean([seconds for _, seconds in found], 0)
                row = {"data": name, "place": place, "method": method, "images": len(found)}
                row |= {f"after {n}": float(curve[n - 1]) for n in range(2, chosen.actions + 1, 2)}
                row |= {"mean": float(curve.mean()), "minutes": float(spent[-1] / 60)}
                rows.append(row)
                keep("actions", {**row, "curve": curve.tolist(), "seconds": spent.tolist()})
            print(f"{name}, {place}: {time.monotonic() - begin:.0f} s", flush=True)
    table(rows)


if __name__ == "__main__":
    main()
