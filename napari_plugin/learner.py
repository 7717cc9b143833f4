"""Learning from scans without labels: what is chosen, what was found, what runs. Knows no Qt and no viewer.

The work is `wsseg pretrain` in a process of its own (`napari_plugin.child`), followed by its events.
"""

import json
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from napari_plugin.child import WSSEG, Child
from napari_plugin.pretexts import METHODS, recommended
from napari_plugin.run import duration
from napari_plugin.scanfiles import Scan, as_files
from wsseg.errors import InputError
from wsseg.modelfolder import command_of, is_finished, state_of
from wsseg.steps import Step

PATIENCE = 10.0  # seconds that a closing window waits for the step under way; its process ends in any case
Stage = Literal["look", "learn"]


@dataclass(frozen=True)
class Choice:
    """What to learn from, and how.

    Attributes:
        scans: Files, folders, and images that are in no file.
        out: The encoder folder.
        method: A key of `napari_plugin.pretexts.METHODS`.
        modality: A key of `MODALITIES`, or None to guess.
        steps: Optimiser steps; None = as many as suit the scans.
    """

    scans: tuple[Scan, ...] = ()
    out: Path | None = None
    method: str = recommended(None)
    modality: str | None = None
    steps: int | None = None

    def words(self, files: Sequence[Path], *further: str) -> list[str]:
        """The command line, after "wsseg"."""
        words = ["pretrain", *map(str, files), "--method", self.method, "--out", str(self.out)]
        words += ["--modality", self.modality] if self.modality else []
        words += ["--steps", str(self.steps)] if self.steps else []
        return [*words, "--skip-bad", "--events", *further]


