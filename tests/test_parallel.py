"""torchrun: several processes share a batch and learn what one would; what goes wrong is told once."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import files_in, write_any

from pretrain.parallel import Processes, gather_states, mean_of_all, processes
from wsseg.errors import InputError

SCRIPT = Path(__file__).with_name("two_runs.py")


def run(count: int, *arguments) -> list[subprocess.CompletedProcess]:
    """Start so many processes as torchrun does, and wait for them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    path = os.pathsep.join([str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH", "")])
    started = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), *map(str, arguments)],
            env={**os.environ, **world, "RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    ends = [process.communicate(timeout=200) for process in started]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *end)
        for process, end in zip(started, ends, strict=True)
    ]


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for index in range(8):
        values = np.random.default_rng(index).integers(0, 200, (40, 40))
        write_any(folder, f"a{index}", values.astype(np.uint8))
    return folder


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path, scans):
    found = {}
    for name, count, steps in (("one", 1, 4), ("two", 2, 4)):
        ends = run(count, scans, "--out", tmp_path / name, "--steps", steps)
        assert [end.returncode for end in ends] == [0] * count, ends
        assert "The encoder is in" in ends[0].stdout
        assert all(end.stdout == "" for end in ends[1:])  # one of them speaks
        found[name] = load_file(tmp_path / name / "weights.safetensors")
    assert all(torch.allclose(found["one"][k], v, atol=1e-6) for k, v in found["two"].items())
    assert files_in(tmp_path / "one") == files_in(tmp_path / "two")


def test_a_batch_is_shared_evenly_and_in_order():
    shares = [Processes(rank, 3, torch.device("cpu")).share(6) for rank in range(3)]
    assert [list(share) for share in shares] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(InputError, match=r"--batch 8 can't be shared by 3 processes; 9 can"):
        Processes(0, 3, torch.device("cpu")).share(8)


def test_alone():
    with processes("cpu") as these:
        assert (these.rank, these.count, these.first) == (0, 1, True)
    state = {"views._extra_state": torch.arange(3)}
    assert list(gather_states(state)) == ["0.views._extra_state"]
    assert mean_of_all(torch.tensor(2.5)) == 2.5
