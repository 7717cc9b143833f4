"""Does pretraining pay? Learn from images without labels, then from 1, 2, 4 and 8 labelled others.

hippocampus: the images of 160 volumes, then the 40 other volumes. nuclei: three quarters of the fluorescence
images, then the others; images of one mosaic are all among the first or all among the others. The way of a
user by commands: pretrain -> probe, which only tests on 8 of the others. Beside the encoder: a random start,
a longer one, the encoder's own weights shuffled; paired seeds. By default the recommended method and one
other at 1 and 4 labels, briefly; `--full` takes the rest. `supcon` needs tags: of nuclei each image's kind is
told, of hippocampus there is none, so it is not run there. `--parts alarm` looks instead whether the collapse
alarm fires, see `benchmarks.alarm`.
"""

import csv
import json
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.alarm import measure_alarm
from benchmarks.common import keep, kept, options, pack, table, wsseg
from pretrain.methods import METHODS
from wsseg.images import read_image, read_labels, write_mask

SCANS = 160  # volumes of hippocampus that are learned from without labels
BRIEF = {"hippocampus": ["location", "mae"], "nuclei": ["mae", "vicreg"]}
ALL = {"hippocampus": [name for name, method in METHODS.items() if not method.TAGGED], "nuclei": [*METHODS]}


def lay_out(data: str, room: Path) -> tuple[Path, Path]:
    """Two dataset folders: what is learned from without labels, and what is probed on."""
    unlabelled, labelled = room / "unlabelled", room / "labelled"
    for folder in (unlabelled / "images", labelled / "images", labelled / "masks"):
        folder.mkdir(parents=True)
    (_hippocampus if data == "hippocampus" else _nuclei)(unlabelled, labelled)
    return unlabelled, labelled


def _hippocampus(unlabelled: Path, labelled: Path) -> None:
    for index, image in enumerate(sorted((pack("hippocampus") / "imagesTr").glob("*.nii.gz"))):
        place = unlabelled if index < SCANS else labelled
        (place / "images" / image.name).symlink_to(image)
        if place is labelled:
            mask = image.parents[1] / "labelsTr" / image.name
            (place / "masks" / image.name).symlink_to(mask)


def _nuclei(unlabelled: Path, labelled: Path) -> None:
    source = pack("nuclei")
    with open(source / "index.csv", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["kind"].startswith("fluo")]
    groups = sorted({row["mosaic_group"] for row in rows})
    tags = ["image,class\n"]
    for row in rows:
        path = source / "images" / f"{row['id']}.png"
        place = labelled if row["mosaic_group"] in groups[::4] else unlabelled
        (place / "images" / path.name).symlink_to(path)
        if place is labelled:
            truth = np.asarray(read_labels(source / "labels" / f"{row['id']}.tif")) > 0
            mask = place / "masks" / f"{row['id']}.tif"
            write_mask(mask, truth.astype(np.uint8), read_image(path))
        else:
            tags.append(f"{row['id']},{row['kind']}\n")
    (unlabelled / "tags.csv").write_text("".join(tags), encoding="utf-8")


def measure(data: str, method: str, pretrain: list, probe: list) -> tuple[dict, float]:
    """The probe's report of an encoder, and the seconds that pretraining took."""
    with tempfile.TemporaryDirectory() as place:
        room = Path(place)
        unlabelled, labelled = lay_out(data, room)
        encoder = kept(f"pretrain-{data}-{method}")
        seconds = wsseg("pretrain", unlabelled, "--method", method, "--out", encoder, *pretrain)
        wsseg("probe", encoder, labelled, "--json", room / "probe.json", *probe)
        return json.loads((room / "probe.json").read_text()), seconds


def rows_of(data: str, method: str, report: dict, seconds: float) -> list[dict]:
    """A row a number of labels: mean Dice of each arm and the gain over a random start."""
    rows = []
    for count, part in report["labels"].items():
        means = {arm: sum(scores) / len(scores) for arm, scores in part["dice"].items()}
        gain = part["gain"]["random"]
        rows.append(
            {
                "data": data,
                "method": method,
                "labels": int(count),
                **means,
                "gain": gain["mean"],
                "low": gain["low"],
                "high": gain["high"],
                "verdict": gain["verdict"],
                "pretrain_seconds": seconds,
            }
        )
    return rows


def main() -> None:
    """Run what was asked for and print it, losers too."""
    chosen = options(
        __doc__,
        parts={"nargs": "+", "choices": ["gain", "alarm"], "default": ["gain"]},
        data={"default": "hippocampus", "choices": list(ALL)},
        methods={"nargs": "+", "choices": list(METHODS), "default": None},
        labels={"default": None, "help": "numbers of labelled images, as 1,4"},
        full={"action": "store_true", "help": "all methods, 1, 2, 4 and 8 labels, 400 steps, 5 seeds"},
        pairs={"type": int, "default": None, "help": "paired seeds of the probe; default 3, with --full 5"},
    )
    if "alarm" in chosen.parts:
        table(measure_alarm(chosen.steps or 250, chosen.seeds[0]))
    if "gain" not in chosen.parts:
        return
    pretrain = ["--seed", chosen.seeds[0], *(["--steps", chosen.steps] if chosen.steps else [])]
    labels = chosen.labels or ("1,2,4,8" if chosen.full else "1,4")
    probe = ["--labels", labels, "--seeds", chosen.pairs or (5 if chosen.full else 3)]
    probe += ["--steps", 400, "--full"] if chosen.full else ["--steps", 100]
    rows = []
    for method in chosen.methods or (ALL if chosen.full else BRIEF)[chosen.data]:
        report, seconds = measure(chosen.data, method, pretrain, probe)
        keep("pretrain", {"data": chosen.data, "method": method, "seconds": seconds, **report})
        rows += rows_of(chosen.data, method, report, seconds)
    table(rows)


if __name__ == "__main__":
    main()
