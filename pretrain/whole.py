"""What methods share that train a whole U-Net, and hand over its decoder too."""

from torch import Tensor

from pretrain.method import Method, Setting
from wsseg.unet import Encoder, UNet, decode


class WholeUNet(Method):
    """A U-Net around the encoder.

    Args: as of `Method`, and
        outputs: Channels of its last layer.
    """

    def __init__(self, encoder: Encoder, setting: Setting, outputs: int) -> None:
        super().__init__(encoder, setting)
        unet = UNet(encoder, outputs)
        self.ups, self.head = unet.ups, unet.head

    def predict(self, images: Tensor) -> Tensor:
        """(N, C, *S) -> (N, outputs, *S), the U-Net's way from encoder to head."""
        return self.head(decode(self.ups, self.encoder(images)))

    def decoder_state(self) -> dict[str, Tensor]:
        """The decoder without its last layer, whose outputs are not those of another task."""
        return {f"ups.{name}": tensor for name, tensor in self.ups.state_dict().items()}
