"""Heat and seeds on screen: what two thresholds make of the heat, at once. Knows no Qt."""

import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_plugin.classtable import ClassTable
from napari_plugin.layers import KEY, colormap, identity, to_image, transforms_of
from napari_plugin.results import find, find_or_make
from napari_plugin.tagwork import SeedJob
from wsseg.bags import Bag, Bags
from wsseg.errors import InputError
from wsseg.patches import blocks

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Image as ImageLayer
    from napari.layers import Labels
    from napari.utils.colormaps import Colormap

    from wsseg.tagheat import Heated
    from wsseg.thresholds import Thresholds

PIECE = 2**18  # voxels that thresholds are applied to at once


class SeedView:
    """The heat of the tagged images, and the thresholds that make seeds of it.

    Args:
        layers: The viewer's; those for heat and seeds are added to them.
        table: The classes.

    Attributes:
        heated: What a run found, or None.
        bags: The tags that it learned from.
        thresholds: Of each class, as they are now; None for one whose maps mean nothing.
        ranges: The lowest and the highest heat of each class in any image.
        class_id: The class whose heat is shown.
        image: The image whose heat is shown, None where there is none.
        painted: Identity of an image to the seeds that its hints were given.
    """

    def __init__(self, layers: "LayerList", table: ClassTable) -> None:
        self.layers, self.table = layers, table
        self.heated: Heated | None = None
        self.bags = Bags((), {}, None)
        self.thresholds: dict[int, Thresholds | None] = {}
        self.ranges: dict[int, tuple[float, float]] = {}
        self.class_id = 1
        self.image: ImageLayer | None = None
        self.painted: dict[str, np.ndarray] = {}
        self._left: deque[tuple[tuple[slice, ...], Bag]] = deque()

    def take(self, bags: Bags, heated: "Heated", image: "ImageLayer") -> None:
        """Show what a run found, with the thresholds that it chose."""
        self.bags, self.heated = bags, heated
        self.thresholds = dict(heated.thresholds)
        self.ranges = {
            k: (
                float(min(maps[row].min() for maps in heated.heat.values())),
                float(max(maps[row].max() for maps in heated.heat.values())),
            )
            for row, k in enumerate(bags.classes)
            if heated.heat
        }
        if self.thresholds.get(self.class_id) is None:
            self.class_id = next((k for k, own in self.thresholds.items() if own is not None), self.class_id)
        self.show(image)
        if self.image is None:  # what an older run found of it is no longer true
            for role in ("seeds", "heat"):
                if (layer := find(self.layers, image, role)) is not None:
                    self.layers.remove(layer)

    def verdict(self) -> list[str]:
        """What the check on held-back images found, a line a class; none before a run."""
        if self.heated is None:
            return []
        from wsseg.tagcheck import check_words

        lines = check_words(self.heated.model.config)
        meaningless = (self.heated.model.config.quality or {})["meaningless"]
        for k, own in self.heated.thresholds.items():
            if own is None and k not in meaningless:
                lines.append(
                    f"{self.bags.classes[k]} has no seeds: its heat is the same with it and without it."
                )
        return lines

    def chosen(self) -> "Thresholds | None":
        """The thresholds of the class that were chosen from the data."""
        return None if self.heated is None else self.heated.thresholds.get(self.class_id)

    @property
    def unfinished(self) -> bool:
        """Whether seeds are still to be made by `go_on`."""
        return bool(self._left)

    def show(self, image: "ImageLayer | None") -> None:
        """Show heat and seeds of this image, if there are any; its seeds are made by and by (`go_on`)."""
        self._left.clear()
        some = any(own is not None for own in self.thresholds.values())
        known = image is not None and self.heated is not None and identity(image) in self.heated.heat
        self.image = image if known and some else None
        if self.image is None:
            return
        seeds = self._seeds()
        seeds.data = np.zeros_like(seeds.data)
        self._show_heat()
        self._begin(None)

    def select(self, class_id: int) -> None:
        """Show the heat of this class; one without heat leaves what is shown."""
        if self.heated is None or self.thresholds.get(class_id) is not None:
            self.class_id = class_id
            if self.image is not None:
                self._show_heat()

    def cut(self, lower: float, upper: float, at: int | None = None) -> None:
        """Take these thresholds for the class and show what they make of the heat, that on screen first.

        Args:
            lower: Heat up to which a voxel is background.
            upper: Heat above which it is the class.
            at: The slice on screen, of a volume of tagged slices.
        """
        from wsseg.thresholds import Thresholds

        self.thresholds[self.class_id] = Thresholds(min(lower, upper), upper)
        self._begin(at)

    def go_on(self, seconds: float) -> bool:
        """Make more of the seeds for about this long; whether any are left."""
        from wsseg.seeds import SeedConfig, seeds

        if self.image is None or self.heated is None or not self._left:
            return False
        heat, layer = self.heated.heat[identity(self.image)], self._seeds()
        plain, end = SeedConfig(smooth=0.0), time.monotonic() + seconds
        while self._left:
            region, bag = self._left.popleft()
            part = heat[(slice(None), *region)]
            layer.data[region] = seeds(part, part, sorted(bag.classes), self.thresholds, plain, spacing=())
            if time.monotonic() >= end:
                break
        layer.refresh(extent=False)
        return bool(self._left)

    def job(self, hints: "Labels | None") -> SeedJob:
        """What a worker needs to sharpen the seeds of the image.

        Args:
            hints: Where they are to go, or None.

        Raises:
            InputError: There is no heat of the image, or the hints have another shape.
        """
        if self.image is None or self.heated is None:
            raise InputError("There are no seeds of this image yet: tag it, then press Heat.")
        shape = to_image(self.image).shape
        if hints is not None and hints.data.shape != shape:
            raise InputError(f"{hints.name}: has shape {hints.data.shape}, the image {shape}; press New.")
        own = self._own()
        thresholds = dict(self.thresholds)
        heat = self.heated.heat[identity(self.image)]
        return SeedJob(to_image(self.image), own[0].item, self.bags, heat, thresholds)

    def place(self, seeds: np.ndarray, hints: "Labels", image: "ImageLayer") -> int:
        """Show these seeds, and write them where nothing is painted; the undo of the hints takes them back.

        Args:
            seeds: uint8 hint map (*S).
            hints: Where to.
            image: Whose they are.

        Returns:
            How many voxels were written.
        """
        if image == self.image:
            self._left.clear()
            layer = self._seeds()
            layer.data[...] = seeds
            layer.visible = False  # the same is in the hints now
        free = (np.asarray(hints.data) == 0) & (seeds > 0)
        before = self.painted.get(identity(image), np.zeros_like(seeds))
        self.painted[identity(image)] = np.where(free, seeds, before)
        if not free.any():
            return 0
        # undo remembers the places: small numbers keep that small
        hints.data_setitem(tuple(axis.astype(np.int32) for axis in np.nonzero(free)), seeds[free])
        return int(free.sum())

    def seeded(self, image: "ImageLayer") -> bool:
        """Whether seeds of an image were ever written into its hints."""
        return identity(image) in self.painted

    def in_hints(self, image: "ImageLayer", hints: "Labels | None") -> bool:
        """Whether seeds that were written into the hints are still in them."""
        seeds = self.painted.get(identity(image))
        if hints is None or seeds is None or hints.data.shape != seeds.shape:
            return False
        return bool(((np.asarray(hints.data) == seeds) & (seeds > 0)).any())

    def paint_classes(self) -> None:
        """Give the seeds the colours of the table."""
        if self.image is not None:
            self._seeds().colormap = colormap(self.table.colours)

    def _own(self) -> list[Bag]:
        assert self.image is not None
        name = identity(self.image)
        return [bag for bag in self.bags.bags if bag.item.stem == name]

    def _begin(self, at: int | None) -> None:
        """List the pieces to be done, the slice on screen first."""
        self._left.clear()
        if self.image is None:
            return
        shape, axis = to_image(self.image).shape, self.bags.axis
        own = self._own()
        if at is not None:
            own.sort(key=lambda bag: abs((bag.index or 0) - at))
        for bag in own:
            low = [bag.index or 0 if a == axis else 0 for a in range(len(shape))]
            size = [1 if a == axis else n for a, n in enumerate(shape)]
            for block in blocks(size, PIECE):
                region = tuple(slice(b.start + o, b.stop + o) for b, o in zip(block, low, strict=True))
                self._left.append((region, bag))

    def _seeds(self) -> "Labels":
        assert self.image is not None
        return find_or_make(
            self.layers, self.image, "seeds", self.table.colours, self.layers.selection.active
        )

    def _show_heat(self) -> None:
        """Bring the heat of the class into its layer; a class whose maps mean nothing shows none."""
        assert self.image is not None
        assert self.heated is not None
        layer = find(self.layers, self.image, "heat")
        chosen = self.heated.thresholds.get(self.class_id)
        if chosen is None:
            if layer is not None:
                self.layers.remove(layer)
            return
        heat = self.heated.heat[identity(self.image)][list(self.bags.classes).index(self.class_id)]
        if layer is None:
            layer = make_heat(self.image, heat)
            active = self.layers.selection.active
            self.layers.insert(list(self.layers).index(self.image) + 1, layer)
            self.layers.selection.active = active
        layer.data = heat
        layer.contrast_limits = _limits(chosen)


def _limits(chosen: "Thresholds") -> tuple[float, float]:
    """From sure background to as far above the upper threshold; the same for all images."""
    return chosen.lower, chosen.upper + max(chosen.upper - chosen.lower, 1e-3)


def make_heat(image: "ImageLayer", heat: np.ndarray) -> "ImageLayer":
    """An image layer of heat (*S) on an image's grid, see-through where it is cold."""
    from napari.layers import Image

    own: dict[str, Any] = {"role": "heat", "of": identity(image)}
    return Image(
        heat,
        name=f"{image.name} heat",
        colormap=_glow(),
        blending="translucent_no_depth",
        opacity=0.5,
        metadata={KEY: own},
        **transforms_of(image),
    )


def _glow() -> "Colormap":
    from napari.utils.colormaps import Colormap

    colours: Sequence[Sequence[float]] = [[0.6, 0, 0, 0], [1, 0.3, 0, 0.7], [1, 1, 0.3, 1]]
    return Colormap(np.array(colours), name="wsseg heat")
