"""The mask on show, and which of two it is: the one answered while drawing, or the network's. Knows no Qt."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_plugin.blocks import Region
from napari_plugin.layers import KEY
from napari_plugin.patching import Patches
from wsseg.hints import BACKGROUND

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer
    from napari.layers import Labels

Maker = Literal["instant", "network"]
MAKERS: tuple[Maker, ...] = ("network", "instant")
Choice = Literal["auto", "instant", "network"]


class TwoMasks:
    """Both masks of one image; the layer shows one of them.

    What *auto* shows: the network's as soon as a third of its training is done, or says at once what strokes
    reach; its rough previews before only while there is no other. A score on the voxels that are corrected
    can't decide it: people correct what they see, so that the mask on show looks the worse one, whichever it
    is.

    Where slices are held out, nothing has to be guessed: the mask leads that is better on these.

    What each maker said is kept as it said it. On show is that, and over it what was painted or accepted,
    drawn anew wherever one of the two has changed: so what is taken back leaves nothing behind.

    Args:
        said: Gives what is known of a part of an image, hint maps (*region); the last one counts most.

    Attributes:
        choice: Which one the user wants to see.
        settled: Whether the network's is more than a preview.
        leader: Which of the two *auto* shows once the network's is settled.
        undone: The image whose network's mask was taken back, as if there never was one.
        version: Grows with every change of a mask.
    """

    def __init__(self, said: "Callable[[ImageLayer, Region], Iterable[np.ndarray]]") -> None:
        self._said = said
        self.choice: Choice = "auto"
        self.settled = False
        self.leader: Maker = "network"
        self.undone: ImageLayer | None = None
        self.version = 0
        self._image: ImageLayer | None = None
        self._layer: Labels | None = None
        self._drawn: np.ndarray | None = None  # the data of that layer
        self._masks: dict[Maker, np.ndarray] = {}
        self._doubts: dict[Maker, np.ndarray] = {}
        self._shown: Maker | None = None
        self._patches = Patches()

    def on(self) -> Maker | None:
        """Which mask is on show; None where there is none."""
        wanted: Maker
        if self.choice == "auto":
            wanted = self.leader if self.settled else "instant"
        else:
            wanted = self.choice
        return wanted if wanted in self._masks else next(iter(self._masks), None)

    def is_behind(self) -> bool:
        """Whether the layer shows another mask than is wanted."""
        return self.on() != self._shown

    def has(self, maker: Maker, image: "ImageLayer | None") -> bool:
        """Whether there is such a mask of this image."""
        return image is self._image and maker in self._masks

    def mask(self, image: "ImageLayer | None", maker: Maker) -> np.ndarray | None:
        """Such a mask of this image, without paint: uint8 (*S), or None. Nobody may write into it."""
        found = self._masks.get(maker) if image is self._image else None
        return found if found is None or maker == "instant" else self._patches.mask(found)

    def doubt(self, image: "ImageLayer | None") -> np.ndarray | None:
        """How much the mask on show is in doubt, as `events.in_bytes`; None where nobody knows."""
        shown = self.on()
        return None if image is not self._image or shown is None else self._doubts.get(shown)

    def put(
        self,
        maker: Maker,
        image: "ImageLayer",
        layer: "Callable[[], Labels]",
        region: Region,
        mask: np.ndarray,
        doubt: np.ndarray | None = None,
        *,
        seen: bool = True,
    ) -> None:
        """Write a piece of a mask.

        Args:
            maker: Whose.
            image: Of which image; masks of another one are forgotten, their layer stays.
            layer: Gives the layer that shows the mask, new and empty where there was none.
            region: Where.
            mask: uint8 class ids.
            doubt: As `events.in_bytes`, of the same piece; None = nobody knows, as where strokes say it all.
            seen: Whether it may be on screen, so that it has to be drawn anew.
        """
        self.show(image, layer, maker)
        self.undone = None if maker == "network" else self.undone
        self._masks[maker][region] = mask
        if doubt is not None and maker not in self._doubts:
            self._doubts[maker] = np.zeros(self._masks[maker].shape, np.uint8)
        if maker in self._doubts:
            self._doubts[maker][region] = 0 if doubt is None else doubt
        if maker == "network":
            self._patches.wrote(region, mask)
        self.version += 1
        if self._shown == maker:
            self.draw(image, region, seen=seen)

    def draw(self, image: "ImageLayer", region: Region, *, seen: bool = True) -> None:
        """Show a part as it is now: what the mask on show says, and over it what is known.

        Args:
            image: Of which image; nothing is drawn where another one is at work.
            region: The part.
            seen: As in `put`.
        """
        said = None if self._shown is None else self.mask(image, self._shown)
        if said is None or self._shown is None or self._layer is None or self._drawn is None:
            return
        drawn, doubt = self._drawn, self._doubts.get(self._shown)
        drawn[region] = said[region]
        for part in self._said(image, region):
            known = (part > 0) & (part <= BACKGROUND)  # more may stand in a layer of the user's own
            drawn[region][known] = np.where(part == BACKGROUND, 0, part)[known]
            if doubt is not None:
                doubt[region][known] = 0
        if seen:
            self._layer.refresh(extent=False)

    def learns(self, painted: np.ndarray | None) -> None:
        """The network was given what is painted, a hint map or None; see `follow`.

        Its mask is taken as it is then, with earlier changes: it is about to say it anew.
        """
        if "network" in self._masks:
            self._masks["network"] = self._patches.mask(self._masks["network"])
        self._patches.learns(painted, self._masks.get("instant"))

    def follow(self, region: Region, painted: np.ndarray, locked: np.ndarray | None) -> None:
        """Change the network's mask as the answer has changed around what it has not learnt yet.

        Args:
            region: Around a change of paint.
            painted: The hint map now.
            locked: What was accepted, a hint map, or None.
        """
        network, answer = (self._masks.get(maker) for maker in MAKERS)
        if network is None or answer is None or self._image is None:
            return
        believed = self._patches.follow(region, network, answer, painted, locked)
        if believed is not None and all(maker in self._doubts for maker in MAKERS):
            there, other = (self._doubts[maker][region] for maker in MAKERS)
            there[believed] = other[believed]
        self.version += 1
        if self._shown == "network":
            self.draw(self._image, region)

    def adopt(self, image: "ImageLayer", layer: "Labels") -> None:
        """Show masks of this image in this layer; one that is in it already, or was put into it, stays."""
        if image is not self._image:
            self.forget(self._image)
            self._image = image
        known = layer is self._layer
        if known and layer.data is self._drawn:
            return
        if known and self._shown is not None and layer.data.shape == self._masks[self._shown].shape:
            # by another plugin, or a script
            self._masks[self._shown], self._drawn = np.array(layer.data, np.uint8), layer.data
            self.draw(image, tuple(slice(0, n) for n in layer.data.shape))
            return
        self._layer, self._drawn, self._shown = layer, layer.data, None
        if not self._masks and np.any(layer.data):  # of an earlier visit
            maker: Maker = layer.metadata.get(KEY, {}).get("maker", "network")
            self._masks[maker], self.settled = np.array(layer.data, np.uint8), maker == "network"

    def forget(self, image: "ImageLayer | None") -> None:
        """The masks of this image are no longer known; the layer stays as it is."""
        if image is self._image:
            self._image = self._layer = self._drawn = self._shown = None
            self._masks, self._doubts, self._patches = {}, {}, Patches()
            self.settled, self.leader = False, "network"

    def show(self, image: "ImageLayer", layer: "Callable[[], Labels]", maker: "Maker | None" = None) -> None:
        """Bring the mask on show up to date with what is wanted; `maker` gets an empty one if it has none."""
        if maker is None and not (image is self._image and self._masks):
            return
        found = layer()
        self.adopt(image, found)
        if maker is not None and maker not in self._masks:
            self._masks[maker] = np.zeros(found.data.shape, np.uint8)
        if (now := self.on()) is not None and now != self._shown:
            self._shown = now
            self.version += 1
            found.metadata = {**found.metadata, KEY: {**found.metadata.get(KEY, {}), "maker": now}}
            self.draw(image, tuple(slice(0, n) for n in found.data.shape))

    def network_of(self, image: "ImageLayer", layer: "Labels | None") -> np.ndarray | None:
        """The network's mask of an image, uint8 (*S), or None; `layer` shows its mask, if there is one."""
        if image is self._image:
            return self.mask(image, "network")
        known = layer is not None and layer.metadata.get(KEY, {}).get("maker") != "instant"
        return layer.data if known and layer is not None and np.any(layer.data) else None

    def put_back(
        self, image: "ImageLayer", layer: "Callable[[], Labels]", mask: np.ndarray | None, *, settled: bool
    ) -> None:
        """Put back the network's mask as it was at another time, None where there was none."""
        found = layer()
        self.adopt(image, found)
        self._masks.pop("network", None)
        self._doubts.pop("network", None)
        if mask is not None:
            self._masks["network"] = mask
        self.settled, self._shown, self._patches = settled, None, Patches()
        self.undone = image if mask is None else None
        if not self._masks:
            found.data[...] = 0
            found.refresh(extent=False)
            self.version += 1
        self.show(image, layer)

    def settle(self, image: "ImageLayer | None") -> None:
        """The network's mask of this image is more than a rough preview."""
        self.settled = self.settled or self.has("network", image)
