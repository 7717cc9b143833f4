"""Answers while one draws: how good and how soon, beside scikit-image's forest on the same strokes.

`--parts dice`: each image is learnt from alone, mean Dice over classes and images. nuclei: robot scribbles on
every tenth image; human: ten pictures, one of three people a seed; hippocampus: robot scribbles on every
tenth of the first 100 volumes. `instant` is `wsseg.instant`, `forest` scikit-image's TrainableSegmenter with
its default forest on the same features, `own` the same with the features of benchmarks/scribbles.py. Seconds
are those from strokes to the mask of the whole image; features are there by then, and have a column.
`--encoder ENC` adds a row: ours, with what a pretrained encoder sees as further features.

`--parts latency`: 20 strokes, one after the other, on 512² and in 128³: milliseconds from a stroke to the new
mask of the slice on screen and to that of the whole volume, by the function that the plugin calls. On a busy
machine `slice_cpu_ms` says more: what the processor spent on the slice, all threads together.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.feature import multiscale_basic_features
from skimage.future import TrainableSegmenter

from benchmarks.common import keep, options, pack, table
from benchmarks.scribbles import Task, human, nuclei
from napari_plugin.instantwork import Answer, Looked, look, respond
from wsseg.encoder import SavedEncoder, load_encoder
from wsseg.features import Features, memory_needed
from wsseg.hints import BACKGROUND, Hints
from wsseg.images import Image, read_image, read_labels
from wsseg.instant import Focus, answer, fit_head
from wsseg.robot import annotate
from wsseg.steps import finish
from wsseg.weak import WeakLabels

STROKES = 20
SHAPES = ((512, 512), (128, 128, 128))


def hippocampus(seed: int, images: int | None) -> Iterator[Task]:
    """Robot scribbles on five slices of each volume."""
    folder = pack("hippocampus")
    for path in sorted((folder / "imagesTr").glob("*.nii.gz"))[:100:10][:images]:
        image = read_image(path)
        truth = read_labels(folder / "labelsTr" / path.name, image)
        rng = np.random.default_rng([seed, int(path.name.split("_")[1].split(".")[0])])
        hints = annotate(truth, "scribbles", rng=rng, spacing=image.spacing, pixels=100)
        assert hints.scribbles is not None
        yield Task(path.name, image, hints.scribbles, truth)


def some_nuclei(seed: int, images: int | None) -> Iterator[Task]:
    """Every tenth of the nuclei."""
    yield from list(nuclei(seed, None))[::10][:images]


DATA = {"nuclei": some_nuclei, "human": human, "hippocampus": hippocampus}


@dataclass(frozen=True, eq=False)
class Ready:
    """A task when its strokes are drawn and its features are there."""

    task: Task
    features: Features
    labels: WeakLabels
    looked: Looked
    classes: int

    @property
    def whole(self) -> tuple[slice, ...]:
        return tuple(slice(0, n) for n in self.features.shape)


def instant(ready: Ready, seed: int) -> np.ndarray:
    """Ours, as in the plugin."""
    mask = np.zeros(ready.features.shape, np.uint8)
    hints = Hints(ready.features.shape, scribbles=ready.task.scribbles)
    for piece in respond(ready.looked, hints, Focus(ready.whole)):
        if isinstance(piece, Answer):
            mask[piece.region] = piece.mask
    return mask


def alone(ready: Ready, seed: int) -> np.ndarray:
    """Our head, and no walk around the strokes."""
    head = fit_head(ready.features, ready.labels, ready.classes, seed=seed)
    mask = np.zeros(ready.features.shape, np.uint8)
    for where, chances in answer(ready.features, head, ready.labels, Focus(ready.whole)):
        mask[where] = chances.argmax(0)
    return mask


def forest(ready: Ready, seed: int) -> np.ndarray:
    """scikit-image's forest on our features."""
    return _segmented(ready, lambda _: np.moveaxis(ready.features.region(ready.whole), 0, -1))


def own(ready: Ready, seed: int) -> np.ndarray:
    """scikit-image's forest on its own features."""
    colour = -1 if ready.task.image.channels > 1 else None
    return _segmented(
        ready,
        lambda values: multiscale_basic_features(values, sigma_min=1, sigma_max=16, channel_axis=colour),
    )


