"""How far the work under way is, in numbers and in words."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_plugin.session import Wishes
from napari_plugin.timeline import Change
from wsseg.hints import Hints
from wsseg.steps import Step

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer

_WORDS = {
    "load": "Getting ready",
    "propagate": "Following the strokes",
    "save": "Saving",
    "read": "Reading the tagged images",
    "check": "Checking on what was held back",
    "measure": "Measuring",
}
_COUNTED = {
    "boxes": "Masks of boxes",
    "heat": "Heat maps",
    "seeds": "Seeds along edges",
    "others": "Tiles of other images",
}
_TRAINED = {"train": "Training", "classify": "Learning the tags"}


@dataclass(eq=False)
class Run:
    """One piece of work under way: what it shows, and where its results go."""

    image: "ImageLayer | None"  # None: nothing is predicted
    wishes: Wishes
    given: Hints | None = None
    step: Step = field(default_factory=lambda: Step("load", 0, 1))
    trained: Step | None = None
    started: float | None = None  # when the first training step was done
    losses: list[float] = field(default_factory=list)
    change: Change | None = None  # to mask and model, for undo
    shown: bool = False  # whether the mask has changed

    def take(self, step: Step) -> None:
        """The work has come this far."""
        self.step = step
        if step.stage in _TRAINED:
            if self.trained is None or step.index < self.trained.index:  # or a training begins anew
                self.started = time.monotonic()
            self.trained = step
            self.losses.append(step.loss or 0.0)

    def seconds_left(self) -> float | None:
        """Of training, from its pace so far, previews included; None while that can't be told."""
        if self.trained is None or self.started is None or self.trained.index < 3:
            return None
        done = self.trained.index - 1
        return (time.monotonic() - self.started) / done * (self.trained.total - self.trained.index)

    def words(self) -> str:
        """What is going on, in a line."""
        if self.step.stage in _WORDS:
            return f"{_WORDS[self.step.stage]} …"
        if self.step.stage in _COUNTED:
            return f"{_COUNTED[self.step.stage]}: {self.step.index} of {self.step.total}"
        if self.step.stage == "predict" or self.trained is None:
            return f"Predicting the whole image: tile {self.step.index} of {self.step.total}"
        text = f"{_TRAINED[self.trained.stage]}: step {self.trained.index} of {self.trained.total}"
        left = self.seconds_left()
        return text if left is None else f"{text}, {duration(left)} left"

    def share(self) -> float | None:
        """How much of the stage is done, 0 to 1; None while that can't be told."""
        step = self.trained if self.step.stage == "preview" and self.trained else self.step
        return step.index / step.total if step.stage != "load" and step.total else None


def duration(seconds: float) -> str:
    """A time as a person says it."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
