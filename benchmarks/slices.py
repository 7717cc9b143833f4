"""Sparse slices, new volumes: hippocampus, the first 20 volumes by name to train on, the last 40 to test.

The whole way by commands: robot -> fit -> predict -> evaluate. `full` is the same with every slice annotated;
`inside3` is the bad case, three slices inside the object and none beyond it; `orthogonal` is one slice inside
along each axis.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.common import keep, kept, options, pack, table, wsseg

HINTS = {
    "full": ["--axis", "0", "--every", "1"],
    "every4": ["--axis", "0", "--every", "4"],
    "every8": ["--axis", "0", "--every", "8"],
    "every16": ["--axis", "0", "--every", "16"],
    "inside3": ["--axis", "0", "--count", "3", "--inside"],
    "orthogonal": ["--axis", "orthogonal", "--count", "1", "--inside"],
}
TRAIN, TEST = 20, 40


def run(hints: str, seed: int, steps: int | None) -> dict:
    """One training and its test."""
    data = pack("hippocampus")
    with tempfile.TemporaryDirectory() as place:
        room = Path(place)
        wsseg(
            *["robot", data / "labelsTr", "--images", data / "imagesTr", "--out", room / "data"],
            *["--kind", "slices", "--first", TRAIN, *HINTS[hints]],
        )
        extra = ["--steps", steps] if steps else []
        model = kept(f"slices-{hints}-{seed}")
        fit = wsseg("fit", room / "data", "--out", model, "--seed", seed, *extra)
        images = sorted((data / "imagesTr").glob("*.nii.gz"))[-TEST:]
        predict = wsseg("predict", model, *images, "--out", room / "masks")
        truth = room / "truth"
        truth.mkdir()
        for image in images:
            (truth / image.name).symlink_to(data / "labelsTr" / image.name)
        wsseg("evaluate", room / "masks", truth, "--json", room / "scores.json")
        scores = json.loads((room / "scores.json").read_text())
        config = json.loads((model / "config.json").read_text())
    return {
        "hints": hints,
        "seed": seed,
        "steps": config["provenance"]["steps"],
        "annotated": config["provenance"]["annotated_share"],
        "anterior": scores["classes"]["1"]["dice"],
        "posterior": scores["classes"]["2"]["dice"],
        "dice": scores["mean"]["dice"],
        "hd95": scores["mean"]["hd95"],
        "estimate": (config["quality"] or {}).get("mean"),
        "fit_seconds": fit,
        "predict_seconds": predict,
    }


def main() -> None:
    """Run what was asked for, then print each run and the ratio to full supervision per seed."""
    chosen = options(__doc__, hints={"nargs": "+", "default": list(HINTS), "choices": list(HINTS)})
    rows = []
    for seed in chosen.seeds:
        for hints in chosen.hints:
            rows.append(run(hints, seed, chosen.steps))
            keep("slices", rows[-1])
    table(rows)
    full = {row["seed"]: row["dice"] for row in rows if row["hints"] == "full"}
    for hints in chosen.hints:
        dice = {row["seed"]: row["dice"] for row in rows if row["hints"] == hints}
        ratios = [dice[seed] / full[seed] for seed in dice if seed in full]
        ratio = f", weak / full {np.mean(ratios):.3f}" if ratios else ""
        print(f"{hints}: mean Dice {np.mean(list(dice.values())):.3f} over {len(dice)} seeds{ratio}")


if __name__ == "__main__":
    main()
