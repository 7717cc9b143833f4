"""The tags at work: what is tagged and how it is changed, and the bags for a classifier. Knows no Qt."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_plugin.classtable import ClassTable
from napari_plugin.keymap import told
from napari_plugin.layers import KEY, has_channels, identity, on_screen, show_alone, to_hints, to_image
from napari_plugin.levels import refuse_level, whole_of, with_levels
from napari_plugin.openmore import open_more
from napari_plugin.results import find
from napari_plugin.seedview import SeedView
from napari_plugin.taglayer import Place, kin, put_tags, said, tags_of, with_said
from napari_plugin.tagwork import HeatJob
from napari_plugin.timeline import Change, Timeline
from wsseg.bags import contradiction, make_bags
from wsseg.errors import InputError
from wsseg.folder import Item
from wsseg.hints import Tag

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Image as ImageLayer
    from napari.layers import Labels

View = tuple[Sequence[float], Sequence[int]]  # the viewer's point, and the image's axes on screen


@dataclass(frozen=True)
class Overview:
    """What is tagged, and where the user is.

    Attributes:
        places: The slices of the volume, or the images of a kind.
        said: Of each the classes that are there; None = not tagged.
        at: Which of them is on screen, None while a volume is.
        whole: Whether the places are images.
    """

    places: tuple[Place, ...]
    said: tuple[frozenset[int] | None, ...]
    at: int | None
    whole: bool

    @property
    def here(self) -> frozenset[int] | None:
        """What is said of the place on screen."""
        return None if self.at is None else self.said[self.at]


class TagTool:
    """What the controller knows of tags.

    Args:
        layers: The viewer's.
        table: The classes.
        timeline: Takes each change, for undo.

    Attributes:
        image: The image at work, or None.
        whole: Of a volume: whether it is tagged as a whole and not slice by slice.
        last: The newest place that was tagged, from which `extend` goes.
        view: Heat and seeds.
    """

    def __init__(self, layers: "LayerList", table: ClassTable, timeline: Timeline) -> None:
        self.layers, self.table, self._timeline = layers, table, timeline
        self.image: ImageLayer | None = None
        self.whole = False
        self.last: Place | None = None
        self.view = SeedView(layers, table)

    def choose(self, image: "ImageLayer | None") -> None:
        """Work on this image; classes that its tags name come along."""
        self.image, self.last = image, None
        if image is None:
            self.view.show(None)
            return
        tagged = self.tagged
        assert tagged is not None
        self._know_classes(tagged.metadata.get(KEY, {}).get("classes", {}))
        self._know_classes({k: f"class {k}" for k in self._used()})
        if (tags := tags_of(tagged)) is not None:  # else as it was with the image before
            self.whole = all(tag.axis is None for tag in tags)
        self.view.show(image)

    @property
    def tagged(self) -> "ImageLayer | None":
        """The image whose tags count for the one at work: of a level the whole one, of others itself."""
        whole = whole_of(self.layers, self.image)
        return self.image if whole is None else whole

    @property
    def by_slice(self) -> bool:
        """Whether the next tag is of a slice."""
        return self.image is not None and to_image(self.image).ndim == 3 and not self.whole

    def kin(self) -> list["ImageLayer"]:
        """The open images whose tags count together."""
        return [] if self.image is None else kin(self.layers, self.image)

    def is_used(self) -> bool:
        """Whether any of these images is tagged."""
        return any(tags_of(layer) is not None for layer in self.kin())

    def uses(self, class_id: int) -> bool:
        """Whether an image is tagged with this class."""
        return class_id in self._used()

    # tagging

    def place(self, view: View) -> Place:
        """What is tagged next: the image, or the slice on screen.

        Raises:
            InputError: There is no image, it is a coarse level, or a volume is on screen and not a slice.
        """
        if self.image is None or self.image not in self.layers:
            raise InputError("Choose an image first: open one, or take one from File > Open Sample > wsseg.")
        refuse_level(self.image, "Tags are given")
        if not self.by_slice:
            return Place(self.image)
        point, displayed = view
        if len(displayed) != 2:
            raise InputError("A slice can be tagged in the 2D view; leave the 3D view first.")
        axis = next(axis for axis in range(3) if axis not in displayed)
        return Place(self.image, axis, on_screen(self.image, point, displayed)[axis].start)

    def toggle(self, class_id: int, view: View) -> None:
        """Say that a class is there, or take that back; the last one taken back leaves the place untagged."""
        place = self.place(view)
        classes = (said(place) or frozenset()) ^ {class_id}
        self._say([place], classes or None)

    def toggle_none(self, view: View) -> None:
        """Say that none of the classes is there, or take that back."""
        place = self.place(view)
        self._say([place], None if said(place) == frozenset() else frozenset())

    def untag(self, view: View) -> None:
        """Say nothing of the place."""
        self._say([self.place(view)], None)

    def extend(self, view: View) -> int:
        """Say of all slices from the newest tagged one to the one on screen what is said of that one.

        Returns:
            How many slices these are.

        Raises:
            InputError: No slice was tagged just before, or it lies along another axis.
        """
        here, last = self.place(view), self.last
        classes = None if last is None else said(last)
        if (
            last is None
            or last.index is None
            or here.index is None
            or last.axis != here.axis
            or classes is None
        ):
            raise InputError("Tag a slice first, then go to the last one that looks alike, and press this.")
        step = 1 if here.index >= last.index else -1
        places = [replace(here, index=index) for index in range(last.index, here.index + step, step)]
        self._say(places, classes)
        return len(places)

    def undo(self) -> None:
        """Take back the newest change of tags, of whatever image.

        Raises:
            InputError: There is none.
        """
        self._timeline.undo("tags")

    def overview(self, view: View) -> Overview:
        """What is tagged: of a volume its slices, else the images of a kind."""
        tagged = self.tagged
        if tagged is None:
            return Overview((), (), None, True)
        if not self.by_slice:
            layers = self.kin()
            places = tuple(map(Place, layers))
            at = next((i for i, layer in enumerate(layers) if layer == tagged), None)
            return Overview(places, tuple(map(said, places)), at, True)
        try:
            here = self.place(view)
            axis, at = here.axis, here.index
        except InputError:  # a volume is on screen, or a coarse level
            axis, at = min({tag.axis or 0 for tag in tags_of(tagged) or ()}, default=0), None
        count = to_image(tagged).shape[axis or 0]
        places = tuple(Place(tagged, axis, index) for index in range(count))
        return Overview(places, _said_of_slices(tagged, axis or 0, count), at, False)

    def _say(self, places: Iterable[Place], classes: frozenset[int] | None) -> None:
        places = list(places)
        layer = places[0].layer
        before = now = tags_of(layer)
        for place in places:
            now = with_said(now, place, classes)
        put_tags(layer, now)
        self.last = places[-1]
        self._record(places, before)

    def _record(self, places: Sequence[Place], before: frozenset[Tag] | None) -> None:
        layer = places[0].layer
        what = places[0].words if len(places) == 1 else f"{len(places)} slices of {layer.name}"
        exchange = partial(self.exchange, layer)
        words = f"tag of {what[:1].lower()}{what[1:]}" if places[0].axis is not None else f"tag of {what}"
        self._timeline.record(Change(words, "tags", before, exchange, layer, _voxels(places)))

    def exchange(self, layer: "ImageLayer", before: frozenset[Tag] | None) -> frozenset[Tag] | None:
        """Give an image these tags, and say which it had."""
        now = tags_of(layer)
        put_tags(layer, before)
        self.last = None
        return now

    # what comes of it

    def next_image(self) -> "ImageLayer":
        """The image of the kind after this one, shown alone; after the last more of its dataset are opened.

        Raises:
            InputError: There is no other.
        """
        layers, tagged = self.kin(), self.tagged
        if tagged is not None and layers[-1:] == [tagged] and open_more(self.layers, tagged):
            layers = self.kin()
        if len(layers) < 2:
            raise InputError("No other image of this kind is open; open more of them to tag them one by one.")
        at = next((i for i, layer in enumerate(layers) if layer == tagged), -1)
        chosen = layers[(at + 1) % len(layers)]
        self.show_alone(chosen)
        return chosen

    def show_alone(self, chosen: "ImageLayer") -> None:
        """Show this image with its layers, and hide the others of its kind with theirs."""
        show_alone(self.layers, chosen, with_levels(self.layers, self.kin()))

    def heat_job(self, hints: "Labels | None", steps: int | None) -> HeatJob:
        """All that a worker needs to find heat.

        Args:
            hints: Of the image at work; those of others are found by their layers.
            steps: Of training; None = the usual ones.

        Raises:
            InputError: The tags don't tell classes apart, what is painted contradicts them, or the image at
                work is a coarse level.
        """
        refuse_level(self.image, "Heat is found")
        tagged = {layer: tags for layer in self.kin() if (tags := tags_of(layer)) is not None}
        if not tagged:
            raise InputError(
                f"Nothing is tagged yet: say which classes are in this image or slice ({told('tag_1')} …)."
            )
        for layer, tags in tagged.items():
            painted = hints if layer == self.image else find(self.layers, layer, "hints")
            marked = replace(to_hints(layer, painted, None, self.table.names), tags=tags)
            if words := contradiction(marked):
                raise InputError(f"{layer.name}: {words}; mend one of the two.")
        items = {Item(identity(layer), Path(layer.name)): tags for layer, tags in tagged.items()}
        images = {identity(layer): to_image(layer) for layer in tagged}
        bags = make_bags(items, lambda item: images[item.stem].shape, self.table.names, "The tags")
        return HeatJob(images, bags, steps)

    def to_save(self) -> dict["ImageLayer", frozenset[Tag]]:
        """The tags of all images of the kind.

        Raises:
            InputError: There are none.
        """
        found = {layer: tags for layer in self.kin() if (tags := tags_of(layer)) is not None}
        if not found:
            raise InputError(
                f"There are no tags yet: say which classes are in this image or slice ({told('tag_1')} …)."
            )
        return found

    def _used(self) -> set[int]:
        return {tag.class_id for layer in self.kin() for tag in tags_of(layer) or ()} - {0}

    def _know_classes(self, names: Mapping[int, str]) -> None:
        """Add classes that the table does not know, and names for those that have none of their own."""
        fresh = {
            int(k): str(name)
            for k, name in names.items()
            if self.table.names.get(int(k), f"class {k}") == f"class {k}"
        }
        if fresh.items() - self.table.names.items():
            self.table.replace({**self.table.names, **fresh})


def _voxels(places: Sequence[Place]) -> tuple[Sequence[float], Sequence[float]] | None:
    """The first and last voxel of slices, in the data coordinates of their layer; None for an image."""
    layer, axis = places[0].layer, places[0].axis
    slices = [place.index for place in places if place.index is not None]
    if axis is None:
        return None
    low, high = [0] * layer.ndim, [n - 1 for n in layer.data.shape[: layer.ndim]]
    axis += int(has_channels(layer))
    low[axis], high[axis] = min(slices), max(slices)
    return low, high


def _said_of_slices(image: "ImageLayer", axis: int, count: int) -> tuple[frozenset[int] | None, ...]:
    """`said` of every slice along an axis, in one look at the tags."""
    tags = tags_of(image)
    if not tags:
        return (None if tags is None else frozenset(),) * count
    own: dict[int, set[int]] = {}
    for tag in tags:
        if tag.axis == axis and tag.slice is not None:
            own.setdefault(tag.slice, set()).add(tag.class_id)
    return tuple(frozenset(own[index] - {0}) if index in own else None for index in range(count))
