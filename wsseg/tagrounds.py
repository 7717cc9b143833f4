"""From tags to a model: seeds, a network trained from them, its word made into new labels, training again.

Kolesnikov & Lampert 2016 (SEC), section 3. Differs from the paper in: its "expand" and "constrain" are an
option (`wsseg.tagterms`), since the same is done between two rounds of training: what the network says beyond
the seeds is sharpened by a CRF and, where it is sure, becomes labels; a class that is not tagged can't appear
in them (tag suppression) and one that is can't vanish from them.
"""

import shutil
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from wsseg.asked import hold_to
from wsseg.bags import Bags, place_of
from wsseg.boxlabels import BoxWord, find_box_words
from wsseg.encoder import SavedEncoder
from wsseg.fit import Fitted, fit_steps, make_sample, output_labels, plan_model
from wsseg.folder import Dataset, Item
from wsseg.hints import Hints
from wsseg.images import mask_path, read_labels
from wsseg.model import Model, load_model
from wsseg.normalise import Normalisation
from wsseg.patches import Sample
from wsseg.predict import Predictor
from wsseg.seedrun import Seeded, SeedRun, seed_steps
from wsseg.seeds import SeedConfig, solve_field
from wsseg.steps import Step
from wsseg.tagterms import TagTerms, shares_of, tag_maps
from wsseg.train import TrainConfig
from wsseg.weak import WeakLabels, over

SURE = 0.7  # probability, after the field, from which a network's word becomes a label
LATER = 0.5  # share of the first round's steps that the second takes


@dataclass(frozen=True, eq=False)
class TagFitted:
    """What a run leaves: the model, what seeds came from, what boxes said, and classes without a label."""

    fitted: Fitted
    seeded: Seeded
    words: Mapping[str, BoxWord]
    unseeded: Mapping[int, str]


def room_of(out: Path) -> Path:
    """Where a run keeps what is finished before its model folder can be written: beside it, hidden."""
    return out.parent / f".{out.name}.tags"


def fit_tag_steps(
    dataset: Dataset,
    bags: Bags,
    out: Path,
    config: TrainConfig,
    run: SeedRun,
    *,
    encoder: SavedEncoder | None = None,
    terms: tuple[str, ...] = (),
    command: str = "",
    asked: Mapping[str, Any] | None = None,
) -> Generator[Step, None, TagFitted]:
    """Tags, and whatever other hints there are, to a model folder; goes on with what `room_of` holds.

    Args:
        dataset: With tags.
        bags: Its tags.
        out: Model folder to write.
        config: Of the first round of training.
        run: How tags become seeds.
        encoder: A pretrained encoder for the classifier and the network.
        terms: Of the loss, names of `wsseg.tagterms.TERMS`.
        command: What the user typed, for the record.
        asked: For the record too, see `wsseg.asked.asked_for`; a stopped run of another is refused.

    Raises:
        InputError: The data is not fit for training, the maps mean nothing, or a stopped run was asked for
            otherwise.
    """
    room = room_of(out)
    if asked is not None:
        hold_to(room / "asked.json", asked, out)
    seeded = yield from seed_steps(dataset, bags, run, room / "seeds", encoder=encoder)
    seeded_classes = [k for k, share in seeded.share.items() if share]
    unseeded = dataset.leave_out_unnamed(seeded_classes, tags=False)
    words = yield from find_box_words(dataset, bags)
    samples = seed_samples(dataset, room / "seeds" / "hints", words)
    term = None
    if terms:
        samples, term = with_terms(terms, samples, dataset, bags)
    config = replace(config, objects="off")  # seeds are no strokes
    first = room / "round-1"
    if (first / "config.json").is_file():
        model = load_model(first)
    else:
        fitted = yield from fit_steps(
            samples,
            dataset.classes,
            config,
            out=first,
            encoder=encoder,
            term=term,
            resume=True,
            command=command,
        )
        model = fitted.model
    samples = yield from relabel(dataset, bags, samples, model, config.device, words)
    later = replace(config, steps=max(1, round(LATER * config.steps)), seed=config.seed + 1)
    last = yield from fit_steps(
        samples,
        dataset.classes,
        later,
        out=out,
        init=model,
        term=term,
        resume=True,
        command=command,
        asked=asked,
    )
    shutil.rmtree(room, ignore_errors=True)
    return TagFitted(last, seeded, words, unseeded)


