"""Everything on the list of bad input: one sentence that names the file, exit code 2, nothing half-written.

One test an item, through the command line. Ctrl-C is a real signal, kill -9 hits a real process.
"""

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import (
    AFFINE,
    SIZE,
    files_in,
    make_dataset,
    painted,
    small_plans,
    tiny_model,
    write_any,
    write_picture,
    write_volume,
)
from typer.testing import CliRunner

from wsseg.cli import app
from wsseg.images import list_images, read_labels
from wsseg.model import load_model
from wsseg.predict import Predictor
from wsseg.unet import UNet


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    small_plans(monkeypatch)


@pytest.fixture
def model(tmp_path, dims):
    tiny_model(dims).save(tmp_path / "model")
    return tmp_path / "model"


def told(*arguments, code: int = 2) -> str:
    """The one sentence on standard error that a command ends with."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    sentences = [line for line in result.stderr.splitlines() if line.startswith(("Error: ", "Stopped. "))]
    assert len(sentences) == 1, result.stderr
    assert "Traceback" not in result.output
    return sentences[0]


def refused(data: Path, *words: str, options=()) -> None:
    """`fit` says these words and leaves nothing; `check` finds the same problem or passes it to the run."""
    before = files_in(data.parent)
    sentence = told("fit", data, "--out", data.parent / "model", "--steps", 2, *options)
    for word in words:
        assert word in sentence
    assert files_in(data.parent) == before


def shape(size) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, size).astype(np.uint8)


def name(stem: str, dims: int) -> str:
    return f"{stem}.png" if dims == 2 else f"{stem}.nii.gz"


def test_wrong_shape_between_hints_and_image(data, dims):
    write_any(data / "hints", "ball1", np.ones([n + 1 for n in SIZE[dims]], np.uint8))
    refused(data, f"hints/{name('ball1', dims)}", str(SIZE[dims]), "shape")
    assert f"hints/{name('ball1', dims)}" in told("check", data)


def test_unknown_class(data, dims):
    hints = read_labels(data / "hints" / name("ball1", dims)).astype(np.uint8)
    hints[hints == 1] = 9
    write_any(data / "hints", "ball1", hints)
    refused(data, f"hints/{name('ball1', dims)}", "9", "1 (ball)")
    assert "9" in told("check", data)


def test_a_hint_map_with_value_254_and_two_classes(data, dims):
    (data / "classes.json").write_text('{"1": "ball", "2": "ring"}')
    hints = read_labels(data / "hints" / name("ball1", dims)).astype(np.uint8)
    hints[hints == 255] = 254
    write_any(data / "hints", "ball1", hints)
    refused(data, f"hints/{name('ball1', dims)}", "254", "1 (ball), 2 (ring)", "--background 254")


def test_empty_hints(data, dims):
    for path in list((data / "hints").iterdir()):
        write_any(data / "hints", path.name.split(".")[0], np.zeros(SIZE[dims], np.uint8))
    refused(data, str(data), "no hints", "hints/", "tags.csv")


def test_only_boxes_and_tags(data):
    for path in list((data / "hints").iterdir()):
        path.unlink()
    (data / "tags.csv").write_text("image,class\nball0,ball\n")
    refused(data, "tags.csv", "every tagged image has class 1 (ball)", "without it are needed")


def test_only_one_class_hinted(data, dims):
    for path in list((data / "hints").iterdir()):
        hints = read_labels(path).astype(np.uint8)
        write_any(data / "hints", path.name.split(".")[0], np.where(hints == 1, 1, 0).astype(np.uint8))
    refused(data, "Only ball is marked", "background")


def test_constant_image(data, dims):
    write_any(data / "images", "ball1", np.full(SIZE[dims], 7, np.uint8))
    refused(data, name("ball1", dims), "constant (7 everywhere)")


def test_constant_image_to_predict(data, dims, model, tmp_path):
    path = write_any(data / "images", "ball1", np.full(SIZE[dims], 7, np.uint8))
    assert f"{path} is constant" in told("predict", model, data / "images", "--out", tmp_path / "masks")
    kept = [entry for entry in files_in(tmp_path / "masks") if entry.startswith((".", "ball"))]
    assert kept == [name("ball0", dims)]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity(tmp_path, value):
    data = make_dataset(tmp_path / "data", 3)
    volume = shape(SIZE[3]).astype(np.float32)
    volume[3, 4, 5] = value
    path = write_volume(data / "images" / "ball1.nii.gz", volume)
    refused(data, str(path), "1 of 1536 voxels are NaN or infinite")
    assert str(path) in told("check", data)
    tiny_model(3).save(tmp_path / "model")
    assert str(path) in told("predict", tmp_path / "model", path, "--out", tmp_path / "masks")


def test_one_voxel_axis(tmp_path):
    """A stack of one slice is no error: it is trained on and comes back as it was."""
    data = tmp_path / "data"
    truth = np.zeros((24, 16, 1), np.uint8)
    truth[6:18, 4:12] = 1
    hints = np.where(truth == 0, 255, 1).astype(np.uint8)
    hints[:, ::2] = 0
    write_volume(data / "images" / "slice.nii.gz", (truth * 90 + shape(truth.shape) / 9).astype(np.float32))
    write_volume(data / "hints" / "slice.nii.gz", hints)
    for command in (
        ["check", data],
        ["fit", data, "--out", tmp_path / "model", "--steps", 2],
        ["predict", tmp_path / "model", data / "images", "--out", tmp_path / "masks"],
    ):
        result = CliRunner().invoke(app, [str(part) for part in command])
        assert result.exit_code == 0, result.output
    assert read_labels(tmp_path / "masks" / "slice.nii.gz").shape == (24, 16, 1)


def test_four_axes_without_channel_info(tmp_path):
    data = make_dataset(tmp_path / "data", 3)
    path = write_volume(data / "images" / "ball1.nii.gz", shape((*SIZE[3], 2)))
    refused(data, str(path), "channel")
    assert str(path) in told("check", data)


def test_four_axes_are_read_once_the_channels_are_named(tmp_path):
    data = tmp_path / "data"
    truth = np.zeros(SIZE[3], np.uint8)
    truth[4:12, 3:9, 2:6] = 1
    write_volume(data / "images" / "a.nii.gz", shape((*SIZE[3], 2)))
    write_volume(data / "hints" / "a.nii.gz", painted(truth))
    for command in (
        ["fit", data, "--out", tmp_path / "model", "--steps", 2],
        ["predict", tmp_path / "model", data / "images", "--out", tmp_path / "masks"],
    ):
        result = CliRunner().invoke(app, [*(str(part) for part in command), "--channel-axis", "3"])
        assert result.exit_code == 0, result.output
    assert load_model(tmp_path / "model").config.architecture.channels_in == 2
    assert read_labels(tmp_path / "masks" / "a.nii.gz").shape == SIZE[3]


def cut_off(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def test_truncated_nifti(tmp_path):
    data = make_dataset(tmp_path / "data", 3)
    path = cut_off(data / "images" / "ball1.nii.gz")
    refused(data, str(path))
    assert str(path) in told("check", data)


def test_unreadable_png(tmp_path):
    data = make_dataset(tmp_path / "data", 2)
    path = data / "images" / "ball1.png"
    path.write_bytes(b"no picture at all")
    refused(data, str(path))
    assert str(path) in told("check", data)


def test_two_equal_stems(data, dims):
    path = data / "images" / name("ball1", dims)
    (path.parent / "ball1.jpg").write_bytes(path.read_bytes())
    refused(data, "ball1.jpg", name("ball1", dims), "same stem")
    assert "same stem" in told("check", data)


def test_mixed_channel_counts(tmp_path):
    data = make_dataset(tmp_path / "data", 3)
    import nibabel

    volume = nibabel.Nifti1Image(shape((*SIZE[3], 1, 2)), AFFINE)
    volume.header.set_intent("vector")
    nibabel.save(volume, data / "images" / "ball1.nii.gz")
    refused(data, "ball0.nii.gz", "ball1.nii.gz", "channels")
    assert "channels" in told("check", data)


def test_grey_and_colour_may_be_mixed(tmp_path):
    data = make_dataset(tmp_path / "data", 2)
    write_picture(data / "images" / "ball1.png", shape((*SIZE[2], 3)))
    result = CliRunner().invoke(app, ["fit", str(data), "--out", str(tmp_path / "m"), "--steps", "2"])
    assert result.exit_code == 0, result.output
    assert load_model(tmp_path / "m").config.rgb


class TestOutOfMemory:
    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            torch.OutOfMemoryError("CUDA out of memory."),
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"),
        ],
    )
    def test_predict_names_the_tile_that_would_fit(self, data, dims, model, tmp_path, monkeypatch, error):
        def forward(net, values):
            if values[0, 0].numel() > 8**dims and not values.is_meta:  # the plan needs no memory
                raise error
            return original(net, values)

        original = UNet.forward
        monkeypatch.setattr(UNet, "forward", forward)
        command = ["predict", model, data / "images", "--out", tmp_path / "masks"]
        sentence = told(*command)
        assert name("ball0", dims) in sentence
        tile = ",".join(["8"] * dims)
        assert f"--tile {tile}." in sentence
        assert not [entry for entry in files_in(tmp_path / "masks") if entry != "predict.json"]
        result = CliRunner().invoke(app, [*map(str, command), "--tile", tile])
        assert result.exit_code == 0, result.output

    def test_an_image_that_does_not_fit_is_left_out(self, data, dims, model, tmp_path, monkeypatch):
        def read(path, *_):
            if "ball0" in path.name:
                raise MemoryError
            return original(path)

        import wsseg.batch

        original = wsseg.batch.read_image
        monkeypatch.setattr(wsseg.batch, "read_image", read)
        sentence = told("predict", model, data / "images", "--out", tmp_path / "masks")
        assert name("ball0", dims) in sentence
        assert "OME-Zarr" in sentence
        assert (tmp_path / "masks" / name("ball1", dims)).exists()

    def test_training_tells_what_to_do(self, data, monkeypatch, tmp_path):
        def forward(*_):
            raise MemoryError

        monkeypatch.setattr(UNet, "forward", forward)
        refused(data, str(data), "not enough memory for training")


@contextmanager
def disk_of(size: int):
    """Every file that grows beyond so many bytes is refused by the system itself, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


