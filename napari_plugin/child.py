"""A wsseg command in a process of its own, followed step by step. Knows neither Qt nor napari.

What runs for an hour runs beside the window and not inside it: the window answers at once, a stop is a closed
pipe, a crash of one is none of the other, and what comes out is what the shell would have made, bit for bit.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import suppress

from wsseg.errors import InputError
from wsseg.steps import Step

WSSEG = (sys.executable, "-m", "wsseg")
STOPPED, BAD_INPUT = 130, 2  # exit codes of the command line
POLITE = 5  # niceness: the window, and Segment, go first


class Child:
    """Starts at once; `follow` it to its end.

    Args:
        words: Of the command line, after "wsseg"; the command must have the option --events.
        program: What runs them.

    Attributes:
        stopped: Somebody asked it to stop.
    """

    def __init__(self, words: Sequence[str], program: Sequence[str] = WSSEG) -> None:
        self.stopped = False
        self._errors = tempfile.TemporaryFile()  # closed when it has been followed
        self._process = subprocess.Popen(
            [*program, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        assert self._process.stdin is not None
        self._asked = self._process.stdin  # closed: stop
        if hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, POLITE)

    def stop(self) -> None:
        """Ask it to stop; it does after the step under way, and keeps what it has learned."""
        self.stopped = True
        self._asked.close()

    def wait(self, seconds: float) -> None:
        """Wait until it has ended, but no longer than so many seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def follow(self) -> Generator[Step, None, None]:
        """What it does, step by step. Closed early it is stopped, and waited for.

        Raises:
            InputError: It ended badly; its own sentence where it had one.
        """
        out, ended = self._process.stdout, False
        assert out is not None
        try:
            for line in out:
                yield Step(**json.loads(line))
            ended = True
        finally:
            if not ended:
                self.stop()
            out.close()
            code = self._process.wait()
            self._errors.seek(0)
            told = self._errors.read().decode("utf-8", "replace").strip().splitlines()
            self._errors.close()
            self._asked.close()
        last = told[-1] if told else ""
        if code == 0 or self.stopped:
            return
        if code in (BAD_INPUT, STOPPED):
            raise InputError(last.removeprefix("Error: ").removeprefix("Stopped. "))
        if code < 0 or not last:
            raise InputError(
                f"The process that learns was ended from outside (exit code {code}), most often since memory "
                "ran out; what it kept a minute ago is there."
            )
        raise InputError(last.removeprefix("Error: "))
