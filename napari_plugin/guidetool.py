"""Where to mark next, and the layer that shows how much the mask is in doubt. Knows no Qt."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_plugin.layers import KEY, has_channels, identity, to_image, transforms_of
from napari_plugin.results import find
from wsseg.errors import InputError
from wsseg.hints import Hints

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer

    from napari_plugin.marks import Marks
    from napari_plugin.twomasks import TwoMasks
    from wsseg.guidance import Suggestion

COUNT = 5  # places on a list; asked again before anything has changed, it goes to the next of them
Choice = Literal["doubt", "any axis", "intervals", "random"]


@dataclass(frozen=True)
class Goal:
    """Where to look.

    Attributes:
        point: World coordinates, one for each spatial axis of the image.
        axis: Along which the slice lies, None of a picture.
        size: Of the slice or the window in the world, along each axis.
        low, high: Where the image begins and ends there.
    """

    point: tuple[float, ...]
    axis: int | None
    size: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class GuideTool:
    """What the controller knows of where to mark next.

    Args:
        marks: What is marked.
        masks: The mask on show, and how much it is in doubt.

    Attributes:
        choice: By what places are chosen; "doubt" keeps to the axis that is looked along.
        told: Of the place that was gone to, in words.
    """

    def __init__(self, marks: "Marks", masks: "TwoMasks") -> None:
        self._marks, self._masks = marks, masks
        self.choice: Choice = "doubt"
        self.told = ""
        self._asked: tuple[Any, ...] = ()  # what the list was made for
        self._hints: Hints | None = None
        self._list: list[Suggestion] = []
        self._at = 0
        self._shown = -1  # version of the masks that the layer of doubt shows
        self._turn = 0

    # the next place

    def ask(self, displayed: Sequence[int]) -> Generator[None, None, "list[Suggestion]"] | None:
        """Work for a worker, or None where the list that there is still holds.

        Args:
            displayed: The image's spatial axes on screen.

        Raises:
            InputError: There is no image, or something marked makes no sense.
        """
        marks = self._marks
        image = to_image(marks.need_image())
        axes = [axis for axis in range(image.ndim) if axis not in displayed]
        if self.choice == "any axis" or not axes:
            axes = list(range(image.ndim))
        asked, hints = (marks.image, self._masks.version, self.choice, tuple(axes)), marks.peek_hints()
        # not by when something was touched: to look at another slice is to touch
        if asked == self._asked and self._list and self._hints is not None and hints.same(self._hints):
            return None
        doubt = self._masks.doubt(marks.image)
        if self.choice == "random":
            self._turn += 1
        self._asked, self._hints, self._list, self._at, self.told = asked, hints, [], 0, ""
        held = marks.held.map_of(marks.image)
        out = None if held is None else held > 0
        doubt = None if doubt is None else doubt.copy()
        return find_places(hints, out, image.spacing, doubt, self.choice, axes, self._turn)

    def take(self, places: "list[Suggestion]") -> bool:
        """Take the list that a worker returned; says whether it is of the image at work."""
        if not self._asked or self._asked[0] is not self._marks.image:
            return False
        self._list, self._at = places, 0
        return True

    def forget(self) -> None:
        """What a worker looked for is not known after all."""
        self._asked = ()

    def next(self) -> Goal:
        """The next place of the list, the first one again after the last.

        Raises:
            InputError: All is marked.
        """
        image = self._marks.need_image()
        if not self._list:
            raise InputError("Everything is marked: there is no place left to suggest.")
        place, count = self._list[self._at], len(self._list)
        self.told = f"{self._words(place)} ({self._at + 1} of {count})"
        self._at = (self._at + 1) % count
        size = np.subtract(*_corners(image, place.region))
        low, high = np.sort(_corners(image, [slice(0, n) for n in to_image(image).shape]), axis=0)
        goal = (_to_world(image, place.centre), np.abs(size), low, high)
        point, size, low, high = (tuple(map(float, part)) for part in goal)
        return Goal(point, place.axis, size, low, high)

    def _words(self, place: "Suggestion") -> str:
        spacing = to_image(self._marks.need_image()).spacing
        if place.axis is None:
            where, unit = f"Rows from {place.region[0].start}, columns from {place.region[1].start}", "pixels"
            away = place.distance / min(spacing)
        else:
            where, unit = f"Slice {place.index}", "slices"
            away = place.distance / spacing[place.axis]
        parts = [where]
        if self.choice in ("doubt", "any axis"):
            parts.append(f"{place.doubt:.0%} in doubt" if place.doubt > 0 else "in the widest gap")
        if np.isfinite(away):
            parts.append(f"{away:.0f} {unit} from marks on average")
        return ", ".join(parts)

    # the layer

    @property
    def layer(self) -> "ImageLayer | None":
        """The layer that shows doubt, or None."""
        return find(self._marks.layers, self._marks.image, "doubt")

    def show(self, on: bool) -> None:
        """Show how much the mask is in doubt, in a layer of its own right above the image, or no more.

        Raises:
            InputError: There is no mask yet, or it came without doubt.
        """
        marks, layer = self._marks, self.layer
        if not on:
            if layer is not None:
                marks.layers.remove(layer)
            return
        image = marks.need_image()
        if self._masks.doubt(image) is None:
            raise InputError("Nothing is in doubt yet: mark two classes for an answer, or press Segment.")
        if layer is None:
            active = marks.layers.selection.active
            marks.layers.insert(list(marks.layers).index(image) + 1, self._make(image))
            if active is not None:
                marks.layers.selection.active = active
        self._shown = -1
        self.follow()

    def follow(self) -> None:
        """Bring the layer up to date."""
        layer = self.layer
        if layer is None or self._shown == self._masks.version:
            return
        self._shown = self._masks.version
        doubt = self._masks.doubt(self._marks.image)
        doubt = np.zeros(layer.data.shape, np.uint8) if doubt is None else doubt
        if layer.data is not doubt:
            layer.data = doubt
        layer.refresh(extent=False)

    def _make(self, image: "ImageLayer") -> "ImageLayer":
        from napari.layers import Image

        return Image(
            np.zeros(to_image(image).shape, np.uint8),
            name=f"{image.name} doubt",
            colormap="inferno",
            contrast_limits=(0, 255),
            blending="additive",
            opacity=0.7,
            metadata={KEY: {"role": "doubt", "of": identity(image)}},
            **transforms_of(image),
        )


def _corners(image: "ImageLayer", region: Sequence[slice]) -> list[np.ndarray]:
    """World coordinates of where a part of an image begins, and of where it ends."""
    return [_to_world(image, [getattr(part, end) - 0.5 for part in region]) for end in ("start", "stop")]


def _to_world(image: "ImageLayer", place: Sequence[float]) -> np.ndarray:
    """World coordinates of the spatial axes."""
    extra = int(has_channels(image))
    return np.array(image.data_to_world([*[0.0] * extra, *place]))[extra:]


def find_places(
    hints: Hints,
    held: np.ndarray | None,
    spacing: tuple[float, ...],
    doubt: np.ndarray | None,
    choice: Choice,
    axes: Sequence[int],
    seed: int,
) -> Generator[None, None, "list[Suggestion]"]:
    """What a worker does: the places to mark next, the best first.

    Args:
        hints: What is marked.
        held: bool (*S): where it is marked, but held out; None = nowhere.
        spacing: Of the image.
        doubt: As `events.in_bytes`, or None.
        choice: By what they are chosen.
        axes: Along which slices may lie.
        seed: Of random ones.
    """
    from wsseg.guidance import Situation, suggest
    from wsseg.weak import weak_labels

    yield
    known = weak_labels(hints, spacing=spacing).known
    known = known if held is None else known | held
    now = Situation(known, spacing, None if doubt is None else doubt.astype(np.float32) / 255)
    return suggest(now, "doubt" if choice == "any axis" else choice, axes=axes, count=COUNT, seed=seed)
