"""`wsseg refine`: a box-labelled dataset becomes masks. Puts the parts together and writes the results."""

import csv
import json
import shutil
from collections.abc import Generator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from wsseg.atomic import write_beside
from wsseg.boxes import Segment, place_of, render, render_objects
from wsseg.boximages import BoxImages
from wsseg.boxreport import Outcome, thumbnail, write_report
from wsseg.boxstore import Verdict
from wsseg.folder import Item
from wsseg.images import mask_path, write_mask
from wsseg.outfolder import Layout
from wsseg.rle import encode
from wsseg.rounds import Rounds
from wsseg.steps import Step
from wsseg.tables import read_json

RECORD, MASKS, LOG, REPORT, ROOM = "refine.json", "masks.json", "decisions.csv", "report.html", "rounds"
LAYOUT = Layout("refine", RECORD, REPORT, (MASKS, LOG), (ROOM, "instances", "masks", "model"), "boxes")
SHOWN = 60  # least certain boxes in the report


def refine_steps(
    images: BoxImages, rounds: Rounds, out: Path, settings: Mapping[str, Any]
) -> Generator[Step, None, Outcome]:
    """All rounds, then the results: masks.json, instances/, masks/, model/, decisions.csv, report.html.

    Args:
        images: Looked through already.
        rounds: With its working folder in `out`.
        out: Opened with `open_out`.
        settings: For the report.
    """
    yield from rounds.run()
    outcome = Outcome()
    segmentations: dict[int, dict[str, Any]] = {}
    last = rounds.config.rounds
    for index, item in enumerate(images.items, 1):
        segments, verdicts = rounds.load(last, item)
        _write_image(images, item, segments, out)
        shape = images.dataset.peek(item).shape
        for number, (one, verdict) in enumerate(zip(segments, verdicts, strict=True), 1):
            segmentations[one.box.id] = {
                **_mask_of(one, shape),
                "score": round(verdict.certainty, 4),
                "status": verdict.decision if verdict.decision != "first" else "kept",
                "reason": verdict.why,
                "instance": number,
            }
        _count(outcome, images, item, segments, verdicts)
        yield Step("write results", index, len(images.items), info={"file": item.image.name})
    outcome.ignored = _ignored(images)
    outcome.twins, outcome.images = dict(images.coco.twins), len(images.items)
    outcome.shapes = {
        images.classes[
            k
        ]: f"a shape learned over its boxes, {one.size:.0%} of the ellipse; sharpness of masks "
        f"{one.sharp:.2f}, with the ellipse {one.ellipse:.2f}"
        for k, one in rounds.learned.items()
    }
    if last:
        _copy(rounds.model_folder(last), out / "model")
    method = {"method": settings["method"], "rounds": last, "seed": settings["seed"]}
    _write_masks(images, out / MASKS, segmentations, outcome, method)
    _write_log(rounds, outcome, out / LOG)
    about = {"dataset": images.dataset.folder, **settings}
    write_report(out / REPORT, outcome, about, _losses(rounds))
    shutil.rmtree(rounds.room, ignore_errors=True)
    return outcome


def _write_image(images: BoxImages, item: Item, segments: list[Segment], out: Path) -> None:
    """The numbered objects and the class mask of one image."""
    like = images.dataset.peek(item)
    write_mask(mask_path(out / "instances", item.stem, like), render_objects(like.shape, segments), like)
    classes = render(like.shape, segments, {k: k for k in images.classes})
    mask = np.where(classes.known, classes.target, 0).astype(np.uint8)
    write_mask(mask_path(out / "masks", item.stem, like), mask, like)


def _mask_of(one: Segment, shape: tuple[int, ...]) -> dict[str, Any]:
    """COCO's segmentation, area and so on of one box."""
    whole = np.zeros(shape, bool)
    whole[place_of(one.box)] = one.mask
    return {"segmentation": encode(whole), "area": int(one.mask.sum())}


