"""Several processes, started by torchrun, each with its share of every batch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from wsseg.device import choose_device
from wsseg.errors import InputError


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this is.

    Attributes:
        rank: 0 writes, shows and measures; the others only compute.
        count: How many there are.
        device: Of this one.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, batch: int) -> range:
        """The places of a batch that this process computes.

        Raises:
            InputError: The batch can't be shared evenly.
        """
        if batch % self.count:
            right = self.count * max(1, round(batch / self.count))
            raise InputError(f"--batch {batch} can't be shared by {self.count} processes; {right} can.")
        each = batch // self.count
        return range(self.rank * each, (self.rank + 1) * each)


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """Join the other processes where torchrun started several; else there is this one.

    Raises:
        InputError: The machine has no such device.
    """
    chosen = choose_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes(0, 1, chosen)
        return
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), chosen)
    finally:
        dist.destroy_process_group()


def gather_states(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What each process alone knows (states of generators), as "<rank>.<name>", in every process."""
    if not dist.is_initialized():
        return {f"0.{name}": tensor for name, tensor in state.items()}
    found: list[dict[str, Tensor] | None] = [None] * dist.get_world_size()
    dist.all_gather_object(found, state)
    return {f"{rank}.{k}": v for rank, part in enumerate(found) for k, v in (part or {}).items()}


def mean_of_all(value: Tensor) -> float:
    """The mean of a number over all processes."""
    value = value.detach().float().clone()
    if dist.is_initialized():
        dist.all_reduce(value)
        value = value / dist.get_world_size()
    return float(value)
