"""A box dataset to try `wsseg refine` on: the coins of scikit-image, each with a box as from a detector."""

import json
from pathlib import Path

import numpy as np
from skimage import data, filters, measure, morphology, segmentation
from skimage.io import imsave

coins = data.coins()
ground = filters.gaussian(coins, 30, preserve_range=True)
bright = filters.gaussian(coins, 1.5, preserve_range=True) > np.maximum(1.12 * ground, 90)
bright = morphology.opening(morphology.closing(bright, morphology.disk(4)), morphology.disk(5))
found = measure.regionprops(measure.label(segmentation.clear_border(bright)))
boxes = [region.bbox for region in found if region.area > 400]

folder = Path("coins")
(folder / "images").mkdir(parents=True, exist_ok=True)
imsave(folder / "images" / "coins.png", coins)
height, width = coins.shape
content = {
    "images": [{"id": 1, "file_name": "coins.png", "height": height, "width": width}],
    "categories": [{"id": 1, "name": "coin"}],
    "annotations": [
        {"id": number, "image_id": 1, "category_id": 1, "bbox": [left, top, right - left, bottom - top]}
        for number, (top, left, bottom, right) in enumerate(boxes, 1)
    ],
}
(folder / "boxes.json").write_text(json.dumps(content))
print(f"{folder}/: one picture with {len(boxes)} boxes")
