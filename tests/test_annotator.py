"""A robot annotates in the real window, is killed, and finds everything again; the robot is annotator.py."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from annotator import cases
from napari.layers import Image

from wsseg.images import read_labels
from wsseg.replay import replay

pytestmark = pytest.mark.gui
HERE = Path(__file__).parent


def robot(act: str, out: Path, name: str) -> None:
    """Let it act on an image in a window of its own; it kills itself in the end."""
    paths = os.pathsep.join([str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(HERE / "annotator.py"), act, str(out), name]
    own = {"PYTHONPATH": paths, "WSSEG_SESSIONS": str(out / "sessions"), "PYTHONFAULTHANDLER": "1"}
    done = subprocess.run(
        command, env={**os.environ, **own}, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == -9, done.stderr
    assert "Traceback" not in done.stderr, done.stderr


@pytest.mark.skipif(os.environ.get("QT_QPA_PLATFORM") == "offscreen", reason="draws on a screen")
@pytest.mark.parametrize("name", ["coins", "turned"])
def test_five_kinds_of_hints_in_the_window_until_it_is_killed(tmp_path, name):
    robot("annotate", tmp_path, name)
    (folder,) = (tmp_path / "sessions").iterdir()
    left = replay(folder).drawing
    before = np.load(tmp_path / f"{name}.npz")
    np.testing.assert_array_equal(left.hints, before["hints"])
    np.testing.assert_array_equal(left.locked, before["locked"])
    assert len(before["clicks"]) == 2
    assert len(before["boxes"]) == len(before["tags"]) == 1
    assert {0, 1, 255} == set(np.unique(before["hints"]))
    np.testing.assert_array_equal(read_labels(tmp_path / f"{name}.tif"), before["mask"])
    robot("find_again", tmp_path, name)
    now = np.load(tmp_path / f"{name}-again.npz")
    for part in before:
        if part != "mask":
            np.testing.assert_array_equal(now[part], before[part], err_msg=part)
    kept = before["locked"] > 0
    np.testing.assert_array_equal(now["mask"][kept], before["mask"][kept])
    overlap = ((now["mask"] == 1) & (before["mask"] == 1)).sum()
    assert 2 * overlap / ((now["mask"] == 1).sum() + (before["mask"] == 1).sum()) > 0.95
    data, place = cases()[name].data, cases()[name].place
    path = tmp_path / f"{name}.{'png' if data.ndim == 2 else 'nii.gz'}"
    np.testing.assert_array_equal(read_labels(path), now["mask"])
    if data.ndim == 3:  # in the world each voxel lies where the window shows it, x first
        voxel = (1, 2, 3)
        shown = np.array(Image(data, **place).data_to_world(voxel))
        affine = nibabel.load(path).affine
        np.testing.assert_allclose(affine @ (*voxel, 1), (*shown[::-1], 1), atol=1e-5)


@pytest.mark.skipif(os.environ.get("QT_QPA_PLATFORM") == "offscreen", reason="draws on a screen")
def test_the_tutorial_on_the_sample_of_coins(tmp_path):
    paths = os.pathsep.join([str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")])
    own = {"PYTHONPATH": paths, "WSSEG_SESSIONS": str(tmp_path / "sessions"), "PYTHONFAULTHANDLER": "1"}
    command = [sys.executable, str(HERE / "tutorial.py"), str(tmp_path), "40"]
    done = subprocess.run(
        command, env={**os.environ, **own}, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    shown = np.load(tmp_path / "shown.npz")
    for name in ("coins_mask.tif", "coins_mask.png"):  # by the buttons Save mask … and Export …
        np.testing.assert_array_equal(read_labels(tmp_path / name), shown["mask"])
    painted, region, accepted = (tuple(shown[name]) for name in ("painted", "region", "accepted"))
    assert shown["hints"][painted] == 1  # what was painted on the mask is a hint
    assert shown["mask"][painted] == 1  # and stays, whatever the network says
    assert shown["locked"][region] in (1, 255)
    assert shown["locked"][accepted] == 1
    assert (shown["locked"] > 0).mean() < 0.1