def _count(
    outcome: Outcome, images: BoxImages, item: Item, segments: list[Segment], verdicts: list[Verdict]
) -> None:
    """Counts and the least certain boxes; pictures only of those, so that memory stays small."""
    outcome.counts.update(verdict.decision for verdict in verdicts)
    for one, verdict in zip(segments, verdicts, strict=True):
        row = outcome.classes.setdefault(
            images.classes[one.box.class_id], {"boxes": 0, "fill": 0.0, "certainty": 0.0, "reset": 0}
        )
        row["boxes"] += 1
        row["fill"] += (one.fill - row["fill"]) / row["boxes"]
        row["certainty"] += (verdict.certainty - row["certainty"]) / row["boxes"]
        row["reset"] += verdict.decision == "reset"
    bound = outcome.least[-1][0] if len(outcome.least) >= SHOWN else np.inf
    doubtful = [pair for pair in zip(segments, verdicts, strict=True) if pair[1].certainty < bound]
    if doubtful:
        doubtful = sorted(doubtful, key=lambda pair: pair[1].certainty)[:SHOWN]
        opened = images.open(item)
        outcome.least += [(v.certainty, thumbnail(opened, one, v, images.classes)) for one, v in doubtful]
        outcome.least = sorted(outcome.least, key=lambda pair: pair[0])[:SHOWN]


def _ignored(images: BoxImages) -> dict[int | str, str]:
    """Why annotations have no mask of their own."""
    why = dict(images.coco.refused)
    crowds = (box for boxes in images.coco.crowds.values() for box in boxes)
    why |= {box.id: "a crowd: nothing is known of what is in it" for box in crowds}
    for stem, sentence in images.bad.items():
        why |= {box.id: sentence for box in images.dataset.boxes.get(stem, ())}
    return why


def _losses(rounds: Rounds) -> list[float]:
    files = [rounds.model_folder(n) / "history.json" for n in range(1, rounds.config.rounds + 1)]
    return [loss for file in files for loss in read_json(file)["loss"]]


def _copy(folder: Path, target: Path) -> None:
    with write_beside(target) as fresh:
        shutil.copytree(folder, fresh)


def _write_masks(
    images: BoxImages,
    path: Path,
    segmentations: Mapping[int, dict[str, Any]],
    outcome: Outcome,
    method: Mapping[str, Any],
) -> None:
    """The same COCO file with a mask, a status and a score for every annotation."""
    content = read_json(images.dataset.folder / "boxes.json")
    for index, entry in enumerate(content["annotations"]):
        number = entry.get("id")
        if why := outcome.ignored.get(f"#{index}"):  # its id is none, or that of another annotation
            entry |= {"status": "ignored", "reason": why}
        elif (same := images.coco.twins.get(number, number)) in segmentations:
            entry |= segmentations[same]
            if same != number:
                entry |= {"status": "duplicate", "reason": f"the same box as annotation {same}"}
        else:
            entry |= {"status": "ignored", "reason": outcome.ignored.get(number, "")}
        entry["provenance"] = dict(method)
    with write_beside(path) as fresh, open(fresh, "w", encoding="utf-8") as handle:
        json.dump(content, handle, ensure_ascii=False)


def _write_log(rounds: Rounds, outcome: Outcome, path: Path) -> None:
    """Every decision: a line a round and box, and one for each annotation that was left out.

    The outcome's curve is taken on the way: the means over the boxes of a round.
    """
    names = [name for name in Verdict.__dataclass_fields__ if name != "box"]
    with write_beside(path) as fresh, open(fresh, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["round", "image", "annotation", *names])
        for number in range(rounds.config.rounds + 1):
            sums = np.zeros(4)
            for item in rounds.images.items:
                for verdict in rounds.load(number, item)[1]:
                    row = asdict(verdict)
                    cells = (row[name] for name in names)
                    shown = (f"{cell:.4f}" if isinstance(cell, float) else cell for cell in cells)
                    writer.writerow([number, item.stem, verdict.box, *shown])
                    sums += 1, verdict.certainty, verdict.change, verdict.decision == "reset"
            certainty, change, reset = sums[1:] / max(sums[0], 1)
            outcome.curve.append({"round": number, "certainty": certainty, "change": change, "reset": reset})
        for number_, why in outcome.ignored.items():
            writer.writerow(["", "", number_, "ignored", why, "", "", ""])
        for twin, same in rounds.images.coco.twins.items():
            writer.writerow(["", "", twin, "duplicate", f"the same box as annotation {same}", "", "", ""])
