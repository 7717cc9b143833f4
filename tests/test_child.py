"""A process that is followed: its steps, its end, how it is stopped. The process is a few lines of Python."""

import sys
import time

import pytest

from napari_plugin.child import POLITE, Child
from wsseg.errors import InputError
from wsseg.steps import Step

HEAD = """
import json, os, sys, time
def step(index, **info):
    print(json.dumps({"stage": "work", "index": index, "total": 9, "loss": 0.5, "info": info}), flush=True)
"""


def child(code: str, *words: str) -> Child:
    return Child(words, program=(sys.executable, "-c", HEAD + code))


def test_steps_come_as_they_were_sent_and_in_time():
    began = time.monotonic()
    events = child("step(1, words=sys.argv[1:])\nstep(2)\nos.read(0, 1)", "one", "two words").follow()
    assert next(events) == Step("work", 1, 9, 0.5, {"words": ["one", "two words"]})
    assert next(events).index == 2  # the process is still there
    events.close()
    assert time.monotonic() - began < 20


def test_the_end_of_the_process_is_the_end():
    assert [step.index for step in child("for i in range(3): step(i)").follow()] == [0, 1, 2]


def test_stop_closes_its_standard_input_and_it_may_tidy_up(tmp_path):
    kept = tmp_path / "kept"
    code = f"step(1)\nos.read(0, 1)\nstep(2)\nopen({str(kept)!r}, 'w').write('all')\nsys.exit(130)"
    running = child(code)
    events = running.follow()
    next(events)
    running.stop()
    assert [step.index for step in events] == [2]  # what it still tells is heard, and no error is made of it
    assert kept.read_text() == "all"


def test_who_no_longer_listens_stops_it_and_waits(tmp_path):
    kept = tmp_path / "kept"
    code = f"step(1)\nos.read(0, 1)\ntime.sleep(0.3)\nopen({str(kept)!r}, 'w').write('all')"
    events = child(code).follow()
    next(events)
    events.close()
    assert kept.read_text() == "all"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            "print('a warning\\nError: a.nii: broken.', file=sys.stderr)\nsys.exit(2)",
            "a.nii: broken.",
        ),
        ("sys.exit('Error: a fault (KeyError: 1)')", "a fault (KeyError: 1)"),
        ("print('Stopped. Step 3 is kept.', file=sys.stderr)\nsys.exit(130)", "Step 3 is kept."),
        ("os.kill(os.getpid(), 9)", "ended from outside (exit code -9)"),
        ("sys.exit(3)", "ended from outside (exit code 3)"),
    ],
)
def test_a_bad_end_is_told_in_one_sentence(code, told):
    with pytest.raises(InputError) as error:
        list(child("step(1)\n" + code).follow())
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_more_errors_than_a_pipe_holds_do_not_block_it():
    code = "print('x' * 10**6, file=sys.stderr)\nprint('Error: full.', file=sys.stderr)\nsys.exit(2)"
    with pytest.raises(InputError, match=r"^full\.$"):
        list(child(code).follow())


def test_it_is_polite():
    niceness = next(child("step(os.getpriority(os.PRIO_PROCESS, 0))\nos.read(0, 1)").follow()).index
    assert niceness >= POLITE > 0
