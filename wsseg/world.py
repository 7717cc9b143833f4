"""Where a voxel lies in the world, and in which unit: what each kind of file says of itself."""

from dataclasses import dataclass

import numpy as np

from wsseg.images import Image

_SHORT = {
    "micron": "µm",
    "micrometer": "µm",
    "um": "µm",
    "\\u00B5m": "µm",  # ImageJ's own way to write it
    "μm": "µm",  # the Greek letter, not the sign
    "nanometer": "nm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
    "angstrom": "Å",
    "inch": "in",
    "second": "s",
    "millisecond": "ms",
    "pixel": "",
    "pixels": "",
    "voxel": "",
    "unknown": "",
    "None": "",
}


@dataclass(frozen=True, eq=False)
class World:
    """The grid of an image in the world.

    Attributes:
        matrix: (D, ndim + 1) float64, voxel indices with a 1 at their end to a place in the world.
        spacing: Size of a voxel along each spatial axis.
        units: Unit along each spatial axis, such as "mm" or "µm"; "" where nobody says.
    """

    matrix: np.ndarray
    spacing: tuple[float, ...]
    units: tuple[str, ...]

    @property
    def voxel(self) -> float:
        """Volume (in 2D: area) of one voxel."""
        return float(np.prod(self.spacing))

    @property
    def unit(self) -> str:
        """Of volume or area: "mm³", "µm²"; "voxels" or "pixels" where nothing else is known, else ""."""
        if not any(self.units):
            known = any(s != 1 for s in self.spacing)
            return "" if known else "pixels" if len(self.spacing) == 2 else "voxels"
        if len(set(self.units)) == 1:
            return f"{self.units[0]}{'²' if len(self.units) == 2 else '³'}"
        return "·".join(unit or "1" for unit in self.units)

    @property
    def length(self) -> str:
        """Unit of a distance: "mm", "µm"; "voxels" or "pixels" where nothing else is known, else ""."""
        if not any(self.units):
            return self.unit
        return self.units[0] if len(set(self.units)) == 1 else ""

    def place(self, index: np.ndarray) -> np.ndarray:
        """Voxel indices (N, ndim) as places in the world, (N, D)."""
        return index @ self.matrix[:, :-1].T + self.matrix[:, -1]


def world_of(image: Image) -> World:
    """The world as the image's file has it.

    NIfTI and DICOM have x, y, z of the scanner, RAS, in mm (a NIfTI that names no unit means mm as well).
    OME-Zarr has its scale and translation, any other kind its spacing, along the stored axes.
    """
    return World(_matrix(image), image.spacing, tuple(short_unit(unit) for unit in _units(image)))


def short_unit(name: str) -> str:
    """The sign of a unit by any of its usual names: "micrometer" is "µm"; "" for what is none."""
    return _SHORT.get(name, name)


def _matrix(image: Image) -> np.ndarray:
    own = np.hstack([np.diag(image.spacing), np.zeros((image.ndim, 1))])
    if "affine" in image.geometry:
        axes = image.geometry.get("axes", range(image.ndim))  # of a NIfTI: which of its axes are space
        affine = np.asarray(image.geometry["affine"], float)
        return affine[:3][:, [*axes, 3]] if max(axes) < 3 else own
    if image.kind == "zarr":
        for part in image.geometry.get("transformations", ()):
            for step in part:
                if step["type"] == "translation":
                    own[:, -1] += step["translation"]
                elif step["type"] == "scale":
                    own[:, -1] *= step["scale"]
    return own


def _units(image: Image) -> tuple[str, ...]:
    """The unit of each axis in the file's own word."""
    geometry = image.geometry
    if image.kind == "dicom" or (image.kind == "array" and "affine" in geometry):
        return ("mm",) * image.ndim
    if image.kind == "nifti":
        unit = str(geometry["header"].get_xyzt_units()[0])
        return ("mm" if unit == "unknown" else unit,) * image.ndim
    if image.kind == "zarr":
        return tuple(str(axis.get("unit", "")) for axis in geometry.get("axes", ()))
    if geometry.get("style") == "ome":
        told = geometry["ome"]
        return tuple(
            str(told.get(f"PhysicalSize{letter}Unit", "µm")) if f"PhysicalSize{letter}" in told else ""
            for letter in geometry["axes"]
        )
    if geometry.get("style") == "imagej":
        unit = str(geometry["imagej"].get("unit", ""))
        return tuple("" if letter == "T" else unit for letter in geometry["axes"])
    return ("",) * image.ndim
