"""Small things for tests of whole commands: datasets of two or three balls, and networks with few weights."""

import json
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from conftest import ball
from PIL import Image as Picture
from pycocotools.mask import decode as decode_coco
from typer.testing import CliRunner

import wsseg.fit
import wsseg.tagfit
from wsseg.cli import app
from wsseg.hints import BACKGROUND
from wsseg.model import Model, ModelConfig, build
from wsseg.normalise import Normalisation
from wsseg.unet import plan_encoder

SIZE = {2: (32, 24), 3: (16, 12, 8)}
AFFINE = np.array([[0, 1.5, 0, 4], [1, 0, 0, -7], [0, 0, 2, 1], [0, 0, 0, 1.0]])  # not a plain diagonal


def tiny_model(
    dims: int = 2, *, channels_in: int = 1, classes=None, rgb: bool = False, spacing=None
) -> Model:
    """A model with random, seeded weights; 2-level network, tile 16, tiles in multiples of 2."""
    spacing = spacing or (1.0,) * dims
    encoder = plan_encoder(channels_in=channels_in, spacing=(1.0,) * dims, size=(16,) * dims, channels=(4, 8))
    config = ModelConfig(
        architecture=encoder,
        classes=classes or {1: "ball"},
        normalisation=Normalisation(),
        spacing=spacing,
        patch=(16,) * dims,
        rgb=rgb,
    )
    torch.manual_seed(0)
    return Model(config, build(config).eval())


def small_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `fit` and `seeds` plan networks and patches that train in a moment."""
    for module in (wsseg.fit, wsseg.tagfit):
        monkeypatch.setattr(module, "plan_encoder", partial(plan_encoder, channels=(4, 8)))
    monkeypatch.setattr(wsseg.fit, "BUDGET", {2: 2**8, 3: 2**9})


def write_picture(path: Path, values: np.ndarray) -> Path:
    """Write uint8 (Y, X) or (Y, X, 3) as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(values.astype(np.uint8)).save(path)
    return path


def write_volume(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """Write an array as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def write_any(folder: Path, stem: str, values: np.ndarray) -> Path:
    """Write a picture as PNG, a volume as NIfTI."""
    if values.ndim == 2:
        return write_picture(folder / f"{stem}.png", values)
    return write_volume(folder / f"{stem}.nii.gz", values)


def painted(truth: np.ndarray) -> np.ndarray:
    """A hint map with every fourth slice of the last axis finished."""
    hints = np.zeros(truth.shape, np.uint8)
    hints[..., 2::4] = np.where(truth == 0, BACKGROUND, truth)[..., 2::4]
    return hints


def make_dataset(folder: Path, dims: int = 2, count: int = 2) -> Path:
    """A dataset folder with images ball0, ball1, … and hints, and the truth beside it in truth/."""
    for index in range(count):
        values, truth = ball(SIZE[dims], seed=index)
        values = np.clip(100 + 40 * values[0], 0, 255).astype(np.uint8)
        write_any(folder / "images", f"ball{index}", values)
        write_any(folder / "hints", f"ball{index}", painted(truth))
        write_any(folder.parent / "truth", f"ball{index}", truth)
    (folder / "classes.json").write_text(json.dumps({"1": "ball"}))
    return folder


def make_boxed(folder: Path, dims: int = 2) -> Path:
    """A dataset folder with images scan0 and scan1 of two blocks each, tight boxes, and the truth beside."""
    size, beside = SIZE[dims], folder.parent
    for index in range(2):
        truth = np.zeros(size, np.uint8)
        truth[(slice(2, 9),) + (slice(1, 6),) * (dims - 1)] = 1
        truth[(slice(10, 15),) + (slice(2, 7),) * (dims - 1)] = 2
        noise = np.random.default_rng(index).normal(0, 12, size)
        image = np.clip(60 + 110 * (truth > 0) + noise, 0, 255).astype(np.uint8)
        write_any(beside / "images", f"scan{index}", image)
        write_any(beside / "truth", f"scan{index}", truth)
    wsseg_(
        *["robot", beside / "truth", "--images", beside / "images", "--out", folder],
        *["--kind", "boxes", "--instances"],
    )
    return folder


def change_boxes(data: Path, function: Callable[[dict], object]) -> None:
    """Let a function change what boxes.json says."""
    content = json.loads((data / "boxes.json").read_text())
    function(content)
    (data / "boxes.json").write_text(json.dumps(content))


def files_in(folder: Path) -> list[str]:
    """Every file and folder below, hidden ones too: what a crash must not leave would stand here."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def wsseg_(*arguments, code: int = 0):
    """Run the command line; its outcome, after a look at the exit code."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def decode(code: dict) -> np.ndarray:
    """The mask, bool (*S), of a run-length code: pycocotools' in 2D, written out in 3D."""
    if isinstance(code["counts"], str):
        with warnings.catch_warnings():  # pycocotools has not learnt NumPy 2's `copy` yet
            warnings.filterwarnings(
                "ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning
            )
            return decode_coco({**code, "counts": code["counts"].encode("ascii")}).astype(bool)
    runs = np.asarray(code["counts"])
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(code["size"], order="F")
