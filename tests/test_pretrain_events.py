"""`wsseg pretrain` for a program: lines of JSON, a pipe that stops it, and what a run would cost."""

import json
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import SIZE, files_in, write_any, wsseg_

import pretrain.pace
import pretrain.plan
import pretrain.run
import wsseg.commands.pretrain
from pretrain.methods import METHODS
from pretrain.pace import TIMED, time_steps
from pretrain.plan import Plan
from pretrain.run import Source
from pretrain.train import READINGS, PretrainConfig
from wsseg.steps import Step
from wsseg.unet import plan_encoder


@pytest.fixture
def scans(tmp_path, monkeypatch, dims):
    monkeypatch.setattr(pretrain.plan, "plan_encoder", partial(plan_encoder, channels=(4, 8)))
    monkeypatch.setattr(pretrain.monitor, "PAIRS", 6)
    monkeypatch.setattr(pretrain.run, "write_report", lambda *_, **__: "page")
    # the tests' own standard input is closed
    monkeypatch.setattr(wsseg.commands.pretrain, "stop_with_the_reader", lambda: None)
    monkeypatch.setattr(METHODS["simclr"], "CROP", {2: 16, 3: 8})
    monkeypatch.setattr(METHODS["simclr"], "BATCH", {2: 4, 3: 4})
    for index in range(2):
        values = np.random.default_rng(index).integers(0, 200, [2 * n for n in SIZE[dims]])
        write_any(tmp_path / "scans", f"a{index}", values.astype(np.uint8))
    return tmp_path / "scans"


def learn(*arguments, code=0):
    words = ("--method", "simclr", "--steps", 3, "--device", "cpu")
    return wsseg_("pretrain", *arguments, *words, code=code)


def test_events_tell_the_same_run_step_by_step(tmp_path, scans, dims):
    (scans / "bad.png").write_bytes(b"no picture")
    learn(scans, "--out", tmp_path / "one", "--skip-bad")
    told = learn(scans, "--out", tmp_path / "two", "--skip-bad", "--events")
    steps = [Step(**json.loads(line)) for line in told.stdout.splitlines()]
    assert told.stderr == ""
    assert [step.stage for step in steps] == ["read"] * 2 + ["plan"] + ["pretrain"] * 3
    plan = steps[2].info
    assert (plan["scans"], plan["subjects"], plan["steps"], plan["batch"]) == (2, 2, 3, 4)
    assert plan["modality"] == ("mr" if dims == 3 else "em")
    assert plan["guessed"]
    assert list(plan["skipped"]) == [str(scans / "bad.png")]
    assert plan["crop"] == list(load_record(tmp_path / "two")["crop"])
    rows = [json.loads(line) for line in (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()]
    assert [{k: v for k, v in step.info.items() if k != "warnings"} for step in steps[3:]] == rows[1:]
    assert steps[-1].info["warnings"] == load_record(tmp_path / "two")["warnings"]
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def load_record(folder):
    return json.loads((folder / "config.json").read_text())["record"]


def test_a_dry_run_tells_and_writes_nothing(tmp_path, scans, dims):
    before = files_in(tmp_path)
    told = learn(scans, "--out", tmp_path / "enc", "--dry-run")
    assert "2 scans of 2 subjects" in told.stderr
    assert "3 steps of 4 crops" in told.stderr
    assert "it would take about" in told.stdout
    told = learn(scans, "--out", tmp_path / "enc", "--dry-run", "--events")
    steps = [Step(**json.loads(line)) for line in told.stdout.splitlines()]
    assert [step.stage for step in steps] == ["read"] * 2 + ["plan"] + ["time"] * TIMED
    assert 0 < steps[-1].info["seconds_a_step"] < steps[-1].info["seconds"]
    assert files_in(tmp_path) == before


def test_the_estimate_counts_steps_and_readings(monkeypatch):
    """Two seconds a step, three more for each reading: known without the code."""
    clock = [0.0]
    monkeypatch.setattr(pretrain.pace.time, "monotonic", lambda: clock[0])

    class Trainer:
        def __init__(self, sampler, plan, config, processes):
            self.every = config.steps // READINGS

        def steps(self):
            for done in range(1, 100):
                clock[0] += 2 + 3 * (done % self.every == 0) + 50 * (done == 1)
                yield Step("pretrain", done, 100)

    monkeypatch.setattr(pretrain.pace, "Pretrainer", Trainer)
    monkeypatch.setattr(pretrain.pace, "sampler_of", lambda *_: None)
    plan = Plan(
        "mae", plan_encoder(channels_in=1, spacing=(1, 1), size=(64, 64)), (1, 1), (64, 64), "mr", False, 4
    )
    run = time_steps(Source([]), plan, PretrainConfig(1000), None)
    steps = list(run)
    assert steps[-1].info == {"seconds": 1000 * 2 + READINGS * 3, "seconds_a_step": 2}
    assert [step.index for step in steps] == list(range(1, TIMED + 1))


@pytest.mark.parametrize("ignored", ["", "signal.signal(signal.SIGINT, signal.SIG_IGN)"])
def test_closing_standard_input_stops_as_ctrl_c_does(ignored):
    """In a process of its own: the pipe is what tells it to stop, also where Ctrl-C was ignored before."""
    code = (
        f"import signal, time\n{ignored}\n"
        "from wsseg.commands.running import stop_with_the_reader\n"
        "stop_with_the_reader()\n"
        "try:\n"
        "    print('ready', flush=True)\n"
        "    while True: time.sleep(0.01)\n"
        "except KeyboardInterrupt:\n"
        "    print('tidied up')\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as child:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.1)
        assert child.poll() is None  # an open pipe that says nothing lets it go on
        told, problems = child.communicate(timeout=30)
    assert (told, problems, child.returncode) == ("tidied up\n", "", 0)


def test_it_can_be_started_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "wsseg", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("wsseg ")
