"""Views: how many a second, beside lightly's (where it is installed), and what share of a step they take.

32 colour crops of 64² become two views each; then 8 volumes of 32³ do, which lightly has nothing for.
Processor seconds of one thread, so that what else the machine does counts little.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.common import keep, options, table
from pretrain.method import Setting
from pretrain.methods import METHODS
from pretrain.views import Views
from wsseg.unet import Encoder, plan_encoder


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Median processor seconds of some work, after one go to warm up."""
    work()
    found = []
    for _ in range(repeats):
        begin = time.process_time()
        work()
        found.append(time.process_time() - begin)
    return float(np.median(found))


def ours(dims: int, repeats: int) -> dict:
    """Views alone, and as a share of a SimCLR step with our encoder."""
    size, channels = ((64, 64), 3) if dims == 2 else ((32, 32, 32), 1)
    count = METHODS["simclr"].BATCH[dims]
    images = torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(0))
    shape = plan_encoder(channels_in=channels, spacing=(1.0,) * dims, size=size)
    modality = "colour" if dims == 2 else "mr"
    views = Views(size, (1.0,) * dims, modality, 0, divisor=shape.divisor)
    alone = seconds(lambda: (views(images), views(images)), repeats)
    method = METHODS["simclr"](Encoder(shape), Setting(size, (1.0,) * dims, modality, 100, 0))
    step = seconds(lambda: method(images, torch.arange(count)).backward(), max(2, repeats // 4))
    return {
        "views": f"wsseg {dims}D",
        "per_second": 2 * count / alone,
        "step_seconds": step,
        "share_of_step": alone / step,
    }


def lightlys(repeats: int) -> dict | None:
    """lightly's SimCLR views of as many pictures, to the same size; None where lightly is not installed."""
    try:
        from lightly.transforms import SimCLRTransform
        from torchvision.transforms.functional import to_pil_image
    except ImportError:
        return None
    count = METHODS["simclr"].BATCH[2]
    transform = SimCLRTransform(input_size=48, vf_prob=0.5, rr_prob=0.5)
    values = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    pictures = [to_pil_image(value) for value in values]
    alone = seconds(lambda: [transform(picture) for picture in pictures], repeats)
    return {"views": "lightly 2D", "per_second": 2 * count / alone}


def main() -> None:
    """Print the table."""
    chosen = options(__doc__, repeats={"type": int, "default": 12})
    torch.set_num_threads(1)
    rows = [ours(2, chosen.repeats), ours(3, chosen.repeats)]
    other = lightlys(chosen.repeats)
    rows += [other] if other else []
    for row in rows:
        keep("views", row)
    table(rows)


if __name__ == "__main__":
    main()
