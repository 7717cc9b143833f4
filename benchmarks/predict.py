"""Prediction beside MONAI's sliding window on the same network: seconds per million voxels, peak memory.

2D 4096² and 3D 256³, random weights, the same tile, overlap and Gaussian weights. Each runs in a process of
its own, so that its peak memory is its own; what is needed before predicting is subtracted.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from benchmarks.common import keep, table

SHAPES = {"2d": (4096, 4096), "3d": (256, 256, 256)}
TILES = {"2d": (128, 128), "3d": (48, 48, 48)}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(what: str, case: str) -> dict:
    """Predict one random image with `what`, here and now."""
    import torch

    from wsseg.device import precision
    from wsseg.images import Image
    from wsseg.model import Model, ModelConfig, build
    from wsseg.normalise import Normalisation
    from wsseg.predict import Predictor
    from wsseg.unet import plan_encoder

    torch.set_num_threads(2)
    torch.manual_seed(0)
    shape, tile = SHAPES[case], TILES[case]
    dims = len(shape)
    encoder = plan_encoder(channels_in=1, spacing=(1.0,) * dims, size=shape)
    config = ModelConfig(encoder, {1: "a"}, Normalisation(), (1.0,) * dims, tile)
    model = Model(config, build(config).eval())
    values = np.random.default_rng(0).integers(0, 256, (1, *shape), np.uint8)
    image = Image(values, (1.0,) * dims)
    before, begin = _peak_mb(), time.monotonic()
    if what == "wsseg":
        Predictor(model, device="cpu", overlap=0.25).predict(image)
    else:
        from monai.inferers import sliding_window_inference

        begin = time.monotonic()
        normal = config.normalisation.measure(image).apply(values)
        with torch.inference_mode(), precision(torch.device("cpu")):
            scores = sliding_window_inference(
                torch.from_numpy(normal)[None], tile, 1, model.net, overlap=0.25, mode="gaussian"
            )
            scores.argmax(1).to(torch.uint8).numpy()
    seconds = time.monotonic() - begin
    return {
        "what": what,
        "case": case,
        "s_per_mvoxel": seconds / np.prod(shape) * 1e6,
        "peak_mb": _peak_mb() - before,
    }


def main() -> None:
    """All four, one after the other, each in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "CASE"))
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(measure(*chosen.one)))
        return
    rows = []
    for case in SHAPES:
        for what in ("wsseg", "monai"):
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.predict", "--one", what, case]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            keep("predict", rows[-1])
    table(rows)


if __name__ == "__main__":
    main()
