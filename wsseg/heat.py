"""Heat maps of whole images: class maps by blocks, averaged over sizes and mirrored views."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsseg.cam import ClassMaps, Kind, enlarge
from wsseg.classifier import TagModel
from wsseg.device import choose_device, memory_format, precision
from wsseg.images import Image
from wsseg.normalise import Statistics
from wsseg.patches import blocks, read_padded
from wsseg.pooling import pool
from wsseg.unet import EncoderConfig

BLOCK = 2**20  # voxels worked on at once


class Heater:
    """Scores and heat maps of images of any size, with one classifier.

    Args:
        model: Trained classifier.
        device: auto, cpu, cuda or mps.
        kind: Which class maps; `cam` is computed by blocks and bounded in memory, the others, which need a
            gradient, see the whole image at once.
        scales: Sizes of the image, as factors, that maps are averaged over.
        flips: Average over mirrored views too.
    """

    def __init__(
        self,
        model: TagModel,
        *,
        device: str = "auto",
        kind: Kind = "cam",
        scales: Sequence[float] = (1.0,),
        flips: bool = False,
    ) -> None:
        self.config, self.kind, self.scales = model.config, kind, tuple(scales)
        self.device = choose_device(device)
        shape = model.config.architecture
        self.stride = shape.divisor
        self.reach = [-(-r // s) * s for r, s in zip(reach_of(shape), self.stride, strict=True)]
        self.format = memory_format(shape.dims)
        self.net = model.net.to(self.device).to(memory_format=self.format).eval()
        axes = range(2, shape.dims + 2) if flips else ()
        self.views = [view for r in range(len(axes) + 1) for view in combinations(axes, r)]

    def score(self, image: Image, statistics: Statistics) -> np.ndarray:
        """float32 (K,): the score of each class in an image, before sigmoid or softmax."""
        places = self._places(self._read(image, statistics))
        return pool(places, self.config.pooling)[0].numpy()

    def heat(self, image: Image, statistics: Statistics) -> np.ndarray:
        """float32 (K, *S): the class maps of an image, on the scale that all images share.

        `cam` maps hold the head's offset: they are the scores at every place, whose pooling is the image's.
        """
        values = self._read(image, statistics)
        size = values.shape[2:]
        total = torch.zeros((1, len(self.config.classes), *size))
        for scale in self.scales:
            scaled = self._resized(values, [max(8, round(n * scale)) for n in size])
            for view in self.views:
                found = self._one(scaled.flip(view) if view else scaled)
                found = found.flip(view) if view else found
                total += self._resized(found, size)
        total /= len(self.scales) * len(self.views)
        inside = tuple(slice(n) for n in image.shape)
        return total[0][(slice(None), *inside)].numpy()

    def _read(self, image: Image, statistics: Statistics) -> Tensor:
        """The image, normalised, (1, C, *S), its far sides repeated to a multiple of the stride."""
        size = [-(-n // s) * s for n, s in zip(image.shape, self.stride, strict=True)]
        return torch.from_numpy(read_padded(image, statistics, [0] * image.ndim, size))[None]

    def _one(self, values: Tensor) -> Tensor:
        """(1, C, *S) -> (1, K, *S), one size and view."""
        size = values.shape[2:]
        missing = [(-n) % s for n, s in zip(size, self.stride, strict=True)]
        if any(missing):
            pad = [edge for n in reversed(missing) for edge in (0, n)]
            values = F.pad(values, pad, mode="replicate")
        if self.kind == "cam":
            maps = enlarge(self._places(values), self.stride)
        else:
            with ClassMaps(self.net, self.net.encoder) as listener:
                maps = listener(self._moved(values), self.kind).float().cpu()
            maps = maps if self.kind == "saliency" else enlarge(maps, self.stride)
        inside = tuple(slice(n) for n in size)
        return maps[(slice(None), slice(None), *inside)]

    @torch.inference_mode()
    def _places(self, values: Tensor) -> Tensor:
        """Scores at every place, (1, C, *S) -> (1, K, *S/stride), by blocks that see as far as they must."""
        grid = [n // s for n, s in zip(values.shape[2:], self.stride, strict=True)]
        result = torch.zeros((1, len(self.config.classes), *grid))
        budget = max(1, BLOCK // int(np.prod(self.stride)))
        for block in blocks(grid, budget):
            seen, inner = [slice(None)] * 2, [slice(None)] * 2
            for part, n, s, reach in zip(block, values.shape[2:], self.stride, self.reach, strict=True):
                low, high = max(0, part.start * s - reach), min(n, part.stop * s + reach)
                seen.append(slice(low, high))
                inner.append(slice(part.start - low // s, part.stop - low // s))
            with precision(self.device):
                found = self.net.places(self._moved(values[tuple(seen)]))
            result[(slice(None), slice(None), *block)] = found.float().cpu()[tuple(inner)]
        return result

    def _moved(self, values: Tensor) -> Tensor:
        return values.to(self.device).contiguous(memory_format=self.format)

    @staticmethod
    def _resized(values: Tensor, size: Sequence[int]) -> Tensor:
        if tuple(values.shape[2:]) == tuple(size):
            return values
        mode = "bilinear" if values.ndim == 4 else "trilinear"
        return F.interpolate(values, tuple(size), mode=mode, align_corners=False)


def reach_of(config: EncoderConfig) -> tuple[int, ...]:
    """How far, in voxels, a place of the last level sees along each axis."""
    reach, jump = [0] * config.dims, [1] * config.dims
    for kernel, stride in zip(config.kernels, config.strides, strict=True):
        for axis in range(config.dims):
            reach[axis] += kernel[axis] // 2 * jump[axis]
            jump[axis] *= stride[axis]
            reach[axis] += kernel[axis] // 2 * jump[axis]
    return tuple(reach)
