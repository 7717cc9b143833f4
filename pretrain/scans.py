"""What to learn from: files, subjects, and where in each scan there is something to see."""

import re
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.ndimage import uniform_filter

from wsseg.errors import InputError
from wsseg.images import Image, check_values, in_colour, is_image, peek_image, read_image, stem_of
from wsseg.normalise import SAMPLE, Normalisation, Statistics
from wsseg.steps import Step

QUIET = 0.25  # standard deviations of the image: a block that varies less, near its darkest or brightest ...
NEAR = 0.5  # ... values, is air, glass or an empty slide
FILLED = 0.2  # share of a crop that must not be empty
CENTRES = 512  # places for crops remembered per scan
_BIDS = re.compile(r"(?:^|[_/\\])(sub-[A-Za-z0-9]+)")


@dataclass(frozen=True, eq=False)
class Scan:
    """One scan, looked through once.

    Attributes:
        path: Its file, or folder.
        subject: Whom it is of; crops of one subject are never told apart.
        shape, spacing: Along the axes that are used; of a volume cut into slices, within a slice.
        statistics: How to normalise it, as `fit` does.
        centres: int32 (K, d), d all spatial axes of the file: places where a crop holds something.
        filled: Share of its blocks that are not empty.
        size: Bytes in memory; 0 where it is read lazily.
        axis, slices: The axis that slices are numbered along and how many there are, or None and 1.
        colour: It is grey and repeated to three channels.
        kind: Of file, see `wsseg.images.Image`.
        tags: int8 (1, K), or (slices, K) where slices are tagged: 1 the class is there, 0 it is not, −1 not
            tagged; None where the method has no use for tags.
    """

    path: Path
    subject: str
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    statistics: Statistics
    centres: np.ndarray = field(repr=False)
    filled: float
    size: int
    axis: int | None = None
    slices: int = 1
    colour: bool = False
    kind: str = "array"
    tags: np.ndarray | None = field(default=None, repr=False)

    def read(self) -> Image:
        """The scan, with its channels as all of the run have them.

        Raises:
            InputError: The file has become unreadable.
        """
        image = read_image(self.path)
        return in_colour(image) if self.colour else image


