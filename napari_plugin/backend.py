"""Loads torch into a process that has a window, in a thread of its own: it takes many seconds."""

import ctypes
import os
import sys
from collections.abc import Generator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread

from wsseg.steps import Step

_done = Event()
_thread: Thread | None = None
_problem: list[BaseException] = []


def begin_loading() -> None:
    """Start to import what trains and predicts, unless that has been started before."""
    global _thread
    if _thread is None:
        _thread = Thread(target=_load, name="wsseg loads torch", daemon=True)
        _thread.start()


def loading() -> Generator[Step, None, None]:
    """Wait until it is imported; a Step every so often, so that Stop need not wait as well.

    Raises:
        ImportError: torch or another part of the backend can't be imported.
    """
    begin_loading()
    yield Step("load", 0, 1)
    while not _done.wait(0.1):
        yield Step("load", 0, 1)
    if _problem:
        raise _problem[0]


def _load() -> None:
    """Import the backend, triton's library first.

    Mesa's software renderer and its AMD driver bring one LLVM, triton, which torch imports, another; where a
    window is open already, triton's calls end in Mesa's copy, and the process dies with a segmentation fault
    (seen with triton 3.9 and LLVM 15; the same clash: tensorflow/tensorflow#124205). So bind it to itself.
    """
    try:
        if "triton" not in sys.modules:  # torch itself may be here: it imports triton only when first needed
            for library in triton_libraries():
                ctypes.CDLL(str(library), mode=os.RTLD_NOW | os.RTLD_DEEPBIND)
        for name in (
            "wsseg.fit",
            "wsseg.predict",
            "wsseg.instant",
            "torch.optim",
            "torch._dynamo",
        ):  # AdamW wants the last one
            import_module(name)
    except Exception as error:
        _problem.append(error)
    finally:
        _done.set()


def triton_libraries() -> list[Path]:
    """triton's own compiled library, where it is installed and the system can bind it so (Linux)."""
    spec = find_spec("triton")
    if spec is None or not spec.submodule_search_locations or not hasattr(os, "RTLD_DEEPBIND"):
        return []
    return sorted(Path(spec.submodule_search_locations[0], "_C").glob("libtriton*.so"))
