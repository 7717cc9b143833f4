"""Undo of what a network did: the mask and the model as they were before a run. Knows no Qt."""

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from napari_plugin.packedmap import PackedMap
from napari_plugin.results import find
from napari_plugin.timeline import Change
from wsseg.errors import InputError

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Image as ImageLayer

    from napari_plugin.instanttool import InstantTool
    from napari_plugin.run import Run
    from wsseg.model import Model


class Learner(Protocol):
    """What of the controller is needed here."""

    layers: "LayerList"
    instant: "InstantTool"
    run: "Run | None"
    model: "Model | None"
    losses: list[float]


class Learnt(NamedTuple):
    """What there was at some time.

    Attributes:
        mask: The network's; None where there was none.
        settled: Whether it was more than a preview.
        model: The newest one then.
        losses: Of its training.
    """

    mask: PackedMap | None
    settled: bool
    model: "Model | None"
    losses: list[float]

    def size(self) -> int:
        """Bytes, about; a model that several of these share counts each time."""
        return (0 if self.mask is None else self.mask.nbytes) + model_bytes(self.model)


def model_bytes(model: "Model | None") -> int:
    """Bytes of a model's weights."""
    return 1000 if model is None else sum(one.nbytes for one in model.net.state_dict().values())


def learnt(controller: Learner, image: "ImageLayer") -> Learnt:
    """What there is of an image now."""
    masks = controller.instant.masks
    layer = find(controller.layers, image, "mask")
    mask = masks.network_of(image, layer)
    kept = None if mask is None else PackedMap(mask)
    return Learnt(kept, masks.settled, controller.model, controller.losses)


def run_change(controller: Learner, image: "ImageLayer", words: str) -> Change:
    """The change that a run is about to make to the mask of an image and to the model."""
    exchange = partial(_exchange, controller, image)
    return Change(words, "mask", learnt(controller, image), exchange, image, None, Learnt.size)


def _exchange(controller: Learner, image: "ImageLayer", before: Learnt) -> Learnt:
    if controller.run is not None:
        raise InputError("Press Stop first; then the mask from before the run can be put back.")
    now = learnt(controller, image)
    mask = None if before.mask is None else before.mask.values()
    controller.instant.put_back(image, mask, settled=before.settled)
    controller.model, controller.losses = before.model, before.losses
    return now
