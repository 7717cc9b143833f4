"""Progress: what is shown on a terminal and in a log, and that the work is closed whatever ends it."""

import re
import signal
from collections.abc import Generator
from io import StringIO

import pytest
from rich.console import Console

from wsseg.errors import InputError
from wsseg.progress import run_with_progress
from wsseg.steps import Step


def work(total: int = 4, closed: list[str] | None = None) -> Generator[Step, None, str]:
    try:
        for index in range(1, total + 1):
            yield Step("train", index, total, loss=1 / index)
        for _ in ("first image", "second image"):
            yield Step("predict", 1, 2)
            yield Step("predict", 2, 2)
        return "the model"
    finally:
        if closed is not None:
            closed.append("closed")


def a_log() -> Console:
    return Console(file=StringIO(), force_terminal=False, width=80)


def a_terminal() -> Console:
    return Console(file=StringIO(), force_terminal=True, width=80)


def text(console: Console) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


@pytest.mark.parametrize("quiet", [True, False])
@pytest.mark.parametrize("make", [a_log, a_terminal])
def test_gives_the_result_back(make, quiet):
    assert run_with_progress(work(), console=make(), quiet=quiet) == "the model"


def test_quiet_shows_nothing():
    for console in (a_log(), a_terminal()):
        run_with_progress(work(), console=console, quiet=True)
        assert text(console) == ""


def test_a_log_gets_a_line_a_step_when_every_is_zero():
    console = a_log()
    run_with_progress(work(), console=console, every=0)
    lines = text(console).splitlines()
    assert [line.split(",")[0] for line in lines] == [
        *(f"train {i}/4" for i in (1, 2, 3, 4)),
        *["predict 1/2", "predict 2/2"] * 2,
    ]
    assert "loss 0.500" in lines[1]
    assert "loss" not in lines[-1]


def test_a_log_is_not_filled(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("wsseg.progress.time.monotonic", lambda: clock[0])

    def slow() -> Generator[Step, None, None]:
        for index in range(1, 301):
            clock[0] += 0.3  # seconds a step
            yield Step("train", index, 300, loss=0.5)

    console = a_log()
    run_with_progress(slow(), console=console)
    lines = text(console).splitlines()
    assert 8 <= len(lines) <= 10  # 90 seconds, a line each 10
    middle = next(line for line in lines if "left" in line)
    done = int(re.match(r"train (\d+)/300", middle).group(1))
    assert f"{(300 - done) * 0.3:.0f} s left" in middle or "min left" in middle
    assert lines[-1].startswith("train 300/300")


def test_a_resumed_stage_counts_only_its_own_steps(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("wsseg.progress.time.monotonic", lambda: clock[0])

    def resumed() -> Generator[Step, None, None]:
        for index in range(91, 101):
            clock[0] += 4
            yield Step("train", index, 100)

    console = a_log()
    run_with_progress(resumed(), console=console, every=0)
    assert "train 95/100, 20 s left" in text(console)


def test_a_terminal_shows_stage_count_and_loss():
    console = a_terminal()
    run_with_progress(work(), console=console)
    shown = text(console)
    assert re.search(r"train .*4/4 loss 0\.250", shown)
    assert re.search(r"predict .*2/2", shown)


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError, RuntimeError])
@pytest.mark.parametrize("make", [a_log, a_terminal])
def test_an_error_goes_on_after_closing(make, error):
    closed: list[str] = []

    def failing() -> Generator[Step, None, None]:
        yield from work(closed=closed)
        raise error("stop")

    with pytest.raises(error):
        run_with_progress(failing(), console=make())
    assert closed == ["closed"]


def test_ctrl_c_between_two_steps_closes_the_work():
    closed: list[str] = []

    class Interrupted(StringIO):
        def write(self, text: str) -> int:
            raise KeyboardInterrupt

    console = Console(file=Interrupted(), force_terminal=False)
    with pytest.raises(KeyboardInterrupt):
        run_with_progress(work(closed=closed), console=console, every=0)
    assert closed == ["closed"]


def test_ctrl_c_stops_between_two_steps_and_the_work_can_tidy_up():
    kept = []

    def work():
        try:
            for index in range(1, 9):
                if index == 3:
                    signal.raise_signal(signal.SIGINT)
                done = index  # what comes after Ctrl-C in the same step is still done
                yield Step("train", index, 8)
        finally:
            kept.append(done)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_with_progress(work(), quiet=True)
    assert kept == [3]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_stops_at_once():
    reached = []

    def work():
        yield Step("train", 1, 2)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        reached.append(True)
        yield Step("train", 2, 2)

    with pytest.raises(KeyboardInterrupt):
        run_with_progress(work(), quiet=True)
    assert not reached
