"""A folder of `config.json`, which a person can read, and `weights.safetensors`. Nothing in it can run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from wsseg.atomic import write_beside
from wsseg.errors import InputError

FORMAT = 1
USES = {
    "model": "a model (predict uses it, fit --init goes on from it)",
    "encoder": "an encoder (fit --encoder makes a model of it)",
    "classifier": "a classifier of tags (seeds made it)",
}
CONFIG, WEIGHTS = "config.json", "weights.safetensors"


def write_folder(
    folder: Path | str,
    kind: str,
    config: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    *,
    extra: Mapping[str, str] | None = None,
) -> None:
    """Write such a folder, beside and renamed.

    Args:
        folder: Replaced as a whole.
        kind: "model" or "encoder".
        config: JSON-ready.
        tensors: Name to tensor, on any device.
        extra: Further text files to put into it, name to content.

    Raises:
        InputError: The folder can't be written.
    """
    with write_beside(folder) as fresh:
        fresh.mkdir()
        text = json.dumps({"format": FORMAT, "kind": kind, **config}, indent=2)
        (fresh / CONFIG).write_text(text, encoding="utf-8")
        for name, content in (extra or {}).items():
            (fresh / name).write_text(content, encoding="utf-8")
        save_tensors({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, fresh / WEIGHTS)


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write tensors as safetensors.

    Raises:
        OSError: The disk refuses; safetensors has an error of its own for that, which no writer expects.
    """
    path.touch()
    mode = path.stat().st_mode  # as the user wants files; safetensors keeps its own to the user alone
    try:
        save_file(dict(tensors), path)
    except SafetensorError as error:
        raise OSError(f"{error}") from error
    path.chmod(mode)


def read_folder(folder: Path | str, kind: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read what `write_folder` wrote, less format and kind.

    Raises:
        InputError: No such folder, another kind, a later format, damaged weights.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise InputError(f"{folder} is no {kind} folder; it should hold {CONFIG} and {WEIGHTS}.")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        version, found = config.pop("format"), config.pop("kind")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{folder / CONFIG} is no {CONFIG} of a wsseg {kind}; name a folder that wsseg wrote."
        ) from error
    if found != kind or version != FORMAT:
        if found != kind and found in USES and kind in USES:
            raise InputError(f"{folder}: holds {USES[found]}; here {USES[kind]} is right.")
        raise InputError(
            f"{folder / CONFIG}: is of kind “{found}” and format {version}; “{kind}” and {FORMAT} are right."
        )
    try:
        return config, load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{folder / WEIGHTS} is damaged ({error}); make the {kind} again.") from error


def fill(network: nn.Module, tensors: Mapping[str, torch.Tensor], folder: Path | str) -> None:
    """Give a network the weights of its folder, every one of them.

    Raises:
        InputError: Names or shapes differ; config and weights are not of one run.
    """
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(
            f"{Path(folder) / WEIGHTS} does not fit the {CONFIG} beside it; keep two files of one run."
        ) from error


def tuples(value: Any) -> Any:
    """JSON's lists, at any depth, as tuples."""
    return tuple(tuples(v) for v in value) if isinstance(value, list) else value