def seed_samples(dataset: Dataset, folder: Path, words: Mapping[str, BoxWord]) -> list[Sample]:
    """The images of which anything says what single voxels are, ready to train on.

    Where kinds of hints disagree the more certain one wins: what was painted, then boxes, then seeds.

    Args:
        dataset: The images and their hints.
        folder: Of the seeds' hint maps.
        words: Stem to what the boxes of an image say.
    """
    samples = []
    for item in dataset.items:
        image, hints = dataset.read(item)
        hints = replace(hints, tags=None)  # they have spoken by the seeds, and may name a class without any
        path, word = mask_path(folder, item.stem, image), words.get(item.stem)
        below = None
        if path.exists():
            seeds = Hints(image.shape, scribbles=read_labels(path, image).astype(np.uint8))
            below = output_labels(seeds, image, dataset.classes)
        if word is not None:
            below = word.labels if below is None else word.above(below)
        if hints.name_voxels() or (below is not None and below.known.any()):
            samples.append(
                make_sample(
                    image,
                    hints,
                    dataset.classes,
                    Normalisation(),
                    item.stem,
                    below=below,
                    boxed=word is not None,
                )
            )
    return samples


def with_terms(
    names: tuple[str, ...], samples: Sequence[Sample], dataset: Dataset, bags: Bags
) -> tuple[list[Sample], TagTerms]:
    """Samples that carry what their tags say, and the terms that make use of it."""
    ids = sorted(dataset.classes)
    outputs = {k: ids.index(k) + 1 for k in bags.classes if k in ids}
    by_stem = {item.stem: item for item in bags.items}
    maps = [
        tag_maps(
            sample.labels, bags.of(by_stem[sample.name]) if sample.name in by_stem else (), bags.axis, outputs
        )
        for sample in samples
    ]
    shares = shares_of([sample.labels for sample in samples], maps)
    carrying = [replace(sample, maps=each) for sample, each in zip(samples, maps, strict=True)]
    return carrying, TagTerms(names, shares, plan_model(samples, dataset.classes, Normalisation()).spacing)


def relabel(
    dataset: Dataset,
    bags: Bags,
    samples: Sequence[Sample],
    model: Model,
    device: str,
    words: Mapping[str, BoxWord],
) -> Generator[Step, None, list[Sample]]:
    """New labels from what a network says of the tagged images; other images keep theirs."""
    predictor = Predictor(model, device=device)
    by_stem = {item.stem: item for item in dataset.items}
    result = []
    for index, sample in enumerate(samples, 1):
        item = by_stem[sample.name]
        if item.stem in dataset.tags and item.mask is None:
            prediction = yield from predictor.steps(
                sample.image, keep_probabilities=True, statistics=sample.statistics
            )
            assert prediction.probabilities is not None
            hints = dataset.hints(item, sample.image)
            labels = new_labels(sample, prediction.probabilities, bags, item, dataset.classes)
            if (word := words.get(item.stem)) is not None:
                labels = word.above(labels)
            labels = over(labels, output_labels(hints, sample.image, dataset.classes))
            sample = replace(sample, labels=labels)
        result.append(sample)
        yield Step("labels", index, len(samples), info={"file": item.image.name})
    return result


def new_labels(
    sample: Sample,
    probabilities: np.ndarray,
    bags: Bags,
    item: Item,
    classes: Mapping[int, str],
) -> WeakLabels:
    """The labels of one image for the next round, before more certain hints.

    Args:
        sample: The image, with its present labels, which stay where nothing is tagged.
        probabilities: float32 (K, *S) of the network.
        bags: The tags.
        item: The image's.
        classes: Class id to name.
    """
    target, weight = sample.labels.target.copy(), sample.labels.weight.copy()
    outputs = (0, *sorted(classes))
    values = sample.statistics.apply(np.asarray(sample.image.data))
    spacing = [s for a, s in enumerate(sample.image.spacing) if a != bags.axis]
    for bag in bags.of(item):
        place = place_of(bag, bags.axis)
        allowed = np.array([k == 0 or k in bag.classes or k not in bags.classes for k in outputs])
        said = suppress(probabilities[(slice(None), *place)], allowed)
        if allowed.sum() > 1:
            view = values[(slice(None), *place)]
            said = suppress(solve_field(np.log(said + 1e-6), view, SeedConfig(), spacing=spacing), allowed)
        label, sure = said.argmax(0), said.max(0) >= SURE
        before = set(np.unique(target[place][weight[place] > 0]))
        if before <= {0, *np.unique(label[sure])}:
            target[place], weight[place] = label, sure
    return WeakLabels(target, weight)


def suppress(probabilities: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Probabilities (K, *S) without the outputs that are not `allowed`, bool (K,), summing to 1 again."""
    kept = probabilities * allowed.reshape(-1, *[1] * (probabilities.ndim - 1))
    return (kept / np.maximum(kept.sum(0), 1e-12)).astype(np.float32)
