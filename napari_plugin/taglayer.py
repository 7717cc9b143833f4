"""Tags of image layers: which classes are in an image, or in a slice of it. Knows no Qt.

They stand in the image's metadata as [class, axis, slice], so that the reader can bring them along and
another widget finds them. What is tagged is fully tagged: classes that are not named are absent.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_plugin.layers import KEY, to_image
from napari_plugin.levels import number_of
from wsseg.errors import InputError
from wsseg.hints import Tag

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Image as ImageLayer


@dataclass(frozen=True)
class Place:
    """What a tag is about: an image, or one slice of it along `axis`."""

    layer: "ImageLayer"
    axis: int | None = None
    index: int | None = None

    @property
    def words(self) -> str:
        """What to call it."""
        return self.layer.name if self.index is None else f"Slice {self.index} of {self.layer.name}"


def tags_of(layer: "ImageLayer") -> frozenset[Tag] | None:
    """The tags of an image; None = nobody tagged it, empty = tagged as "none of them"."""
    rows = layer.metadata.get(KEY, {}).get("tags")
    return None if rows is None else frozenset(Tag(*row) for row in rows)


def to_rows(tags: Iterable[Tag]) -> list[list[int | None]]:
    """Tags as the metadata of a layer holds them."""
    rows: list[list[int | None]] = [[tag.class_id, tag.axis, tag.slice] for tag in tags]
    return sorted(rows, key=lambda row: [-1 if value is None else value for value in row])


def put_tags(layer: "ImageLayer", tags: frozenset[Tag] | None) -> None:
    """Write the tags of an image into its layer."""
    own: dict[str, Any] = {**layer.metadata.get(KEY, {}), "tags": None if tags is None else to_rows(tags)}
    layer.metadata = {**layer.metadata, KEY: own}


def said(place: Place) -> frozenset[int] | None:
    """The classes that are there, none of them where it is empty; None = not tagged."""
    tags = tags_of(place.layer)
    if tags is None:
        return None
    if place.index is None:
        whole = frozenset(tag.class_id for tag in tags if tag.axis is None)
        return whole if whole or not tags else None
    own = {tag.class_id for tag in tags if (tag.axis, tag.slice) == (place.axis, place.index)}
    if own:
        return frozenset(own - {0})
    return None if tags else frozenset()  # of a volume without any class no slice has one


def with_said(
    tags: frozenset[Tag] | None, place: Place, classes: frozenset[int] | None
) -> frozenset[Tag] | None:
    """The tags of an image after these classes were said of a place, None = nothing is.

    Raises:
        InputError: The whole image is to be tagged and slices are, or the other way round, or slices along
            another axis are.
    """
    name = place.layer.name
    others = tags or frozenset()
    if place.index is None:
        if any(tag.axis is not None for tag in others):
            raise InputError(f"Slices of {name} are tagged already; go on with slices, or untag those first.")
        return None if classes is None else frozenset(map(Tag, classes))
    if tags is not None and any(tag.axis is None for tag in tags or [Tag(0)]):
        raise InputError(f"{name} is tagged as a whole already; untag that first to tag its slices.")
    if axes := {tag.axis for tag in others} - {place.axis}:
        raise InputError(
            f"Slices of {name} are tagged along axis {axes.pop()} already, and axis {place.axis} is the one "
            "that is not on screen; turn the volume back, or untag those first."
        )
    rest = frozenset(tag for tag in others if tag.slice != place.index)
    own = [Tag(k, place.axis, place.index) for k in classes or {0}] if classes is not None else []
    return rest | frozenset(own) or None


def kin(layers: "LayerList", image: "ImageLayer") -> list["ImageLayer"]:
    """The open images that go together with this one: as many axes and channels; itself among them.

    A multiscale image counts once, at its finest level: in two it would be learnt from and held back.
    """
    found = []
    for layer in layers:
        if type(layer).__name__ == "Image" and not is_heat(layer) and number_of(layer) == 0:
            try:
                alike = _kind(layer) == _kind(image)
            except InputError:
                continue  # no image that could be segmented
            if alike:
                found.append(layer)
    return found


def _kind(layer: "ImageLayer") -> tuple[int, int, bool]:
    image = to_image(layer)
    return image.ndim, image.channels, image.rgb


def is_heat(layer: Any) -> bool:
    """Whether an Image layer shows heat, or how much a mask is in doubt: no image to work on."""
    return layer.metadata.get(KEY, {}).get("role") in ("heat", "doubt")