def _segmented(ready: Ready, features: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    values = np.moveaxis(np.asarray(ready.task.image.data), 0, -1)
    values = values[..., 0] if values.shape[-1] == 1 else values
    segmenter = TrainableSegmenter(features_func=features)
    segmenter.fit(values, np.where(ready.labels.known, ready.labels.target + 1, 0))
    return segmenter.predict(values) - 1


ENCODED = "with encoder"
METHODS = {"instant": instant, "head": alone, "forest": forest, "own": own}


def _prepare(task: Task, encoder: SavedEncoder | None = None) -> tuple[Ready, float]:
    begin = time.monotonic()
    looked = finish(look(task.image, task.group, encoder))
    seconds = time.monotonic() - begin
    known = task.scribbles > 0
    target = np.where(task.scribbles == BACKGROUND, 0, task.scribbles).astype(np.int64)
    labels = WeakLabels(target, known.astype(np.float32))
    return Ready(task, looked.features, labels, looked, int(task.truth.max()) + 1), seconds


def _dice(mask: np.ndarray, truth: np.ndarray, classes: int) -> float:
    pairs = [(mask == k, truth == k) for k in range(1, classes)]
    return float(np.mean([2 * (a & b).sum() / max(a.sum() + b.sum(), 1) for a, b in pairs]))


def dice(name: str, seed: int, images: int | None, encoder: SavedEncoder | None) -> list[dict]:
    """Every method on one set of images."""
    methods = METHODS if encoder is None else {**METHODS, ENCODED: instant}
    scores: dict[str, list[float]] = {method: [] for method in methods}
    seconds, waits = dict.fromkeys(methods, 0.0), dict.fromkeys(methods, 0.0)
    for task in DATA[name](seed, images):
        plain, wait = _prepare(task)
        seen, longer = (plain, wait) if encoder is None else _prepare(task, encoder)
        for method, run in methods.items():
            ready = seen if method == ENCODED else plain
            waits[method] += longer if method == ENCODED else wait
            begin = time.monotonic()
            mask = run(ready, seed)
            seconds[method] += time.monotonic() - begin
            scores[method].append(_dice(mask, task.truth.astype(np.uint8), ready.classes))
    count = len(scores["instant"])
    return [
        {
            "data": name,
            "seed": seed,
            "method": method,
            "dice": float(np.mean(scores[method])),
            "images": count,
            "seconds": seconds[method] / count,
            "features": waits[method] / count if method != "own" else None,
        }
        for method in methods
    ]


def latency(shape: tuple[int, ...], seed: int) -> dict:
    """A person draws stroke after stroke on bright blobs in noise, each in another slice of a volume."""
    rng = np.random.default_rng(seed)
    clean = ndimage.gaussian_filter(rng.normal(size=shape), 6)
    truth = (clean > clean.std()).astype(np.int64)
    values = clean / clean.std() + rng.normal(0, 0.5, shape)
    image = Image(values[None].astype(np.float32), (1.0,) * len(shape))
    begin = time.monotonic()
    looked = finish(look(image, "blobs"))
    prepared = time.monotonic() - begin
    painted, firsts, wholes, cpu = np.zeros(shape, np.uint8), [], [], []
    mask, more = np.zeros(shape, np.uint8), None
    for _ in range(STROKES):
        # half of a stroke of 60 voxels lies in an object: it begins at the border of one
        place = rng.permutation(np.argwhere(np.diff(truth, axis=-1) != 0))[0]
        along = slice(max(0, place[-1] - 30), place[-1] + 30)
        line = (*place[:-1], along)
        painted[line] = np.where(truth[line] > 0, 1, BACKGROUND)
        focus = Focus(tuple(slice(0, n) for n in shape))
        if len(shape) == 3:
            focus.region = (slice(place[0], place[0] + 1), *focus.region[1:])
        begin, begin_cpu, unseen = time.monotonic(), time.process_time(), _overlap(focus.region, focus.region)
        for piece in respond(looked, Hints(shape, scribbles=painted.copy()), focus, before=more):
            if not isinstance(piece, Answer):
                continue
            more = piece.more
            mask[piece.region] = piece.mask
            seen, unseen = unseen, unseen - _overlap(piece.region, focus.region)
            if seen > 0 >= unseen:
                firsts.append(time.monotonic() - begin)
                cpu.append(time.process_time() - begin_cpu)
        wholes.append(time.monotonic() - begin)
    row = {"shape": "×".join(map(str, shape)), "features_s": prepared, "mb": memory_needed(image) / 2**20}
    for what, times in (("slice", firsts), ("all", wholes)):
        row |= {f"{what}_ms": 1e3 * np.median(times), f"{what}_p95_ms": 1e3 * np.percentile(times, 95)}
    return row | {"slice_cpu_ms": 1e3 * np.median(cpu), "dice": _dice(mask, truth, 2)}


def _overlap(a: tuple[slice, ...], b: tuple[slice, ...]) -> int:
    """How many voxels two places share."""
    return int(
        np.prod([max(0, min(p.stop, q.stop) - max(p.start, q.start)) for p, q in zip(a, b, strict=True)])
    )


def main() -> None:
    """Both tables."""
    chosen = options(
        __doc__,
        parts={"nargs": "+", "default": ["latency", "dice"], "choices": ["latency", "dice"]},
        data={"nargs": "+", "default": list(DATA), "choices": list(DATA)},
        images={"type": int, "default": None, "help": "only the first N images"},
        encoder={"type": load_encoder, "default": None, "help": "encoder folder of wsseg pretrain"},
    )
    if "latency" in chosen.parts:
        rows = [latency(shape, chosen.seeds[0]) for shape in SHAPES]
        for row in rows:
            keep("interactive", row)
        table(rows)
    if "dice" in chosen.parts:
        rows = [
            row
            for name in chosen.data
            for seed in chosen.seeds
            for row in dice(name, seed, chosen.images, chosen.encoder)
        ]
        for row in rows:
            keep("interactive", row)
        table(rows)


if __name__ == "__main__":
    main()
