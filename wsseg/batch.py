"""Prediction of many images: what is done is skipped, and one bad image does not stop the others."""

import csv
import errno
from collections.abc import Generator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wsseg.atomic import write_beside
from wsseg.dataset import Dataset
from wsseg.errors import InputError
from wsseg.fit import make_sample
from wsseg.images import (
    Image,
    check_values,
    in_colour,
    mask_path,
    mask_writer,
    peek_image,
    probabilities_path,
    read_image,
    write_mask,
    write_probabilities,
)
from wsseg.maskfolder import note_stale, remove_beside, stale_in
from wsseg.memory import TileTooLarge, is_out_of_memory, tile_advice
from wsseg.model import ModelConfig
from wsseg.objects import label_instances, leave_out_unsure
from wsseg.patches import Sample
from wsseg.predict import Prediction, Predictor
from wsseg.propagate import says_all
from wsseg.steps import Step

UNCERTAINTY = "uncertainty.csv"
SPACING_RATIO = 1.25  # voxels more unlike those of the training than this are worth a warning
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@dataclass(eq=False)
class Outcome:
    """What became of a batch of images.

    Attributes:
        done: Stems predicted now.
        skipped: Stems whose results were there already.
        failed: Stem to the sentence that says why there is no mask.
        warnings: Sentences on images that were predicted all the same.
        uncertainty: Stem to mean uncertainty (0 to 1) of these images, least certain first.
        objects: How many there are, where they were wanted, with those left out.
        left_out: How many of them were less sure than was asked for.
    """

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    uncertainty: dict[str, float] = field(default_factory=dict)
    objects: int = 0
    left_out: int = 0


@dataclass(frozen=True)
class Wanted:
    """What to write for each image.

    Attributes:
        probabilities: out/probabilities/<stem>, beside the mask.
        instances: out/instances/<stem>, the connected objects; see `label_instances`.
        split: Cut objects that touch at their necks.
        min_score: Leave out objects that are less sure, 0 to 1; see `leave_out_unsure`.
        overwrite: Predict again what is there.
        channel_axis: Which stored axis is the channels, for files that do not say so.
        hints: A dataset whose hints the masks are to honour, image by image of the same stem; see
            `wsseg.propagate.honour`.
    """

    probabilities: bool = False
    instances: bool = False
    split: bool = False
    min_score: float = 0.0
    overwrite: bool = False
    channel_axis: int | None = None
    hints: Dataset | None = None


def predict_images(
    predictor: Predictor, images: Mapping[str, Path], out: Path, wanted: Wanted = Wanted()
) -> Generator[Step, None, Outcome]:
    """Predict images one by one into a folder, one Step a tile.

    Results are in each image's kind of file. The mask, out/<stem>, comes last, so an image with a mask is
    done. out/uncertainty.csv is kept up to date.

    Args:
        predictor: Model, device and tile.
        images: Stem to path.
        out: The folder; see `wsseg.maskfolder.open_out`.
        wanted: What to write.

    Raises:
        InputError: What would stop every other image as well: a full disk, a tile too large for the memory.
            Other problems are in the outcome, a sentence for each image.
    """
    outcome = Outcome()
    known = _read_uncertainty(out / UNCERTAINTY)
    stale = stale_in(out)
    jobs = _plan(predictor, images, out, wanted, stale, outcome)
    before, total = 0, sum(job.tiles for job in jobs)
    for job in jobs:
        try:
            for step in _one(predictor, job, out, known, wanted, outcome):
                yield Step("predict", before + step.index, total, info={"file": job.path.name})
        except InputError as error:
            if _stops_all(error):
                raise
            outcome.failed[job.stem] = str(error)
        else:
            outcome.done.append(job.stem)
            if job.stem in stale:
                beside = {"probabilities": job.probabilities, "instances": job.instances}
                remove_beside(out, job.stem, [name for name, path in beside.items() if path is None])
                stale.remove(job.stem)
                note_stale(out, stale)
        before += job.tiles
        outcome.warnings += job.warnings
    outcome.uncertainty = _sorted({stem: known[stem] for stem in images if stem in known})
    return outcome


def fitted_to(image: Image, config: ModelConfig, name: str) -> tuple[Image, list[str]]:
    """The image as the model wants it, with warnings; grey is repeated for a model of colour images.

    Raises:
        InputError: The model was trained on another number of axes or channels.
    """
    encoder = config.architecture
    if image.ndim != encoder.dims:
        raise InputError(
            f"{name}: has {image.ndim} spatial axes, but the model was trained on images with "
            f"{encoder.dims}; use a model trained on such images."
        )
    warnings = []
    ratios = [max(a / b, b / a) for a, b in zip(image.spacing, config.spacing, strict=True)]
    if max(ratios) > SPACING_RATIO:
        own, trained = (", ".join(f"{s:.3g}" for s in spacing) for spacing in (image.spacing, config.spacing))
        warnings.append(
            f"{name}: has a voxel spacing of {own}, the model was trained at {trained}; expect a worse "
            "mask, or resample the image."
        )
    if image.channels != encoder.channels_in:
        if not (config.rgb and image.channels == 1):
            raise InputError(
                f"{name}: has {_channels(image.channels, image.rgb)}, but the model was trained on "
                f"{_channels(encoder.channels_in, config.rgb)}; convert the image, or use another model."
            )
        image = in_colour(image)
    return image, warnings


