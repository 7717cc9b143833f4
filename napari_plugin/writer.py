"""The thread that writes sessions: it compares, compresses and appends. Knows neither Qt nor napari."""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any

import numpy as np

from wsseg.atomic import remove
from wsseg.drawing import Drawing, differences
from wsseg.errors import InputError
from wsseg.journal import Entry, Journal

if TYPE_CHECKING:
    from wsseg.model import Model

MODEL = "model"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """How things stand: `drawing` has maps that may be painted on meanwhile.

    `model` is the newest one, None = there is none. It counts where `result`; else what was saved stays.
    """

    key: str
    about: dict[str, Any]
    drawing: Drawing
    model: "Model | None"
    result: bool = True


class Writer:
    """The thread, which alone touches the journals.

    Args:
        place: The folder of all sessions.
        failed: Called from the thread with a sentence when something can't be written, "" when it could.
    """

    def __init__(self, place: Path, failed: Callable[[str], None]) -> None:
        self.place, self._failed = place, failed
        self._jobs: Queue[Snapshot | None] = Queue()
        self._thread: threading.Thread | None = None
        self._journals: dict[str, Journal] = {}
        self._written: dict[str, Drawing] = {}
        self._models: dict[str, Model] = {}
        self._earlier: dict[str, Path] = {}

    def busy(self) -> bool:
        """Whether it is still writing what it was given before."""
        return self._jobs.unfinished_tasks > 0

    def knows(self, key: str) -> bool:
        """Whether something of this image has been written."""
        return key in self._journals

    def folder(self, key: str) -> Path | None:
        """The session folder of this image, once something of it has been written."""
        journal = self._journals.get(key)
        return None if journal is None else journal.folder

    def goes_on(self, key: str, folder: Path) -> None:
        """What comes next of this image follows on an earlier session."""
        self._earlier[key] = folder

    def write(self, snapshot: Snapshot) -> None:
        """Take note; the thread does the rest."""
        self._jobs.put(snapshot)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="wsseg autosave", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write all that is waiting, then end."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None
            self._jobs.task_done()  # the None that ended it
        for journal in self._journals.values():
            journal.close()
        self._journals.clear()

    def _work(self) -> None:
        while (snapshot := self._jobs.get()) is not None:
            try:
                self._append(snapshot)
                self._failed("")
            except InputError as error:
                self._failed(str(error))
            finally:
                self._jobs.task_done()

    def _append(self, snapshot: Snapshot) -> None:
        key, now = snapshot.key, snapshot.drawing
        if key not in self._journals:
            if now.is_empty():
                return
            self._open(snapshot)
        journal, written, moment = self._journals[key], self._written[key], time.time()
        for kind, values, block in differences(written, now):
            if block is not None and block.dtype != np.uint8:
                block = block.astype(np.uint8)
            journal.append(kind, values, block, moment=moment)
            written.apply(Entry(0.0, kind, values, block))
        if snapshot.result:
            self._keep_model(key, journal.folder / MODEL, snapshot.model)

    def _keep_model(self, key: str, folder: Path, model: "Model | None") -> None:
        """Save a new model; take away one that was undone or forgotten, or *Restore* would bring it back."""
        if model is self._models.get(key):
            return
        if model is not None:
            model.save(folder)
            self._models[key] = model
        else:
            remove(folder)
            del self._models[key]

    def _open(self, snapshot: Snapshot) -> None:
        from wsseg.replay import replay

        earlier = self._earlier.get(snapshot.key)
        moment = time.strftime("%Y-%m-%d %H.%M.%S")
        folder = self.place / f"{moment} {os.getpid()}"
        count = 1
        while folder.exists():
            count += 1
            folder = self.place / f"{moment} {os.getpid()}-{count}"
        self._journals[snapshot.key] = Journal(folder, snapshot.about, goes_on=earlier)
        shape = snapshot.drawing.shape
        self._written[snapshot.key] = Drawing(shape) if earlier is None else replay(folder).drawing
