"""A trained model on many pictures: masks in a folder, and which pictures are worth the next hints.

Makes its own pictures: bright discs on noise, two of them scribbled on.
"""

from pathlib import Path

import numpy as np
from PIL import Image as Picture

from wsseg.batch import predict_images
from wsseg.fit import fit_steps, make_sample
from wsseg.hints import BACKGROUND, Hints
from wsseg.images import list_images, read_image
from wsseg.maskfolder import open_out
from wsseg.normalise import Normalisation
from wsseg.predict import Predictor
from wsseg.steps import finish
from wsseg.train import TrainConfig

rng = np.random.default_rng(0)
pictures = Path("discs")
pictures.mkdir(exist_ok=True)
y, x = np.mgrid[:64, :64]
for number in range(4):
    disc = np.hypot(y - 32, x - 24 - 4 * number) < 14
    noisy = 80 + 90 * disc + rng.normal(0, 15 * (number + 1), disc.shape)  # each is noisier than the last
    Picture.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(pictures / f"disc{number}.png")

classes = {1: "disc"}
images = list_images(pictures)
samples = []
for stem in ("disc0", "disc1"):
    image = read_image(images[stem])
    scribbles = np.zeros(image.shape, np.uint8)
    scribbles[28:36, 24:30] = 1
    scribbles[4:8, 8:56] = scribbles[56:60, 8:56] = BACKGROUND
    samples.append(make_sample(image, Hints(image.shape, scribbles=scribbles), classes, Normalisation()))

model = finish(fit_steps(samples, classes, TrainConfig(steps=40))).model

out = Path("disc-masks")
open_out(out, model, images)
outcome = finish(predict_images(Predictor(model), images, out))
for stem, uncertainty in outcome.uncertainty.items():
    print(f"{uncertainty:.3f}  {stem}")
