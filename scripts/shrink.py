"""Copies a picture into the documents: 1600 pixels wide and 255 colours, so that the repository stays small."""

import sys

from PIL import Image

picture = Image.open(sys.argv[1]).convert("RGB")
picture = picture.resize((1600, round(1600 * picture.height / picture.width)), Image.Resampling.LANCZOS)
picture.quantize(255, dither=Image.Dither.NONE).save(sys.argv[2], optimize=True)
