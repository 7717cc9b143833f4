"""`wsseg seeds`: tags become heat maps and seed hints. Puts the parts together and writes the results."""

import json
import shutil
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wsseg.atomic import write_beside
from wsseg.bags import Bags
from wsseg.cam import Kind
from wsseg.classifier import TagModel, load_classifier
from wsseg.encoder import SavedEncoder
from wsseg.errors import InputError
from wsseg.folder import Dataset, Item
from wsseg.heat import Heater
from wsseg.hints import BACKGROUND
from wsseg.images import Image, mask_path, probabilities_path, write_mask, write_probabilities
from wsseg.normalise import Statistics
from wsseg.outfolder import Layout
from wsseg.seeds import SeedConfig, merge, seeds
from wsseg.steps import Step
from wsseg.tables import read_json
from wsseg.tagfit import TagConfig, fit_classifier
from wsseg.tagged import NORMALISATION, open_tagged
from wsseg.tagheat import heat_parts, join_parts, part_of, share_thresholds
from wsseg.thresholds import Thresholds

RECORD, RESULT, ROOM = "seeds.json", "quality.json", "work"
LAYOUT = Layout("seeds", RECORD, RESULT, (), (ROOM, "hints", "heat", "classifier"), "tags")


@dataclass(frozen=True)
class SeedRun:
    """What to do.

    Attributes:
        train: Of the classifier.
        seeds: How heat becomes seeds.
        kind: Which class maps.
        scales, flips: Maps are averaged over these sizes, and over mirrored views.
        force: Write seeds even where the check says that the maps mean nothing.
    """

    train: TagConfig
    seeds: SeedConfig = field(default_factory=SeedConfig)
    kind: Kind = "cam"
    scales: tuple[float, ...] = (1.0,)
    flips: bool = False
    force: bool = False


@dataclass(frozen=True, eq=False)
class Seeded:
    """What a run found.

    Attributes:
        model: The classifier, its check in `config.quality`.
        thresholds: Of each class by id; None where the maps mean nothing.
        share: Class id to the share of voxels of tagged images that are its seeds; 255 = background.
    """

    model: TagModel
    thresholds: Mapping[int, Thresholds | None]
    share: Mapping[int, float]

    def share_words(self) -> str:
        """How much of the tagged images is seeds, as a sentence."""
        names = {**self.model.config.classes, BACKGROUND: "background"}
        shares = ", ".join(f"{names[k]} {100 * share:.3g} %" for k, share in self.share.items())
        return f"Seeds: {shares} of the voxels of tagged images, the rest unknown."


def seed_steps(
    dataset: Dataset, bags: Bags, config: SeedRun, out: Path, *, encoder: SavedEncoder | None = None
) -> Generator[Step, None, Seeded]:
    """Classifier, check, heat maps, thresholds and seeds; what is in `out` already is not done again.

    Args:
        dataset: With tags.
        bags: Its tags.
        config: What to do.
        out: Gets hints/, heat/, classifier/ and quality.json; while the run lasts, work/.
        encoder: A pretrained encoder to start from.

    Raises:
        InputError: A file is broken, or the maps mean nothing.
    """
    if (out / RESULT).is_file():
        return _read_result(out)
    room = out / ROOM
    if (out / "classifier").is_dir():
        model = load_classifier(out / "classifier")
    else:
        tagged = yield from open_tagged(dataset, bags)
        model = yield from fit_classifier(
            tagged,
            bags.classes,
            config.train,
            axis=bags.axis,
            encoder=encoder,
            checkpoint=room / "checkpoint",
        )
        del tagged
        model.save(out / "classifier")
    meaningless = check_quality(model, force=config.force)
    heater = Heater(
        model, device=config.train.device, kind=config.kind, scales=config.scales, flips=config.flips
    )
    yield from _heat(dataset, bags, heater, room)
    thresholds = share_thresholds(
        bags, lambda item: np.load(room / f"{item.stem}.npy"), meaningless, force=config.force
    )
    counts = yield from _seeds(dataset, bags, thresholds, config.seeds, out)
    found = Seeded(model, thresholds, counts)
    _write_result(found, out)
    shutil.rmtree(room, ignore_errors=True)
    return found


