"""The model folder: a readable `config.json` and `weights.safetensors`. Nothing in it can run."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from wsseg.atomic import write_beside
from wsseg.errors import InputError
from wsseg.normalise import Normalisation
from wsseg.unet import Encoder, EncoderConfig, UNet

FORMAT = 1


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to build a model again and to use it as it was trained.

    Attributes:
        encoder: Architecture.
        classes: Class id to name, background left out; network output i is the i-th id, output 0 background.
        normalisation: Recipe for intensities.
        spacing: Size of a voxel per axis, the median of what was trained on.
        patch: Training patch and prediction tile, voxels.
        rgb: Whether the channels are colour.
        flip_axes: Axes along which mirroring is harmless, for test-time flips.
        quality: Estimate on held-back hints, or None.
        provenance: Seed, versions, command, checksums of the hints.
    """

    encoder: EncoderConfig
    classes: Mapping[int, str]
    normalisation: Normalisation
    spacing: tuple[float, ...]
    patch: tuple[int, ...]
    rgb: bool = False
    flip_axes: tuple[int, ...] = ()
    quality: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def class_ids(self) -> tuple[int, ...]:
        """Class id of each network output, 0 first."""
        return (0, *sorted(self.classes))

    def to_json(self) -> str:
        """Readable text; class ids become strings, as JSON wants."""
        return json.dumps({"format": FORMAT, "kind": "model", **asdict(self)}, indent=2)

    @classmethod
    def from_json(cls, text: str, name: str) -> "ModelConfig":
        """Read what `to_json` wrote; `name` is the file, for messages.

        Raises:
            InputError: Not a model's config, or of a later format.
        """
        try:
            values = json.loads(text)
            version, kind = values.pop("format"), values.pop("kind")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{name} is not a model's config.json; name a folder that fit made.") from error
        if version != FORMAT or kind != "model":
            raise InputError(
                f"{name} is a {kind} of format {version}; this wsseg reads models of format {FORMAT}."
            )
        try:
            encoder = {k: _tuples(v) for k, v in values.pop("encoder").items()}
            return cls(
                encoder=EncoderConfig(**encoder),
                classes={int(k): v for k, v in values.pop("classes").items()},
                normalisation=Normalisation(**values.pop("normalisation")),
                **{k: _tuples(v) for k, v in values.items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{name} lacks or misspells an entry ({error}); train the model again."
            ) from error


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network with what is needed to use it."""

    config: ModelConfig
    net: UNet

    def save(self, folder: Path | str, *, extra: Mapping[str, str] | None = None) -> None:
        """Write the model folder, beside and renamed.

        Args:
            folder: Replaced as a whole.
            extra: Further text files to put into it, name to content.

        Raises:
            InputError: The folder can't be written.
        """
        with write_beside(folder) as fresh:
            fresh.mkdir()
            (fresh / "config.json").write_text(self.config.to_json(), encoding="utf-8")
            for name, text in (extra or {}).items():
                (fresh / name).write_text(text, encoding="utf-8")
            weights = {
                name: tensor.detach().cpu().contiguous() for name, tensor in self.net.state_dict().items()
            }
            save_tensors(weights, fresh / "weights.safetensors")


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write tensors as safetensors.

    Raises:
        OSError: The disk refuses; safetensors has an error of its own for that, which no writer expects.
    """
    try:
        save_file(dict(tensors), path)
    except SafetensorError as error:
        raise OSError(f"{error}") from error


def build(config: ModelConfig) -> UNet:
    """The network of a config, with fresh weights."""
    return UNet(Encoder(config.encoder), len(config.classes) + 1)


def load_model(folder: Path | str) -> Model:
    """Read a model folder.

    Raises:
        InputError: No such folder, not a model, damaged weights.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file() or not (folder / "weights.safetensors").is_file():
        raise InputError(
            f"{folder} is no model folder; it should hold config.json and weights.safetensors from fit."
        )
    config = ModelConfig.from_json(
        (folder / "config.json").read_text(encoding="utf-8"), str(folder / "config.json")
    )
    try:
        weights = load_file(folder / "weights.safetensors")
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{folder / 'weights.safetensors'} is damaged ({error}); train the model again."
        ) from error
    net = build(config)
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"{folder}/weights.safetensors does not fit the config.json beside it; keep two files of one run."
        ) from error
    return Model(config, net.eval())


def outputs_of(target: torch.Tensor, class_ids: tuple[int, ...]) -> torch.Tensor:
    """Class ids to network outputs, for any integer tensor."""
    table = torch.zeros(max(class_ids) + 1, dtype=torch.int64)
    table[list(class_ids)] = torch.arange(len(class_ids))
    return table[target]
