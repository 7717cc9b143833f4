"""Shows a generator of steps as a progress bar on a terminal, and as a line now and then in a log."""

import json
import signal
import sys
import threading
import time
from collections.abc import Generator
from dataclasses import asdict
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from wsseg.steps import Step

Result = TypeVar("Result")


def run_with_progress(
    steps: Generator[Step, None, Result],
    *,
    quiet: bool = False,
    events: bool = False,
    console: Console | None = None,
    every: float = 10.0,
) -> Result:
    """Run a generator of steps to its end, show how far it is, and give back its result.

    Ctrl-C stops between two steps, so that the generator is closed where its state is whole and can keep it;
    a second Ctrl-C stops at once. Whatever ends it early goes on to the caller after that.

    Args:
        steps: The work.
        quiet: Show nothing.
        events: Write each step as a line of JSON to standard output, for a program that follows the work.
        console: Where to show; by default standard error, which leaves standard output to results.
        every: Seconds between two lines where there is no terminal.
    """
    console = console or Console(stderr=True)
    loud = _Events() if events else _Bars(console) if console.is_terminal else _Lines(console, every)
    show = _Quiet() if quiet else loud
    try:
        with show, _Interruption() as interruption:
            while True:
                try:
                    step = next(steps)
                except StopIteration as end:
                    return end.value
                show.show(step)
                if interruption.asked:
                    steps.close()
                    raise KeyboardInterrupt
    finally:
        steps.close()


class _Interruption:
    """Notes the first Ctrl-C instead of stopping in the middle of a step; the second one stops at once."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "_Interruption":
        # Handlers belong to the main thread; elsewhere nobody presses Ctrl-C.
        self._mine = threading.current_thread() is threading.main_thread()
        if self._mine:
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *reason: object) -> None:
        if self._mine:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


class _Pace:
    """Time left in a stage, from its own steps: a stage that is resumed begins in the middle."""

    def __init__(self, step: Step) -> None:
        self.stage, self.index = step.stage, step.index
        self._first, self._start = step.index, time.monotonic()

    def goes_on(self, step: Step) -> bool:
        return step.stage == self.stage and step.index >= self.index

    def left(self, step: Step) -> str:
        self.index = step.index
        if step.index == self._first or step.index >= step.total:
            return ""
        spent = time.monotonic() - self._start
        return _in_words(spent / (step.index - self._first) * (step.total - step.index)) + " left"


def _in_words(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


class _Quiet:
    def __enter__(self) -> None: ...

    def __exit__(self, *reason: object) -> None: ...

    def show(self, step: Step) -> None:
        """Show nothing."""


class _Events(_Quiet):
    def show(self, step: Step) -> None:
        """Write the step as it is."""
        sys.stdout.write(json.dumps(asdict(step)) + "\n")
        sys.stdout.flush()


class _Bars(_Quiet):
    """A bar a stage; a stage that begins anew, for the next image say, has the same bar again."""

    def __init__(self, console: Console) -> None:
        columns = "{task.description}", BarColumn(), "{task.completed:.0f}/{task.total:.0f}"
        fields = TextColumn("{task.fields[loss]}"), TextColumn("{task.fields[left]}")
        self._progress = Progress(*columns, *fields, console=console)
        self._tasks: dict[str, TaskID] = {}
        self._pace: _Pace | None = None

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(self, *reason: object) -> None:
        self._progress.stop()

    def show(self, step: Step) -> None:
        """Move the bar of the step's stage."""
        if self._pace is None or not self._pace.goes_on(step):
            self._pace = _Pace(step)
        if step.stage not in self._tasks:
            self._tasks[step.stage] = self._progress.add_task(step.stage, total=step.total, loss="", left="")
        loss = "" if step.loss is None else f"loss {step.loss:.3f}"
        self._progress.update(
            self._tasks[step.stage],
            completed=step.index,
            total=step.total,
            loss=loss,
            left=self._pace.left(step),
        )


class _Lines(_Quiet):
    """A line at most every so many seconds, and one at the end of a stage."""

    def __init__(self, console: Console, every: float) -> None:
        self._console, self._every = console, every
        self._said = time.monotonic()
        self._pace: _Pace | None = None

    def show(self, step: Step) -> None:
        """Write a line, if it is time for one."""
        if self._pace is None or not self._pace.goes_on(step):
            self._pace = _Pace(step)
        left, now = self._pace.left(step), time.monotonic()
        # Stages of short pieces, one image after another, would fill a log with their ends.
        ended = step.index == step.total and now - self._said >= min(1.0, self._every)
        if now - self._said < self._every and not ended:
            return
        self._said = now
        words = [f"{step.stage} {step.index}/{step.total}"]
        words += [] if step.loss is None else [f"loss {step.loss:.3f}"]
        words += [left] if left else []
        self._console.print(", ".join(words), highlight=False)
