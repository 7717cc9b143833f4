"""Image -> probabilities -> mask, tile by tile: memory is bounded by a block, not by the image."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wsseg.device import choose_device, memory_format, precision
from wsseg.guidance import doubt_of
from wsseg.images import Image
from wsseg.model import Model
from wsseg.normalise import Statistics
from wsseg.patches import Sample, blocks, gaussian_window, read_padded, slabs, tile_starts
from wsseg.propagate import honour, says_all
from wsseg.steps import Step, finish

BLOCK = 2**25  # voxels times classes accumulated at once: 128 MB
SLAB = 2**20  # voxels finished at once; what that needs on the way is several times as large


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of an image.

    Attributes:
        mask: uint8 (*S), class ids, 0 = background; None where a writer took it.
        probabilities: float32 (K, *S), background first, or None where they were not asked for.
        uncertainty: 0 (sure) to 1, mean of 1 − (margin between the two likeliest classes) over voxels that
            are not surely background.
    """

    mask: np.ndarray | None
    probabilities: np.ndarray | None
    uncertainty: float


class Predictor:
    """Predicts images of any size with one model.

    Args:
        model: Trained model.
        device: auto, cpu, cuda or mps.
        tile: Tile size in voxels; None = the size of the training patches.
        overlap: Share of a tile that neighbours share at least.
        flips: Average over mirrored views, along the axes where mirroring is harmless.
    """

    def __init__(
        self,
        model: Model,
        *,
        device: str = "auto",
        tile: Sequence[int] | None = None,
        overlap: float = 0.5,
        flips: bool = False,
    ) -> None:
        self.config = model.config
        self.device = choose_device(device)
        self.dims = model.config.architecture.dims
        self.net: nn.Module = model.net.to(self.device).to(memory_format=memory_format(self.dims)).eval()
        self.tile = tuple(tile or model.config.patch)
        self.overlap = overlap
        axes = model.config.flip_axes if flips else ()
        self.views = [view for r in range(len(axes) + 1) for view in combinations(axes, r)]
        self.window = gaussian_window(self.tile)

    def predict(
        self,
        image: Image,
        *,
        keep_probabilities: bool = False,
        statistics: Statistics | None = None,
        name: str = "The image",
    ) -> Prediction:
        """The same as `steps`, run to its end."""
        return finish(
            self.steps(image, keep_probabilities=keep_probabilities, statistics=statistics, name=name)
        )

    def steps(
        self,
        image: Image,
        *,
        keep_probabilities: bool = False,
        into: Any = None,
        doubt_into: Any = None,
        statistics: Statistics | None = None,
        name: str = "The image",
    ) -> Generator[Step, None, Prediction]:
        """Predict an image, one Step a tile.

        Args:
            image: Any size, the model's number of axes and channels.
            keep_probabilities: Whether the result holds them (4 bytes a voxel and class).
            into: An array-like (*S) to write the mask to, block by block; None = an array in memory.
            doubt_into: An array-like (*S) to write to how much each voxel is in doubt, 0 to 1, just after the
                same block of the mask (see `wsseg.guidance.doubt_of`).
            statistics: How to normalise; None = measured on this image.
            name: What to call the image in messages.

        Raises:
            InputError: The image is constant or not finite.
        """
        statistics = statistics or self.config.normalisation.measure(image, name)
        classes = len(self.config.class_ids)
        ids = np.array(self.config.class_ids, np.uint8)
        mask = np.zeros(image.shape, np.uint8) if into is None else into
        kept = np.zeros((classes, *image.shape), np.float32) if keep_probabilities else None
        plan = self._plan(image.shape)
        total, done, doubt = sum(len(t) for _, t in plan), 0, _Doubt()
        for block, starts in plan:
            extent = [b.stop - b.start for b in block]
            summed = np.zeros((classes, *extent), np.float32)
            weights = np.zeros(extent, np.float32)
            for start in starts:
                self._add(image, statistics, start, block, summed, weights)
                done += 1
                yield Step("predict", done, total)
            for slab in slabs(extent, SLAB):
                part = summed[:, slab]
                part /= weights[slab]
                place = (slice(block[0].start + slab.start, block[0].start + slab.stop), *block[1:])
                mask[place] = ids[part.argmax(0)]
                unsure = doubt_of(part)
                doubt.add(part, unsure)
                if doubt_into is not None:
                    doubt_into[place] = unsure
                if kept is not None:
                    kept[(slice(None), *place)] = part
        return Prediction(mask if into is None else None, kept, doubt.mean())

    def honour(self, prediction: Prediction | None, sample: Sample, into: Any = None) -> Prediction:
        """Change a prediction to what a person said of the same image; see `wsseg.propagate.honour`.

        Args:
            prediction: With its probabilities; None where the strokes say all (`wsseg.propagate.says_all`).
            sample: The image and its labels.
            into: An array-like (*S) to write the mask to; None = an array in memory.

        Raises:
            ValueError: The prediction is needed, and was made without `keep_probabilities`.
        """
        objects, classes = self.config.objects, len(self.config.class_ids)
        probabilities = prediction.probabilities if prediction else None
        if probabilities is None and not says_all(sample, objects):
            raise ValueError("honour needs a prediction with its probabilities (keep_probabilities=True)")
        said = honour(sample, probabilities, objects, self.device, classes)
        mask = np.zeros(said.shape[1:], np.uint8) if into is None else into
        mask[...] = np.array(self.config.class_ids, np.uint8)[said.argmax(0)]
        doubt = _Doubt()
        doubt.add(said, doubt_of(said))
        return Prediction(mask if into is None else None, said, doubt.mean())

    def count_tiles(self, shape: Sequence[int]) -> int:
        """How many steps an image of this spatial shape takes."""
        return sum(len(starts) for _, starts in self._plan(shape))

    def _plan(self, shape: Sequence[int]) -> list[tuple[tuple[slice, ...], list[tuple[int, ...]]]]:
        """The blocks of an image, each with the tiles that touch it."""
        tiles = self._tiles(shape)
        budget = BLOCK // len(self.config.class_ids)
        return [(block, self._touching(tiles, block)) for block in blocks(shape, budget)]

    def _tiles(self, shape: Sequence[int]) -> list[tuple[int, ...]]:
        starts = [tile_starts(n, t, self.overlap) for n, t in zip(shape, self.tile, strict=True)]
        grid = np.meshgrid(*starts, indexing="ij")
        return [tuple(int(v) for v in place) for place in np.stack([g.ravel() for g in grid], -1)]

    def _touching(self, tiles: Sequence[tuple[int, ...]], block: tuple[slice, ...]) -> list[tuple[int, ...]]:
        return [
            start
            for start in tiles
            if all(s < b.stop and s + t > b.start for s, t, b in zip(start, self.tile, block, strict=True))
        ]

    def _add(
        self,
        image: Image,
        statistics: Statistics,
        start: tuple[int, ...],
        block: tuple[slice, ...],
        summed: np.ndarray,
        weights: np.ndarray,
    ) -> None:
        """Predict one tile and add the part of it that lies in the block."""
        values = torch.from_numpy(read_padded(image, statistics, start, self.tile))[None].to(self.device)
        said = self._probabilities(values)[0].cpu().numpy()
        low = [max(s, b.start) for s, b in zip(start, block, strict=True)]
        high = [min(s + t, b.stop) for s, t, b in zip(start, self.tile, block, strict=True)]
        there = tuple(slice(a - b.start, z - b.start) for a, z, b in zip(low, high, block, strict=True))
        here = tuple(slice(a - s, z - s) for a, z, s in zip(low, high, start, strict=True))
        summed[(slice(None), *there)] += said[(slice(None), *here)] * self.window[here]
        weights[there] += self.window[here]

    @torch.inference_mode()
    def _probabilities(self, values: Tensor) -> Tensor:
        """(1, C, *tile) -> (1, K, *tile), the mean over the mirrored views."""
        values = values.contiguous(memory_format=memory_format(self.dims))
        total: Tensor | None = None
        for view in self.views:
            axes = [axis + 2 for axis in view]
            with precision(self.device):
                scores = self.net(values.flip(axes) if axes else values)
            said = scores.float().softmax(1)
            said = said.flip(axes) if axes else said
            total = said if total is None else total + said
        assert total is not None
        return total / len(self.views)


class _Doubt:
    """Mean doubt over voxels that are not surely background, block by block."""

    def __init__(self) -> None:
        self.sum, self.count = 0.0, 0

    def add(self, probabilities: np.ndarray, unsure: np.ndarray) -> None:
        if len(probabilities) < 2:
            return
        matters = probabilities[0] < 0.95
        self.sum += float(unsure[matters].sum(dtype=np.float64))
        self.count += int(matters.sum())

    def mean(self) -> float:
        return self.sum / self.count if self.count else 0.0