class TestFullDisk:
    def test_fit(self, data, tmp_path):
        with disk_of(4000):
            refused(data, str(data.parent / "model"), "can't be written")

    def test_an_old_model_is_kept(self, data, model):
        before = (model / "weights.safetensors").read_bytes()
        with disk_of(4000):
            assert str(model) in told("fit", data, "--out", model, "--steps", 2, "--overwrite")
        assert (model / "weights.safetensors").read_bytes() == before
        assert load_model(model)

    def test_predict_stops_and_keeps_what_is_finished(self, tmp_path, model, dims):
        scans = tmp_path / "scans"
        write_any(scans, "a", shape((16,) * dims))
        large = write_any(scans, "b", shape((96, 96) if dims == 2 else (48, 48, 24)))
        masks = tmp_path / "masks"
        with disk_of(1000):
            sentence = told("predict", model, scans, "--out", masks, "--probabilities", "--overlap", 0)
        assert "can't be written" in sentence
        assert "probabilities" in sentence
        assert not [path for path in masks.rglob("*") if path.is_file() and "b" in path.stem[:1]]
        assert large.exists()

    def test_a_folder_that_can_not_be_made(self, data, model, tmp_path, monkeypatch):
        def refuse(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("wsseg.atomic.tempfile.mkdtemp", refuse)
        sentence = told("predict", model, data / "images", "--out", tmp_path / "masks")
        assert "No space left on device" in sentence


def test_ctrl_c_stops_between_tiles_and_keeps_what_is_finished(tmp_path, monkeypatch):
    tiny_model(2).save(tmp_path / "model")
    write_picture(tmp_path / "scans" / "a.png", shape((32, 32)))
    write_picture(tmp_path / "scans" / "b.png", shape((2500, 2500)))  # minutes of tiles
    masks, tiles = tmp_path / "masks", []
    steps = Predictor.steps

    def counted(*arguments, **options):
        run = steps(*arguments, **options)
        while True:
            try:
                step = next(run)
            except StopIteration as end:
                return end.value
            tiles.append((bool(pressed), step.total))
            yield step

    monkeypatch.setattr(Predictor, "steps", counted)
    pressed: list[bool] = []

    def press() -> None:
        while not (masks / "a.png").exists():
            time.sleep(0.02)
        time.sleep(0.3)
        pressed.append(True)
        os.kill(os.getpid(), signal.SIGINT)

    hand = threading.Thread(target=press, daemon=True)
    hand.start()
    command = ["predict", tmp_path / "model", tmp_path / "scans", "--out", masks]
    sentence = told(*command, code=130)
    after = sum(late for late, _ in tiles)
    assert after < 0.05 * tiles[-1][1]  # all that were begun before the hand was through
    assert sentence == "Stopped. What was finished is kept."
    assert files_in(masks) == ["a.png", "predict.json", "uncertainty.csv"]
    assert read_labels(masks / "a.png").shape == (32, 32)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_kill_during_a_save_leaves_the_old_one_whole(tmp_path, what):
    """A process is killed when half of the new mask, or of the new model folder, is on the disk."""
    old = tmp_path / "a.nii.gz"
    if what == "file":
        write_volume(old, shape(SIZE[3]))
    else:
        tiny_model(3).save(old)
    files = [old] if what == "file" else sorted(old.iterdir())
    before = [path.read_bytes() for path in files]
    half = (
        "fresh.write_bytes(b'half')" if what == "file" else "fresh.mkdir(); (fresh / 'config.json').touch()"
    )
    code = (
        "import sys, time\nfrom wsseg.atomic import write_beside\n"
        f"with write_beside(sys.argv[1]) as fresh:\n    {half}\n"
        "    print('now', flush=True)\n    time.sleep(100)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(old)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "now\n"
    process.kill()
    process.communicate()
    assert [path.read_bytes() for path in files] == before
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["a.nii.gz"]
    assert list(list_images(tmp_path) if what == "file" else [load_model(old)])  # what is left is no image
    write_volume(old, shape(SIZE[3])) if what == "file" else tiny_model(3).save(old)
