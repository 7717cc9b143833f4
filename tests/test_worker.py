"""The worker: every end of the work is told, in this order, and on the main thread."""

import threading

import pytest

from napari_plugin.worker import sentence, start
from wsseg.errors import InputError

pytestmark = pytest.mark.gui


@pytest.fixture
def told(qtbot):
    """Runs a generator to its end; gives what was told, and checks on which thread."""

    def run(work, stop_at=None):
        heard = []

        def hear(kind):
            def listen(value=None):
                assert threading.current_thread() is threading.main_thread()
                heard.append((kind, value))
                if kind == "event" and value == stop_at:
                    worker.quit()

            return listen

        kinds = ("event", "result", "error", "finished")
        worker = start(work, **{kind: hear(kind) for kind in kinds})
        qtbot.waitUntil(lambda: bool(heard) and heard[-1][0] == "finished", timeout=5000)
        return heard

    return run


def test_events_then_the_result_then_finished(told):
    threads = []

    def work():
        for index in range(3):
            threads.append(threading.current_thread())
            yield index
        return "model"

    assert told(work()) == [
        ("event", 0),
        ("event", 1),
        ("event", 2),
        ("result", "model"),
        ("finished", None),
    ]
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("kind", [InputError, RuntimeError, MemoryError, KeyError])
def test_an_error_of_any_kind_is_told_and_unlocks(told, kind):
    def work():
        yield 0
        raise kind("no luck")

    heard = told(work())
    assert [kind for kind, _ in heard] == ["event", "error", "finished"]
    assert "no luck" in str(heard[1][1]) or kind is KeyError


def test_stop_ends_between_two_steps_without_a_result(told):
    gate = threading.Event()

    def work():
        yield "first"
        gate.wait(0.3)  # a step is under way when Stop is pressed
        yield "second"
        yield "third"

    heard = [kind_value for kind_value in told(work(), stop_at="first") if kind_value != ("event", "second")]
    assert heard == [("event", "first"), ("finished", None)]


def test_errors_become_sentences():
    assert sentence(InputError("The image is flat.")) == "The image is flat."
    assert "memory" in sentence(MemoryError())
    assert "memory" in sentence(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB\nmore"))
    words = sentence(ValueError("broken\nwith a second line"))
    assert "ValueError: broken)" in words
    assert "\n" not in words
