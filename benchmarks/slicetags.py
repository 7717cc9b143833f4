"""Tags of slices: each coronal slice of hippocampus volumes says which parts it holds. Where are they?

The first 20 volumes by name are tagged by a robot, as a person would with one key a slice, and `wsseg seeds`
makes seeds of them with its defaults. Per part: its AUC on the volumes that were held back, precision and
recall of the seeds, and in the last 20 volumes, which nobody tagged, how often the hottest voxel of a slice
with the part lies in it; beside the share of a slice with the part that it takes, which is what a guess would
get. Nothing was chosen on the true masks.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.common import keep, options, pack, table, wsseg
from wsseg.classifier import TagModel, load_classifier
from wsseg.heat import Heater
from wsseg.images import Image, read_image, read_labels
from wsseg.robot_dataset import robot_steps
from wsseg.steps import finish
from wsseg.tagheat import heat_parts

AXIS = 1  # coronal
PARTS = {1: "anterior", 2: "posterior"}
VOLUMES = 20


def read(stem: str) -> tuple[Image, np.ndarray]:
    """A volume and its true parts."""
    folder = pack("hippocampus")
    image = read_image(folder / "imagesTr" / f"{stem}.nii.gz")
    return image, read_labels(folder / "labelsTr" / f"{stem}.nii.gz", image)


def of_seeds(hints: Path, stems: list[str]) -> dict[int, dict[str, float]]:
    """Precision and recall of the seeds of each part, over the voxels of all volumes."""
    right, said, there = (dict.fromkeys(PARTS, 0) for _ in range(3))
    for stem in stems:
        _, truth = read(stem)
        seeds = read_labels(hints / f"{stem}.nii.gz")
        for k in PARTS:
            right[k] += int(((seeds == k) & (truth == k)).sum())
            said[k] += int((seeds == k).sum())
            there[k] += int((truth == k).sum())
    return {
        k: {
            "seed_precision": right[k] / said[k] if said[k] else float("nan"),
            "seed_recall": right[k] / there[k],
        }
        for k in PARTS
    }


def pointing(model: TagModel, stems: list[str]) -> dict[int, dict[str, float]]:
    """How often the hottest voxel of a slice with a part lies in it, and what share of the slice it takes."""
    heater = Heater(model)
    hits: dict[int, list[bool]] = {k: [] for k in PARTS}
    shares: dict[int, list[float]] = {k: [] for k in PARTS}
    for stem in stems:
        image, truth = read(stem)
        for index, heat in enumerate(heat_parts(heater, image, stem, AXIS)):
            plane = truth.take(index, AXIS)
            for place, k in enumerate(model.config.class_ids):
                if (plane == k).any():
                    hits[k].append(bool(plane.ravel()[heat[place].argmax()] == k))
                    shares[k].append(float((plane == k).mean()))
    return {k: {"pointing": float(np.mean(hits[k])), "guess": float(np.mean(shares[k]))} for k in PARTS}


def main() -> None:
    """Tag, make seeds, score."""
    chosen = options(__doc__)
    source = pack("hippocampus")
    stems = sorted(path.name.removesuffix(".nii.gz") for path in (source / "labelsTr").iterdir())
    rows = []
    for seed in chosen.seeds:
        with tempfile.TemporaryDirectory() as place:
            data, out = Path(place) / "data", Path(place) / "seeds"
            tag = robot_steps(
                source / "labelsTr", source / "imagesTr", data, "tags", axis=AXIS, every=1, first=VOLUMES
            )
            minutes = finish(tag)["seconds"] / 60
            extra = ["--steps", chosen.steps] if chosen.steps else []
            seconds = wsseg("seeds", data, "--out", out, "--seed", seed, *extra)
            quality = json.loads((out / "quality.json").read_text())
            sown = of_seeds(out / "hints", stems[:VOLUMES])
            pointed = pointing(load_classifier(out / "classifier"), stems[-VOLUMES:])
        for k, name in PARTS.items():
            row = {"part": name, "seed": seed, "auc": quality["auc"][str(k)], **sown[k], **pointed[k]}
            rows.append({**row, "minutes_of_a_person": minutes, "seconds": seconds})
            keep("slicetags", rows[-1])
    table(rows)


if __name__ == "__main__":
    main()
