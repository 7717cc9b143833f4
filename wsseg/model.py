"""The model folder: architecture, classes, normalisation, spacing and weights of a trained network."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from wsseg.errors import InputError
from wsseg.normalise import Normalisation
from wsseg.propagate import Objects
from wsseg.unet import Encoder, EncoderConfig, UNet
from wsseg.weights import CONFIG, fill, read_folder, tuples, write_folder


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to build a model again and to use it as it was trained.

    Attributes:
        architecture: Of the encoder; the decoder follows from it.
        classes: Class id to name, background left out; network output i is the i-th id, output 0 background.
        normalisation: Recipe for intensities.
        spacing: Size of a voxel per axis, the median of what was trained on.
        patch: Training patch and prediction tile, voxels.
        rgb: Whether the channels are colour.
        flip_axes: Axes along which mirroring is harmless, for test-time flips.
        tone: Whether brightness goes past the network's norms; see `wsseg.unet.UNet`.
        objects: What strokes meant in training, "marked" or "alike" (`wsseg.propagate`), or None.
        encoder: What was taken of a pretrained encoder: {"loaded": n, "total": n}, and "decoder": n where it
            brought one; or None.
        quality: Estimate on held-back hints, or None.
        provenance: Seed, versions, command, checksums of the hints.
    """

    architecture: EncoderConfig
    classes: Mapping[int, str]
    normalisation: Normalisation
    spacing: tuple[float, ...]
    patch: tuple[int, ...]
    rgb: bool = False
    flip_axes: tuple[int, ...] = ()
    tone: bool = False
    objects: Objects | None = None
    encoder: Mapping[str, int] | None = None
    quality: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def class_ids(self) -> tuple[int, ...]:
        """Class id of each network output, 0 first."""
        return (0, *sorted(self.classes))

    @classmethod
    def from_values(cls, values: Mapping[str, Any], name: str) -> "ModelConfig":
        """Make one from what a config.json holds; `name` is the file, for messages.

        Raises:
            InputError: An entry is missing or misspelt.
        """
        rest = dict(values)
        try:
            shape = {k: tuples(v) for k, v in rest.pop("architecture").items()}
            return cls(
                architecture=EncoderConfig(**shape),
                classes={int(k): v for k, v in rest.pop("classes").items()},
                normalisation=Normalisation(**rest.pop("normalisation")),
                **{k: tuples(v) for k, v in rest.items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{name} lacks or misspells an entry ({error}); train the model again."
            ) from error


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
        write_folder(folder, "model", asdict(self.config), self.net.state_dict(), extra=extra)


def build(config: ModelConfig) -> UNet:
    """The network of a config, with fresh weights."""
    return UNet(Encoder(config.architecture), len(config.classes) + 1, tone=config.tone)


def load_model(folder: Path | str) -> Model:
    """Read a model folder.

    Raises:
        InputError: No such folder, not a model, damaged weights.
    """
    values, weights = read_folder(folder, "model")
    config = ModelConfig.from_values(values, str(Path(folder) / CONFIG))
    net = build(config)
    fill(net, weights, folder)
    return Model(config, net.eval())


def outputs_of(target: torch.Tensor, class_ids: tuple[int, ...]) -> torch.Tensor:
    """Class ids to network outputs, for any integer tensor."""
    table = torch.zeros(max(class_ids) + 1, dtype=torch.int64)
    table[list(class_ids)] = torch.arange(len(class_ids))
    return table[target]
