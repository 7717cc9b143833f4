"""Recursive training on boxes: labels, training, prediction, rules, new labels; round after round.

Khoreva et al. 2017, section 3.1. Each round goes on from the network of the one before. Everything that is
finished lies in a working folder, so that a run that was killed goes on from there to the same result.
"""

import hashlib
import json
import shutil
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from wsseg.boxes import (
    CORE,
    LEAST_FILL,
    THRESHOLD,
    Segment,
    least_fills,
    place_of,
    reset,
    segment,
    settle,
)
from wsseg.boxfit import Solver
from wsseg.boximages import BoxImage, BoxImages
from wsseg.boxshape import Learned, Wish, learn_shapes
from wsseg.boxstore import Verdict, load_round, save_round
from wsseg.boxterms import BoxTerms
from wsseg.checkpoint import load_checkpoint, save_checkpoint
from wsseg.encoder import load_encoder
from wsseg.fit import prepare
from wsseg.folder import Item
from wsseg.model import Model, load_model
from wsseg.patches import Sample
from wsseg.predict import Predictor
from wsseg.recipes import Recipe, View, certainty, evidence_of, fallback_of, first_segments, fit_image
from wsseg.steps import Step, told_as
from wsseg.train import TrainConfig

POOL = 2**26  # voxels of images and labels in memory at once, about a gigabyte
CHECKPOINT_STEPS = 200
LATER = 0.5  # share of the first round's steps that each later round takes
# The largest learning rate. At the larger one of strokes objects of other images are found less well, and
# without labels in the boxes a network is sure of background everywhere before the terms pull.
RATE = 2e-3


@dataclass(frozen=True)
class RoundsConfig:
    """What to do.

    Attributes:
        recipe: The method.
        rounds: Of training.
        train: Of the first round.
        core: Share of a box that is the object at first, for the recipe's "core".
        encoder: Folder of a pretrained encoder, or None.
        solver: Of the field.
        terms: Of the loss, beside the recipe's.
        shape: What says where in its box an object is likely, for recipes that begin with colours; see
            `wsseg.boxshape.learn_shapes`.
    """

    recipe: Recipe
    rounds: int
    train: TrainConfig
    core: float = CORE
    encoder: Path | None = None
    solver: Solver = "local"
    terms: tuple[str, ...] = ()
    shape: Wish = "auto"

    @property
    def all_terms(self) -> tuple[str, ...]:
        """Of the loss, each once."""
        return tuple(dict.fromkeys((*self.recipe.terms, *self.terms)))


