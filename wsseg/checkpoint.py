"""The state of a training run on disk, so that a killed run goes on to the same result."""

from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from wsseg.errors import InputError
from wsseg.weights import read_folder, write_folder


class Run(Protocol):
    """What a training run is made of; everything random in it depends on the seed and `done` alone."""

    done: int

    @property
    def net(self) -> nn.Module:
        """What is trained."""

    @property
    def average(self) -> nn.Module:
        """The running average of its weights."""

    @property
    def optimiser(self) -> torch.optim.Optimizer:
        """Over the parameters of `net`."""


def save_checkpoint(folder: Path, trainer: Run, key: str, losses: list[float], quality: dict | None) -> None:
    """Write the run's state, beside and renamed.

    Args:
        folder: The checkpoint folder; replaced as a whole.
        trainer: Between two steps.
        key: Fingerprint of everything that decides the run's result; a resume must have the same.
        losses: So far.
        quality: Estimate on held-back hints, once made.

    Raises:
        InputError: The folder can't be written.
    """
    tensors = {f"net.{k}": v for k, v in trainer.net.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in trainer.average.state_dict().items()}
    tensors |= optimiser_tensors(trainer.optimiser)
    config = {"key": key, "done": trainer.done, "losses": losses, "quality": quality}
    write_folder(folder, "checkpoint", config, tensors)


def load_checkpoint(folder: Path, trainer: Run, key: str) -> tuple[list[float], dict | None]:
    """Bring a fresh trainer to where `save_checkpoint` was called; gives back losses and quality.

    Raises:
        InputError: Damaged, or of a run with other data or options.
    """
    values, tensors = read_folder(folder, "checkpoint")
    if values["key"] != key:
        raise InputError(
            f"{folder} belongs to a run with other data or options; resume with the same ones, or start "
            "again with --overwrite."
        )
    trainer.net.load_state_dict(part(tensors, "net."))
    trainer.average.load_state_dict(part(tensors, "average."))
    restore_optimiser(trainer.optimiser, tensors)
    trainer.done = values["done"]
    return values["losses"], values["quality"]


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The state of an optimiser as "optimiser.<parameter>.<entry>"."""
    return {
        f"optimiser.{index}.{name}": torch.as_tensor(value)
        for index, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Give an optimiser the state that `optimiser_tensors` took; other tensors are left alone."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for name, tensor in part(tensors, "optimiser.").items():
        index, entry = name.split(".", 1)
        like = parameters[int(index)]
        if tensor.shape == like.shape:
            # A file holds contiguous tensors; the fused optimiser wants the parameter's memory layout.
            tensor = torch.empty_like(like).copy_(tensor)
        state.setdefault(int(index), {})[entry] = tensor
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})


def part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Those whose name begins with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
