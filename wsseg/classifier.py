"""A classifier of images whose evidence has a place: encoder, 1×1 convolution, pooling over the places.

Zhou et al. 2016, section 2, fully convolutional: with average pooling the scores are those of pooling first
and a linear layer behind it. Differs from the paper in two ways that decide whether the maps show the object
(docs/tags.md has the numbers):

- Batch norm in place of the encoder's instance norm. Instance norm takes the mean and the spread of every
  feature out of an image, which is what pooling looks at, and lets every place see the whole image.
- Only the encoder's first levels, to an output stride of 2 where that is enough to tell the classes apart. A
  deep network finds its evidence anywhere, and photographs of one class often differ from others in more than
  the object; one that sees only a few voxels at a time has to find it where it is, and its map is fine enough
  for small objects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.networks.layers.factories import Conv, Norm
from torch import Tensor, nn

from wsseg.errors import InputError
from wsseg.images import Image
from wsseg.normalise import Normalisation, Statistics
from wsseg.pooling import Pooling, pool
from wsseg.unet import Encoder, EncoderConfig, SampleNorm
from wsseg.weights import CONFIG, fill, read_folder, tuples, write_folder

STRIDES = (2, 4, 8)  # of the maps, at most, along every axis; the finest that tells classes apart is best


@dataclass(frozen=True)
class ClassifierConfig:
    """All that is needed to build a classifier again and to use it as it was trained.

    Attributes:
        architecture: Of the encoder.
        classes: Class id to name, in the order of the scores.
        normalisation: Recipe for intensities.
        statistics: What every image is normalised by, where that is the same for all (see
            `wsseg.tagged.share_statistics`), as the lists of a `Statistics`; None = what its own measure.
        spacing: Size of a voxel per axis, the median of what was trained on.
        patch: Training patch, voxels.
        pooling: How places become a score.
        exclusive: At most one class is in an image (softmax, and a score of 0 for none of them); else each
            class is there or not by itself (sigmoid).
        axis: Images are the slices of volumes along this axis; None = whole images.
        rgb: Whether the channels are colour.
        quality: What was found on held-back images; see `wsseg.tagfit`.
        provenance: Seed, versions, command.
    """

    architecture: EncoderConfig
    classes: Mapping[int, str]
    normalisation: Normalisation
    spacing: tuple[float, ...]
    patch: tuple[int, ...]
    pooling: Pooling = "rank"
    exclusive: bool = False
    axis: int | None = None
    rgb: bool = False
    statistics: Mapping[str, Sequence[float]] | None = None
    quality: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def class_ids(self) -> tuple[int, ...]:
        """Class id of each score."""
        return tuple(self.classes)

    def measure(self, image: Image, name: str) -> Statistics:
        """How to normalise an image for this classifier.

        Raises:
            InputError: The image is constant or not finite.
        """
        own = self.normalisation.measure(image, name)
        if self.statistics is None:
            return own
        return Statistics(**{part: np.array(values) for part, values in self.statistics.items()})


class Classifier(nn.Module):
    """Image (N, C, *S) -> scores (N, K); `places` gives the scores at every place of the map.

    Args:
        encoder: Used as it is, not copied; its instance norms become batch norms.
        classes: K.
        pooling: How places become a score.
    """

    def __init__(self, encoder: Encoder, classes: int, pooling: Pooling = "rank") -> None:
        super().__init__()
        self.encoder = with_batch_norm(encoder)
        self.pooling: Pooling = pooling
        config = encoder.config
        self.head = Conv[Conv.CONV, config.dims](config.channels[-1], classes, 1)

    def features(self, image: Tensor) -> Tensor:
        """(N, C, *S) -> (N, F, *S/stride), what the maps are made of."""
        return self.encoder(image)[-1]

    def places(self, image: Tensor) -> Tensor:
        """(N, C, *S) -> (N, K, *S/stride): the score of each class at each place."""
        return self.head(self.features(image))

    def forward(self, image: Tensor) -> Tensor:
        return pool(self.places(image), self.pooling)


def with_batch_norm(encoder: Encoder) -> Encoder:
    """The encoder, changed in place: each instance norm is a batch norm with the same scale and shift."""
    for block in list(encoder.modules()):
        for name, norm in list(block.named_children()):
            if isinstance(norm, SampleNorm):
                batch = Norm[Norm.BATCH, encoder.config.dims](
                    _features(norm), eps=norm.eps, affine=norm.weight is not None
                )
                if norm.weight is not None and norm.bias is not None:
                    batch.weight, batch.bias = norm.weight, norm.bias
                setattr(block, name, batch)
    return encoder


def _features(norm: SampleNorm) -> int:
    if norm.weight is None:
        raise ValueError("an encoder's norms have scale and shift")
    return len(norm.weight)


def first_levels(config: EncoderConfig, stride: int = STRIDES[0]) -> EncoderConfig:
    """The encoder's first levels, as many as keep the output stride within `stride` along every axis."""
    total, levels = [1] * config.dims, 0
    for step in config.strides:
        total = [t * s for t, s in zip(total, step, strict=True)]
        if max(total) > stride:
            break
        levels += 1
    return replace(
        config,
        channels=config.channels[:levels],
        strides=config.strides[:levels],
        kernels=config.kernels[:levels],
    )


def convolution_of(linear: nn.Linear, dims: int) -> nn.Module:
    """A linear layer on pooled features as the 1×1 convolution that gives its scores at every place.

    Pooling by averages with a linear layer behind it is this convolution with pooling behind it, since both
    are linear; so a classifier of pooled features can be read place by place.
    """
    convolution = Conv[Conv.CONV, dims](
        linear.in_features, linear.out_features, 1, bias=linear.bias is not None
    )
    with torch.no_grad():
        convolution.weight.copy_(linear.weight.view_as(convolution.weight))
        if linear.bias is not None:
            convolution.bias.copy_(linear.bias)
    return convolution


def probabilities(scores: Tensor, *, exclusive: bool) -> Tensor:
    """Scores (N, K, …) to the probability of each class, (N, K, …), 0 to 1."""
    if not exclusive:
        return scores.sigmoid()
    none = torch.zeros_like(scores[:, :1])
    return torch.cat([none, scores], 1).softmax(1)[:, 1:]


@dataclass(frozen=True, eq=False)
class TagModel:
    """A trained classifier with what is needed to use it."""

    config: ClassifierConfig
    net: Classifier

    def save(self, folder: Path | str) -> None:
        """Write the folder, beside and renamed.

        Raises:
            InputError: The folder can't be written.
        """
        write_folder(folder, "classifier", asdict(self.config), self.net.state_dict())


def build_classifier(config: ClassifierConfig) -> Classifier:
    """The network of a config, with fresh weights."""
    return Classifier(Encoder(config.architecture), len(config.classes), config.pooling)


def load_classifier(folder: Path | str) -> TagModel:
    """Read a classifier folder.

    Raises:
        InputError: No such folder, not a classifier, damaged weights.
    """
    values, weights = read_folder(folder, "classifier")
    rest = dict(values)
    try:
        shape = {k: tuples(v) for k, v in rest.pop("architecture").items()}
        config = ClassifierConfig(
            architecture=EncoderConfig(**shape),
            classes={int(k): v for k, v in rest.pop("classes").items()},
            normalisation=Normalisation(**rest.pop("normalisation")),
            **{k: tuples(v) for k, v in rest.items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{Path(folder) / CONFIG} lacks or misspells an entry ({error}); train it again."
        ) from error
    net = build_classifier(config)
    fill(net, weights, folder)
    return TagModel(config, net.eval())
