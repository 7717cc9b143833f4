"""What the benchmarks share: where the data is, how a wsseg command is run, how rows are kept."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
RESULTS = ROOT / "out" / "benchmarks"


def wsseg(*arguments: object) -> float:
    """Run one wsseg command in a process of its own, as a user would; gives back its seconds.

    Raises:
        SystemExit: The command failed; its words are on the screen.
    """
    begin = time.monotonic()
    command = Path(sys.executable).with_name("wsseg")
    done = subprocess.run([command, *map(str, arguments)], check=False)
    if done.returncode:
        raise SystemExit(f"wsseg {' '.join(map(str, arguments))} ended with {done.returncode}")
    return time.monotonic() - begin


def pack(name: str) -> Path:
    """Folder of a pack of shared data."""
    folder = SHARED / name
    if not folder.is_dir():
        raise SystemExit(f"{name} is not in {SHARED}; this benchmark needs it.")
    return folder


def kept(name: str) -> Path:
    """Where a model of a benchmark stays, for a closer look; an older one of that name goes."""
    folder = RESULTS / "models" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def keep(benchmark: str, row: dict[str, Any]) -> None:
    """Append one row to the benchmark's results and print it."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    machine = {"cores": os.cpu_count(), "machine": platform.machine()}
    with open(RESULTS / f"{benchmark}.jsonl", "a", encoding="utf-8") as handle:
        handle.write(json.dumps({**row, **machine}) + "\n")
    print(json.dumps(row), flush=True)


def options(about: str, **extra: dict[str, Any]) -> argparse.Namespace:
    """Parse --seeds and --steps, and what else a benchmark asks for."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=None, help="training steps; default: those of wsseg fit")
    for name, settings in extra.items():
        parser.add_argument(f"--{name}", **settings)
    return parser.parse_args()


def table(rows: list[dict[str, Any]]) -> None:
    """Print rows as a plain table, one column a key of the first row."""
    if not rows:
        return
    columns = list(rows[0])
    text = [[_short(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in text)) for i, column in enumerate(columns)]
    for line in (columns, *text):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))


def _short(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
