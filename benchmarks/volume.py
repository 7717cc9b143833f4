"""Sparse slices, the same volume: MNI152 at 2 mm, five even axial slices, as `wsseg demo` does it."""

import json
import tempfile
from pathlib import Path

from benchmarks.common import keep, options, table, wsseg


def main() -> None:
    """One demo a seed; Dice of grey and white matter outside the annotated slices."""
    chosen = options(__doc__)
    rows = []
    for seed in chosen.seeds:
        with tempfile.TemporaryDirectory() as place:
            out = Path(place) / "demo"
            extra = ["--steps", chosen.steps] if chosen.steps else []
            seconds = wsseg("demo", "--out", out, "--seed", seed, *extra)
            found = json.loads((out / "demo.json").read_text())
        rows.append(
            {"seed": seed, **found["dice"], "annotated": found["annotated_share"], "seconds": seconds}
        )
        keep("volume", rows[-1])
    table(rows)


if __name__ == "__main__":
    main()