@dataclass(frozen=True)
class _Job:
    """One image to predict, where its results go, and how many tiles it takes."""

    stem: str
    path: Path
    mask: Path
    probabilities: Path | None
    instances: Path | None
    tiles: int
    warnings: list[str]


def _plan(
    predictor: Predictor,
    images: Mapping[str, Path],
    out: Path,
    wanted: Wanted,
    stale: Set[str],
    outcome: Outcome,
) -> list[_Job]:
    """The images that are to be predicted; those done and those broken go into the outcome."""
    jobs = []
    for stem, path in images.items():
        try:
            image, warnings = fitted_to(peek_image(path, wanted.channel_axis), predictor.config, str(path))
        except InputError as error:
            outcome.failed[stem] = str(error)
            continue
        mask = mask_path(out, stem, image)
        beside = probabilities_path(out / "probabilities", stem, image) if wanted.probabilities else None
        objects = mask_path(out / "instances", stem, image) if wanted.instances else None
        if (
            not wanted.overwrite
            and stem not in stale
            and all(file.exists() for file in (mask, beside, objects) if file)
        ):
            outcome.skipped.append(stem)
            continue
        tiles = predictor.count_tiles(image.shape)
        jobs.append(_Job(stem, path, mask, beside, objects, tiles, warnings))
    return jobs


def _one(
    predictor: Predictor, job: _Job, out: Path, known: dict[str, float], wanted: Wanted, outcome: Outcome
) -> Generator[Step, None, None]:
    try:
        image = read_image(job.path, wanted.channel_axis)
        check_values(image)
        ready, _ = fitted_to(image, predictor.config, str(job.path))
    except MemoryError as error:
        raise InputError(
            f"{job.path}: does not fit into memory; save it as OME-Zarr, which is read piece by piece."
        ) from error
    sample = _marked(predictor.config, ready, job, wanted.hints)
    keep = wanted.probabilities or wanted.min_score > 0 or sample is not None
    with mask_writer(job.mask, image) as mask:
        if sample is not None and says_all(sample, predictor.config.objects):
            prediction = predictor.honour(None, sample, mask)
        else:
            prediction = yield from _predict(predictor, ready, job.path, mask, keep=keep)
            if sample is not None:
                prediction = predictor.honour(prediction, sample, mask)
        if job.probabilities and prediction.probabilities is not None:
            write_probabilities(job.probabilities, prediction.probabilities, image)
        if job.instances:
            objects = label_instances(np.asarray(mask[...]), spacing=image.spacing if wanted.split else None)
            outcome.objects += int(objects.max())
            if wanted.min_score and prediction.probabilities is not None:
                kept = leave_out_unsure(objects, prediction.probabilities, wanted.min_score)
                outcome.left_out += int(objects.max() - kept.max())
                objects = kept
            write_mask(job.instances, objects, image)
        known[job.stem] = prediction.uncertainty
        _write_uncertainty(out / UNCERTAINTY, known)


def _marked(config: ModelConfig, image: Image, job: _Job, dataset: Dataset | None) -> Sample | None:
    """The image with what its hints say of single voxels; None where they say nothing."""
    item = dataset.find(job.stem) if dataset else None
    if dataset is None or item is None:
        return None
    hints = dataset.hints(item, image)
    if not hints.name_voxels():
        return None
    return make_sample(image, hints, config.classes, config.normalisation, str(item.hints or job.path))


def _predict(
    predictor: Predictor, image: Image, path: Path, mask: np.ndarray, *, keep: bool
) -> Generator[Step, None, Prediction]:
    try:
        return (yield from predictor.steps(image, keep_probabilities=keep, into=mask, name=str(path)))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise tile_advice(str(path), predictor.tile, predictor.config.architecture.divisor) from error


def _stops_all(error: InputError) -> bool:
    """Whether every further image would fail in the same way."""
    cause = error.__cause__
    return isinstance(error, TileTooLarge) or (isinstance(cause, OSError) and cause.errno in _DISK_FULL)


def _channels(count: int, rgb: bool) -> str:
    return f"{count} channel{'s' if count != 1 else ''}{' (colour)' if rgb else ''}"


def _sorted(uncertainty: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(uncertainty.items(), key=lambda entry: (-entry[1], entry[0])))


def _write_uncertainty(path: Path, uncertainty: Mapping[str, float]) -> None:
    with write_beside(path) as fresh, open(fresh, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["stem", "uncertainty"])
        writer.writerows([stem, f"{value:.6f}"] for stem, value in _sorted(uncertainty).items())


def _read_uncertainty(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    try:
        with open(path, newline="", encoding="utf-8") as handle:
            return {row["stem"]: float(row["uncertainty"]) for row in csv.DictReader(handle)}
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: is no table of stem and uncertainty ({error}); remove it.") from error
