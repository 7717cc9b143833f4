"""Views: two looks at one place, which self-supervised methods are to recognise as the same.

What a view may change is what does not matter. Colour jitter and solarisation, made for photographs, would
change what a scan says: the Hounsfield unit is the tissue. So the set is chosen by modality.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from pretrain.alter import AlterConfig, alter, draw_alterations
from pretrain.parts import rank
from wsseg.augment import AugmentConfig, draw_geometry, draw_intensity, recolour, warp
from wsseg.symmetry import turn_planes

SHARE = 0.75  # of the crop's side: two views overlap by a half at least along each axis, as in nnssl


@dataclass(frozen=True)
class ViewConfig:
    """What views of a modality may change.

    Attributes:
        augment: Turns, scaling, contrast, brightness and noise.
        alter: Sharpness, light and colours.
        mirror: Axes that may be mirrored, with right-angle turns between them: all; "sideways" only the
            last (a photograph has an up and a down), without turns; or none (a body has a front and a back).
    """

    augment: AugmentConfig
    alter: AlterConfig
    mirror: Literal["none", "sideways", "all"] = "none"


def _augment(contrast: float, brightness: float, noise: float) -> AugmentConfig:
    return AugmentConfig(shift=0, elastic=0, contrast=contrast, brightness=brightness, noise=noise)


# contrast and gamma, brightness, noise; the last two in standard deviations of the scan
MODALITIES: dict[str, ViewConfig] = {
    "ct": ViewConfig(_augment(1.05, 0.1, 0.1), AlterConfig(blur=0.7, coarser=1.5)),
    "mr": ViewConfig(_augment(1.5, 0.4, 0.2), AlterConfig(blur=1.0, coarser=2.0, light=0.3, invert=True)),
    "em": ViewConfig(_augment(1.4, 0.4, 0.3), AlterConfig(blur=1.0, coarser=2.0), "all"),
    "fluorescence": ViewConfig(_augment(1.5, 0.3, 0.3), AlterConfig(blur=1.0, coarser=2.0, light=0.3), "all"),
    "histology": ViewConfig(_augment(1.25, 0.25, 0.1), AlterConfig(blur=1.0, mix=0.2, grey=0.1), "all"),
    "colour": ViewConfig(_augment(1.4, 0.4, 0.1), AlterConfig(blur=1.0, mix=0.3, grey=0.2), "sideways"),
    "other": ViewConfig(_augment(1.3, 0.3, 0.15), AlterConfig(blur=0.7, coarser=1.5)),
}


class Views(nn.Module):
    """Makes views of a batch on its device; the state of its generator is saved with the method.

    Args:
        size: Spatial size of the crops it is given, voxels.
        spacing: Size of a voxel per axis.
        modality: A key of `MODALITIES`.
        seed: Of all draws; under torch.distributed every process draws its own.
        divisor: A view's size is a multiple of this along each axis.
        share: Side of a view as a share of the crop's.

    Raises:
        ValueError: Unknown modality, or crops that the encoder can't take.
    """

    def __init__(
        self,
        size: Sequence[int],
        spacing: Sequence[float],
        modality: str,
        seed: int,
        *,
        divisor: Sequence[int],
        share: float = SHARE,
    ) -> None:
        super().__init__()
        if modality not in MODALITIES:
            raise ValueError(f"modality is '{modality}'; choose one of {', '.join(MODALITIES)}.")
        self.config, self.spacing = MODALITIES[modality], tuple(spacing)
        self.size = view_size(size, divisor, share)
        self.generator = torch.Generator().manual_seed(seed * 1_000_003 + rank())
        dims = len(self.size)
        mirror = {"none": (), "sideways": (dims - 1,), "all": tuple(range(dims))}[self.config.mirror]
        planes = turn_planes(mirror, spacing, self.size) if self.config.mirror == "all" else ()
        self.geometry = replace(self.config.augment, flip_axes=mirror, turn_planes=planes)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """One view of each crop: (N, C, *S) -> (N, C, *size), float32."""
        return self.recolour(self.take(images, self.draw_places(images)))

    def draw_places(self, images: Tensor) -> Tensor:
        """Where the voxels of a view of each crop lie: (N, *size, d), voxels of the crop."""
        with torch.autocast(images.device.type, enabled=False):  # half precision is off by whole voxels
            positions = draw_geometry(
                len(images), self.size, self.spacing, self.geometry, self.generator, images.device
            )
        spot = torch.rand(len(images), len(self.size), generator=self.generator)
        return place(positions, images.shape[2:], spot.to(images.device))

    def take(self, images: Tensor, positions: Tensor) -> Tensor:
        """The crops' values at these places, linear."""
        with torch.autocast(images.device.type, enabled=False):
            return warp(images.float(), positions)

    @torch.no_grad()
    def recolour(self, images: Tensor) -> Tensor:
        """Intensities of each sample changed by a draw of its own; nothing moves."""
        count, channels, *size = images.shape
        draw = draw_alterations(count, len(size), channels, self.config.alter, self.generator)
        intensity = draw_intensity(count, self.config.augment, self.generator)
        with torch.autocast(images.device.type, enabled=False):
            return recolour(alter(images.float(), draw, self.spacing), intensity)

    def get_extra_state(self) -> Tensor:
        """The generator's state, a tensor so that it goes into a safetensors file."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Go on drawing where the other stood."""
        self.generator.set_state(state.cpu())


def view_size(size: Sequence[int], divisor: Sequence[int], share: float = SHARE) -> tuple[int, ...]:
    """A share of the crop, in multiples of the encoder's divisor; two cells deep where the crop allows it.

    Raises:
        ValueError: The crop is smaller than the divisor along an axis.
    """
    if any(n < d for n, d in zip(size, divisor, strict=True)):
        raise ValueError(
            f"crops of {tuple(size)} voxels are smaller than the encoder takes: {tuple(divisor)}."
        )
    cells = [max(round(n * share / d), 1 if d == 1 else 2) for n, d in zip(size, divisor, strict=True)]
    return tuple(min(c, n // d) * d for c, n, d in zip(cells, size, divisor, strict=True))


def place(positions: Tensor, size: Sequence[int], spot: Tensor) -> Tensor:
    """Move the places of each view so that all of them lie inside the crop, if they fit.

    Args:
        positions: (N, *V, d) in voxels.
        size: Of the crop.
        spot: (N, d) from 0 to 1: first to last of the possible positions along each axis.
    """
    over = tuple(range(1, positions.ndim - 1))
    low, high = positions.amin(over), positions.amax(over)
    room = torch.tensor(size, dtype=positions.dtype, device=positions.device) - 1 - (high - low)
    start = torch.where(room > 0, spot * room, room / 2)  # one that is too large sticks out equally
    return positions + (start - low).view(len(positions), *[1] * len(over), -1)


def cut_windows(images: Tensor, size: Sequence[int], generator: torch.Generator) -> Tensor:
    """A window of each crop at a random place, voxels as they are: (N, C, *S) -> (N, C, *size)."""
    last = torch.tensor([n - p + 1 for n, p in zip(images.shape[2:], size, strict=True)])
    starts = (torch.rand(len(images), len(size), generator=generator) * last).long().tolist()
    return torch.stack(
        [
            image[(slice(None), *[slice(a, a + n) for a, n in zip(start, size, strict=True)])]
            for image, start in zip(images, starts, strict=True)
        ]
    )
