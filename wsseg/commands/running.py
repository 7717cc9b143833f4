"""Long work of a command, run to its end: what the user is told where it is stopped or memory runs out."""

import _thread
import os
import signal
import threading
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, TypeVar

from wsseg.errors import InputError

if TYPE_CHECKING:
    from wsseg.steps import Step

Result = TypeVar("Result")


def kept() -> str:
    """What is told of a run whose parts are kept as they are finished."""
    return "What is finished is kept; the same command with --resume goes on from there."


def run_to_end(
    steps: "Generator[Step, None, Result]",
    *,
    no_memory: str,
    stopped: Callable[[], str] = kept,
    quiet: bool = False,
    events: bool = False,
) -> Result:
    """Run with progress.

    Args:
        steps: The work.
        no_memory: What to say where memory runs out.
        stopped: Makes the sentence for Ctrl-C: what is kept, and how to go on.
        quiet: Show no progress.
        events: Show it as lines of JSON, see `wsseg.progress.run_with_progress`.

    Raises:
        InputError: There was not enough memory.
        KeyboardInterrupt: Ctrl-C, with that sentence.
    """
    from wsseg.memory import is_out_of_memory
    from wsseg.progress import run_with_progress

    try:
        return run_with_progress(steps, quiet=quiet, events=events)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(stopped()) from None
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(no_memory) from error


def stop_with_the_reader() -> None:
    """Stop as with Ctrl-C when standard input is closed: who followed the work has ended, or wants it to.

    A signal would do where there are signals; a closed pipe works on every system, and also where the other
    program was killed. Ctrl-C counts again where it was ignored, as in a program started by a shell's script
    with “&” and in all its children.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_wait_for_the_end, name="waits for the reader", daemon=True).start()


def _wait_for_the_end() -> None:
    # not sys.stdin: a thread that holds its lock would break the end of this process
    while os.read(0, 4096):
        pass
    _thread.interrupt_main()
