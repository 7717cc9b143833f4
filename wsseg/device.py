"""Which device computes, and in which precision."""

from contextlib import AbstractContextManager

import torch

from wsseg.errors import InputError


def choose_device(name: str) -> torch.device:
    """Turn auto|cpu|cuda|mps into a device.

    Raises:
        InputError: The name is unknown or the machine has no such device.
    """
    have = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if have[device])
    if not have.get(name, False):
        usable = ", ".join(device for device, there in have.items() if there)
        raise InputError(f"--device {name}: this machine has no such device; usable here are auto, {usable}.")
    return torch.device(name)


def half_precision(device: torch.device) -> bool:
    """Whether bfloat16 pays: on recent GPUs, and on CPUs with AMX tiles, where it halves the time."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type == "cpu":
        return torch.cpu.get_capabilities().get("amx_tile", False)
    return False


def precision(device: torch.device) -> AbstractContextManager:
    """Mixed precision where it pays; else full precision. bfloat16 needs no loss scaling."""
    return torch.autocast(device.type, torch.bfloat16, enabled=half_precision(device))


def memory_format(dims: int) -> torch.memory_format:
    """Channels last: what convolutions on CPUs and tensor cores want."""
    return torch.channels_last if dims == 2 else torch.channels_last_3d
