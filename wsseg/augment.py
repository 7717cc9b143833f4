"""Batched augmentation on the device, one draw a sample, 2D and 3D in one code.

Drawing parameters and applying them are two functions: `draw_geometry` / `warp` for what moves voxels and
`draw_intensity` / `recolour` for what does not. All randomness comes from the generator that is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

FLAT = 2.5  # above this ratio of spacings, turning out of the plane would mix slices that are far apart


@dataclass(frozen=True)
class AugmentConfig:
    """How strongly training patches are varied.

    Attributes:
        rotation: Largest turn, degrees, about each axis that spacing allows.
        scaling: Largest factor; drawn log-uniformly from 1/scaling to scaling, per axis by its square root.
        shift: Largest shift as a share of the patch.
        elastic: Standard deviation of the displacement of control points, as a share of their distance.
        flip_axes: Spatial axes that may be mirrored (see `wsseg.symmetry`).
        turn_planes: Pairs of axes in which right-angle turns are allowed.
        contrast: Largest contrast factor and gamma; drawn log-uniformly.
        brightness: Largest added value, in standard deviations of the image.
        noise: Largest standard deviation of added noise, likewise.
    """

    rotation: float = 15.0
    scaling: float = 1.2
    shift: float = 0.05
    elastic: float = 0.12
    flip_axes: tuple[int, ...] = ()
    turn_planes: tuple[tuple[int, int], ...] = ()
    contrast: float = 1.3
    brightness: float = 0.3
    noise: float = 0.15


def _uniform(shape: Sequence[int], low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(tuple(shape), generator=generator) * (high - low) + low


def draw_geometry(
    count: int,
    size: Sequence[int],
    spacing: Sequence[float],
    config: AugmentConfig,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw where each voxel of each patch is taken from.

    Args:
        count: N, patches in the batch.
        size: Spatial size S of a patch, voxels.
        spacing: Size of a voxel per axis; turns are turns in the world, not in the array.
        config: How strong.
        generator: On the CPU.
        device: Where the positions, which are as large as the batch, are made from what was drawn.

    Returns:
        (N, *S, d) sampling positions in voxels of the patch, last axis in array order.
    """
    dims = len(size)
    world = torch.tensor(spacing, dtype=torch.float32)
    matrix = torch.eye(dims).repeat(count, 1, 1)
    for a in range(dims):
        for b in range(a + 1, dims):
            if _may_turn(a, b, spacing):
                angle = torch.deg2rad(_uniform((count,), -config.rotation, config.rotation, generator))
                matrix = matrix @ _rotation(dims, a, b, angle)
    overall = _uniform((count, 1), -1, 1, generator) + 0.5 * _uniform((count, dims), -1, 1, generator)
    matrix = matrix * torch.exp(overall * torch.log(torch.tensor(config.scaling)) / 1.5).unsqueeze(1)
    matrix = matrix * world / world.unsqueeze(1)  # voxels -> world -> voxels
    for axis in config.flip_axes:
        sign = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
        matrix[:, :, axis] *= sign.unsqueeze(1)
    for a, b in config.turn_planes:
        if size[a] == size[b]:
            quarter = torch.randint(0, 4, (count,), generator=generator) * (torch.pi / 2)
            matrix = matrix @ _rotation(dims, a, b, quarter)
    extent = torch.tensor(size, dtype=torch.float32)
    offset = _uniform((count, dims), -config.shift, config.shift, generator) * extent
    centre = (extent - 1) / 2
    axes = [torch.arange(n, dtype=torch.float32, device=device) for n in size]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1) - centre.to(device)  # (*S, d)
    positions = torch.einsum("nij,...j->n...i", matrix.to(device), grid)
    positions = positions + (centre + offset).to(device).view(count, *[1] * dims, dims)
    if config.elastic > 0:
        positions = positions + _elastic(count, size, spacing, config.elastic, generator, device)
    return positions


def _may_turn(a: int, b: int, spacing: Sequence[float]) -> bool:
    return max(spacing[a], spacing[b]) <= FLAT * min(spacing[a], spacing[b])


