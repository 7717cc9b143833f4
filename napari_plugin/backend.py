"""Loads torch into a process that has a window, in a thread of its own: it takes many seconds.

What an answer while drawing needs comes first, and what trains a network, twice as much, after it. Three
things stopped the window meanwhile, and each has its remedy here: collections of garbage, the loading of
large libraries, and a thread that calls Python while the window waits for its turn.
"""

import atexit
import ctypes
import gc
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
from typing import Literal

from wsseg.steps import Step

Need = Literal["answers", "networks"]
MODULES: dict[Need, tuple[str, ...]] = {
    # pandas is for napari: its first labels layer imports it, 0.3 s; the others bring instant and features
    "answers": ("pandas", "wsseg.trust", "wsseg.weak"),
    "networks": ("wsseg.fit", "wsseg.predict", "torch.optim", "torch._dynamo"),  # AdamW wants the last one
}
TURN = 1e-3  # seconds that a thread may keep others from calling Python; by itself five times as long

_cores = 0  # that torch computes on by itself
_loaded: dict[Need, Event] = {need: Event() for need in MODULES}
_thread: Thread | None = None
_problems: dict[Need, BaseException] = {}


def begin_loading() -> None:
    """Start to import what answers, trains and predicts, unless that has been started before."""
    global _thread
    if _thread is None:
        # To draw one frame the window asks for its turn some hundred times. While another thread calls
        # Python, it waits each time for as long as this.
        sys.setswitchinterval(min(TURN, sys.getswitchinterval()))
        atexit.register(thaw)  # or libraries complain of what was never cleared away
        _thread = Thread(target=_load, name="wsseg loads torch", daemon=True)
        _thread.start()


def is_loaded(need: Need = "networks") -> bool:
    """Whether it is there, or has failed for good."""
    return _loaded[need].is_set()


def loading(need: Need = "networks") -> Generator[Step, None, None]:
    """Wait until it is imported; a Step every so often, so that Stop need not wait as well.

    Raises:
        ImportError: torch or another part of the backend can't be imported.
    """
    begin_loading()
    yield Step("load", 0, 1)
    while not _loaded[need].wait(0.1):
        yield Step("load", 0, 1)
    if need in _problems:
        raise _problems[need]
    take_cores(need)


def take_cores(need: Need) -> None:
    """What this thread computes from now on takes all cores, for answers all but one: that is the window's.

    Somebody draws meanwhile, and often a network trains. Threads that wait for each other on cores that are
    taken turn in circles: on two busy cores an answer with its walks over 512² took 6.3 s on two threads,
    1.0 s on one. torch must be loaded.
    """
    import torch

    torch.set_num_threads(max(1, _cores - (need == "answers")))


def _load() -> None:
    """Import the backend, its largest libraries first."""
    global _cores
    try:
        if "triton" not in sys.modules:  # torch itself may be here: it imports triton only when first needed
            for library in triton_libraries():
                ctypes.CDLL(str(library), mode=os.RTLD_NOW | os.RTLD_DEEPBIND)
        if "torch" not in sys.modules:
            _open_aside(torch_libraries())
        with _no_collections():
            for need, names in MODULES.items():
                for name in names:
                    import_module(name)
                _cores = _cores or import_module("torch").get_num_threads()
                _loaded[need].set()
    except Exception as error:
        _problems.update({need: error for need, event in _loaded.items() if not event.is_set()})
    finally:
        for event in _loaded.values():
            event.set()


@contextmanager
def _no_collections() -> Iterator[None]:
    """Python collects no garbage meanwhile.

    A full collection looks at every object and stops all threads: 0.4 to 0.7 s of a slow core, four or five
    times while torch and MONAI make a million of them. None is garbage. Afterwards nothing looks at what is
    there by then, until somebody calls `thaw`: or the first full collection would come while somebody draws.
    """
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collected:
            gc.enable()


def thaw() -> None:
    """Something large has gone: let collections look at all there is again, or it might stay in memory.

    A layer of napari's is held by circles of objects, and one that was opened before the backend was loaded
    is among what no collection looks at.
    """
    gc.unfreeze()


def triton_libraries() -> list[Path]:
    """triton's own compiled library, where it is installed and the system can bind it so (Linux).

    Mesa's software renderer and its AMD driver bring one LLVM, triton, which torch imports, another; where a
    window is open already, triton's calls end in Mesa's copy, and the process dies with a segmentation fault
    (seen with triton 3.9 and LLVM 15; the same clash: tensorflow/tensorflow#124205). So bind it to itself.
    """
    return _libraries("triton", "_C", "libtriton*.so") if hasattr(os, "RTLD_DEEPBIND") else []


def torch_libraries() -> list[Path]:
    """torch's largest libraries, those that know no Python."""
    suffix = {"linux": "so", "darwin": "dylib"}.get(sys.platform)
    names = [] if suffix is None else [f"libtorch_{name}.{suffix}" for name in ("cpu", "cuda")]
    return [path for name in names for path in _libraries("torch", "lib", name)]


def _open_aside(libraries: list[Path]) -> None:
    """Open libraries before torch does, by the system's own call: unlike Python's it lets other threads run.

    To open the two takes 0.4 to 0.9 s of a slow core. What can't be opened is left to torch, which says why.
    """
    if not libraries:
        return
    system_open = ctypes.CDLL(None).dlopen
    system_open.argtypes, system_open.restype = [ctypes.c_char_p, ctypes.c_int], ctypes.c_void_p
    for library in libraries:
        system_open(os.fsencode(library), os.RTLD_NOW | os.RTLD_LOCAL)


def _libraries(package: str, folder: str, pattern: str) -> list[Path]:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return []
    return sorted(Path(spec.submodule_search_locations[0], folder).glob(pattern))