@dataclass(frozen=True)
class Headers:
    """What the headers of all scans say, before any is read.

    Attributes:
        images: Without values, see `wsseg.images.peek_image`.
        dims: 2 or 3, of the encoder.
        channels: Of the encoder.
        rgb: The channels are colour.
        bad: Scans that can't be read, path to sentence.
    """

    images: tuple[Image, ...]
    dims: int
    channels: int
    rgb: bool
    bad: dict[str, str]

    def axis(self, image: Image) -> int | None:
        """The axis along which a volume is cut into slices for a 2D encoder: the coarsest; None in 3D.

        Where no axis is coarser it is the first as stored, in NIfTI the last, which is axial as a rule.
        """
        if image.ndim == self.dims:
            return None
        coarsest = max(image.spacing)
        axes = [a for a, s in enumerate(image.spacing) if s > 0.99 * coarsest]
        return axes[-1] if image.kind == "nifti" else axes[0]

    def within(self, image: Image, values: Sequence) -> tuple:
        """Of one value per axis, those of the axes that the encoder sees."""
        axis = self.axis(image)
        return tuple(value for a, value in enumerate(values) if a != axis)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Median size of a voxel along each axis that the encoder sees."""
        found = np.median([self.within(image, image.spacing) for image in self.images], axis=0)
        return tuple(float(v) for v in found)

    @property
    def size(self) -> tuple[int, ...]:
        """Median number of voxels along each axis that the encoder sees, at the median spacing."""
        sizes = [np.multiply(self.within(i, i.shape), self.within(i, i.spacing)) for i in self.images]
        return tuple(max(1, round(n)) for n in np.median(sizes, axis=0) / self.spacing)


def find_scans(where: Iterable[Path | str]) -> list[Path]:
    """All images among the files and folders given, at any depth, in the order of their names.

    Of a dataset folder only images/ is looked into: hint maps and masks are no scans.

    Raises:
        InputError: A path is missing or no image, or there is no image in a folder.
    """
    found: dict[Path, None] = {}
    for given in map(Path, where):
        if not given.exists():
            raise InputError(f"{given}: there is no such file; check the name.")
        inside = _images_in(given)
        if not inside:
            what = "has no image in it" if given.is_dir() else "is no kind of image that wsseg knows"
            raise InputError(
                f"{given}: {what}; NIfTI, TIFF, PNG, JPEG, OME-Zarr and folders with a DICOM series are."
            )
        found |= dict.fromkeys(inside)
    return list(found)


def _images_in(path: Path) -> list[Path]:
    if is_image(path):
        return [path]
    if not path.is_dir() or path.name.startswith("."):
        return []
    if (path / "images").is_dir():
        return _images_in(path / "images")
    return [image for entry in sorted(path.iterdir()) for image in _images_in(entry)]


def read_headers(paths: Sequence[Path], *, dims: int | None, skip_bad: bool) -> Headers:
    """Look at the headers of all scans and settle what they have in common.

    Args:
        paths: From `find_scans`.
        dims: 2 or 3; None = as many as the scans have.
        skip_bad: Leave out scans that can't be read instead of stopping.

    Raises:
        InputError: A scan can't be read, or dimensions or channels don't go together.
    """
    bad: dict[str, str] = {}
    images = []
    for path in paths:
        try:
            images.append(peek_image(path))
        except InputError as error:
            if not skip_bad:
                raise InputError(f"{error} (--skip-bad leaves such scans out)") from error
            bad[str(path)] = str(error)
    if not images:
        raise InputError(f"None of {len(bad)} scans can be read; the first: {next(iter(bad.values()), '')}")
    least, most = (pick(images, key=lambda image: image.ndim) for pick in (min, max))
    if dims is None and least.ndim != most.ndim:
        raise InputError(
            f"{least.path} is a picture and {most.path} a volume; give one kind, or --dims 2 to learn from "
            "the volumes' slices."
        )
    dims = dims or most.ndim
    if least.ndim < dims:
        raise InputError(f"{least.path}: is a picture; --dims 3 needs volumes, --dims 2 is right.")
    rgb = any(image.rgb for image in images)
    counts = {3 if rgb and image.channels == 1 else image.channels: image for image in images}
    if len(counts) > 1:
        (one, first), (other, second) = sorted(counts.items())[:2]
        raise InputError(
            f"{second.path}: has {other} channels where {first.path} has {one}; as many in each, or a mix of "
            "grey and RGB, are right."
        )
    return Headers(tuple(images), dims, next(iter(counts)), rgb, bad)


def look(
    headers: Headers, crop: Sequence[int], *, subject: str | None = None, skip_bad: bool = False
) -> Generator[Step, None, tuple[list[Scan], dict[str, str]]]:
    """Read every scan once: is it whole, how is it normalised, where is something in it?

    Args:
        headers: Of the scans.
        crop: Size of a crop in voxels of the median spacing.
        subject: Regular expression; what it finds in a path (its first group, if it has one) is the subject.
        skip_bad: Leave out scans that can't be used instead of stopping.

    Returns:
        The scans, and those left out, path to sentence.

    Raises:
        InputError: A scan is broken, constant or not finite, or the expression does not fit.
    """
    scans: list[Scan] = []
    bad = dict(headers.bad)
    for index, header in enumerate(headers.images, 1):
        try:
            scans.append(_look_at(header, headers, crop, subject))
        except InputError as error:
            if not skip_bad:
                raise InputError(f"{error} (--skip-bad leaves such scans out)") from error
            bad[str(header.path)] = str(error)
        yield Step("read", index, len(headers.images), info={"file": str(header.path)})
    if not scans:
        raise InputError(f"None of {len(bad)} scans can be used; the first: {next(iter(bad.values()), '')}")
    return scans, bad


def _look_at(header: Image, headers: Headers, crop: Sequence[int], subject: str | None) -> Scan:
    assert header.path is not None
    image = read_image(header.path)
    check_values(image)
    name = subject_of(image, subject)
    if headers.rgb and image.channels == 1:
        image = replace(in_colour(image), path=image.path)
    statistics = Normalisation().measure(image, str(header.path))
    axis = headers.axis(image)
    spacing = headers.within(image, image.spacing)
    edges = [max(1, round(c * m / s)) for c, m, s in zip(crop, headers.spacing, spacing, strict=True)]
    if axis is not None:
        edges.insert(axis, 1)
    centres, filled = find_centres(image, statistics, edges)
    lazy = not isinstance(image.data, np.ndarray)
    return Scan(
        path=header.path,
        subject=name,
        shape=headers.within(image, image.shape),
        spacing=spacing,
        statistics=statistics,
        centres=centres,
        filled=filled,
        size=0 if lazy else int(np.prod(header.data.shape) * image.data.dtype.itemsize),
        axis=axis,
        slices=1 if axis is None else image.shape[axis],
        colour=headers.rgb and header.channels == 1,
        kind=header.kind,
    )


def subject_of(image: Image, pattern: str | None = None) -> str:
    """Whom a scan is of: by the pattern; else by BIDS ("sub-01" in the path), DICOM's patient, or the file.

    Raises:
        InputError: The pattern is no regular expression, or is not found in the path.
    """
    path = image.path or Path("scan")
    if pattern is not None:
        try:
            found = re.search(pattern, str(path))
        except re.error as error:
            raise InputError(f"--subject {pattern}: is no regular expression ({error}).") from error
        if not found:
            raise InputError(f"{path}: --subject {pattern} is not found in this name; it must be in each.")
        return found[1] if found.groups() else found[0]
    if named := _BIDS.findall(str(path)):
        return named[-1]
    return str(image.geometry.get("patient") or path.with_name(stem_of(path)))


def find_centres(image: Image, statistics: Statistics, edges: Sequence[int]) -> tuple[np.ndarray, float]:
    """Places where a crop holds something.

    The image is cut into blocks of a quarter of a crop. A block is empty when it hardly varies and lies near
    the darkest or brightest values: air in CT and MR, the dark of fluorescence, the glass of a slide.

    Args:
        image: Large ones are looked at on an even subsample.
        statistics: Of the image.
        edges: Size of a crop in the image's voxels, 1 along the axis of slices.

    Returns:
        int32 (K, d), at least one; and the share of blocks that are not empty.
    """
    step = max(1, int(np.ceil((np.prod(image.shape) / SAMPLE) ** (1 / image.ndim))))
    values = np.asarray(image.data[(slice(None), *[slice(None, None, step)] * image.ndim)])
    values = statistics.apply(values)
    low, high = values.reshape(len(values), -1).min(1), values.reshape(len(values), -1).max(1)
    size = [min(max(1, e // (4 * step)), n) for e, n in zip(edges, values.shape[1:], strict=True)]
    count = [n // b for n, b in zip(values.shape[1:], size, strict=True)]
    trimmed = values[(slice(None), *[slice(0, c * b) for c, b in zip(count, size, strict=True)])]
    parts = trimmed.reshape(len(values), *[n for pair in zip(count, size, strict=True) for n in pair])
    inner = tuple(range(2, parts.ndim, 2))
    mean, deviation = parts.mean(inner), parts.std(inner)
    ends = [bound.reshape(-1, *[1] * image.ndim) for bound in (low, high)]
    extreme = (mean - ends[0] < NEAR) | (ends[1] - mean < NEAR)
    filled = ((deviation >= QUIET) | ~extreme).any(0)
    around = [1 if e == 1 else 4 for e in edges]
    share = uniform_filter(filled.astype(np.float32), around, mode="nearest")
    places = np.argwhere(share >= min(FILLED, float(share.max())))
    places = places[:: max(1, len(places) // CENTRES)]
    return ((places + 0.5) * size * step).astype(np.int32), float(filled.mean())


def guess_modality(scans: Sequence[Scan], *, rgb: bool) -> tuple[str, str | None]:
    """What made the scans, from how they are stored and how their values lie.

    Colour is histology. NIfTI and DICOM are CT where values reach far below 0 (Hounsfield units), else MR.
    Of other files, those that are mostly dark are fluorescence, the rest electron microscopy.

    Returns:
        The modality of most scans; and a warning where others look like something else.
    """
    votes = Counter("histology" if rgb else _modality_of(scan) for scan in scans)
    most, count = votes.most_common(1)[0]
    if count == len(scans):
        return most, None
    found = ", ".join(f"{number} as {name}" for name, number in votes.most_common())
    return most, (
        f"scans look as if they were not of one kind ({found}); an encoder is better for one kind each, and "
        f"--modality says what they are."
    )


def _modality_of(scan: Scan) -> str:
    values = scan.statistics
    if scan.kind in ("nifti", "dicom"):
        return "ct" if values.low.min() <= -200 else "mr"
    dark = (values.mean - values.low) / np.maximum(values.high - values.low, 1e-6)
    return "fluorescence" if dark.mean() < 0.25 else "em"
