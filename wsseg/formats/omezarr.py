"""OME-Zarr (OME-NGFF 0.4 and 0.5): read lazily, written in chunks, scale and translation kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.errors

from wsseg.errors import InputError
from wsseg.formats.base import Image, real_dtype, spacing_of

_BROKEN = (OSError, ValueError, KeyError, TypeError, RuntimeError, zarr.errors.BaseZarrError)
_CHUNK = {2: (1024, 1024), 3: (32, 256, 256)}


class LazyArray:
    """A view (C, *S) of a Zarr array: nothing is read before it is sliced, and slices are numpy arrays.

    Args:
        array: The Zarr array.
        axes: For each axis of the view, the array's axis, or None for a new one of length 1. Axes of the
            array that are not named have length 1.
        path: The file, for error messages.
    """

    def __init__(self, array: Any, axes: tuple[int | None, ...], path: Path) -> None:
        self._array, self._axes, self._path = array, axes, path
        self.shape = tuple(1 if axis is None else int(array.shape[axis]) for axis in axes)
        self.dtype = real_dtype(array.dtype, path)
        self.ndim = len(self.shape)
        self.chunks = tuple(1 if axis is None else int(array.chunks[axis]) for axis in axes)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Basic slicing: integers, slices with a step above 0, and one ellipsis."""
        ranges, within = self._ranges(key)
        source: list[slice] = [slice(0, 1)] * self._array.ndim
        for axis, wanted in zip(self._axes, ranges, strict=True):
            if axis is not None:
                source[axis] = wanted
        try:
            block = np.asarray(self._array[tuple(source)])
        except _BROKEN as error:
            raise InputError(f"{self._path}: a chunk can't be read ({error}); copy it again.") from error
        kept = [axis for axis in self._axes if axis is not None]
        unused = tuple(axis for axis in range(self._array.ndim) if axis not in kept)
        order = [axis - sum(u < axis for u in unused) for axis in kept]
        block = block.squeeze(unused).transpose(order)
        for position, axis in enumerate(self._axes):
            if axis is None:
                block = np.expand_dims(block, position)[(slice(None),) * position + (ranges[position],)]
        return block[within].astype(self.dtype, copy=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = self[...]
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __len__(self) -> int:
        return self.shape[0]

    def _ranges(self, key: Any) -> tuple[list[slice], tuple[Any, ...]]:
        """The contiguous range to read along each axis, and the index to apply to what was read."""
        keys = list(key) if isinstance(key, tuple) else [key]
        if sum(k is Ellipsis for k in keys) > 1 or len([k for k in keys if k is not Ellipsis]) > self.ndim:
            raise IndexError(f"{key} does not fit an array of shape {self.shape}.")
        here = keys.index(Ellipsis) if any(k is Ellipsis for k in keys) else len(keys)
        missing = self.ndim - len([k for k in keys if k is not Ellipsis])
        keys = keys[:here] + [slice(None)] * missing + keys[here + 1 :]
        ranges: list[slice] = []
        within: list[Any] = []
        for wanted, size in zip(keys, self.shape, strict=True):
            if isinstance(wanted, slice):
                start, stop, step = wanted.indices(size)
                if step < 1:
                    raise IndexError("A lazy image is sliced with steps above 0.")
                ranges.append(slice(start, max(start, stop)))
                within.append(slice(None, None, step))
                continue
            index = int(wanted) + (size if wanted < 0 else 0)
            if not 0 <= index < size:
                raise IndexError(f"Index {wanted} is outside an axis of {size}.")
            ranges.append(slice(index, index + 1))
            within.append(0)
        return ranges, tuple(within)


def read(path: Path, *, channel_axis: int | None = None, pixels: bool = True) -> Image:
    """Read the finest level of an OME-Zarr image as a lazy (C, *S).

    Axes are those of its metadata: c is channels; t is a spatial axis like z. Of a file that was padded to
    t, c, z, y, x, axes t and z of length 1 are left out; a stack of one slice without t stays a stack.
    `channel_axis` has no use here.

    Raises:
        InputError: The folder is no OME-Zarr image, or has both time and depth.
    """
    try:
        group = _image_group(path)
        array, scales, multiscales = _finest(group, path)
    except InputError:
        raise
    except _BROKEN as error:
        raise InputError(f"{path}: is not a readable OME-Zarr image ({error}).") from error
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in multiscales["axes"]]
    names = [str(axis["name"]) for axis in axes]
    if len(names) != len(array.shape):
        raise InputError(f"{path}: names {len(names)} axes for an array of shape {tuple(array.shape)}.")
    channel = [i for i, axis in enumerate(axes) if axis.get("type") == "channel" or names[i] == "c"]
    space = [i for i in range(len(names)) if i not in channel]
    for name in ("t", "z"):
        if "t" in names and name in names and array.shape[names.index(name)] == 1 and len(space) > 2:
            space.remove(names.index(name))
    if len(space) not in (2, 3) or len(channel) > 1:
        raise InputError(
            f"{path}: has the axes {names} of shape {tuple(array.shape)}; two or three of space or time and "
            "at most one of channels are right: split it, a file for each time point."
        )
    geometry = {
        "version": str(group.attrs.get("ome", multiscales).get("version", "0.4")),
        "format": group.metadata.zarr_format,
        "axes": [axes[i] for i in space],
        "transformations": [
            [_restricted(t, space, path) for t in part] for part in _transformations(multiscales)
        ],
        "chunks": tuple(int(array.chunks[i]) for i in space),
    }
    return Image(
        data=LazyArray(array, (channel[0] if channel else None, *space), path),
        spacing=spacing_of(scales[i] for i in space),
        kind="zarr",
        path=path,
        geometry=geometry,
    )


