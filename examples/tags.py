"""A tagged dataset to try `wsseg seeds` on: pictures with a coin and without one, and no mask of any."""

from pathlib import Path

import numpy as np
from skimage import data, filters, measure, morphology, segmentation
from skimage.io import imsave
from skimage.transform import resize

coins = data.coins()
ground = filters.gaussian(coins, 30, preserve_range=True)
bright = filters.gaussian(coins, 1.5, preserve_range=True) > np.maximum(1.12 * ground, 90)
bright = morphology.opening(morphology.closing(bright, morphology.disk(4)), morphology.disk(5))
found = measure.regionprops(measure.label(segmentation.clear_border(bright)))
rng = np.random.default_rng(0)
folder = Path("coins-tagged")
(folder / "images").mkdir(parents=True, exist_ok=True)
lines = ["image,class"]
places = [region.bbox for region in found if region.area > 400][:20]
for number, (top, left, bottom, right) in enumerate(places):
    table = np.clip(rng.normal(60, 8, (2, 48, 64)), 0, 255)  # an empty table, twice
    coin = resize(coins[top:bottom, left:right], (24, 24), preserve_range=True)
    disc = np.hypot(*(np.indices((24, 24)) - 11.5)) < 11
    row, column = rng.integers(0, 24), rng.integers(0, 40)
    table[0, row : row + 24, column : column + 24][disc] = coin[disc]
    for picture, word in zip(table, ("coin", ""), strict=True):
        stem = f"{number:02}-{word or 'empty'}"
        imsave(folder / "images" / f"{stem}.png", picture.astype(np.uint8), check_contrast=False)
        lines.append(f"{stem},{word}")
(folder / "tags.csv").write_text("\n".join(lines) + "\n")
(folder / "classes.json").write_text('{"1": "coin"}')
print(f"{folder}/: {len(lines) - 1} pictures, half of them with a coin")
