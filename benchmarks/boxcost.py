"""What boxes cost: first labels as their number grows tenfold twice, and the field, torch beside pydensecrf2.

Boxes: images of 512² with 100 discs each, so that more boxes are more images; each count in a process of its
own, so that its peak memory is its own. Field: the same crops, kernels and iterations for both; the window of
torch's ends where pydensecrf2's lattice goes on.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import keep, table, wsseg

COUNTS = (100, 1000, 10_000)
SIDE, ACROSS, RADIUS = 512, 10, 14  # an image, discs along it, and their size
CROPS = {2: (64, 32), 3: (16, 16)}  # how many, and grid cells a side of the box


def discs(rng: np.random.Generator) -> tuple[np.ndarray, list[list[int]]]:
    """uint8 (SIDE, SIDE) with 100 bright discs on noise, and their boxes as COCO has them."""
    step = SIDE // ACROSS
    at = np.arange(SIDE)
    image, boxes = rng.normal(60, 15, (SIDE, SIDE)), []
    for row in range(ACROSS):
        for column in range(ACROSS):
            y, x = (step * (k + 0.5) + rng.integers(-6, 7) for k in (row, column))
            image[(at[:, None] - y) ** 2 + (at - x) ** 2 <= RADIUS**2] += 80
            boxes.append([int(x - RADIUS), int(y - RADIUS), 2 * RADIUS + 1, 2 * RADIUS + 1])
    return np.clip(image, 0, 255).astype(np.uint8), boxes


def write_discs(folder: Path, count: int) -> None:
    """A dataset of `count` boxes."""
    from PIL import Image

    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(1, count // ACROSS**2 + 1):
        picture, boxes = discs(np.random.default_rng(number))
        Image.fromarray(picture).save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png"})
        for box in boxes:
            entry = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "bbox": box}
            annotations.append(entry)
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "disc"}]}
    (folder / "boxes.json").write_text(json.dumps(content))


def boxes(count: int) -> dict:
    """`wsseg refine --rounds 0` on so many boxes: seconds and the peak memory of that process."""
    with tempfile.TemporaryDirectory() as place:
        write_discs(Path(place) / "data", count)
        seconds = wsseg("refine", Path(place) / "data", "--out", Path(place) / "out", "--rounds", 0)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"what": f"{count} boxes", "seconds": seconds, "ms": 1000 * seconds / count, "peak_mb": peak}


def field(dims: int) -> list[dict]:
    """Milliseconds for a million voxels, both solvers on the same crops."""
    import torch

    from wsseg.boxfit import FitConfig, kernels_of
    from wsseg.crf import LocalField, dense_mean_field
    from wsseg.crops import MARGIN

    count, side = CROPS[dims]
    size = (round(side * (1 + 2 * MARGIN)),) * dims
    generator = torch.Generator().manual_seed(0)
    guide = torch.randn(count, 3, *size, generator=generator)
    scores = torch.randn(count, 2, *size, generator=generator)
    kernels, iterations = kernels_of(side, dims, FitConfig()), FitConfig().iterations
    rows = []
    for name in ("local", "dense"):
        begin = time.monotonic()
        if name == "local":
            LocalField(guide, kernels).solve(scores, iterations=iterations)
        else:
            for one, seen in zip(scores.numpy(), guide.numpy(), strict=True):
                dense_mean_field(one, seen, kernels, iterations=iterations)
        seconds = time.monotonic() - begin
        voxels = count * np.prod(size) / 1e6
        rows.append({"what": f"{dims}D field, {name}", "seconds": seconds, "ms": 1000 * seconds / voxels})
    return rows


def main() -> None:
    """Boxes by count, then the field; ms is for a box or for a million voxels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", type=int, metavar="COUNT")
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(boxes(chosen.one)))
        return
    rows = []
    for count in COUNTS:
        command = [sys.executable, "-m", "benchmarks.boxcost", "--one", str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    rows += [row for dims in CROPS for row in field(dims)]
    for row in rows:
        keep("boxcost", row)
    table(rows)


if __name__ == "__main__":
    main()
