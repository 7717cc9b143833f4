"""A folder of true masks -> a dataset folder with the hints a person would have given on its images."""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from wsseg.atomic import link_or_copy, write_beside
from wsseg.boxfile import to_bbox, to_size
from wsseg.errors import InputError
from wsseg.formats.labels import count_values
from wsseg.images import Image, list_images, mask_path, peek_image, read_labels, write_mask
from wsseg.robot import RobotHints, annotate, check_options
from wsseg.robot_doubts import instance_doubts, tag_doubts
from wsseg.steps import Step
from wsseg.tables import write_clicks

RECORD = "robot.json"


def robot_steps(
    truth_dir: Path | str,
    images_dir: Path | str,
    out: Path | str,
    kind: str,
    *,
    seed: int = 0,
    every: int | None = None,
    count: int | None = None,
    axis: int | Literal["orthogonal"] = 0,
    inside: bool = False,
    instances: bool = False,
    pixels: int = 100,
    jitter: float = 0.0,
    class_names: Mapping[int, str] | None = None,
    stems: Sequence[str] | None = None,
    first: int | None = None,
    last: int | None = None,
    overwrite: bool = False,
) -> Generator[Step, None, dict[str, Any]]:
    """Annotate the images that have a true mask and write images and hints as a dataset folder.

    Images are linked where the disk can (an edit in place then changes both), else copied. An image's hints
    depend on the seed, its stem and its truth, not on the other images. Nothing is left under `out` before
    all is written.

    Args:
        truth_dir: Folder of true masks, 0 = background.
        images_dir: Folder of the images, by the same stems; those without a truth are left out.
        out: The dataset folder to make.
        kind: What to mark; this and the options down to `jitter` are those of `wsseg.robot.annotate`.
        seed: Of the annotator's hand.
        every, count, axis, inside, instances, pixels, jitter: See `wsseg.robot.annotate`.
        class_names: Class id to name for classes.json; None = "class k" for what the truths hold, and
            "object" for instances.
        stems: Take only these truths.
        first: Take only the first N truths by stem.
        last: Take only the last N of them.
        overwrite: Replace a folder that an earlier run of the robot made.

    Yields:
        A `Step` an image.

    Returns:
        What was done, also written as robot.json: "kind", "seed", "options", "classes", "annotated_share"
        over all voxels, "seconds" of a person's time in all, and both for each image under "images"; "marks",
        how many clicks, boxes or tags of each class (0 = background, or none of them) there are; under
        "doubts" what is odd, see `wsseg.robot_doubts`.

    Raises:
        InputError: `out` is not empty, an image is missing or does not fit its truth, an option is wrong.
    """
    out = Path(out)
    check_options(kind, every=every, count=count, axis=axis, pixels=pixels, jitter=jitter)
    _check_out(out, overwrite)
    truths = _chosen(Path(truth_dir), stems, first, last)
    images = list_images(images_dir)
    for stem, path in truths.items():
        if stem not in images:
            raise InputError(f"{Path(images_dir)}: has no image “{stem}” for the truth {path}; put it there.")
    options = {
        "every": every,
        "count": count,
        "axis": axis,
        "inside": inside,
        "instances": instances,
        "pixels": pixels,
        "jitter": jitter,
    }
    found: dict[str, RobotHints] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    values: dict[str, set[int]] = {}
    classes: set[int] = {1} if instances else set(class_names or {})
    with write_beside(out) as fresh:
        for index, (stem, path) in enumerate(truths.items(), 1):
            truth, like = _read(path, images[stem])
            try:
                robot = annotate(
                    truth,
                    kind,
                    rng=_rng(seed, stem),
                    spacing=like.spacing,
                    **options,  # type: ignore[arg-type]
                )
            except InputError as error:
                raise InputError(f"{path}: {error}") from error
            values[stem] = set() if instances else set(count_values(truth)) - {0}
            classes |= values[stem]
            found[stem], shapes[stem] = replace(robot, scribbles=None), truth.shape
            link_or_copy(images[stem], fresh / "images" / images[stem].name)
            if robot.scribbles is not None:
                write_mask(mask_path(fresh / "hints", stem, like), robot.scribbles, like)
            yield Step("annotate", index, len(truths), info={"image": stem})
        names = _names(classes, class_names, instances)
        if names:  # truths without a single object leave nothing to name
            _write_json(fresh / "classes.json", {str(k): name for k, name in names.items()})
        if kind == "clicks":
            clicks = {stem: robot.clicks for stem, robot in found.items()}
            write_clicks(fresh / "clicks.csv", clicks, len(next(iter(shapes.values()))))
        elif kind == "boxes":
            _write_boxes(fresh / "boxes.json", found, {s: images[s].name for s in found}, shapes, names)
        elif kind == "tags":
            _write_tags(fresh / "tags.csv", found)
        doubts = instance_doubts(values)
        if kind == "tags":
            doubts += tag_doubts({stem: robot.tags or () for stem, robot in found.items()}, names)
        report = {
            "format": 1,
            "kind": kind,
            "seed": seed,
            "options": options,
            "doubts": doubts,
            **_report(found, shapes, names),
        }
        _write_json(fresh / RECORD, report)
    return report