class Rounds:
    """One run of `wsseg refine`, in its working folder.

    Attributes:
        learned: Class id to the shape of its objects, where one was learned and is used.

    Args:
        images: Looked through already.
        config: What to do.
        room: The working folder.
    """

    def __init__(self, images: BoxImages, config: RoundsConfig, room: Path) -> None:
        self.images, self.config, self.room = images, config, room
        self.outputs = {k: output for output, k in enumerate(images.classes, 1)}
        self.learned: dict[int, Learned] = {}

    def run(self) -> Generator[Step, None, None]:
        """All rounds; what is there already is not done again."""
        if self.config.recipe.first == "colour":
            self.learned = yield from learn_shapes(self.images, self.config.shape, self.room)
        yield from self._first()
        for number in range(1, self.config.rounds + 1):
            model = yield from self._train(number)
            yield from self._label(number, model)

    def model_folder(self, number: int) -> Path:
        """Where the model of a round is."""
        return self.room / f"round-{number}" / "model"

    def load(self, number: int, item: Item) -> tuple[list[Segment], list[Verdict]]:
        """What a round said of the boxes of an image."""
        return load_round(self._path(number, item), self.images.boxes(item))

    @property
    def _shapes(self) -> dict[int, Tensor]:
        return {k: one.profile for k, one in self.learned.items()}

    def _view(self, opened: BoxImage) -> View:
        return replace(opened.view, shapes=self._shapes)

    def _path(self, number: int, item: Item) -> Path:
        return self.room / f"round-{number}" / "boxes" / f"{item.stem}.npz"

    def _first(self) -> Generator[Step, None, None]:
        """Labels before any training; then, with all of them known, rule 2."""
        total = len(self.images.items)
        for index, item in enumerate(self.images.items, 1):
            path = self._path(0, item)
            if not path.is_file():
                segments, found = first_segments(
                    self._view(self.images.open(item)),
                    self.config.recipe.first,
                    share=self.config.core,
                    seed=_seed(self.config.train.seed, item.stem),
                    solver=self.config.solver,
                )
                save_round(path, segments, [_verdict(one, p) for one, p in zip(segments, found, strict=True)])
            yield Step("first masks", index, total, info={"file": item.image.name})
        least = self._least(0)
        for index, item in enumerate(self.images.items, 1):
            before, told = self.load(0, item)
            segments, verdicts = self._rules(before, told, least)
            if verdicts != told:
                save_round(self._path(0, item), segments, verdicts)
            yield Step("check first masks", index, total)

    def _least(self, number: int) -> dict[int, float]:
        """How little an object of each class may fill, learned from the masks of a round before its rules.

        What is partly unknown tells nothing of that; then it is half of the box.
        """
        fills: dict[int, list[float]] = {}
        for item in self.images.items:
            for one, verdict in zip(*self.load(number, item), strict=True):
                if one.known.all() or verdict.decision == "reset":
                    fills.setdefault(one.box.class_id, []).append(verdict.fill)
        return least_fills(fills)

    def _train(self, number: int) -> Generator[Step, None, Model]:
        """Train on the labels of the round before, pool by pool of images."""
        folder, config = self.model_folder(number), self.config
        if folder.is_dir():
            return load_model(folder)
        steps = config.train.steps if number == 1 else max(1, round(LATER * config.train.steps))
        plan = TrainConfig(
            steps=steps,
            seed=config.train.seed + number,
            device=config.train.device,
            learning_rate=RATE,
        )
        pools = self._pools(plan.seed)
        each = -(-steps // len(pools))  # steps that a pool is in memory for
        init = load_model(self.model_folder(number - 1)) if number > 1 else None
        encoder = load_encoder(config.encoder) if config.encoder and init is None else None
        samples = self._samples(number, pools[0])
        term = BoxTerms(config.all_terms) if config.all_terms else None
        trainer = prepare(samples, self.images.classes, plan, init=init, encoder=encoder, term=term)
        checkpoint = folder.with_name("checkpoint")
        losses: list[float] = []
        key = _key(number, plan, [item.stem for item in self.images.items])
        if checkpoint.is_dir():
            losses, _ = load_checkpoint(checkpoint, trainer, key)
        inside = 0  # the pool in memory
        run = trainer.steps()
        while trainer.done < steps:
            if (pool := trainer.done // each) != inside:
                trainer.set_samples(self._samples(number, pools[pool]) or self._samples(number, pools[0]))
                inside = pool
            step = next(run)
            losses.append(step.loss or 0.0)
            yield Step(f"train round {number}", step.index, steps, step.loss)
            if trainer.done % CHECKPOINT_STEPS == 0 and trainer.done < steps:
                save_checkpoint(checkpoint, trainer, key, losses, None)
        model = trainer.model
        model.save(folder, extra={"history.json": json.dumps({"loss": losses})})
        shutil.rmtree(checkpoint, ignore_errors=True)
        return model

    def _pools(self, seed: int) -> list[list[Item]]:
        """The images, shuffled and cut into pools that fit into memory, each with every class it can have."""
        items = self.images.items
        order = list(np.random.default_rng(seed).permutation(len(items)))
        for k in self.outputs:  # the first pool decides the plan, so each class is in it
            first = next(i for i in order if any(box.class_id == k for box in self.images.boxes(items[i])))
            order.remove(first)
            order.insert(0, first)
        pools: list[list[Item]] = [[]]
        size = 0
        for index in order:
            voxels = self.images.voxels(items[index])
            if pools[-1] and size + voxels > POOL:
                pools.append([])
                size = 0
            pools[-1].append(items[index])
            size += voxels
        return pools

    def _samples(self, number: int, pool: Sequence[Item]) -> list[Sample]:
        """The images of a pool with the labels to train a round on; not those of which nothing is known."""
        samples = []
        for item in pool:
            segments, _ = self.load(number - 1, item)
            opened = self.images.open(item)
            sample = opened.sample(segments, self.outputs, lines=bool(self.config.all_terms))
            if sample.labels.known.any() or (sample.maps is not None and sample.maps[0].any()):
                samples.append(sample)
        return samples

    def _label(self, number: int, model: Model) -> Generator[Step, None, None]:
        """Predict every image and make the labels of this round from it."""
        predictor = Predictor(model, device=self.config.train.device)
        least = self._least(number - 1)
        stage, total = f"masks of round {number}", len(self.images.items)
        for index, item in enumerate(self.images.items, 1):
            if not self._path(number, item).is_file():
                # tiles count for a cancel alone: their numbers begin anew with every image
                before = Step(stage, index - 1, total, info={"file": item.image.name})
                yield from told_as(before, self._label_one(number, predictor, item, least))
            yield Step(stage, index, total, info={"file": item.image.name})

    def _label_one(
        self, number: int, predictor: Predictor, item: Item, least: Mapping[int, float]
    ) -> Generator[Step, None, None]:
        opened = self.images.open(item)
        before, earlier = self.load(number - 1, item)
        found: list[np.ndarray] = []
        if before:
            prediction = yield from predictor.steps(
                opened.image, keep_probabilities=True, statistics=opened.statistics
            )
            said = prediction.probabilities
            assert said is not None
            between = self.config.recipe.between
            if between is None:
                found = [said[self.outputs[box.class_id]][place_of(box)] for box in opened.boxes]
            else:
                config = replace(between, solver=self.config.solver)
                evidence = evidence_of(said, predictor.config.class_ids)
                found = fit_image(self._view(opened), config, evidence=evidence)
        stays = [
            self.config.recipe.surer and _surer(v, p, one)
            for v, p, one in zip(earlier, found, before, strict=True)
        ]
        found = [
            one.mask * np.float32(1) if stay else p for stay, p, one in zip(stays, found, before, strict=True)
        ]
        segments = settle(found, opened.boxes)
        told = [_verdict(*three) for three in zip(segments, found, before, strict=True)]
        told = [_staying(v) if stay else new for stay, v, new in zip(stays, earlier, told, strict=True)]
        save_round(self._path(number, item), *self._rules(segments, told, least))

    def _rules(
        self, segments: Sequence[Segment], told: Sequence[Verdict], least: Mapping[int, float]
    ) -> tuple[list[Segment], list[Verdict]]:
        """Rule 2 for each box of an image: what fills too little is reset. Doing it twice changes nothing."""
        results, verdicts = [], []
        for one, verdict in zip(segments, told, strict=True):
            fallback = fallback_of(self.config.recipe, one.box, self._shapes)
            if fallback is not None and one.known.all() and verdict.decision != "reset":
                result = reset(one, least, fallback)
                if result is not one:
                    need = least.get(one.box.class_id, LEAST_FILL)
                    kind = self.config.recipe.fallback
                    why = f"fills {one.fill:.0%} of its box, less than {need:.0%}: {kind}"
                    verdict = replace(verdict, decision="reset", why=why)
                one = result
            results.append(one)
            verdicts.append(verdict)
        return results, verdicts


def _verdict(one: Segment, probability: np.ndarray, before: Segment | None = None) -> Verdict:
    """What is told about a box before the rules."""
    decision, why, change = "first" if before is None else "kept", "", 0.0
    if not one.mask.any() and one.known.all():
        decision, why = "empty", "nothing is found in it"
    if before is not None:
        change = 1 - _overlap(one.mask, before.mask)
    return Verdict(one.box.id, decision, why, one.fill, certainty(one.box, probability, one), change)


def _surer(earlier: Verdict, probability: np.ndarray, before: Segment) -> bool:
    """Whether the mask of the round before is at least as certain as what is said now."""
    now = segment(before.box, probability > THRESHOLD)
    return bool(before.known.all()) and earlier.certainty >= certainty(before.box, probability, now)


def _staying(earlier: Verdict) -> Verdict:
    """What is told about a box whose mask stays."""
    if earlier.decision == "reset":
        return replace(earlier, change=0.0)
    return replace(earlier, decision="kept", why="surer than what the network says", change=0.0)


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def _key(number: int, plan: TrainConfig, stems: Sequence[str]) -> str:
    """What decides a round's training; a checkpoint of another is refused."""
    return hashlib.sha256(json.dumps([number, plan.steps, plan.seed, list(stems)]).encode()).hexdigest()[:16]


def _seed(seed: int, stem: str) -> int:
    """One number for an image, whatever other images there are."""
    return int.from_bytes(hashlib.sha256(f"{seed} {stem}".encode()).digest()[:4], "big")
