"""Runs a generator in a thread of its own, so that the window never waits."""

import logging
from collections.abc import Callable, Generator
from typing import Any

from napari.qt.threading import create_worker
from superqt.utils import GeneratorWorker

from wsseg.errors import InputError

LOG = logging.getLogger("napari_plugin")


class WorkError(Exception):
    """A RuntimeError of the work, renamed: superqt loses that one kind and would never say `finished`."""


def start(
    work: Generator[Any, None, Any],
    *,
    event: Callable[[Any], None],
    result: Callable[[Any], None],
    error: Callable[[BaseException], None],
    finished: Callable[[], None],
) -> GeneratorWorker:
    """Start a generator in a worker; all four functions are called on the main thread.

    Args:
        work: Yields what to show; it must touch no Qt or napari object.
        event: Called with each thing it yields.
        result: Called with what it returns, if it was not stopped.
        error: Called with what it raises.
        finished: Called at the end, however it ended; unlock the window here and nowhere else.
    """
    connect = {"yielded": event, "returned": result, "errored": error, "finished": finished}
    # superqt's own class: napari's shows every error in a box with a traceback as well
    return create_worker(_guarded, work, _connect=connect, _worker_class=GeneratorWorker, _ignore_errors=True)


def _guarded(work: Generator[Any, None, Any]) -> Generator[Any, None, Any]:
    try:
        return (yield from work)
    except RuntimeError as error:
        raise WorkError(str(error)) from error


def sentence(error: BaseException) -> str:
    """An error in one sentence for the user; one that is not the user's is logged with its traceback."""
    if isinstance(error, InputError):
        return str(error)
    LOG.error("the work failed", exc_info=error)
    cause = error.__cause__ if isinstance(error, WorkError) and error.__cause__ else error
    if isinstance(cause, MemoryError) or "out of memory" in str(cause).lower():
        return "There is not enough memory for this; crop the image or close other programs."
    first = (str(cause) or "no details").splitlines()[0]
    return f"The work failed ({type(cause).__name__}: {first}); what is there is kept."
