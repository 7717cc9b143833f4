"""A mask written as another kind of file than its image: order of axes, spacing, unit and place carried over.

On its own kind of file a mask keeps the image's geometry bit for bit (`wsseg.images.write_mask`). Between
kinds the order of axes differs: NIfTI has x first, TIFF, PNG and OME-Zarr have x last.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from wsseg.errors import InputError
from wsseg.formats import base
from wsseg.images import Image
from wsseg.world import World, world_of

SUFFIXES = {"NIfTI": ".nii.gz", "TIFF": ".tif", "OME-Zarr": ".ome.zarr", "PNG": ".png"}
_KINDS = {"NIfTI": "nifti", "TIFF": "tiff", "OME-Zarr": "zarr", "PNG": "picture"}
_NIFTI = {  # unit -> the nearest that NIfTI knows, and how many of those it is
    **{"mm": ("mm", 1.0), "µm": ("micron", 1.0), "m": ("meter", 1.0), "cm": ("mm", 10.0)},
    **{"in": ("mm", 25.4), "nm": ("micron", 1e-3), "Å": ("micron", 1e-4)},
}
_ZARR = {"mm": "millimeter", "µm": "micrometer", "m": "meter", "cm": "centimeter", "nm": "nanometer"}
_ZARR |= {"in": "inch", "Å": "angstrom", "s": "second", "ms": "millisecond"}


def as_format(
    values: np.ndarray, like: Image, name: str, world: World | None = None
) -> tuple[np.ndarray, Image]:
    """Values of an image and its geometry, as this format wants both.

    NIfTI keeps the stored order of axes and says by its affine which of them is x. For TIFF, PNG and OME-Zarr
    the axes of a NIfTI are reversed, so that x is last. OME-Zarr gets a translation where the grid is neither
    turned nor mirrored, TIFF sizes alone, PNG nothing.

    Args:
        values: (*S), or (K, *S) with channels first.
        like: The image they belong to.
        name: "NIfTI", "TIFF", "OME-Zarr" or "PNG".
        world: Where the image is; None = as its file says.

    Raises:
        InputError: PNG for a volume.
    """
    kind = _KINDS[name]
    if kind == "picture" and like.ndim != 2:
        raise InputError("A PNG holds no volume; choose NIfTI, TIFF or OME-Zarr.")
    if kind in (like.kind, "nifti" if like.kind == "dicom" else ""):
        return values, like
    world = world or world_of(like)
    if kind == "nifti":
        return values, _as_nifti(like, world)
    if x_first(like):
        space = range(values.ndim - like.ndim, values.ndim)
        values = np.moveaxis(values, list(space), list(space)[::-1])
        # after this the world has z, y, x as well
        world = World(_reversed(world, like.ndim), world.spacing[::-1], world.units[::-1])
        turned = np.broadcast_to(np.zeros((), like.data.dtype), (like.channels, *like.shape[::-1]))
        like = Image(turned, like.spacing[::-1], like.rgb)
    return values, _like(like, kind, world)


def format_of(path: Path) -> str | None:
    """The format that a file's name says, in the words of `as_format`; None for one that is not known."""
    kind = next((kind for suffix, kind in base.SUFFIXES.items() if path.name.lower().endswith(suffix)), None)
    return next((name for name, own in _KINDS.items() if own == kind), None)


def x_first(image: Image) -> bool:
    """Whether the stored axes are x, y, z, as NIfTI has them."""
    return image.kind == "nifti" or (image.kind == "array" and "affine" in image.geometry)


def keeps_place(like: Image, name: str, world: World | None = None) -> bool:
    """Whether this format can say where the image is and how it is turned."""
    if _KINDS[name] == "nifti" or _KINDS[name] == like.kind:
        return True
    world = world or world_of(like)
    matrix = _reversed(world, like.ndim) if x_first(like) else world.matrix
    plain = np.allclose(matrix[:, :-1], np.diag(world.spacing[::-1] if x_first(like) else world.spacing))
    return plain and (_KINDS[name] == "zarr" or not matrix[:, -1].any())


def _as_nifti(like: Image, world: World) -> Image:
    units = {_NIFTI.get(unit) for unit in world.units}
    same = units.pop() if len(units) == 1 else None
    code, factor = same or ("unknown", 1.0)
    if "affine" in like.geometry:  # in millimetres, indices as stored
        affine = np.asarray(like.geometry["affine"], float)
    else:
        affine, n = np.eye(4), like.ndim
        affine[:n, :n] = factor * world.matrix[::-1, :n]
        affine[:n, 3] = factor * world.matrix[::-1, n]
        affine = affine if n == 3 else _flat(affine)
    spacing = tuple(s * factor for s in like.spacing)
    return replace(like, kind="array", spacing=spacing, geometry={"affine": affine, "unit": code})


def _flat(affine: np.ndarray) -> np.ndarray:
    """The affine of a picture: its third axis stands on it."""
    affine[:3, 2] = np.cross(affine[:3, 0], affine[:3, 1])
    affine[:3, 2] /= np.linalg.norm(affine[:3, 2])
    return affine


def _reversed(world: World, ndim: int) -> np.ndarray:
    """The matrix with axes and world turned from x, y, z to z, y, x; the world of a picture loses its z."""
    rows = world.matrix[:ndim][::-1]
    return np.hstack([rows[:, :ndim][:, ::-1], rows[:, ndim:]])


def _like(like: Image, kind: str, world: World) -> Image:
    if kind == "picture":
        return replace(like, kind="picture", geometry={})
    letters = "ZYX"[-like.ndim :]
    if kind == "tiff":
        told: dict[str, float | str] = {
            f"PhysicalSize{a}": s for a, s in zip(letters, world.spacing, strict=True)
        }
        told |= {f"PhysicalSize{a}Unit": u or "pixel" for a, u in zip(letters, world.units, strict=True)}
        return replace(like, kind="tiff", geometry={"style": "ome", "ome": told, "axes": letters})
    axes = [{"name": letter.lower(), "type": "space"} for letter in letters]
    for axis, unit in zip(axes, world.units, strict=True):
        if unit:
            axis["unit"] = _ZARR.get(unit, unit)
    steps: list[dict] = [{"type": "scale", "scale": [float(s) for s in world.spacing]}]
    if np.allclose(world.matrix[:, :-1], np.diag(world.spacing)) and world.matrix[:, -1].any():
        steps.append({"type": "translation", "translation": [float(v) for v in world.matrix[:, -1]]})
    return replace(like, kind="zarr", geometry={"axes": axes, "transformations": (steps, [])})
