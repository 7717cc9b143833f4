"""What leaves the window: exports, measurements, the model's line for the shell, other images. No Qt."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_plugin.events import Elsewhere, Work
from napari_plugin.instantwork import Asked
from napari_plugin.keymap import told
from napari_plugin.layers import KEY, file_of, has_channels, identity, to_image, to_world
from napari_plugin.leaveanswer import export_answer
from napari_plugin.leavework import (
    Found,
    Shown,
    Wanted,
    apply_to_others,
    export_coco,
    export_probabilities,
    export_values,
    measure,
)
from napari_plugin.levels import number_of, refuse_level, whole_of
from napari_plugin.marks import Marks
from napari_plugin.results import find
from napari_plugin.saving import place_for
from napari_plugin.session import check_fits
from napari_plugin.taglayer import is_heat
from wsseg.convert import SUFFIXES
from wsseg.errors import InputError
from wsseg.images import stem_of
from wsseg.measure import Cleaning
from wsseg.world import World, short_unit, world_of

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer
    from napari.layers import Labels

    from wsseg.model import Model

KINDS = ("mask", "objects", "probabilities")
COCO = ".json"


class LeaveTool:
    """What the controller knows of leaving.

    Args:
        marks: What is marked on which image.
        model: Gives the newest model, or None.
        asked: Gives what the answer on show was asked for, None where another mask or none is on show.
        begin: Notes that a run on an image begins.
        mask_of: Gives the layer that shows an image's mask, new where there was none.

    Attributes:
        line: The shell's line that applies the model saved last to a folder, "" while none was saved.
        session: Gives the folder of the session of the image at work, or None.
    """

    def __init__(
        self,
        marks: Marks,
        model: "Callable[[], Model | None]",
        asked: Callable[[], Asked | None],
        begin: "Callable[[ImageLayer | None], Any]",
        mask_of: "Callable[[ImageLayer], Labels]",
    ) -> None:
        self._marks, self._model, self._begin, self._mask_of = marks, model, begin, mask_of
        self._asked = asked
        self.line = ""
        self.session: Callable[[], Path | None] = lambda: None
        self._others: list[ImageLayer] = []

    def formats(self, kind: str) -> list[str]:
        """The formats that can hold a "mask", "objects" or "probabilities" of the image at work."""
        image = self._marks.image
        flat = image is not None and image in self._marks.layers and to_image(image).ndim == 2
        names = [name for name in SUFFIXES if name != "PNG" or (flat and kind != "probabilities")]
        return names + ["COCO"] * (flat and kind != "probabilities")

    def place_for(self, kind: str, format_name: str) -> Path:
        """A good place for an export.

        Raises:
            InputError: There is no image, or it is a level and its file's pixels are to be named.
        """
        image = self._marks.need_image()
        place = place_for(image, kind)
        if format_name == "COCO":
            refuse_level(image, "COCO names pixels of the file, so it is written")
            return place.with_name("masks.json")
        return place.with_name(f"{stem_of(place)}{SUFFIXES[format_name]}")

    def table_place(self) -> Path:
        """A good place for the measurements.

        Raises:
            InputError: There is no image.
        """
        place = place_for(self._marks.need_image(), "mask")
        return place.with_name(f"{stem_of(place).removesuffix('_mask')}_measurements.csv")

    def unit(self) -> str:
        """The unit of volume of the image at work, "" without one."""
        image = self._marks.image
        return "" if image is None or image not in self._marks.layers else shown_as(image).world.unit

    def export(self, kind: str, format_name: str, path: Path) -> Work:
        """Write what was found of the image at work as another kind of file.

        Raises:
            InputError: There is none; for COCO, the image is a level; for probabilities, no model, or an
                answer that can't be given again.
        """
        path = checked(path, SUFFIXES.get(format_name, COCO), merge=format_name == "COCO")
        image = self._marks.need_image()
        if format_name == "COCO":
            refuse_level(image, "COCO names pixels of the file, so it is written")
        shown = shown_as(image)
        if kind == "probabilities" and (asked := self._asked()) is not None:
            mask = np.array(find(self._marks.layers, image, "mask").data)
            painted = self._marks.peek_hints().scribbles
            marked = None if painted is None else np.array(painted)
            self._begin(image)
            return export_answer(path, format_name, shown, asked, mask, marked, dict(self._marks.classes))
        if kind == "probabilities":
            model = self._model()
            if model is None:
                raise InputError(
                    "Nothing tells probabilities yet: mark two classes, press Segment, or open a model."
                )
            check_fits(model, shown.image, shown.name)
            self._begin(image)
            return export_probabilities(path, format_name, model, shown)
        found = self._found(image, kind)
        self._begin(image)
        if format_name == "COCO":
            return export_coco(path, shown, found, kind, dict(self._marks.classes))
        return export_values(path, format_name, shown, found, kind)

    def measure(self, path: Path, *, instances: bool, cleaning: Cleaning, page: bool = False) -> Work:
        """Write a table of what is shown: volumes, counts, agreement with what is marked, time spent.

        `page`: a page of HTML of the same name beside it, which is replaced where there is one.

        Raises:
            InputError: There is neither mask nor objects, or something marked makes no sense.
        """
        path = checked(path, ".csv")
        image = self._marks.need_image()
        found = self._found(image, "objects" if instances else "mask")
        wanted = Wanted(
            instances, cleaning, self._marks.peek_hints(), dict(self._marks.classes), self.session(), page
        )
        self._begin(image)
        return measure(path, shown_as(image), found, wanted)

    def apply_to_others(self) -> Work:
        """Predict all other open images; those with a mask on which something is marked stay as they are.

        Multiscale images are predicted at the level that the one at work is: a model knows one voxel size.

        Raises:
            InputError: There is no model, or no other image.
        """
        image, marks, model = self._marks.need_image(), self._marks, self._model()
        if model is None:
            raise InputError("There is no model yet: press Segment to train one, or open one.")
        others, problems = self._alike(image)
        kept = [layer for layer in others if self._marked(layer)]
        self._others = [layer for layer in others if layer not in kept]
        if not self._others:
            raise InputError(
                "Something is marked on every other image; choose them one by one."
                if kept
                else " ".join(problems)
                or "No other image is open; open some, or save the model for a folder of them."
            )
        images = []
        for layer in list(self._others):
            try:
                images.append((to_image(layer), layer.name))
            except InputError as error:
                problems.append(str(error))
                self._others.remove(layer)
        marks.message = " ".join(problems)
        self._begin(image)
        return apply_to_others(model, images, [layer.name for layer in kept])

    def _alike(self, image: "ImageLayer") -> "tuple[list[ImageLayer], list[str]]":
        """The other open images, each at the level of the one at work; which do not have that, in words."""
        layers, number = self._marks.layers, number_of(image)
        images = [x for x in layers if type(x).__name__ == "Image" and not is_heat(x)]
        alike = [x for x in images if number_of(x) == number or not (x.multiscale or number_of(x))]
        there = [identity(whole) for x in alike if (whole := whole_of(layers, x)) is not None]
        missing = [x.name for x in images if x.multiscale and identity(x) not in there]
        names = ", ".join(missing)
        told = f"Left out, since their level {number} is not open (choose it in Level once): {names}."
        return [x for x in alike if x is not image], [told] if missing else []

    def take(self, event: Elsewhere) -> "ImageLayer":
        """Show the mask of another image, and give the image."""
        image = self._others[event.number]
        if image in self._marks.layers:  # else it was closed meanwhile
            layer = self._mask_of(image)
            layer.data[...] = event.mask
            layer.metadata = {**layer.metadata, KEY: {**layer.metadata[KEY], "maker": "network"}}
            layer.visible = image.visible
            layer.refresh(extent=False)
        return image

    def saved_model(self, folder: Path) -> None:
        """A model was saved here: the line for the shell."""
        image = self._marks.image
        source = None if image is None else file_of(image)
        images = "FOLDER_OF_IMAGES" if source is None else str(source.parent)
        out = str(folder.with_name(f"{folder.name}-masks"))
        self.line = shlex.join(["wsseg", "predict", str(folder), images, "--out", out])

    def _found(self, image: "ImageLayer", kind: str) -> Found:
        """What there is of an image, copied."""
        boxes = self._marks.boxes
        layers = {role: find(self._marks.layers, image, role) for role in ("mask", "objects")}
        mask, objects = (None if layer is None else np.array(layer.data) for layer in layers.values())
        if mask is None and objects is None:
            raise InputError("There is no mask yet: press Segment first, or draw boxes.")
        kinds = {one.box.id: one.box.class_id for one in boxes.segments or ()}
        if mask is None and kind == "mask" and not kinds:
            raise InputError(
                f"The classes of the objects are not known: press {told('find_objects')}, or Segment."
            )
        return Found(mask, objects, kinds)

    def _marked(self, layer: "ImageLayer") -> bool:
        """Whether an image has a mask, and hints of its own that it may come from."""
        roles = ("hints", "clicks", "boxes")
        layers = self._marks.layers
        return find(layers, layer, "mask") is not None and any(find(layers, layer, role) for role in roles)


def checked(path: Path, suffix: str, *, merge: bool = False) -> Path:
    """The path with this suffix instead of any that names a kind of image or table.

    Raises:
        InputError: Such a file is there, which the user did not name and so was not asked about.
    """
    if path.name.lower().endswith(suffix):
        return path
    stem = path.stem if path.suffix.lower() in (".json", ".csv") else stem_of(path)
    path = path.with_name(stem + suffix)
    if path.exists() and not merge:
        raise InputError(f"{path}: is there already; choose another name, or name it in full to replace it.")
    return path


def shown_as(layer: "ImageLayer") -> Shown:
    """An image with all that files of it have to know; no file has a coarse level as it is."""
    image, extra, level = to_image(layer), int(has_channels(layer)), number_of(layer)
    source = None if level else file_of(layer)
    if "affine" in image.geometry:
        return Shown(image, world_of(image), source, layer.name)
    matrix = to_world(layer)[extra:-1, extra:]
    units = tuple(short_unit(str(unit)) for unit in layer.units[extra:])
    return Shown(image, World(matrix, image.spacing, units), source, layer.name, level)
