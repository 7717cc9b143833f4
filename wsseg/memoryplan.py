"""What a prediction or a training will ask of the memory, told in one sentence before it begins.

The network's share is counted and not guessed: it is run once on torch's “meta” device, where tensors have
sizes and no values. What convolutions take inside is not seen there. Real peaks on a CPU were 1.0 times the
plan for training, and 0.7 to 1.5 times for predicting (2D and 3D, tiles of 128² to 512² and 48³ to 96³).
"""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from wsseg.device import choose_device
from wsseg.memory import in_words, smaller_tile
from wsseg.model import ModelConfig, build
from wsseg.predict import BLOCK, SLAB
from wsseg.train import BATCH

SPARE = 0.8  # share of the free memory that is planned with
OPTIMISER = 16  # bytes a weight while training: itself, gradient, two moments; the average comes on top
LABELS = 12  # bytes a voxel: target int64 and weight float32
CONTAINER = Path("/sys/fs/cgroup")
_LIMITS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


@dataclass(frozen=True)
class MemoryPlan:
    """What is needed, what there is, and with which tiles.

    Attributes:
        needed: Bytes, images that are loaded already left out; of what lies on the same device.
        free: Bytes of that memory that are free.
        tile: Tile (while training: patch) in voxels.
        smaller: Whether the tile was made smaller to fit.
        where: "memory" or "GPU memory".
    """

    needed: int
    free: int
    tile: tuple[int, ...]
    smaller: bool = False
    where: str = "memory"

    @property
    def fits(self) -> bool:
        """Whether it should go well."""
        return self.needed <= SPARE * self.free

    @property
    def matters(self) -> bool:
        """Whether it is worth a word: it is tight, or large."""
        return not self.fits or self.smaller or self.needed >= 2**30

    def sentence(self) -> str:
        """ "Needs about 6.1 GB of memory, 4.0 GB free: using tiles of 96×96×96." """
        tile = "×".join(map(str, self.tile))
        text = f"Needs about {in_words(self.needed)} of {self.where}, {in_words(self.free)} free"
        text += f": using {'smaller ' if self.smaller else ''}tiles of {tile}"
        return f"{text}." if self.fits else f"{text}. That may not be enough; close other programs, or crop."


def plan_prediction(
    config: ModelConfig,
    shape: Sequence[int],
    *,
    tile: Sequence[int] | None = None,
    device: str = "auto",
    keep_probabilities: bool = False,
) -> MemoryPlan:
    """Plan the prediction of one image; tiles are halved until the network fits beside the rest.

    Args:
        config: Of the model.
        shape: The image's, *S.
        tile: Of the user's choice, which stays; None = the training patch, or smaller.
        device: auto, cpu, cuda or mps.
        keep_probabilities: Whether they are held as well.
    """
    where = choose_device(device)
    classes, voxels = len(config.class_ids), int(np.prod(shape))
    block = min(voxels, BLOCK // classes)
    rest = voxels + 4 * (classes + 1) * block + 4 * 3 * classes * min(voxels, SLAB)
    rest += 4 * classes * voxels if keep_probabilities else 0
    free, name = free_memory(where)
    rest = rest if name == "memory" else 0
    size = tuple(tile or config.patch)
    needed, first = rest + predicting(config, size), size
    while tile is None and needed > SPARE * free:
        smaller = smaller_tile(size, config.architecture.divisor)
        if smaller is None or rest > SPARE * free:
            break
        size, needed = smaller, rest + predicting(config, smaller)
    return MemoryPlan(needed, free, size, size != first, name)


def plan_training(
    config: ModelConfig, voxels: int, *, batch: int | None = None, device: str = "auto"
) -> MemoryPlan:
    """Plan a training.

    Args:
        config: Of the model.
        voxels: Of all images together; their labels are held.
        batch: Patches a step; None = as many as `wsseg.train` takes.
        device: auto, cpu, cuda or mps.
    """
    free, name = free_memory(choose_device(device))
    patches = batch or BATCH[config.architecture.dims]
    needed = training(config, config.patch, patches) + (LABELS * voxels if name == "memory" else 0)
    return MemoryPlan(needed, free, config.patch, where=name)


def predicting(config: ModelConfig, tile: Sequence[int]) -> int:
    """Bytes of the weights, and of the values that are alive at once while one tile is predicted."""
    with torch.device("meta"), torch.inference_mode():
        net = build(config).eval()
        values = torch.empty(1, config.architecture.channels_in, *tile)
        with _Alive() as alive:
            net(values)
    return _weights(net) + alive.peak + _size(values)


def training(config: ModelConfig, patch: Sequence[int], batch: int) -> int:
    """Bytes of the optimiser, and of the values that are kept for the backward pass."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.device("meta"):
        net = build(config).train()
        values = torch.empty(batch, config.architecture.channels_in, *patch)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            scores = net(values)
    # the loss holds scores and their gradient, a log-softmax and maps of labels beside them
    return round(_weights(net) / 4 * (OPTIMISER + 4)) + sum(kept.values()) + 4 * _size(scores)


def free_memory(device: torch.device | None = None) -> tuple[int, str]:
    """Bytes that can be had, and whose: of the GPU, else of the machine or the container it runs in."""
    if device is not None and device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]), "GPU memory"
    free = int(psutil.virtual_memory().available)
    for limit, used in _LIMITS:
        try:
            most, now = (int((CONTAINER / name).read_text()) for name in (limit, used))
            lines = (CONTAINER / used).with_name("memory.stat").read_text().splitlines()
        except (OSError, ValueError):  # no such container, or "max": without a limit
            continue
        cached = sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
        free = min(free, most - now + cached)  # what files are cached in is given back when it is wanted
    return max(0, free), "memory"


class _Alive(TorchDispatchMode):
    """Adds up the tensors that are alive, and remembers the most."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self.now = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = {id(value) for value in args if isinstance(value, Tensor)}
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, Tensor) and id(tensor) not in given and not _is_view(func):
                self.now += _size(tensor)
                weakref.finalize(tensor, self._gone, _size(tensor))
        self.peak = max(self.peak, self.now)
        return made

    def _gone(self, size: int) -> None:
        self.now -= size


def _is_view(func: Any) -> bool:
    return any(a.alias_info is not None for a in func._schema.returns)


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _weights(net: torch.nn.Module) -> int:
    return sum(_size(p) for p in net.parameters())
