"""Does pretraining pay? Hippocampus: learn from the images of 160 volumes, then from 1, 2, 4 and 8 labels.

The way of a user by commands: pretrain -> probe, on the 40 other volumes, 8 of which are only tested on.
Beside the encoder: a random start, a longer one, the encoder's own weights shuffled; paired seeds. By default
the recommended method and one other at 1 and 4 labels, briefly; `--full` takes the rest. `--parts alarm`
looks instead whether the collapse alarm fires, see `benchmarks.alarm`.
"""

import json
import tempfile
from pathlib import Path

from benchmarks.alarm import measure_alarm
from benchmarks.common import keep, kept, options, pack, table, wsseg

SCANS = 160
BRIEF, ALL = (
    ["mae", "vicreg"],
    ["mae", "vicreg", "simclr", "moco", "byol", "barlow", "dense", "rotation", "jigsaw"],
)


def learn(method: str, steps: int | None, seed: int) -> tuple[Path, float]:
    """An encoder of the first 160 volumes, and its seconds."""
    images = sorted((pack("hippocampus") / "imagesTr").glob("*.nii.gz"))[:SCANS]
    out = kept(f"pretrain-{method}-{seed}")
    extra = ["--steps", steps] if steps else []
    return out, wsseg("pretrain", *images, "--method", method, "--out", out, "--seed", seed, *extra)


def measure(encoder: Path, labels: str, seeds: int, steps: int, full: bool) -> dict:
    """The probe's report on the volumes after those."""
    data = pack("hippocampus")
    with tempfile.TemporaryDirectory() as place:
        room = Path(place)
        for folder, source in (("images", "imagesTr"), ("masks", "labelsTr")):
            (room / folder).mkdir()
            for path in sorted((data / source).glob("*.nii.gz"))[SCANS:]:
                (room / folder / path.name).symlink_to(path)
        wsseg(
            *["probe", encoder, room, "--json", room / "probe.json", "--labels", labels, "--seeds", seeds],
            *["--steps", steps, *(["--full"] if full else [])],
        )
        return json.loads((room / "probe.json").read_text())


def rows_of(method: str, report: dict, seconds: float) -> list[dict]:
    """A row a number of labels: mean Dice of each arm and the gain over a random start."""
    rows = []
    for count, part in report["labels"].items():
        means = {arm: sum(scores) / len(scores) for arm, scores in part["dice"].items()}
        gain = part["gain"]["random"]
        rows.append(
            {
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
        methods={"nargs": "+", "choices": ALL, "default": None},
        labels={"default": None, "help": "numbers of labelled images, as 1,4"},
        full={"action": "store_true", "help": "all methods, 1, 2, 4 and 8 labels, 400 steps, 5 seeds"},
    )
    if "alarm" in chosen.parts:
        table(measure_alarm(chosen.steps or 250, chosen.seeds[0]))
    if "gain" not in chosen.parts:
        return
    seeds = 5 if chosen.full else 3
    labels = chosen.labels or ("1,2,4,8" if chosen.full else "1,4")
    rows = []
    for method in chosen.methods or (ALL if chosen.full else BRIEF):
        encoder, seconds = learn(method, chosen.steps, chosen.seeds[0])
        report = measure(encoder, labels, seeds, 400 if chosen.full else 100, chosen.full)
        keep("pretrain", {"method": method, "seconds": seconds, **report})
        rows += rows_of(method, report, seconds)
    table(rows)


if __name__ == "__main__":
    main()
