"""Boxes: `wsseg refine` and its parts against what needs no training, and against true masks.

nuclei: every nucleus of an image by its box, tight or with each face off by up to `--jitter` of the side;
hippocampus: the tight box of the whole organ, anterior and posterior: of these parts of it. Mean IoU over
objects, each against its true mask wherever it lies, and F1 at IoU 0.7 (one mask a box: the share of boxes
above it).

Rows that need no training see one box after the other, as a person's script would: `filled`, `ellipse`,
`otsu`, `grabcut` (OpenCV, 5 iterations), `grabcut-seeded` (the inner 20 % sure, reset to the ellipse where
less than half of the box is filled), `walker` (scikit-image, inner 20 % against outside), `crf` (pydensecrf2
from the ellipse, same reset); `field` and `colour` are our own first labels, `shape` is `colour` with a
shape learned over the boxes where that pays. The other rows are `wsseg refine
--method` of that name; `full` is its network trained on true masks, one round, its word in each box.

`--transfer` trains on one half of the images, every second one, and scores class masks on the other half.
`--objects` trains on it too (`auto`, one round) and scores objects cut out of predicted masks of the other
half: connected voxels, `--split`, and both without those below a score (`--min-score`).
"""

import csv
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from skimage.filters import threshold_otsu
from skimage.segmentation import random_walker
from torch import Tensor

from benchmarks.common import keep, options, pack, table, wsseg
from wsseg.batch import fitted_to
from wsseg.boxes import Segment, around, core, ellipse, filled, place_of, reset, segment, shape_of
from wsseg.boxfile import to_bbox
from wsseg.boximages import BoxImages
from wsseg.boxshape import cut_together, learn_shape, spread
from wsseg.budget import steps_for
from wsseg.crf import Kernel, dense_mean_field
from wsseg.dataset import open_dataset
from wsseg.hints import Box
from wsseg.images import Image, read_image, read_labels, write_mask
from wsseg.instances import THRESHOLDS, Matches, match_objects
from wsseg.model import load_model
from wsseg.normalise import Normalisation
from wsseg.objects import label_instances, leave_out_unsure
from wsseg.predict import Predictor
from wsseg.progress import run_with_progress
from wsseg.recipes import METHODS, View, first_segments
from wsseg.robot import annotate
from wsseg.rounds import Rounds, RoundsConfig
from wsseg.train import TrainConfig

MARGIN = 0.4  # of the box, on each side of it: what methods of others see
SCORES = (0.0, 0.7, 0.8, 0.9)  # of objects that stay
TRAINED = ("auto", "box", "box-inner", "naive", "agreement", "grabcut-inner", "boxinst", "full")


@dataclass(frozen=True, eq=False)
class Task:
    """One image with its boxes and true objects; box number i is object number i."""

    stem: str
    kind: str
    image: Image
    boxes: tuple[Box, ...]
    truth: np.ndarray


def nuclei(step: int, jitter: float, seed: int) -> Iterator[Task]:
    """Every `step`-th image of each kind, by name."""
    folder = pack("nuclei")
    with open(folder / "index.csv", encoding="utf-8") as handle:
        rows = sorted(csv.DictReader(handle), key=lambda row: (row["kind"], row["id"]))
    for row in rows[::step]:
        truth = np.asarray(read_labels(folder / "labels" / f"{row['id']}.tif")).astype(np.int64)
        rng = np.random.default_rng([seed, int(row["id"][:8], 16)])
        hints = annotate(truth, "boxes", rng=rng, jitter=jitter, instances=True)
        image = read_image(folder / "images" / f"{row['id']}.png")
        yield Task(row["id"], row["kind"].split("_")[0], image, hints.boxes, truth)