class Learner:
    """The state of the page.

    Args:
        program: What runs `wsseg`.

    Attributes:
        choice: What is chosen.
        stage: What runs: "look" through the scans, "learn", or None.
        plan: What a look has found, see `wsseg pretrain --events`; None before.
        seconds: That the run would take on this machine, None while that is not known.
        rows: What was measured, as in metrics.jsonl.
        warnings: Of the monitors, as they are now.
        message: What went wrong last, in a sentence.
        left: The window is gone.
    """

    def __init__(self, program: Sequence[str] = WSSEG) -> None:
        self._program = program
        self.choice = Choice()
        self.stage: Stage | None = None
        self.plan: Mapping[str, Any] | None = None
        self.seconds: float | None = None
        self.rows: list[Mapping[str, float]] = []
        self.warnings: list[str] = []
        self.message = ""
        self._step: Step | None = None
        self._child: Child | None = None
        self._stopping = self._stale = self.left = False
        self._began: tuple[int, float] | None = None  # of the first step that was seen

    def choose(self, **changes: Any) -> bool:
        """Change the choice; whether that changes anything. What a look has found no longer holds then.

        Raises:
            InputError: It is what is being learned from.
        """
        if self.stage == "learn":
            raise InputError("The encoder is learning; press Stop first.")
        changed = replace(self.choice, **changes)
        if changed == self.choice:
            return False
        if replace(changed, out=None) != replace(self.choice, out=None):
            self.plan = self.seconds = None
            self._stale = True
        self.choice, self.message = changed, ""
        return True

    def suggest(self) -> Path:
        """A place for the encoder that is free: beside the first scan that is a file, else at home."""
        first = next((scan for scan in self.choice.scans if isinstance(scan, Path)), None)
        room, name = (Path.home(), "scans") if first is None else (first.parent, first.name.split(".")[0])
        places = (room / f"{name}-encoder{number}" for number in ("", *(f"-{n}" for n in range(2, 999))))
        return next(place for place in places if not place.exists())

    def adopt(self, out: Path) -> None:
        """Take over from a folder: an encoder, or a run that was stopped, with its scans and options.

        Raises:
            InputError: It is neither, or something runs.
        """
        if self.stage is not None:
            raise InputError("This page is at work; press Stop first.")
        kept = state_of(out)
        if kept is None and not is_finished(out, "encoder"):
            raise InputError(f"{out}: is no encoder, and no run that was stopped is kept there.")
        words = command_of(out) if kept is not None else None
        self.choose(out=out, **({} if words is None else _choice_of(words)))

    # the folder of the encoder

    @property
    def finished(self) -> bool:
        """Whether the encoder is there."""
        return self.choice.out is not None and is_finished(self.choice.out, "encoder")

    @property
    def kept(self) -> int | None:
        """The step up to which a run that was stopped is kept, or None."""
        return None if self.choice.out is None or self.finished else state_of(self.choice.out)

    # work: each of these gives a generator for a worker

    def look(self) -> Generator[Step, None, None]:
        """Look through the scans and time a few steps; nothing is kept.

        Raises:
            InputError: There are no scans, or something runs.
        """
        choice = self._begin("look")
        return self._looked(replace(choice, out=choice.out or self.suggest()))

    def learn(self) -> Generator[Step, None, None]:
        """Train, going on with a run that was stopped.

        Raises:
            InputError: There are no scans or no place, an encoder is there already, or something runs.
        """
        if self.choice.out is None:
            raise InputError("Say where the encoder shall go.")
        if self.finished:
            raise InputError(
                f"{self.choice.out.name} holds a finished encoder; use it, or choose another place for a new "
                "one."
            )
        choice = self._begin("learn")
        self.rows, self.warnings, self._began = [], [], None
        return self._learned(choice, self.choice.out)

    def stop(self) -> None:
        """End what runs after the step under way; what was learned is kept."""
        self._stopping = True
        if self._child is not None:
            self._child.stop()

    def leave(self) -> None:
        """The window is closed: stop, wait a little for what is kept, and show nothing more."""
        self.left = True
        self.stop()
        if self._child is not None:
            self._child.wait(PATIENCE)

    def _begin(self, stage: Stage) -> Choice:
        if self.stage is not None:
            raise InputError("This page is at work; press Stop first.")
        if not self.choice.scans:
            raise InputError("Choose a folder of scans, or take the open images.")
        self.stage, self.message, self._step = stage, "", None
        self._stopping = self._stale = False
        return self.choice

    def _looked(self, choice: Choice) -> Generator[Step, None, None]:
        with tempfile.TemporaryDirectory() as folder:
            files = as_files(choice.scans, Path(folder))
            yield from self._followed(choice.words(files, "--dry-run"))

    def _learned(self, choice: Choice, out: Path) -> Generator[Step, None, None]:
        # they stay there: a run that goes on needs its scans again
        files = as_files(choice.scans, out.with_name(f"{out.name}-scans"))
        begun = out.is_dir() and any(out.iterdir())
        yield from self._followed(choice.words(files, *(["--resume"] if begun else [])))

    def _followed(self, words: list[str]) -> Generator[Step, None, None]:
        self._child = Child(words, self._program)
        if self._stopping:  # before it was there
            self._child.stop()
        try:
            yield from self._child.follow()
        finally:
            self._child = None

    # while it runs; on the main thread

    def take(self, step: Step) -> None:
        """Take an event of the work; a look at what is no longer chosen has nothing to say."""
        self._step = step
        if self._stale and self.stage == "look":
            return
        if step.stage == "plan":
            self.plan = step.info
        elif step.stage == "time":
            self.seconds = step.info.get("seconds", self.seconds)
        elif step.stage == "pretrain":
            row = {name: value for name, value in step.info.items() if name != "warnings"}
            if self._began is None:
                self._began = step.index, time.monotonic()
                self.rows = self._earlier(step.index)
            self.rows.append(row)
            self.warnings = list(step.info["warnings"])

    def end(self, problem: str = "") -> None:
        """What ran is over; with what went wrong."""
        self.stage, self.message = None, problem

    def _earlier(self, index: int) -> list[Mapping[str, float]]:
        """The rows before this step: of the fresh network, and of a run that goes on."""
        assert self.choice.out is not None
        lines = (self.choice.out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        # the file may be ahead of the events, by half a line as well
        return [row for row in map(json.loads, lines[:index]) if row["step"] < index]

    # in words and numbers

    def status(self) -> str:
        """What is going on, in a line."""
        step = self._step
        if self.stage is None:
            if self.finished:
                return "The encoder is ready."
            return "" if self.kept is None else f"Kept up to step {self.kept}; Continue goes on from there."
        if self._stopping:
            return "Stopping …"
        if step is None:
            return "Starting …"
        if step.stage == "read":
            return f"Looking through the scans: {step.index} of {step.total}"
        if step.stage in ("plan", "time"):
            return "Trying how fast this machine is …" if self.stage == "look" else "Getting ready …"
        text = f"Learning: step {step.index} of {step.total}"
        left = self.seconds_left()
        return text if left is None else f"{text}, {duration(left)} left"

    def share(self) -> float | None:
        """How much of the stage is done, 0 to 1; None while that can't be told."""
        step = self._step
        return None if step is None or step.stage == "plan" else step.index / step.total

    def seconds_left(self) -> float | None:
        """Of the run, from its own pace; None before the third step."""
        if self._step is None or self._began is None or self._step.index < self._began[0] + 3:
            return None
        pace = (time.monotonic() - self._began[1]) / (self._step.index - self._began[0])
        return pace * (self._step.total - self._step.index)

    @property
    def readings(self) -> int:
        """How many readings of the monitors the whole run will have, as far as can be told."""
        at = [row["step"] for row in self.rows if "spread" in row]
        return 0 if len(at) < 2 or self._step is None else round(self._step.total / (at[1] - at[0])) + 1

    def curve(self, name: str) -> list[float]:
        """The values of a number, where it was measured."""
        return [row[name] for row in self.rows if name in row]


def _choice_of(words: list[str]) -> dict[str, Any]:
    """What a command line says, as far as the page can say it too; other options are for the shell."""
    at = next(index for index, word in enumerate([*words, "--"]) if word.startswith("--"))
    options = dict(zip(words[at:], words[at + 1 :], strict=False))
    scans = tuple(Path(word) for word in words[words.index("pretrain") + 1 : at])
    found: dict[str, Any] = {"modality": options.get("--modality")}
    found["steps"] = int(options["--steps"]) if "--steps" in options else None
    if options.get("--method") in METHODS:
        found["method"] = options["--method"]
    if scans and all(scan.exists() for scan in scans):
        found["scans"] = scans
    return found
