"""What the worker shows while it predicts a region, block by block. Knows neither Qt nor napari."""

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_plugin.events import Event, Preview, in_bytes

if TYPE_CHECKING:
    from wsseg.model import Model
    from wsseg.patches import Sample


def preview(
    model: "Model",
    sample: "Sample",
    region: tuple[slice, ...],
    stage: str,
    tile: tuple[int, ...] | None = None,
) -> Generator[Event, None, None]:
    """Predict a region, with some of its surroundings so that its border is as good as its middle."""
    from wsseg.predict import Predictor

    sizes, tile = sample.image.shape, tile or model.config.patch
    extents = [r.stop - r.start for r in region]
    wanted = [max(t, e + 2 * (t // 4)) for e, t in zip(extents, tile, strict=True)]  # a slice: just one tile
    starts = [r.start - (w - e) // 2 for r, w, e in zip(region, wanted, extents, strict=True)]
    low = [max(0, s) for s in starts]
    high = [min(n, s + w) for s, w, n in zip(starts, wanted, sizes, strict=True)]
    wider = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    image = replace(sample.image, data=_Window(sample.image.data, wider))
    masks, doubts = _Blocks(image.shape), _Blocks(image.shape)
    predictor = Predictor(model, tile=tile, overlap=0.5 if stage == "predict" else 0.25)
    steps = predictor.steps(
        image, into=masks, doubt_into=doubts, statistics=sample.statistics, name=sample.name
    )
    for step in steps:
        yield replace(step, stage=stage)
        yield from _taken(masks, doubts, region, low, model)
    yield from _taken(masks, doubts, region, low, model)


class _Window:
    """A part of an image (C, *S), read no earlier than it is sliced."""

    def __init__(self, data: Any, part: Sequence[slice]) -> None:
        self._data, self._part = data, part
        self.shape = (data.shape[0], *(p.stop - p.start for p in part))
        self.dtype = data.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        channels, *space = key
        moved = []
        for wanted, part in zip(space, self._part, strict=True):
            start, stop, step = wanted.indices(part.stop - part.start)
            moved.append(slice(part.start + start, part.start + stop, step))
        return np.asarray(self._data[(channels, *moved)])


class _Blocks:
    """What the predictor writes its blocks to; they are handed on as they come."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.blocks: list[tuple[tuple[slice, ...], np.ndarray]] = []

    def __setitem__(self, block: tuple[slice, ...], values: np.ndarray) -> None:
        self.blocks.append((block, values))


def _taken(
    masks: _Blocks, doubts: _Blocks, region: Sequence[slice], origin: Sequence[int], model: "Model"
) -> Generator[Preview]:
    """The blocks since the last call, clipped to the region, in the whole image's coordinates."""
    for (block, mask), (_, doubt) in zip(masks.blocks, doubts.blocks, strict=True):
        there, here = [], []
        for b, o, r in zip(block, origin, region, strict=True):
            start, stop = max(b.start + o, r.start), min(b.stop + o, r.stop)
            there.append(slice(start, stop))
            here.append(slice(start - o - b.start, stop - o - b.start))
        if all(t.stop > t.start for t in there):
            inner = tuple(here)
            yield Preview(tuple(there), mask[inner].astype(np.uint8), model, in_bytes(doubt[inner]))
    masks.blocks, doubts.blocks = [], []
