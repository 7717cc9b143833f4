"""What a pretrained encoder sees in an image, as further features of its voxels (`wsseg.features.Level`).

The encoder's levels are kept on their own grids, coarser ones only: the finest sees little that filters do
not. Each is brought down to the few directions in which it varies most (principal components): trees look at
some features at a time and drown in a hundred that are alike, and an answer is to come as fast as one draws.
"""

import copy
from collections.abc import Generator, Iterator
from itertools import product

import numpy as np
import torch

from wsseg.encoder import SavedEncoder
from wsseg.features import KEPT, Level
from wsseg.images import Image
from wsseg.normalise import Statistics
from wsseg.patches import read_padded
from wsseg.steps import Step
from wsseg.unet import EncoderConfig

COMPONENTS = 8  # kept of each level
PLACES = 2**14  # of a level's grid that the directions are found from
TILE = {2: 512, 3: 96}  # voxels a side that the network sees at once, most of them
LEAST = 1e-6  # of the largest variance; less is rounding
BORDER = 2  # coarsest voxels around a tile that are computed and thrown away


def encoder_steps(
    image: Image, statistics: Statistics, saved: SavedEncoder, device: torch.device
) -> Generator[Step, None, tuple[Level, ...]]:
    """Compute the levels tile by tile, one Step a tile.

    Args:
        image: (C, *S) with the encoder's axes and channels, see `wsseg.fit.suited`; read lazily.
        statistics: How to normalise it.
        saved: The encoder.
        device: Where to compute.

    Returns:
        One `Level` of at most `COMPONENTS` features for each level of the encoder coarser than the image.
    """
    net = copy.deepcopy(saved.encoder).to(device).eval()  # a training may start from it meanwhile
    divisor = net.config.divisor
    inner = [_side(n, d, TILE[image.ndim]) for n, d in zip(image.shape, divisor, strict=True)]
    border = [BORDER * d for d in divisor]
    steps = np.cumprod(net.config.strides, axis=0)
    raw = [np.zeros(size, KEPT) for size in _sizes(image, net.config)]
    starts = list(product(*(range(0, n, i) for n, i in zip(image.shape, inner, strict=True))))
    for done, start in enumerate(starts, 1):
        corner = tuple(s - b for s, b in zip(start, border, strict=True))
        size = tuple(i + 2 * b for i, b in zip(inner, border, strict=True))
        values = torch.from_numpy(read_padded(image, statistics, corner, size))[None].to(device)
        with torch.inference_mode():
            seen = [each[0].float().cpu().numpy() for each in net(values)]
        for level, step, into in zip(seen, steps, raw, strict=True):
            there = tuple(slice(s // t, (s + i) // t) for s, i, t in zip(start, inner, step, strict=True))
            room = [min(w.stop, n) - w.start for w, n in zip(there, into.shape[1:], strict=True)]
            here = tuple(slice(b // t, b // t + r) for b, t, r in zip(border, step, room, strict=True))
            into[(slice(None), *there)] = level[(slice(None), *here)]
        yield Step("features", done, len(starts))
    coarse = [index for index, step in enumerate(steps) if step.max() > 1]
    return tuple(Level(tuple(int(s) for s in steps[i]), principal(raw[i])) for i in coarse)


def encoder_memory(image: Image, config: EncoderConfig) -> int:
    """Bytes that the levels take while they are computed; less is kept."""
    return sum(int(np.prod(size)) for size in _sizes(image, config)) * np.dtype(KEPT).itemsize


def _sizes(image: Image, config: EncoderConfig) -> Iterator[tuple[int, ...]]:
    """(channels, *grid) of each level."""
    for channels, step in zip(config.channels, np.cumprod(config.strides, axis=0), strict=True):
        yield channels, *(-(-n // int(s)) for n, s in zip(image.shape, step, strict=True))


def _side(size: int, divisor: int, most: int) -> int:
    """A multiple of the divisor: the whole image where it is small enough, else the largest that is."""
    return max(divisor, min(-(-size // divisor), most // divisor) * divisor)


def principal(values: np.ndarray) -> np.ndarray:
    """(F, *G) in the directions of most variance, each of deviation 1: float16 (at most `COMPONENTS`, *G).

    A direction in which nothing varies is 0.
    """
    flat = values.reshape(len(values), -1)
    some = flat[:, :: -(-flat.shape[1] // PLACES)].astype(np.float64)
    mean = some.mean(1, keepdims=True)
    variance, directions = np.linalg.eigh(np.cov(some - mean, bias=True).reshape(len(flat), -1))
    kept = np.argsort(variance)[::-1][:COMPONENTS]
    scale = np.where(variance[kept] > LEAST * variance.max(), variance[kept], np.inf) ** -0.5
    turn = (directions[:, kept] * scale).T.astype(np.float32)
    out = turn @ (flat.astype(np.float32) - mean.astype(np.float32))
    return out.reshape(-1, *values.shape[1:]).astype(KEPT)