def write(path: Path, mask: np.ndarray, like: Image) -> None:
    """Write a mask (*S) as OME-Zarr with the axes, scale and translation of `like`."""
    with writer(path, like, mask.dtype) as array:
        array[...] = mask


def write_probabilities(path: Path, probabilities: np.ndarray, like: Image) -> None:
    """Write probabilities (K, *S), channels first."""
    with writer(path, like, probabilities.dtype, channels=len(probabilities)) as array:
        array[...] = probabilities


@contextmanager
def writer(path: Path, like: Image, dtype: Any, *, channels: int | None = None) -> Iterator[Any]:
    """A Zarr array (*S), or (channels, *S), at `path` to be filled block by block."""
    geometry = like.geometry if like.kind == "zarr" else {}
    names = "zyx"[-like.ndim :]
    axes = list(geometry.get("axes", [{"name": name, "type": "space"} for name in names]))
    scale = {"type": "scale", "scale": list(like.spacing)}
    dataset_part, whole_part = geometry.get("transformations", ([scale], []))
    chunks = tuple(geometry.get("chunks", _CHUNK[like.ndim]))
    # a source may be one huge chunk; the writer holds a chunk in memory for every block it touches
    chunks = tuple(
        min(n, c, limit) for n, c, limit in zip(like.shape, chunks, _CHUNK[like.ndim], strict=True)
    )
    shape = like.shape
    if channels is not None:
        axes = [{"name": "c", "type": "channel"}, *axes]
        shape, chunks = (channels, *shape), (1, *chunks)
        dataset_part, whole_part = [[_with_channels(t) for t in part] for part in (dataset_part, whole_part)]
    version = geometry.get("version", "0.5")
    multiscales: dict[str, Any] = {
        "name": path.name.split(".")[0],
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": dataset_part}],
    }
    if whole_part:
        multiscales["coordinateTransformations"] = whole_part
    new = version not in ("0.1", "0.2", "0.3", "0.4")
    group = zarr.create_group(store=str(path), zarr_format=3 if new else 2)
    # whole numbers are labels, and NGFF has a word for that; viewers go by it
    labels = {} if np.dtype(dtype).kind == "f" else {"image-label": {"version": version if new else "0.4"}}
    if new:
        group.attrs["ome"] = {"version": version, "multiscales": [multiscales], **labels}
    else:
        group.attrs.update({"multiscales": [{"version": "0.4", **multiscales}], **labels})
    yield group.create_array(
        "0",
        shape=shape,
        chunks=chunks,
        dtype=np.dtype(dtype),
        # NGFF 0.4 asks for "/" between the chunk's numbers, which Zarr 2 does not do by itself
        chunk_key_encoding={"name": "default" if new else "v2", "separator": "/"},
        dimension_names=[axis["name"] for axis in axes] if new else None,
    )


def _image_group(path: Path) -> Any:
    group: Any = zarr.open_group(str(path), mode="r", use_consolidated=False)
    attributes = group.attrs.get("ome", group.attrs)
    if "multiscales" not in attributes and "bioformats2raw.layout" in attributes:
        series = [name for name in group.group_keys() if name.isdigit()]
        if series != ["0"]:
            raise InputError(f"{path}: holds {len(series)} images; name one of them, such as {path / '0'}.")
        group = group["0"]
    return group


def _finest(group: Any, path: Path) -> tuple[Any, list[float], dict[str, Any]]:
    """The array of full resolution, its scale along every axis, and its metadata."""
    found = group.attrs.get("ome", group.attrs).get("multiscales")
    if not found or "axes" not in found[0]:
        raise InputError(
            f"{path}: is Zarr without OME-NGFF metadata of version 0.3 to 0.5 (multiscales with axes); "
            "write it with ome-zarr or bioformats2raw."
        )
    multiscales = dict(found[0])
    array = group[multiscales["datasets"][0]["path"]]
    scales = [1.0] * len(array.shape)
    for part in _transformations(multiscales):
        for transformation in part:
            if transformation.get("type") == "scale":
                factors = transformation["scale"]
                scales = [a * float(b) for a, b in zip(scales, factors, strict=True)]
    return array, scales, multiscales


def _transformations(multiscales: dict[str, Any]) -> tuple[list[dict], list[dict]]:
    """The transformations of the finest level, and those of the whole image."""
    level = multiscales["datasets"][0].get("coordinateTransformations", [])
    return list(level), list(multiscales.get("coordinateTransformations", []))


def _restricted(transformation: dict[str, Any], axes: list[int], path: Path) -> dict[str, Any]:
    kind = str(transformation.get("type"))
    if kind == "identity":
        return dict(transformation)
    if kind not in transformation:
        raise InputError(f"{path}: its {kind} is kept in another file; numbers in the metadata are right.")
    return {"type": kind, kind: [transformation[kind][i] for i in axes]}


def _with_channels(transformation: dict[str, Any]) -> dict[str, Any]:
    kind = transformation["type"]
    if kind == "identity":
        return transformation
    return {"type": kind, kind: [1.0 if kind == "scale" else 0.0, *transformation[kind]]}
