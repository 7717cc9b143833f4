"""Crops in millimetres, drawn where the scans hold something; more scans than memory holds take turns."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
import torch.nn.functional as F

from pretrain.scans import Scan
from wsseg.images import Image
from wsseg.patches import read_padded

MISMATCH = 1.25  # ratio of spacings above which a crop is resampled, and a transfer is warned of
LEAST = 8  # subjects; with fewer, scans are cut into blocks that are told apart instead
MEMORY = 2**31  # bytes of scans in memory at once
EXCHANGE = 8  # steps after which one scan makes room for another, where not all fit


def plan_crop(
    spacing: Sequence[float], size: Sequence[int], divisor: Sequence[int], voxels: int
) -> tuple[int, ...]:
    """The size of a crop: a cube (square) in millimetres, cut where the scans end, of about so many voxels.

    Args:
        spacing: Size of a voxel per axis.
        size: Typical size of a scan, voxels.
        divisor: The crop is a multiple of this.
        voxels: How many it shall have.
    """
    edge: dict[int, float] = {}
    while len(edge) < len(size):
        free = [a for a in range(len(size)) if a not in edge]
        room = voxels / float(np.prod(list(edge.values())))
        side = (room * float(np.prod([spacing[a] for a in free]))) ** (1 / len(free))
        short = [a for a in free if side / spacing[a] > size[a]]
        edge |= {a: float(size[a]) for a in short} if short else {a: side / spacing[a] for a in free}
    rounded = [min(round(edge[a] / d), size[a] // d) * d for a, d in enumerate(divisor)]
    return tuple(max(d, n) for d, n in zip(divisor, rounded, strict=True))


@dataclass(frozen=True, eq=False)
class Region:
    """Where crops are drawn from: a scan, or a block of one.

    Attributes:
        scan: Its index.
        number: Of the subject, or of the block where there are few subjects.
        low, high: The voxels it reaches from and to, along all axes of the file.
        centres: int32 (K, d): places in it where a crop holds something.
    """

    scan: int
    number: int
    low: tuple[int, ...]
    high: tuple[int, ...]
    centres: np.ndarray


def coordinates(
    start: Sequence[int], edges: Sequence[int], size: Sequence[int], shape: Sequence[int]
) -> np.ndarray:
    """Where in a scan the voxels of a crop lie.

    Args:
        start: Where the crop begins, voxels of the scan.
        edges: Its size in these.
        size: Its size in voxels of its own.
        shape: Of the scan.

    Returns:
        float32 (d, *size), along each axis −2 at the beginning of the scan, 0 in its middle and 2 at its end.
    """
    lines = [
        (s + (np.arange(n) + 0.5) * e / n - whole / 2) / (whole / 4)
        for s, e, n, whole in zip(start, edges, size, shape, strict=True)
    ]
    return np.stack(np.meshgrid(*lines, indexing="ij")).astype(np.float32)


class CropSampler:
    """Draws batches of crops; crop `place` of batch `index` depends on the seed and these numbers alone.

    Args:
        scans: Looked through.
        spacing: Of the crops.
        crop: Their size, voxels.
        seed: Of the run.
        memory: Bytes of scans held at once.
        located: Crops that are drawn carry where in their scan each voxel lies, in further channels.
        tagged: Crops are told with the tags of their scan or slice.
        repeat: Batches after which the same come again, 0 = never; then crops are told by batch and place.
    """

    def __init__(
        self,
        scans: Sequence[Scan],
        spacing: Sequence[float],
        crop: Sequence[int],
        *,
        seed: int,
        memory: int = MEMORY,
        located: bool = False,
        tagged: bool = False,
        repeat: int = 0,
    ) -> None:
        self.located, self.tagged, self.repeat = located, tagged, repeat
        self.scans, self.spacing, self.crop, self.seed = list(scans), tuple(spacing), tuple(crop), seed
        self.regions = self._regions()
        self.numbers = len({region.number for region in self.regions})
        self._of_scan: list[list[Region]] = [[] for _ in self.scans]
        for region in self.regions:
            self._of_scan[region.scan].append(region)
        self.pool = Pool(self.scans, seed=seed, memory=memory)

    def draw(self, index: int, places: range) -> tuple[np.ndarray, np.ndarray]:
        """Draw those crops of a batch whose numbers are in `places`.

        Returns:
            images float32 (len(places), C, *crop), normalised; (len(places), C + d, *crop) with `located`,
            see `coordinates`. And numbers int64 (len(places),) of the subjects that they are of; (…, 1 + K)
            with `tagged`: subject and tags, see `Scan.tags`; (…, 3) with `repeat`: subject, batch and place.
        """
        index = index % self.repeat if self.repeat else index
        here = self.pool.at(index)
        drawn = [self._draw_one(np.random.default_rng((self.seed, index, place)), here) for place in places]
        numbers = np.array([told for _, told in drawn], np.int64)
        if self.repeat:
            numbers = np.stack([numbers, np.full_like(numbers, index), np.array(places, np.int64)], 1)
        return np.stack([image for image, _ in drawn]), numbers

    def neighbours(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs of crops that show nearly the same, for the monitors: one is a quarter of a crop aside.

        Args:
            count: How many pairs; they are of at most a quarter as many subjects, so that each has several.

        Returns:
            Two arrays float32 (count, C, *crop) and the subjects' numbers int64 (count,).
        """
        rng = np.random.default_rng((self.seed, 2**32))
        order = rng.permutation(len(self.regions))[: max(2, count // 4)]
        chosen = sorted((self.regions[order[i % len(order)]] for i in range(count)), key=lambda r: r.scan)
        pairs = []
        for index, regions in groupby(chosen, key=lambda region: region.scan):
            image = self.scans[index].read()
            for region in regions:
                edges = self._edges(self.scans[index])
                start = self._start(rng, region)
                aside = [round(e / 4) * int(rng.choice([-1, 1])) if e > 1 else 0 for e in edges]
                moved = _inside(np.add(start, aside), edges, region)
                pairs.append([self._cut(image, region, place) for place in (start, moved)])
        ones, others = (np.stack(part) for part in zip(*pairs, strict=True))
        return ones, others, np.array([region.number for region in chosen], np.int64)

    def _draw_one(
        self, rng: np.random.Generator, here: Sequence[int]
    ) -> tuple[np.ndarray, int | tuple[int, ...]]:
        """A crop and what is told of it: its number, or number and tags."""
        regions = self._of_scan[here[int(rng.integers(len(here)))]]
        region = regions[int(rng.integers(len(regions)))]
        start = self._start(rng, region)
        values = self._cut(self.pool.image(region.scan), region, start)
        scan = self.scans[region.scan]
        if self.located:
            used = [axis for axis in range(len(start)) if axis != scan.axis]
            edges = [self._edges(scan)[axis] for axis in used]
            where = coordinates(start[used].tolist(), edges, self.crop, scan.shape)
            values = np.concatenate([values, where])
        if self.tagged:
            assert scan.tags is not None
            row = 0 if scan.axis is None or len(scan.tags) == 1 else int(start[scan.axis])
            return values, (region.number, *scan.tags[row].tolist())
        return values, region.number

    def _edges(self, scan: Scan) -> tuple[int, ...]:
        """Size of a crop in the scan's own voxels, along all axes of its file."""
        ratios = [mine / s for mine, s in zip(self.spacing, scan.spacing, strict=True)]
        alike = max(max(r, 1 / r) for r in ratios) <= MISMATCH
        edges = [c if alike else max(1, round(c * r)) for c, r in zip(self.crop, ratios, strict=True)]
        if scan.axis is not None:
            edges.insert(scan.axis, 1)
        return tuple(edges)

    def _start(self, rng: np.random.Generator, region: Region) -> np.ndarray:
        """Where a crop begins: about a place that holds something, up to an eighth of a crop aside."""
        edges = np.array(self._edges(self.scans[region.scan]))
        centre = region.centres[int(rng.integers(len(region.centres)))]
        aside = rng.integers(-(edges // 8), edges // 8 + 1)
        return _inside(centre + aside - edges // 2, edges, region)

    def _cut(self, image: Image, region: Region, start: np.ndarray) -> np.ndarray:
        """One crop (C, *crop)."""
        scan = self.scans[region.scan]
        edges = self._edges(scan)
        values = read_padded(image, scan.statistics, [int(s) for s in start], edges)
        if scan.axis is not None:
            values = values.take(0, scan.axis + 1)
        if values.shape[1:] == self.crop:
            return values
        mode = "bilinear" if len(self.crop) == 2 else "trilinear"
        resampled = F.interpolate(torch.from_numpy(values)[None], self.crop, mode=mode, align_corners=False)
        return resampled[0].numpy()

    def _regions(self) -> list[Region]:
        """A region a scan; with few subjects blocks of scans, so that there is something to be told apart.

        Crops of different blocks never overlap.
        """
        names = sorted({scan.subject for scan in self.scans})
        regions = [
            Region(i, names.index(scan.subject), (0,) * scan.centres.shape[1], _whole(scan), scan.centres)
            for i, scan in enumerate(self.scans)
        ]
        if len(names) >= LEAST:
            return regions
        while len(regions) < 8 * LEAST:  # several a subject, and as small as crops allow
            halves = [half for region in regions for half in self._halves(region)]
            if len(halves) == len(regions):
                break
            regions = halves
        if len(regions) == len(self.scans):
            return regions
        return [Region(r.scan, n, r.low, r.high, r.centres) for n, r in enumerate(regions)]

    def _halves(self, region: Region) -> list[Region]:
        """A region cut across its longest axis; itself where no crop would fit or nothing be in a half."""
        edges = self._edges(self.scans[region.scan])
        lengths = [(h - low) / e for low, h, e in zip(region.low, region.high, edges, strict=True)]
        axis = int(np.argmax([n if e > 1 else 0 for n, e in zip(lengths, edges, strict=True)]))
        if lengths[axis] < 2:
            return [region]
        middle = (region.low[axis] + region.high[axis]) // 2
        first = region.centres[:, axis] < middle
        if first.all() or not first.any():
            return [region]
        high = tuple(middle if a == axis else h for a, h in enumerate(region.high))
        low = tuple(middle if a == axis else n for a, n in enumerate(region.low))
        return [
            Region(region.scan, region.number, region.low, high, region.centres[first]),
            Region(region.scan, region.number, low, region.high, region.centres[~first]),
        ]


def _whole(scan: Scan) -> tuple[int, ...]:
    """The end of a scan along all axes of its file."""
    if scan.axis is None:
        return scan.shape
    return (*scan.shape[: scan.axis], scan.slices, *scan.shape[scan.axis :])


def _inside(start: np.ndarray, edges: Sequence[int] | np.ndarray, region: Region) -> np.ndarray:
    """The start moved so that the crop lies in its region, or in its middle where the region is smaller."""
    low, high = np.array(region.low), np.array(region.high)
    room = high - low - np.array(edges)
    return np.where(room < 0, low + room // 2, np.clip(start, low, low + np.maximum(room, 0)))


class Pool:
    """Scans in memory, as many as fit; the others come in one after the other, in a fixed, seeded order.

    What is in memory at a step depends on the seed and the step alone, so that a resumed run sees the same
    crops. The next scan is read in the background.

    Args:
        scans: All of them; a lazy one takes no memory and is always in.
        seed: Of the order.
        memory: Bytes.
    """

    def __init__(self, scans: Sequence[Scan], *, seed: int, memory: int) -> None:
        self.scans, self.memory = scans, memory
        order = [int(i) for i in np.random.default_rng((seed, 2**33)).permutation(len(scans))]
        self._always = [i for i in order if scans[i].size == 0]
        self._turns = [i for i in order if scans[i].size > 0]
        self._images: dict[int, Future[Image]] = {}
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="scans")

    def at(self, step: int) -> list[int]:
        """The scans that crops of a step may come from; reads them, and begins to read the next one."""
        turn = step // EXCHANGE
        inside = self._window(turn)
        following = self._window(turn + 1)
        for index in set(self._images) - {*inside, *following}:
            del self._images[index]
        for index in (*inside, *following):
            if index not in self._images:
                self._images[index] = self._reader.submit(self.scans[index].read)
        return inside

    def image(self, index: int) -> Image:
        """A scan that `at` named, once it is read.

        Raises:
            InputError: The file has become unreadable.
        """
        return self._images[index].result()

    def _window(self, turn: int) -> list[int]:
        """Those in memory: always one at least, and all where all fit."""
        inside, size = list(self._always), 0
        for offset in range(len(self._turns)):
            index = self._turns[(turn + offset) % len(self._turns)]
            if size and size + self.scans[index].size > self.memory:
                break
            inside.append(index)
            size += self.scans[index].size
        if size <= self.memory and len(inside) == len(self.scans):
            return sorted(inside)  # all of them: the order no longer depends on the turn
        return inside
