"""The encoder folder: what pretraining leaves and what every network of wsseg can start from."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from wsseg.errors import InputError
from wsseg.resnet import BLOCKS, read_resnet, resnet_channels
from wsseg.unet import Encoder, EncoderConfig, Taken, UNet, take_weights
from wsseg.weights import CONFIG, fill, read_folder, tuples, write_folder

FAR = 1.25  # ratio of spacings above which features no longer have the size they were learned at
_DECODER = "decoder."


@dataclass(frozen=True, eq=False)
class SavedEncoder:
    """An encoder with what should be known of it.

    Attributes:
        encoder: The network.
        record: Free JSON-ready notes: where it comes from, spacing, method, data.
        decoder: Tensors of a U-Net's decoder that was trained with it, named as `wsseg.unet.UNet` names them.
    """

    encoder: Encoder
    record: Mapping[str, Any] = field(default_factory=dict)
    decoder: Mapping[str, Tensor] = field(default_factory=dict)

    def save(self, folder: Path | str, *, extra: Mapping[str, str] | None = None) -> None:
        """Write the encoder folder, beside and renamed.

        Args:
            folder: Replaced as a whole.
            extra: Further text files to put into it, name to content.

        Raises:
            InputError: The folder can't be written.
        """
        config = {"architecture": asdict(self.encoder.config), "record": dict(self.record)}
        decoder = {_DECODER + name: tensor for name, tensor in self.decoder.items()}
        write_folder(folder, "encoder", config, self.encoder.state_dict() | decoder, extra=extra)

    def for_channels(self, channels: int) -> "SavedEncoder":
        """The same encoder for images with other channels; only the first convolution changes.

        Grey to many: its weights are spread evenly, so that an image repeated to all channels gives what it
        gave before. Many to grey: they are added up, for the same reason.

        Args:
            channels: Of the images.

        Raises:
            InputError: Neither side is grey; nothing tells which channel is which.
        """
        config = self.encoder.config
        if channels == config.channels_in:
            return self
        if 1 not in (channels, config.channels_in):
            raise InputError(
                f"--encoder: the encoder is for images with {config.channels_in} channels, these have "
                f"{channels}; it can be changed only from or to one channel, so pretrain on such images."
            )
        tensors = self.encoder.state_dict()
        stem = next(name for name, t in tensors.items() if t.ndim == config.dims + 2)  # (O, C, *K)
        whole = tensors[stem].sum(1, keepdim=True)
        tensors[stem] = (whole / channels).repeat(1, channels, *[1] * config.dims)
        encoder = Encoder(replace(config, channels_in=channels))
        encoder.load_state_dict(tensors)
        return SavedEncoder(encoder, self.record, self.decoder)

    def hand_over(self, net: UNet) -> Taken:
        """Give a network this encoder's weights, every one, and its decoder's where there are some.

        Returns:
            Of the encoder; the decoder's tensors are named too, beyond `total`.

        Raises:
            InputError: A tensor finds no place; the architectures differ.
        """
        taken = take_weights(net.encoder, self.encoder.state_dict())
        if taken.missing or taken.unused:
            raise InputError(
                f"--encoder: {taken}; architectures differ, first at {(*taken.missing, *taken.unused)[0]}. "
                "Use the encoder for images like those it learned from."
            )
        return replace(taken, decoder=take_weights(net, self.decoder).loaded)

    def warnings(self, spacing: Sequence[float], rgb: bool) -> list[str]:
        """What should be said before it is used on images of this spacing and kind.

        Args:
            spacing: Median size of a voxel of the images.
            rgb: Their channels are colour.
        """
        found = []
        own = self.record.get("spacing")
        if own and len(own) == len(spacing):
            ratios = [max(a / b, b / a) for a, b in zip(own, spacing, strict=True)]
            if max(ratios) > FAR:
                found.append(
                    f"the encoder learned at a spacing of {_times(own)}, these images have "
                    f"{_times(spacing)}: more than 25 % apart, so it may do harm; pretrain on such images"
                )
        if "rgb" in self.record and bool(self.record["rgb"]) != rgb:
            kinds = ("colour", "grey") if self.record["rgb"] else ("grey", "colour")
            found.append(f"the encoder learned from {kinds[0]} images, these are {kinds[1]}")
        return found


def taken_words(counts: Mapping[str, int]) -> str:
    """What was taken of an encoder, as a model's config has it."""
    decoder = f", and {counts['decoder']} of its decoder" if "decoder" in counts else ""
    share = 100 * counts["loaded"] / counts["total"]
    return f"loaded {share:.0f} %, {counts['loaded']}/{counts['total']} tensors{decoder}."


def _times(spacing: Sequence[float]) -> str:
    return " × ".join(f"{s:g}" for s in spacing)


def load_encoder(folder: Path | str) -> SavedEncoder:
    """Read an encoder folder, or the weights of a torchvision ResNet (a file, see `wsseg.resnet`).

    Raises:
        InputError: No such folder, not an encoder, damaged, or config and weights don't fit.
    """
    if Path(folder).is_file():
        return _from_resnet(Path(folder))
    config, tensors = read_folder(folder, "encoder")
    try:
        shape = EncoderConfig(**{k: tuples(v) for k, v in config["architecture"].items()})
        encoder = Encoder(shape)
        record = config["record"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{Path(folder) / CONFIG} lacks or misspells an entry ({error}).") from error
    decoder = {k.removeprefix(_DECODER): v for k, v in tensors.items() if k.startswith(_DECODER)}
    fill(encoder, {k: v for k, v in tensors.items() if not k.startswith(_DECODER)}, folder)
    return SavedEncoder(encoder.eval(), record, decoder)


def _from_resnet(path: Path) -> SavedEncoder:
    name, tensors = read_resnet(path)
    channels = resnet_channels(name)
    strides = ((1, 1), *[(2, 2)] * (len(channels) - 1))
    encoder = Encoder(EncoderConfig(2, 3, channels, strides, ((3, 3),) * len(channels), name))
    try:
        encoder.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(
            f"{path}: is like {name}, but not the same ({str(error).splitlines()[1].strip()[:200]}); "
            f"{', '.join(BLOCKS)} of torchvision are right."
        ) from error
    return SavedEncoder(encoder.eval(), {"method": f"torchvision {name}", "file": path.name})
