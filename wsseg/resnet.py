"""A ResNet (He et al. 2016) as the levels of a 2D encoder, with weights as torchvision names them.

The network is MONAI's, which is torchvision's where both are 2D. Differs from a classifier in:

- The finest level is the image itself. The first convolution halves the resolution, so the decoder gets the
  image beside its own features for the last step up, and every tensor of the encoder is one of the file.
- Batch norms keep the statistics of the file, in training too: a batch of 8 patches has no good ones of its
  own (as in torchvision's detectors).

Normalisation: torchvision's weights expect pictures less ImageNet's mean, over its deviation, which makes an
average picture 0 in the mean with a deviation of 1 in each channel. `wsseg.normalise` does so to every image.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from wsseg.errors import InputError

BLOCKS = {
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
    "resnet152": ("bottleneck", (3, 8, 36, 3)),
}
WIDTHS = (64, 128, 256, 512)  # channels of a basic block's output, at each of the four depths
FINEST = 16  # channels of the finest level, the image's and zeros: what the decoder has for its last step
_PLACES = {"conv1.": "levels.1.1.", "bn1.": "levels.1.2.", "layer1.": "levels.2.1."} | {
    f"layer{n}.": f"levels.{n + 1}." for n in (2, 3, 4)
}
_COUNTER = "num_batches_tracked"


class FixedBatchNorm(nn.BatchNorm2d):
    """Batch norm that neither uses nor collects statistics of batches; scale and shift are trained."""

    def train(self, mode: bool = True) -> "FixedBatchNorm":
        return super().train(False)


class _Widen(nn.Module):
    """(N, C, *S) -> (N, `channels`, *S), filled up with zeros."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, image: Tensor) -> Tensor:
        zeros = image.new_zeros(len(image), self.channels - image.shape[1], *image.shape[2:])
        return torch.cat([image, zeros], 1)


class _First(nn.Module):
    """The first channels again."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, image: Tensor) -> Tensor:
        return image[:, : self.channels]


def resnet_channels(name: str) -> tuple[int, ...]:
    """Feature channels of the six levels, the image's own first."""
    wider = 4 if BLOCKS[name][0] == "bottleneck" else 1
    return (FINEST, WIDTHS[0], *(wider * channels for channels in WIDTHS))


def resnet_levels(name: str, channels_in: int) -> list[nn.Module]:
    """The six levels, each to be given the one before: at strides 1, 2, 4, 8, 16 and 32 of the image.

    Args:
        name: A key of `BLOCKS`.
        channels_in: Of the image.
    """
    from monai.networks.nets.resnet import ResNet  # brings all of MONAI's networks, seconds of imports

    block, layers = BLOCKS[name]
    net = ResNet(
        block,
        list(layers),
        list(WIDTHS),
        spatial_dims=2,
        n_input_channels=channels_in,
        conv1_t_stride=2,
        feed_forward=False,
        bias_downsample=False,
    )
    _fix_norms(net)
    return [
        _Widen(FINEST),
        nn.Sequential(_First(channels_in), net.conv1, net.bn1, net.act),
        nn.Sequential(net.maxpool, net.layer1),
        net.layer2,
        net.layer3,
        net.layer4,
    ]


def _fix_norms(net: nn.Module) -> None:
    # MONAI's own choice of a norm reaches the stem alone
    for block in list(net.modules()):
        for name, norm in list(block.named_children()):
            if isinstance(norm, nn.BatchNorm2d):
                setattr(block, name, FixedBatchNorm(norm.num_features, eps=norm.eps).train())


def read_resnet(path: Path) -> tuple[str, dict[str, Tensor]]:
    """Which ResNet a file holds, and its tensors, named as an encoder of `resnet_levels` names them.

    Args:
        path: safetensors; the names are torchvision's. The classifier's last layer is left out.

    Raises:
        InputError: It is another kind of file, damaged, or holds another network.
    """
    if path.suffix != ".safetensors":
        raise InputError(
            f'{path}: no pickle is loaded; turn it into safetensors: python -c "import torch, '
            f"safetensors.torch as s; s.save_file(torch.load('{path.name}', weights_only=True), "
            f"'{path.stem}.safetensors')\"."
        )
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: is damaged or no safetensors file ({error}); save it again.") from error
    name = _name_of(tensors)
    if name is None:
        raise InputError(
            f"{path}: holds no ResNet as torchvision names its tensors; {', '.join(BLOCKS)} are right."
        )
    found: dict[str, Tensor] = {}
    for old, tensor in tensors.items():
        start = next((start for start in _PLACES if old.startswith(start)), None)
        if start is not None:
            found[_PLACES[start] + old.removeprefix(start)] = tensor
            if old.endswith("running_var"):  # files of old versions have no counters
                found.setdefault(
                    (_PLACES[start] + old.removeprefix(start)).replace("running_var", _COUNTER),
                    torch.zeros((), dtype=torch.int64),
                )
    return name, found


def _name_of(tensors: Mapping[str, Tensor]) -> str | None:
    """Told by the kind and the number of blocks."""
    kind = "bottleneck" if "layer1.0.conv3.weight" in tensors else "basic"
    places = {tuple(name.split(".")[:2]) for name in tensors if name.startswith("layer")}
    counts = tuple(sum(layer == f"layer{n}" for layer, *_ in places) for n in (1, 2, 3, 4))
    return next((name for name, found in BLOCKS.items() if found == (kind, counts)), None)
