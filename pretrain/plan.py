"""Settles a run from the scans' headers: network, crop, batch, length."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pretrain.crops import plan_crop
from pretrain.methods import METHODS
from pretrain.scans import Headers, Scan
from wsseg.errors import InputError
from wsseg.unet import EncoderConfig, plan_encoder

FEWEST, MOST = 1000, 3000  # optimiser steps; one takes about 0.3 s on 2 slow cores


@dataclass(frozen=True)
class Plan:
    """What a run is made of, all but its length.

    Attributes:
        method: A key of `pretrain.methods.METHODS`.
        architecture: Of the encoder; the same that `fit` would choose for these images.
        spacing: Of the crops.
        crop: Their size, voxels.
        modality: A key of `pretrain.views.MODALITIES`.
        rgb: The channels are colour.
        batch: Places a step, over all processes.
    """

    method: str
    architecture: EncoderConfig
    spacing: tuple[float, ...]
    crop: tuple[int, ...]
    modality: str
    rgb: bool
    batch: int


def check_method(name: str | None) -> None:
    """Check the name of a method.

    Raises:
        InputError: It is left out or unknown.
    """
    if name not in METHODS:
        said = "--method is missing" if name is None else f"--method {name}: there is no such method"
        raise InputError(
            f"{said}; right are {', '.join(METHODS)}. Before segmentation begin with location where scans "
            "show the same part of a body, else with mae."
        )


def plan_architecture(headers: Headers) -> EncoderConfig:
    """The encoder that `fit` would choose for these images."""
    return plan_encoder(channels_in=headers.channels, spacing=headers.spacing, size=headers.size)


def plan_size(headers: Headers, method: str, architecture: EncoderConfig) -> tuple[int, ...]:
    """The size of a crop, of about as many voxels as the method wants."""
    voxels = METHODS[method].CROP[headers.dims] ** headers.dims
    return plan_crop(headers.spacing, headers.size, architecture.divisor, voxels)


def default_steps(scans: Sequence[Scan], spacing: Sequence[float], crop: Sequence[int]) -> int:
    """Optimiser steps: a fixed function of the data, never of the clock; more for more different crops."""
    crops = 0.0
    for scan in scans:
        extent = float(np.prod(np.multiply(scan.shape, scan.spacing)))
        crops += scan.slices * scan.filled * extent / float(np.prod(np.multiply(crop, spacing)))
    wanted = 100 * round(4 + 2 * math.log2(max(crops, 1)))
    return min(max(wanted, FEWEST), MOST)
