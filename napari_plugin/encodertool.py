"""The pretrained encoder that the next training starts from. Knows no Qt."""

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from napari_plugin.backend import loading
from napari_plugin.events import Note, Opened, Work
from wsseg.errors import InputError

if TYPE_CHECKING:
    from wsseg.encoder import SavedEncoder
    from wsseg.images import Image
    from wsseg.model import Model, ModelConfig


def read_encoder(folder: Path) -> Work:
    """Read an encoder folder.

    Raises:
        InputError: It is none.
    """
    yield from loading()
    from wsseg.encoder import load_encoder

    yield Opened(load_encoder(folder), folder)
    return None


def told_of(encoder: "SavedEncoder", config: "ModelConfig") -> Generator[Note, None, None]:
    """What a training took of an encoder, and where it does not suit the image."""
    from wsseg.encoder import taken_words

    assert config.encoder is not None
    yield Note(f"Encoder: {taken_words(config.encoder)}")
    for sentence in encoder.warnings(config.spacing, config.rgb):
        yield Note(f"Take care: {sentence}.")


class EncoderTool:
    """What the controller knows of the encoder.

    Attributes:
        saved: The encoder, or None.
        folder: Where it was read from.
    """

    def __init__(self) -> None:
        self.saved: SavedEncoder | None = None
        self.folder = Path()

    def take(self, opened: Opened) -> None:
        """Start from this one from now on."""
        self.saved, self.folder = opened.encoder, opened.folder

    def drop(self) -> None:
        """Start from fresh weights again."""
        self.saved = None

    def check(self, image: "Image", name: str) -> None:
        """Raise an InputError where the encoder can't take an image's axes or channels."""
        if self.saved is None:
            return
        own = self.saved.encoder.config
        changeable = own.channels_in == image.channels or 1 in (own.channels_in, image.channels)
        if own.dims != image.ndim or not changeable:
            raise InputError(
                f"The encoder {self.folder.name} learned from {own.dims}D images with {own.channels_in} "
                f"channels; {name} is {image.ndim}D with {image.channels}. Press Drop beside it, or choose "
                "another image."
            )

    def words(self, model: "Model | None") -> str:
        """Which one it is, and what was taken of it."""
        if self.saved is None:
            return ""
        record = self.saved.record
        what = f"{self.folder.name} ({record['method']})" if "method" in record else self.folder.name
        counts = None if model is None else model.config.encoder
        if counts is None:
            return f"{what}: the next Segment starts from it."
        from wsseg.encoder import taken_words

        return f"{what}: {taken_words(counts)}"