def _check_out(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; a new folder is right.")
    if out.is_dir() and any(out.iterdir()):
        if not (out / RECORD).is_file():
            raise InputError(f"{out}: is not empty and not made by the robot; choose another folder.")
        if not overwrite:
            raise InputError(f"{out}: is not empty; replace it with --overwrite, or choose another folder.")


def _chosen(
    folder: Path, stems: Sequence[str] | None, first: int | None, last: int | None
) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder; the folder of true masks is right.")
    truths = list_images(folder)
    for stem in stems or ():
        if stem not in truths:
            raise InputError(f"{folder}: has no mask “{stem}”; name stems that are there.")
    for name, number in (("first", first), ("last", last)):
        if number is not None and number < 1:
            raise InputError(f"{name} is {number}; a whole number from 1 on is right.")
    if first is not None and last is not None:
        raise InputError("first and last exclude each other; give one of them.")
    names = [stem for stem in truths if stems is None or stem in stems][:first]
    names = names if last is None else names[-last:]
    if not names:
        raise InputError(f"{folder}: holds no masks; NIfTI, TIFF, PNG or OME-Zarr are right.")
    return {stem: truths[stem] for stem in names}


def _read(path: Path, image_path: Path) -> tuple[np.ndarray, Image]:
    """A truth on its image's grid, and the file whose kind and geometry the hints take: the truth's own."""
    image, own = peek_image(image_path), peek_image(path)
    truth = read_labels(path, image)
    turned = image.kind == "dicom" or own.shape != truth.shape
    return truth, image if turned else own


def _rng(seed: int, stem: str) -> np.random.Generator:
    digest = hashlib.sha256(stem.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])


def _names(found: set[int], given: Mapping[int, str] | None, instances: bool) -> dict[int, str]:
    if given is None:
        return {1: "object"} if instances else {k: f"class {k}" for k in sorted(found)}
    for k in sorted(found - set(given)):
        raise InputError(f"The truth holds class {k}, which has no name; name each of {sorted(found)}.")
    return dict(sorted(given.items()))


def _write_tags(path: Path, found: Mapping[str, RobotHints]) -> None:
    """One row a class; an empty class says that none is there, in the image or in a slice."""
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["image", "class", "axis", "slice"])
        for stem, robot in found.items():
            tags = [
                (
                    *((-1, -1) if tag.axis is None or tag.slice is None else (tag.axis, tag.slice)),
                    tag.class_id,
                )
                for tag in robot.tags or ()
            ]
            for axis, index, class_id in sorted(tags) or [(-1, -1, 0)]:
                writer.writerow([stem, class_id or "", *("" if n == -1 else n for n in (axis, index))])


def _write_boxes(
    path: Path,
    found: Mapping[str, RobotHints],
    files: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
    names: Mapping[int, str],
) -> None:
    """COCO; ids run on over all images. bbox is [x, y, width, height], x along the last axis."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (stem, robot) in enumerate(found.items(), 1):
        shape = shapes[stem]
        images.append({"id": number, "file_name": files[stem], **to_size(shape)})
        for box in robot.boxes:
            own = {"id": len(annotations) + 1, "image_id": number, "category_id": box.class_id}
            annotations.append({**own, **to_bbox(box)})
    categories = [{"id": k, "name": name} for k, name in names.items()]
    _write_json(path, {"images": images, "annotations": annotations, "categories": categories})


def _report(
    found: Mapping[str, RobotHints], shapes: Mapping[str, tuple[int, ...]], names: Mapping[int, str]
) -> dict[str, Any]:
    voxels = {stem: int(np.prod(shape)) for stem, shape in shapes.items()}
    marked = sum(robot.annotated_share * voxels[stem] for stem, robot in found.items())
    marks = Counter(
        hint.class_id
        for robot in found.values()
        for hint in (*robot.clicks, *robot.boxes, *(robot.tags if robot.tags is not None else ()))
    )
    return {
        "classes": {str(k): name for k, name in names.items()},
        "marks": {str(k): marks[k] for k in sorted(marks)},
        "annotated_share": marked / sum(voxels.values()),
        "seconds": sum(robot.seconds for robot in found.values()),
        "images": {
            stem: {"annotated_share": robot.annotated_share, "seconds": robot.seconds}
            for stem, robot in found.items()
        },
    }


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