def hippocampus(step: int, jitter: float, seed: int, classes: tuple[int, ...] = (1, 2)) -> Iterator[Task]:
    """The first 60 / `step` volumes; these classes (1 anterior, 2 posterior) as one object."""
    folder = pack("hippocampus")
    for path in sorted((folder / "imagesTr").glob("*.nii.gz"))[: 60 // step]:
        truth = np.isin(read_labels(folder / "labelsTr" / path.name), classes).astype(np.int64)
        rng = np.random.default_rng([seed, int(path.name.split("_")[1][:3])])
        hints = annotate(truth, "boxes", rng=rng, jitter=jitter, instances=True)
        yield Task(path.name.split(".")[0], "hippocampus", read_image(path), hints.boxes, truth)


def crop_of(task: Task, box: Box) -> tuple[np.ndarray, tuple[slice, ...]]:
    """A box with some surroundings as uint8 (*S, 3) by percentiles, and where in it the box is."""
    window, inside = around(box, task.image.shape, MARGIN, least=2)
    values = np.moveaxis(np.asarray(task.image.data[(slice(None), *window)], np.float32), 0, -1)
    dark, bright = np.percentile(values, [1, 99])
    grey = np.clip(255 * (values - dark) / max(bright - dark, 1e-6), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(grey, (*grey.shape[:-1], 3))), inside


def otsu(task: Task, box: Box) -> Segment:
    crop, inside = crop_of(task, box)
    grey = crop.mean(-1)
    above = grey > threshold_otsu(grey) if grey.min() < grey.max() else np.ones(grey.shape, bool)
    ring = np.ones(grey.shape, bool)
    ring[inside] = False
    bright = not ring.any() or above[inside].mean() >= above[ring].mean()  # than its surroundings
    return segment(box, (above if bright else ~above)[inside])


def grabcut(task: Task, box: Box, *, seeded: bool = False) -> Segment:
    crop, inside = crop_of(task, box)
    marks = np.full(crop.shape[:2], cv2.GC_BGD, np.uint8)
    marks[inside] = cv2.GC_PR_FGD
    if seeded:
        marks[inside][core(box).mask] = cv2.GC_FGD
    if not (marks == cv2.GC_BGD).any():
        return filled(box)
    cv2.setRNGSeed(0)
    cv2.grabCut(crop, marks, None, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
    found = segment(box, np.isin(marks[inside], (cv2.GC_FGD, cv2.GC_PR_FGD)))
    return reset(found, {}, ellipse(box)) if seeded else found


def walker(task: Task, box: Box) -> Segment:
    crop, inside = crop_of(task, box)
    seeds = np.full(crop.shape[:-1], 2)
    seeds[inside] = np.where(core(box).mask, 1, 0)
    if not (seeds == 2).any() or not (seeds == 0).any():
        return filled(box)
    labels = random_walker(crop.astype(float), seeds, beta=1000, mode="cg_j", tol=1e-4, channel_axis=-1)
    return segment(box, labels[inside] == 1)


def crf(task: Task, box: Box) -> Segment:
    crop, inside = crop_of(task, box)
    guide = np.moveaxis(crop.astype(np.float32), -1, 0)
    chance = np.full(guide.shape[1:], 0.01, np.float32)
    chance[inside] = np.where(ellipse(box).mask, 0.7, 0.3)
    scores = np.log(np.stack([1 - chance, chance]))
    side = float(np.mean(shape_of(box)))
    ones = (1,) * task.image.ndim
    kernels = [
        Kernel(3.0, tuple(3.0 for _ in ones), None, ones),
        Kernel(10.0, tuple(0.25 * side for _ in ones), 13.0, ones),
    ]
    found = segment(box, dense_mean_field(scores, guide, kernels)[1][inside] > 0.5)
    return reset(found, {}, ellipse(box))


DATA: dict[str, Callable[[int, float, int], Iterator[Task]]] = {
    "nuclei": nuclei,
    "hippocampus": hippocampus,
    "anterior": partial(hippocampus, classes=(1,)),
    "posterior": partial(hippocampus, classes=(2,)),
}
ALONE: dict[str, Callable[[Task, Box], Segment]] = {
    "filled": lambda task, box: filled(box),
    "ellipse": lambda task, box: ellipse(box),
    "otsu": otsu,
    "grabcut-opencv": grabcut,
    "grabcut-seeded": lambda task, box: grabcut(task, box, seeded=True),
    "walker": walker,
    "crf": crf,
}
FLAT = ("grabcut-opencv", "grabcut-seeded")  # OpenCV knows pictures only


def untrained(method: str, tasks: Sequence[Task]) -> tuple[dict[str, list[float]], float]:
    """IoU of every object by kind of image, and the seconds of all."""
    scores: dict[str, list[float]] = {}
    begin = time.monotonic()
    shapes = learned_over(tasks) if method == "shape" else {}
    seconds = time.monotonic() - begin
    for task in tasks:
        begin = time.monotonic()
        if method in ALONE:
            found = [ALONE[method](task, box) for box in task.boxes]
        else:
            first = "colour" if method == "shape" else method
            found = first_segments(replace(view_of(task), shapes=shapes), first)[0]
        seconds += time.monotonic() - begin
        scores.setdefault(task.kind, []).extend(overlap(one, task.truth) for one in found)
    return scores, seconds


def view_of(task: Task, channels: int = 1) -> View:
    """What is seen of an image; grey is repeated to so many channels."""
    values = Normalisation().measure(task.image).apply(np.asarray(task.image.data[:]))
    return View(np.repeat(values, channels // len(values) or 1, axis=0), task.boxes)


def learned_over(tasks: Sequence[Task]) -> dict[int, Tensor]:
    """The shape of the one class, where it pays."""
    every = [(number, box) for number, task in enumerate(tasks) for box in task.boxes]
    chosen = spread(every)
    channels = max(task.image.channels for task in tasks)
    parts = (
        (view_of(tasks[number], channels), [box for n, box in chosen if n == number])
        for number in dict.fromkeys(number for number, _ in chosen)
    )
    learned = learn_shape(cut_together(parts))
    words = f"{learned.size:.2f} of the ellipse, sharpness {learned.sharp:.3f} for {learned.ellipse:.3f}"
    print(f"shape: {words}", flush=True)
    return {every[0][1].class_id: learned.profile} if learned.pays else {}


def overlap(one: Segment, truth: np.ndarray) -> float:
    """IoU of a mask with its object, which may reach beyond the box."""
    there = truth == one.box.id
    both = np.count_nonzero(there[place_of(one.box)] & one.mask)
    return both / max(1, np.count_nonzero(there) + np.count_nonzero(one.mask) - both)


def write_dataset(tasks: Sequence[Task], folder: Path, *, masks: bool = False) -> dict[int, tuple[str, Box]]:
    """A dataset folder with boxes.json, and with true masks where asked; annotation id to image and box."""
    (folder / "images").mkdir(parents=True)
    images, annotations, found = [], [], {}
    for number, task in enumerate(tasks, 1):
        name = task.image.path.name
        (folder / "images" / name).symlink_to(task.image.path.resolve())
        images.append({"id": number, "file_name": name})
        for box in task.boxes:
            entry = {"id": len(annotations) + 1, "image_id": number, "category_id": 1}
            annotations.append(entry | to_bbox(box))
            found[entry["id"]] = (task.stem, box)
        if masks:
            (folder / "masks").mkdir(exist_ok=True)
            suffix = ".png" if task.truth.ndim == 2 else ".nii.gz"
            write_mask(
                folder / "masks" / f"{task.stem}{suffix}", (task.truth > 0).astype(np.uint8), task.image
            )
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "object"}]}
    (folder / "boxes.json").write_text(json.dumps(content))
    return found


def trained(
    method: str, tasks: Sequence[Task], seed: int, steps: int | None
) -> tuple[dict[str, list[float]], float, list[float]]:
    """IoU of every object by kind, the seconds of the run, and mean IoU after every round."""
    by_stem = {task.stem: task for task in tasks}
    with tempfile.TemporaryDirectory() as place:
        room = Path(place)
        write_dataset(tasks, room / "data", masks=method == "full")
        images = BoxImages(open_dataset(room / "data"), Normalisation())
        recipe = METHODS["naive" if method == "full" else method]
        voxels = sum(images.voxels(item) for item in images.items)
        train = TrainConfig(steps=steps or steps_for(voxels), seed=seed)
        run = Rounds(
            images, RoundsConfig(recipe, 1 if method == "full" else recipe.rounds, train), room / "out"
        )
        begin = time.monotonic()
        run_with_progress(run.run())
        seconds = time.monotonic() - begin
        curve, scores = [], {}
        for number in range(run.config.rounds + 1):
            scores = {}
            for item in images.items:
                task = by_stem[item.stem]
                own = {box.start + box.stop: box.id for box in task.boxes}
                for one in run.load(number, item)[0]:
                    there = replace(one, box=replace(one.box, id=own[one.box.start + one.box.stop]))
                    scores.setdefault(task.kind, []).append(overlap(there, task.truth))
            curve.append(float(np.mean([*chain.from_iterable(scores.values())])))
    return scores, seconds, curve


def transfer(tasks: Sequence[Task], seed: int, steps: int | None) -> list[dict]:
    """Trained on one half by boxes and by masks, scored as class masks on the other half."""
    rows = []
    for method in ("auto", "full"):
        with tempfile.TemporaryDirectory() as place:
            room = Path(place)
            write_dataset(tasks[::2], room / "data", masks=method == "full")
            extra = ["--method", "auto"] if method == "auto" else ["--method", "naive", "--rounds", 2]
            extra += ["--steps", steps] if steps else []
            wsseg("refine", room / "data", "--out", room / "out", "--seed", seed, *extra)
            (room / "truth").mkdir()
            for task in tasks[1::2]:
                suffix = ".png" if task.truth.ndim == 2 else ".nii.gz"
                path = room / "truth" / f"{task.stem}{suffix}"
                write_mask(path, (task.truth > 0).astype(np.uint8), task.image)
            wsseg(
                "predict",
                room / "out" / "model",
                *[t.image.path for t in tasks[1::2]],
                "--out",
                room / "masks",
            )
            wsseg("evaluate", room / "masks", room / "truth", "--json", room / "scores.json")
            scores = json.loads((room / "scores.json").read_text())["mean"]
        rows.append({"trained on": method, "seed": seed, "dice": scores["dice"], "iou": scores["iou"]})
    return rows


def objects(tasks: Sequence[Task], seed: int, steps: int | None) -> list[dict]:
    """Trained by boxes on one half; objects of the other half cut out of the predicted masks, way by way.

    F1 over all objects, and F1 and AP as means over images.
    """
    matches: dict[str, list[Matches]] = {}
    with tempfile.TemporaryDirectory() as place:
        room = Path(place)
        write_dataset(tasks[::2], room / "data")
        extra = ["--steps", steps] if steps else []
        wsseg("refine", room / "data", "--out", room / "out", "--seed", seed, "--rounds", 1, *extra)
        predictor = Predictor(load_model(room / "out" / "model"))
        for task in tasks[1::2]:
            image, _ = fitted_to(task.image, predictor.config, task.stem)
            said = predictor.predict(image, keep_probabilities=True).probabilities
            assert said is not None
            mask = said.argmax(0).astype(np.uint8)
            for split in (False, True):
                found = label_instances(mask, spacing=task.image.spacing if split else None)
                for score in SCORES:
                    way = f"{'--split' if split else 'connected voxels'} --min-score {score}"
                    kept = leave_out_unsure(found, said, score)
                    matches.setdefault(way, []).append(match_objects(kept, task.truth))
    rows = []
    at = THRESHOLDS.index(0.7)
    for way, each in matches.items():
        every = [one.scores() for one in each]
        hits, both = sum(one.hits[at] for one in each), sum(one.truth + one.predicted for one in each)
        row = {"objects": way, "seed": seed, "f1 at 0.7": 2 * hits / max(1, both)}
        row |= {"image f1": float(np.mean([one["f1"]["0.7"] for one in every]))}
        row |= {"ap": float(np.mean([one["ap"] for one in every]))}
        row |= {"found": sum(one.predicted for one in each), "true": sum(one.truth for one in each)}
        rows.append(row)
        keep("boxes", row)
    return rows


def main() -> None:
    """Run what was asked for, then print the table."""
    own = ("field", "colour", "shape")
    chosen = options(
        __doc__,
        data={"default": "nuclei", "choices": list(DATA)},
        methods={"nargs": "*", "default": [*ALONE, *own, *TRAINED], "choices": [*ALONE, *own, *TRAINED]},
        step={"type": int, "default": 1, "help": "every STEP-th image; 4 is the declared subset of nuclei"},
        jitter={"type": float, "default": 0.0},
        transfer={"action": "store_true"},
        objects={"action": "store_true"},
    )
    rows = []
    for seed in chosen.seeds:
        tasks = list(DATA[chosen.data](chosen.step, chosen.jitter, seed))
        if chosen.transfer:
            rows += transfer(tasks, seed, chosen.steps)
            continue
        if chosen.objects:
            rows += objects(tasks, seed, chosen.steps)
            continue
        for method in chosen.methods:
            if method in FLAT and tasks[0].truth.ndim == 3:
                continue
            curve: list[float] = []
            if method in TRAINED:
                scores, seconds, curve = trained(method, tasks, seed, chosen.steps)
            else:
                scores, seconds = untrained(method, tasks)
            every = np.array([*chain.from_iterable(scores.values())])
            row = {"method": method, "seed": seed, "jitter": chosen.jitter, "images": len(tasks)}
            row |= {"iou": float(every.mean()), "f1 at 0.7": float((every > 0.7).mean())}
            row |= {kind: float(np.mean(values)) for kind, values in sorted(scores.items())}
            row |= {"seconds a box": seconds / len(every), "rounds": " ".join(f"{v:.3f}" for v in curve)}
            rows.append(row)
            keep("boxes", row)
    table(rows)


if __name__ == "__main__":
    main()
