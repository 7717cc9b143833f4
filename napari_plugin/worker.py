"""Runs a generator in a thread of its own, so that the window never waits."""

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import create_worker
from superqt.utils import GeneratorWorker

from wsseg.errors import InputError

LOG = logging.getLogger("napari_plugin")


@dataclass(frozen=True)
class _Failed:
    """What the work raised, handed over as a result.

    The signal for errors is left alone: superqt loses RuntimeErrors and would never say `finished`, and a
    slot of napari's own breaks on it with PySide6.
    """

    error: Exception


def start(
    work: Generator[Any, None, Any],
    *,
    event: Callable[[Any], None],
    result: Callable[[Any], None],
    error: Callable[[Exception], None],
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

    def returned(value: Any) -> None:
        if isinstance(value, _Failed):
            error(value.error)
        else:
            result(value)

    connect = {"yielded": event, "returned": returned, "finished": finished}
    # superqt's own class: napari's shows every error in a box with a traceback as well
    return create_worker(_guarded, work, _connect=connect, _worker_class=GeneratorWorker)


def _guarded(work: Generator[Any, None, Any]) -> Generator[Any, None, Any]:
    try:
        return (yield from work)
    except Exception as error:
        return _Failed(error)


def sentence(error: BaseException) -> str:
    """An error in one sentence for the user; one that is not the user's is logged with its traceback."""
    if isinstance(error, InputError):
        return str(error)
    LOG.error("the work failed", exc_info=error)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "There is not enough memory for this; crop the image or close other programs."
    first = (str(error) or "no details").splitlines()[0]
    return f"The work failed ({type(error).__name__}: {first}); what is there is kept."
