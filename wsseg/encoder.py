"""The encoder folder: what pretraining leaves and what every network of wsseg can start from."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wsseg.errors import InputError
from wsseg.unet import Encoder, EncoderConfig
from wsseg.weights import CONFIG, fill, read_folder, tuples, write_folder


@dataclass(frozen=True, eq=False)
class SavedEncoder:
    """An encoder with what should be known of it.

    Attributes:
        encoder: The network.
        record: Free JSON-ready notes: where it comes from, spacing, method, data.
    """

    encoder: Encoder
    record: Mapping[str, Any] = field(default_factory=dict)

    def save(self, folder: Path | str) -> None:
        """Write the encoder folder, beside and renamed.

        Raises:
            InputError: The folder can't be written.
        """
        config = {"architecture": asdict(self.encoder.config), "record": dict(self.record)}
        write_folder(folder, "encoder", config, self.encoder.state_dict())


def load_encoder(folder: Path | str) -> SavedEncoder:
    """Read an encoder folder.

    Raises:
        InputError: No such folder, not an encoder, damaged, or config and weights don't fit.
    """
    config, tensors = read_folder(folder, "encoder")
    try:
        shape = EncoderConfig(**{k: tuples(v) for k, v in config["architecture"].items()})
        encoder = Encoder(shape)
        record = config["record"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{Path(folder) / CONFIG} lacks or misspells an entry ({error}).") from error
    fill(encoder, tensors, folder)
    return SavedEncoder(encoder.eval(), record)
