"""What is loaded behind the window: in which order, and what the window is spared meanwhile."""

import gc
import json
import subprocess
import sys
import threading
import weakref
from importlib import import_module

import pytest
import torch

from napari_plugin import backend
from napari_plugin.backend import loading, take_cores, torch_libraries, triton_libraries
from wsseg.steps import finish

ALONE = """
import gc, json, sys, time
from napari_plugin import backend
collected = []
gc.callbacks.append(lambda phase, info: collected.append(info["generation"]) if phase == "start" else None)
backend.begin_loading()
while not backend.is_loaded("answers"):
    time.sleep(0.001)
early = [name in sys.modules for name in ("torch", "sklearn.tree", "monai")]
done = backend.is_loaded()
while not backend.is_loaded():
    time.sleep(0.01)
full, young = collected.count(2), gc.get_count()[0]
print(json.dumps([early, done, full, gc.isenabled(), young, sys.getswitchinterval()]))
"""


def test_answers_are_loaded_first_and_no_collection_stops_the_window():
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    assert not done.stderr  # nor does a library complain of leaks at the end
    early, all_done, collections, enabled, young, turn = json.loads(done.stdout)
    assert early[:2] == [True, True]
    assert not early[2] or all_done  # MONAI comes with what trains
    assert collections == 0
    assert enabled
    assert young < 100_000  # what was made counts as old by now
    assert turn == pytest.approx(backend.TURN)


def test_it_is_loaded_once_and_waiting_for_it_can_be_stopped():
    finish(loading())
    assert [step.stage for step in loading()] == ["load"]
    assert [step.stage for step in loading("answers")] == ["load"]
    assert backend.is_loaded()


def test_the_libraries_that_are_opened_first_are_there():
    for path in (*triton_libraries(), *torch_libraries()):
        assert path.is_file()
    if sys.platform == "linux":
        assert torch_libraries()[0].name == "libtorch_cpu.so"


def test_nothing_looks_at_what_was_loaded_until_a_layer_goes():
    gc.unfreeze()
    circle = type("Circle", (), {})()
    circle.itself = circle
    there = weakref.ref(circle)
    with backend._no_collections():
        pass
    assert gc.get_freeze_count() > 0
    del circle
    gc.collect()
    assert there() is not None
    backend.thaw()
    gc.collect()
    assert there() is None


def test_garbage_is_collected_again_even_where_an_import_fails():
    with pytest.raises(ImportError), backend._no_collections():
        import_module("no.such.module")
    assert gc.isenabled()
    gc.disable()
    try:
        with backend._no_collections():
            pass
        assert not gc.isenabled()  # somebody else has turned it off
    finally:
        gc.enable()


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_answers_leave_a_core_to_the_window_and_training_has_them_all(cores, monkeypatch):
    finish(loading())
    monkeypatch.setattr(backend, "_cores", cores)
    found = []

    def work() -> None:
        for need in ("answers", "networks"):
            take_cores(need)
            found.append(torch.get_num_threads())

    before = torch.get_num_threads()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    torch.set_num_threads(before)
    assert found == [max(1, cores - 1), cores]


def test_what_failed_is_said_to_who_needs_it_and_to_nobody_else(monkeypatch):
    finish(loading())
    monkeypatch.setattr(backend, "_problems", {"networks": ImportError("no MONAI")})
    finish(loading("answers"))
    with pytest.raises(ImportError, match="no MONAI"):
        finish(loading())
