"""Whatever is marked is on disk a moment later, written by a thread of its own. Knows no Qt.

The main thread only notes that something has changed and copies what is small; comparing maps, compressing
and writing are done by the thread. Formats are those of `wsseg.journal`.
"""

import os
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_plugin.boxlayer import to_boxes
from napari_plugin.layers import file_of, identity, to_clicks, to_image
from napari_plugin.restoring import put_back
from napari_plugin.results import find
from napari_plugin.taglayer import tags_of
from napari_plugin.timeline import STEPS
from napari_plugin.writer import Snapshot, Writer
from wsseg.drawing import Drawing
from wsseg.errors import InputError
from wsseg.journal import ABOUT
from wsseg.tables import read_json

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer

    from napari_plugin.controller import Controller

SAMPLE = 2**16  # voxels that tell one image in memory from another
MEANWHILE = 30.0  # seconds of a run after which its mask and model are saved as they are then


def sessions_folder() -> Path:
    """Where sessions are kept: $WSSEG_SESSIONS, else a folder of the user's data."""
    if place := os.environ.get("WSSEG_SESSIONS"):
        return Path(place)
    from platformdirs import user_data_path

    return user_data_path("wsseg", appauthor=False) / "sessions"


def about_image(layer: "ImageLayer") -> dict[str, Any]:
    """What a session says of its image: its file or its name, its grid, and a code of some of its values."""
    image, path = to_image(layer), file_of(layer)
    told: dict[str, Any] = {"shape": list(image.shape), "spacing": list(image.spacing)}
    if isinstance(layer.data, np.ndarray):
        step = max(1, round((layer.data.size / SAMPLE) ** (1 / layer.data.ndim)))
        told["values"] = zlib.crc32(layer.data[(slice(None, None, step),) * layer.data.ndim].tobytes())
    return {"image": layer.name if path is None else str(path.resolve()), **told}


def newest_session(place: Path, layer: "ImageLayer", *, but: Path | None = None) -> Path | None:
    """The newest session of an image but one, or None.

    An image is known by its file, one in memory by its name and values, and one that was moved, so that its
    old file is gone, by the file's name and its values: those of two patients often have one name.
    """
    wanted, moved, filed = about_image(layer), None, file_of(layer) is not None
    known_by = wanted.keys() - ({"values"} if filed else set())
    for folder in sorted(place.glob(f"*/{ABOUT}"), reverse=True):
        if folder.parent == but:
            continue
        try:
            about = read_json(folder)
        except InputError:
            continue  # of another program, or being made right now
        if not isinstance(about, dict):
            continue
        same = {key for key, value in wanted.items() if about.get(key) == value}
        if same >= known_by:
            return folder.parent
        before = Path(str(about.get("image")))
        alike = filed and "values" in same and same == wanted.keys() - {"image"}
        if moved is None and alike and before.name == Path(wanted["image"]).name and not before.exists():
            moved = folder.parent
    return moved


class Autosave:
    """Follows what is marked.

    Args:
        controller: The plugin's.
        place: The folder of all sessions.

    Attributes:
        error: Why the last change could not be saved, or "".
    """

    def __init__(self, controller: "Controller", place: Path) -> None:
        self.controller, self.place = controller, place
        self.error = ""
        self._seen: tuple[Any, ...] = ()
        self._earlier: dict[str, Path | None] = {}
        self._about: dict[str, dict[str, Any]] = {}
        self._closed = False
        self._run: Any = None  # the run of which mask and model were saved last, and when
        self._run_saved = 0.0
        self._writer = Writer(place, self._failed)

    def pulse(self) -> None:
        """Hand over what has changed since; to be called often, takes a millisecond."""
        c = self.controller
        named = (tuple(c.classes.items()), tuple(c.colours.items()), c.boxes.all_boxed)
        tags = None if c.image is None else tags_of(c.image)
        seen = (c.touched, named, tags, c.image, c.hints, c.clicks, c.boxes.layer, c.model, c.run)
        now = time.monotonic()
        if c.run is not self._run:
            self._run, self._run_saved = c.run, now
        result = c.run is None or now - self._run_saved >= MEANWHILE
        same = seen == self._seen and (c.run is None or not result)
        if self._closed or self.busy() or same or c.image is None or c.image not in c.layers:
            return
        self._seen, self._run_saved = seen, now if result else self._run_saved
        self._writer.write(self._look(c.image, result=result))

    def save(self) -> None:
        """Hand over how things are, whatever else is on its way to the disk."""
        c = self.controller
        if not self._closed and c.image is not None and c.image in c.layers:
            self._writer.write(self._look(c.image, result=c.run is None))

    def busy(self) -> bool:
        """Whether something is on its way to the disk."""
        return self._writer.busy()

    def found(self) -> Path | None:
        """The newest earlier session of the image at work, until it is restored or dismissed; None = no such.

        It is looked for once an image.
        """
        image = self.controller.image
        if image is None or image not in self.controller.layers:
            return None
        key = identity(image)
        if key not in self._earlier:
            self._earlier[key] = newest_session(self.place, image, but=self._writer.folder(key))
        return self._earlier[key]

    def dismiss(self) -> None:
        """Offer the earlier session of the image at work no more; it stays on disk."""
        if self.controller.image is not None:
            self._earlier[identity(self.controller.image)] = None

    def folder(self) -> Path | None:
        """The session of the image at work; None while nothing has been written of it."""
        image = self.controller.image
        return None if image is None else self._writer.folder(identity(image))

    def restore(self, folder: Path) -> None:
        """Put everything marked in a session on the image at work, and go on from there.

        Undo takes back what was marked last, as in the session itself.

        Raises:
            InputError: The session can't be read.
        """
        from napari_plugin.recall import recall

        c = self.controller
        image = c.need_image()
        drawing, past, future = recall(folder, STEPS)
        self._writer.goes_on(identity(image), folder)
        self._earlier[identity(image)] = None
        put_back(c, drawing, past, future)

    def close(self) -> None:
        """Write what has not been written yet and end the thread."""
        self.save()
        self._closed = True
        self._writer.close()

    def _look(self, image: "ImageLayer", *, result: bool) -> Snapshot:
        """How things stand; with mask and model where `result`: in a run they change all the time."""
        c = self.controller
        c.instant.settle()
        shape = to_image(image).shape
        drawing = Drawing(
            shape,
            classes=dict(c.classes),
            colours=dict(c.colours),
            all_boxed=c.boxes.all_boxed,
            settings=c.settings.told(),
        )
        if c.hints is not None and isinstance(c.hints.data, np.ndarray):
            drawing.hints = c.hints.data
        masks = c.instant.masks
        if result:  # an answer comes back by itself
            drawing.mask = masks.network_of(image, find(c.layers, image, "mask"))
        if drawing.mask is None and masks.undone is image:  # or what was undone would come back
            drawing.mask = np.broadcast_to(np.uint8(0), shape)
        drawing.locked, drawing.held = c.lock.map_of(image), c.held.map_of(image)
        drawing.tags = tags_of(image)
        with suppress(InputError):  # a layer of the user's own, which Segment refuses in words
            drawing.clicks = to_clicks(c.clicks, c.classes)
            if c.boxes.layer is not None:
                drawing.boxes = to_boxes(c.boxes.layer, image, c.classes)[0]
        key = identity(image)
        if key not in self._about:
            self._about[key] = {**about_image(image), "process": os.getpid()}
        return Snapshot(key, self._about[key], drawing, c.model, result=result)

    def _failed(self, words: str) -> None:
        self.error = words
