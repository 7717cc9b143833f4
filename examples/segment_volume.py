"""A volume and a hint map on disk become a mask with the volume's geometry, and a model for the next volumes.

Run `wsseg demo` first: it leaves the scan and the hints that this script reads.
"""

from pathlib import Path

import numpy as np

from wsseg.fit import default_steps, fit_steps, make_sample
from wsseg.hints import Hints
from wsseg.images import read_image, read_labels, write_mask
from wsseg.normalise import Normalisation
from wsseg.predict import Predictor
from wsseg.train import TrainConfig

folder = Path("wsseg-demo/data")
classes = {1: "grey matter", 2: "white matter"}

# 0 = nothing said, 1…254 = class, 255 = background; checked against the image's shape and affine
image = read_image(folder / "images" / "mni152.nii.gz")
scribbles = read_labels(folder / "hints" / "mni152.nii.gz", like=image).astype(np.uint8)
sample = make_sample(image, Hints(image.shape, scribbles=scribbles), classes, Normalisation())

# Long work is a generator: each step is yielded, and what the generator returns is the result.
run = fit_steps([sample], classes, TrainConfig(steps=default_steps([sample])), out=Path("my-model"))
while True:
    try:
        step = next(run)
    except StopIteration as end:
        model = end.value.model
        break
    if step.loss is not None and step.index % 50 == 0:
        print(f"{step.index} of {step.total}: loss {step.loss:.3f}")

print(f"Dice on hints that were held back: {model.config.quality}")
prediction = Predictor(model).predict(image)
write_mask("mask.nii.gz", prediction.mask, like=image)
print(f"mask.nii.gz is written; the mean uncertainty is {prediction.uncertainty:.3f}")
