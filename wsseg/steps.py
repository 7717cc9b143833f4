"""Long work as a generator: it yields `Step` and returns its result.

The command line, the plugin and the tests drive the same generator, so progress, cancelling between steps
and composing with `yield from` need no callbacks.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Step:
    """One small piece of long work, just done.

    Attributes:
        stage: What is going on, in a word ("train", "predict", "evaluate").
        index: How many pieces of this stage are done, 1 after the first.
        total: How many there will be.
        loss: The training loss of this step, where there is one.
        info: Further numbers or names to show, such as the file at work.
    """

    stage: str
    index: int
    total: int
    loss: float | None = None
    info: Mapping[str, Any] = field(default_factory=dict)


def finish(steps: Generator[Step, None, Result]) -> Result:
    """Run a generator of steps to its end and give back its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def told_as(step: Step, steps: Generator[Step, None, Result]) -> Generator[Step, None, Result]:
    """Steps of a part of the work, each told as this step of the whole; gives back the part's result."""
    try:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value
            yield step
    finally:
        steps.close()
