"""Draws docs/images/boxes.png from a run of `wsseg refine` on the coins of examples/boxes.py.

Usage: boxes_picture.py COINS REFINED
"""

import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from skimage.color import label2rgb
from skimage.io import imread

OUT = Path(__file__).parent.parent / "docs" / "images" / "boxes.png"


def main() -> None:
    """Boxes on the left, masks on the right."""
    coins, refined = map(Path, sys.argv[1:3])
    picture = imread(coins / "images" / "coins.png")
    objects = imread(refined / "instances" / "coins.png")
    content = json.loads((coins / "boxes.json").read_text())
    figure = Figure(figsize=(10, 4.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.imshow(picture, cmap="gray")
    for entry in content["annotations"]:
        x, y, width, height = entry["bbox"]
        left.add_patch(
            Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor="#ffd166", linewidth=1.4)
        )
    left.set_title("what a detector gave")
    right.imshow(np.clip(label2rgb(objects, picture, alpha=0.45, bg_label=0), 0, 1))
    right.contour(objects > 0, [0.5], colors="white", linewidths=0.8)
    right.set_title("what wsseg refine made of it")
    for axes in (left, right):
        axes.set_axis_off()
    figure.savefig(OUT)
    Image.open(OUT).convert("RGB").quantize(255, dither=Image.Dither.NONE).save(OUT, optimize=True)
    print(f"{OUT.name}: {OUT.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