def _rotation(dims: int, a: int, b: int, angle: Tensor) -> Tensor:
    matrix = torch.eye(dims).repeat(len(angle), 1, 1)
    matrix[:, a, a] = matrix[:, b, b] = angle.cos()
    matrix[:, a, b], matrix[:, b, a] = -angle.sin(), angle.sin()
    return matrix


def _elastic(
    count: int,
    size: Sequence[int],
    spacing: Sequence[float],
    strength: float,
    generator: torch.Generator,
    device: torch.device | str,
) -> Tensor:
    """Smooth displacement (N, *S, d) in voxels: noise on a coarse grid, interpolated twice to be smooth."""
    dims = len(size)
    finest = min(spacing)
    points = [max(3, round(n * s / finest / 12)) for n, s in zip(size, spacing, strict=True)]
    coarse = torch.randn(count, dims, *points, generator=generator)
    for axis, (n, p, s) in enumerate(zip(size, points, spacing, strict=True)):
        gap = n / p if s <= FLAT * finest else 0.0  # no displacement across far-apart slices
        coarse[:, axis] *= strength * gap
    mode = "bilinear" if dims == 2 else "trilinear"
    middle = F.interpolate(
        coarse.to(device), [min(2 * p, n) for p, n in zip(points, size, strict=True)], mode=mode
    )
    return F.interpolate(middle, list(size), mode=mode, align_corners=False).movedim(1, -1)


def warp(values: Tensor, positions: Tensor, *, nearest: bool = False, outside: str = "border") -> Tensor:
    """Take values from other places.

    Args:
        values: (N, C, *S).
        positions: (N, *S', d) in voxels, from `draw_geometry`.
        nearest: For labels and weights; else linear.
        outside: "border" repeats the outermost value, "zeros" gives 0.

    Returns:
        (N, C, *S') of the same dtype.
    """
    size = torch.tensor(values.shape[2:], dtype=positions.dtype, device=positions.device)
    grid = ((2 * positions + 1) / size - 1).flip(-1)  # torch wants -1…1 and x first
    moved = F.grid_sample(
        values.float(),
        grid,
        mode="nearest" if nearest else "bilinear",
        padding_mode=outside,
        align_corners=False,
    )
    return moved.to(values.dtype)


def draw_intensity(count: int, config: AugmentConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw contrast, gamma, brightness and noise level for N samples; each kind is used for half of them."""

    def sometimes(values: Tensor, neutral: float) -> Tensor:
        return torch.where(torch.rand(count, generator=generator) < 0.5, values, torch.tensor(neutral))

    log = float(torch.log(torch.tensor(config.contrast)))
    return {
        "contrast": sometimes(_uniform((count,), -log, log, generator).exp(), 1.0),
        "gamma": sometimes(_uniform((count,), -log, log, generator).exp(), 1.0),
        "brightness": sometimes(_uniform((count,), -config.brightness, config.brightness, generator), 0.0),
        "noise": sometimes(_uniform((count,), 0, config.noise, generator), 0.0),
        "seed": torch.randint(0, 2**31, (1,), generator=generator),
    }


def recolour(images: Tensor, draw: dict[str, Tensor]) -> Tensor:
    """Change intensities of normalised images (N, C, *S), each sample by its own draw."""
    shape = (len(images), *[1] * (images.ndim - 1))
    part = {k: v.to(images.device).view(shape) for k, v in draw.items() if k != "seed"}
    over = tuple(range(2, images.ndim))
    low, high = images.amin(over, keepdim=True), images.amax(over, keepdim=True)
    span = (high - low).clamp_min(1e-6)
    images = low + span * ((images - low) / span).clamp(0, 1) ** part["gamma"]
    mean = images.mean(over, keepdim=True)
    images = (images - mean) * part["contrast"] + mean + part["brightness"]
    noise = torch.Generator(images.device).manual_seed(int(draw["seed"]))
    return images + part["noise"] * torch.randn(images.shape, generator=noise, device=images.device)
