"""A word on memory before work that may not fit, from the worker. Knows neither Qt nor napari."""

from collections.abc import Generator
from typing import TYPE_CHECKING

import numpy as np

from napari_plugin.events import Event, Note
from wsseg.images import Image

if TYPE_CHECKING:
    from wsseg.model import ModelConfig


def told_training(config: "ModelConfig", image: Image) -> Generator[Event, None, None]:
    """Say what training on an image asks of the memory, where that is much or may not be there."""
    from wsseg.memoryplan import plan_training

    plan = plan_training(config, int(np.prod(image.shape)))
    if plan.matters:
        yield Note(plan.sentence())


def told_prediction(
    config: "ModelConfig", image: Image, *, keep_probabilities: bool = False
) -> Generator[Event, None, tuple[int, ...]]:
    """The same for a prediction; gives the tile that fits."""
    from wsseg.memoryplan import plan_prediction

    plan = plan_prediction(config, image.shape, keep_probabilities=keep_probabilities)
    if plan.matters:
        yield Note(plan.sentence())
    return plan.tile