def check_quality(model: TagModel, *, force: bool) -> set[int]:
    """The classes whose maps mean nothing, by the check on held-back images.

    Raises:
        InputError: That is each of them, and nobody insists.
    """
    quality = model.config.quality or {}
    meaningless = set(quality["meaningless"])
    if meaningless == set(model.config.class_ids) and not force:
        parts = [f"{model.config.classes[int(k)]} {area:.2f}" for k, area in quality["auc"].items()]
        raise InputError(
            f"The tags can't be told from the images (AUC {', '.join(parts)} on {quality['held_back']}; a "
            "constant guess has 0.5), so maps would mean nothing and no seeds are written; tag more images, "
            "or use --force."
        )
    return set() if force else meaningless


def _heat(dataset: Dataset, bags: Bags, heater: Heater, room: Path) -> Generator[Step, None, None]:
    """Class maps (K, *S) of every tagged image, in the working folder."""
    for index, item in enumerate(bags.items, 1):
        path = room / f"{item.stem}.npy"
        if not path.is_file():
            image, _ = dataset.read(item)
            parts = []
            for part in heat_parts(heater, image, str(item.image), bags.axis):
                parts.append(part)
                yield Step("heat", index - 1, len(bags.items), info={"file": item.image.name})
            with write_beside(path) as fresh, open(fresh, "wb") as handle:
                np.save(handle, join_parts(parts, bags.axis))
        yield Step("heat", index, len(bags.items), info={"file": item.image.name})


def _seeds(
    dataset: Dataset,
    bags: Bags,
    thresholds: Mapping[int, Thresholds | None],
    config: SeedConfig,
    out: Path,
) -> Generator[Step, None, dict[int, float]]:
    """Hint maps and heat maps of every tagged image; the share of their voxels that each class has."""
    counts = dict.fromkeys((*bags.classes, BACKGROUND), 0)
    voxels = 0
    for index, item in enumerate(bags.items, 1):
        image, hints = dataset.read(item)
        heat = np.load(out / ROOM / f"{item.stem}.npy")
        found = seeds_of(image, heat, bags, item, thresholds, config)
        for k in counts:
            counts[k] += int(np.count_nonzero(found == k))
        voxels += found.size
        write_mask(mask_path(out / "hints", item.stem, image), merge(found, hints.scribbles), image)
        write_probabilities(probabilities_path(out / "heat", item.stem, image), heat, image)
        yield Step("seeds", index, len(bags.items), info={"file": item.image.name})
    return {k: count / voxels for k, count in counts.items()}


def seeds_of(
    image: Image,
    heat: np.ndarray,
    bags: Bags,
    item: Item,
    thresholds: Mapping[int, Thresholds | None],
    config: SeedConfig,
) -> np.ndarray:
    """The hint map (*S) of one image; slices that nobody tagged are unknown."""
    result = np.zeros(image.shape, np.uint8)
    for place, found in seed_parts(image, heat, bags, item, thresholds, config):
        result[place] = found
    return result


def seed_parts(
    image: Image,
    heat: np.ndarray,
    bags: Bags,
    item: Item,
    thresholds: Mapping[int, Thresholds | None],
    config: SeedConfig,
) -> Iterator[tuple[tuple, np.ndarray]]:
    """The seeds of each bag of an image, with its place in the hint map (*S)."""
    statistics: Statistics = NORMALISATION.measure(image, str(item.image))
    values = statistics.apply(np.asarray(image.data))
    spacing = [s for a, s in enumerate(image.spacing) if a != bags.axis]
    for bag in bags.of(item):
        own, view = part_of(heat, bag, bags.axis), part_of(values, bag, bags.axis)
        found = seeds(own, view, sorted(bag.classes), thresholds, config, spacing=spacing)
        whole = bag.index is None or bags.axis is None
        yield () if whole else (slice(None),) * (bags.axis or 0) + (bag.index,), found


def _read_result(out: Path) -> Seeded:
    """What an earlier run wrote."""
    values = read_json(out / RESULT)
    return Seeded(
        load_classifier(out / "classifier"),
        {int(k): Thresholds(**t) if t else None for k, t in values["thresholds"].items()},
        {int(k): share for k, share in values["share"].items()},
    )


def _write_result(found: Seeded, out: Path) -> None:
    quality: dict[str, Any] = {
        **(found.model.config.quality or {}),
        "thresholds": {str(k): asdict(t) if t else None for k, t in found.thresholds.items()},
        "share": {str(k): share for k, share in found.share.items()},
    }
    with write_beside(out / RESULT) as fresh:
        fresh.write_text(json.dumps(quality, indent=2), encoding="utf-8")
