"""Every command through the command line itself, on two or three tiny images."""

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file
from test_imports import HEAVY, loaded_after
from tiny import SIZE, files_in, make_dataset, small_plans, write_any, wsseg_
from typer.testing import CliRunner

import wsseg.fit
from wsseg.budget import steps_for
from wsseg.cli import app
from wsseg.commands.options import duration
from wsseg.images import read_labels
from wsseg.train import Trainer

COMMANDS = [
    *["check", "fit", "predict", "refine", "seeds", "pretrain", "probe", "evaluate", "measure", "robot"],
    *["replay", "demo", "gui"],
]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    small_plans(monkeypatch)


@pytest.fixture
def model(tmp_path, data):
    wsseg_("fit", data, "--out", tmp_path / "model", "--steps", 2, "--device", "cpu")
    return tmp_path / "model"


class TestHelp:
    def test_it_lists_the_commands_in_the_order_of_work(self):
        shown = wsseg_("--help").output
        lines = [line.split()[0] for line in shown.split("Commands:")[1].splitlines() if line.strip()]
        assert lines[: len(COMMANDS)] == COMMANDS

    @pytest.mark.parametrize("command", COMMANDS)
    def test_each_command_has_an_example(self, command):
        shown = wsseg_(command, "--help").output
        assert f"Example: wsseg {command}" in shown

    def test_it_answers_at_once_since_nothing_heavy_is_loaded(self):
        code = "import wsseg.cli\ntry: wsseg.cli.app(['--help'])\nexcept SystemExit: pass"
        assert loaded_after(code) & (HEAVY | {"numpy", "scipy", "rich"}) == set()

    def test_it_takes_less_than_a_second(self):
        command = [sys.executable, "-c", "from wsseg.cli import main; main()", "--help"]
        times = []
        for _ in range(3):
            begin = time.monotonic()
            subprocess.run(command, check=True, capture_output=True)
            times.append(time.monotonic() - begin)
        assert min(times) < 1

    def test_the_version_is_that_of_the_package(self):
        assert wsseg_("--version").output.startswith("wsseg 0.")


def test_check_tells_what_is_there(data, dims):
    shown = wsseg_("check", data).output
    assert "Images: 2 (0 unmarked)" in shown
    assert "2 hint maps" in shown
    marked = sum(np.count_nonzero(read_labels(path) == 1) for path in (data / "hints").iterdir())
    assert f"Class 1 (ball): {marked} voxels marked" in shown
    assert "% of the voxels painted" in shown
    assert ("Spacing: 1 × 1.5 × 2" if dims == 3 else "Spacing: 1 × 1\n") in shown
    assert "A run: about" in shown


def test_check_tells_clicks_where_nothing_is_painted(tmp_path, data, dims):
    shutil.rmtree(data / "hints")
    axes = ",".join(f"axis-{a}" for a in range(dims))
    rows = [f"ball0,{name}{',4' * dims}" for name in ("ball", "0", "0")]
    (data / "clicks.csv").write_text("\n".join([f"image,class,{axes}", *rows]))
    shown = wsseg_("check", data).stdout
    assert "Class 0 (background): 2 clicks marked" in shown
    assert "Class 1 (ball): 1 click marked" in shown
    assert "Hints: 3 clicks\n" in shown  # which are no share of the voxels


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("boxes", "Hints: 2 boxes\nClass 1 (class 1): 2 boxes marked\n"),
        ("tags", "Hints: 2 tagged images\nClass 1 (class 1): 2 tags marked\n"),
    ],
)
def test_check_and_robot_count_what_is_no_paint(tmp_path, data, dims, kind, told):
    out = tmp_path / "made"
    arguments = ["robot", tmp_path / "truth", "--images", data / "images", "--out", out, "--kind", kind]
    assert f"2 images with {kind} in {out}: 2 {kind} of class 1, about" in wsseg_(*arguments).stdout
    assert told in wsseg_("check", out, code=0 if kind == "boxes" else 2).stdout


def test_check_lists_every_problem_and_ends_with_2(data):
    for path in (data / "hints").iterdir():
        labels = read_labels(path).astype(np.uint8)
        labels[labels == 1] = 77
        write_any(path.parent, path.name.split(".")[0], labels)
    shown = wsseg_("check", data, code=2)
    assert shown.stderr.count("unknown class") == 2


def test_fit_leaves_a_model_and_tells_its_quality(model, data, dims):
    config = json.loads((model / "config.json").read_text())
    assert config["classes"] == {"1": "ball"}
    assert config["provenance"]["steps"] == 2
    assert config["quality"]["mean"] <= 1
    assert sorted(entry.name for entry in model.iterdir()) == [
        "config.json",
        "history.json",
        "weights.safetensors",
    ]


def test_fit_prints_what_a_person_wants_to_know(tmp_path, data):
    shown = wsseg_("fit", data, "--out", tmp_path / "model", "--steps", 2).stdout
    assert "Quality: Dice" in shown
    assert "held back" in shown
    assert "% of the voxels; 2 steps in" in shown
    assert f"The model is in {tmp_path / 'model'}" in shown


@pytest.mark.parametrize("asked", ["auto", "marked", "alike", "off"])
def test_fit_notes_what_strokes_meant_and_tells_what_it_found_out(tmp_path, data, dims, asked):
    shown = wsseg_("fit", data, "--out", tmp_path / "m", "--steps", 1, "--objects", asked).stdout
    meant = json.loads((tmp_path / "m" / "config.json").read_text())["objects"]
    if dims == 3:  # finished slices are no strokes
        assert meant == (None if asked in ("auto", "off") else asked)
    else:
        # a ball that looks like nothing else
        assert meant == {"auto": "alike", "off": None}.get(asked, asked)
    assert ("(--objects says otherwise.)" in shown) == (asked == "auto" and dims == 2)


def test_the_same_seed_gives_the_same_model_and_another_a_different_one(tmp_path, model, data):
    for name, seed in (("again", 0), ("other", 1)):
        wsseg_("fit", data, "--out", tmp_path / name, "--steps", 2, "--seed", seed)
    first = load_file(model / "weights.safetensors")
    again = load_file(tmp_path / "again" / "weights.safetensors")
    other = load_file(tmp_path / "other" / "weights.safetensors")
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)


def test_fit_starts_from_a_model(tmp_path, model, data):
    wsseg_("fit", data, "--out", tmp_path / "next", "--init", model, "--steps", 2)
    config = json.loads((tmp_path / "next" / "config.json").read_text())
    assert config["provenance"]["init"]


def test_a_class_that_no_hint_names_is_left_out_and_ids_stay(tmp_path, data, dims):
    for path in list((data / "hints").iterdir()):
        painted = np.asarray(read_labels(path)).astype(np.uint8)
        write_any(data / "hints", path.name.split(".")[0], np.where(painted == 1, 7, painted))
    (data / "classes.json").write_text('{"2": "tumour", "7": "ball", "9": "stroma"}')
    told = " ".join(wsseg_("fit", data, "--out", tmp_path / "model", "--steps", 2).stderr.split())
    assert "No hint names tumour, stroma; the model will never answer them." in told
    config = json.loads((tmp_path / "model/config.json").read_text())
    assert config["classes"] == {"7": "ball"}
    assert set(config["quality"]["dice"]) == {"7"}
    wsseg_("predict", tmp_path / "model", data / "images", "--out", tmp_path / "masks")
    for path in (tmp_path / "masks").glob("ball*"):
        assert set(np.unique(read_labels(path))) <= {0, 7}


def test_images_without_hints_do_not_disturb(tmp_path, data, dims):
    write_any(data / "images", "more", np.arange(np.prod(SIZE[dims])).reshape(SIZE[dims]).astype(np.uint8))
    wsseg_("fit", data, "--out", tmp_path / "model", "--steps", 2)
    record = json.loads((tmp_path / "model" / "config.json").read_text())["provenance"]
    assert len(record["hints"]) == 2


def test_foreign_hint_maps_are_read_with_a_word(tmp_path, data):
    for path in list((data / "hints").iterdir()):
        ours = read_labels(path)
        foreign = np.where(ours == 0, 4, np.where(ours == 255, 0, ours)).astype(np.uint8)  # as in WSL4MIS
        write_any(path.parent, path.name.split(".")[0], foreign)
    wsseg_("fit", data, "--out", tmp_path / "model", "--steps", 2, code=2)
    wsseg_("fit", data, "--out", tmp_path / "model", "--steps", 2, "--unknown", 4, "--background", 0)


class TestResume:
    """A stopped run goes on to the very same weights."""

    def stopped_after(self, steps: int, monkeypatch, *arguments, code: int = 130):
        """Run fit, and press Ctrl-C in the middle of a step."""
        original = Trainer._draw

        def draw(trainer):
            if trainer.done == steps:
                raise KeyboardInterrupt
            return original(trainer)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "_draw", draw)
            patch.setattr(wsseg.fit, "CHECKPOINT_SECONDS", -1.0)
            return wsseg_(*arguments, code=code)

    @pytest.mark.parametrize("at", [1, 3])  # before and after the held-back hints join
    def test_same_result_as_an_unbroken_run(self, tmp_path, data, monkeypatch, at):
        whole, broken = tmp_path / "whole", tmp_path / "broken"
        wsseg_("fit", data, "--out", whole, "--steps", 4)
        command = ("fit", data, "--out", broken, "--steps", 4)
        told = self.stopped_after(at, monkeypatch, *command).stderr
        assert f"up to step {at} is kept" in told
        assert "--resume" in told
        assert files_in(broken) == ["checkpoint", "checkpoint/config.json", "checkpoint/weights.safetensors"]
        wsseg_(*command, code=2)  # not without a word
        wsseg_(*command, "--resume")
        first, second = (load_file(folder / "weights.safetensors") for folder in (whole, broken))
        assert all(np.array_equal(first[name], second[name]) for name in first)
        assert files_in(broken) == files_in(whole)
        histories = [json.loads((folder / "history.json").read_text()) for folder in (whole, broken)]
        assert histories[0] == histories[1]

    def test_other_options_are_not_resumed_silently(self, tmp_path, data, monkeypatch):
        out = tmp_path / "model"
        self.stopped_after(2, monkeypatch, "fit", data, "--out", out, "--steps", 4)
        told = wsseg_("fit", data, "--out", out, "--steps", 5, "--resume", code=2).stderr
        assert "other data or options" in told
        wsseg_("fit", data, "--out", out, "--steps", 5, "--overwrite")

    def test_a_finished_model_is_left_alone(self, model, data):
        before = (model / "weights.safetensors").stat().st_mtime_ns
        told = wsseg_("fit", data, "--out", model, "--steps", 2, "--resume").stdout
        assert "finished model" in told
        assert (model / "weights.safetensors").stat().st_mtime_ns == before


def test_evaluate_prints_a_table_and_writes_json(tmp_path, data):
    truth = tmp_path / "truth"
    shown = wsseg_("evaluate", truth, truth, "--json", tmp_path / "scores.json").stdout
    report = json.loads((tmp_path / "scores.json").read_text())
    assert report["classes"]["1"]["dice"] == 1
    assert report["classes"]["1"]["hd95"] == 0
    assert "1.000" in shown
    assert "Surface Dice" in shown


def test_evaluate_tells_its_unit_and_where_it_can_not_write_before_it_scores(tmp_path, data, dims):
    truth = tmp_path / "truth"
    assert f"surface Dice at 1 {'pixel ' if dims == 2 else 'mm '}" in wsseg_("evaluate", truth, truth).stdout
    (tmp_path / "file").write_text("")
    told = wsseg_("evaluate", truth, truth, "--json", tmp_path / "file" / "scores.json", code=2)
    assert "can't be written" in told.stderr
    assert "Dice" not in told.stdout


def test_evaluate_matches_objects_of_a_prediction(tmp_path, model, data):
    wsseg_("predict", model, data / "images", "--out", tmp_path / "masks", "--instances")
    shown = wsseg_(
        "evaluate", tmp_path / "masks", tmp_path / "truth", "--instances", "--json", tmp_path / "scores.json"
    ).stdout
    report = json.loads((tmp_path / "scores.json").read_text())
    assert {"mean_iou", "f1", "ap"} <= set(report["instances"])
    assert "0.5" in report["instances"]["f1"]
    assert "AP" in shown


def test_an_unexpected_error_is_one_sentence_and_a_traceback_on_demand(data, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("by zero\nand more")

    monkeypatch.setattr("wsseg.dataset.open_dataset", broken)
    told = wsseg_("check", data, code=1).stderr
    assert told.count("\n") == 1
    assert "ZeroDivisionError: by zero)" in told
    assert "--debug" in told
    result = CliRunner().invoke(app, ["--debug", "check", str(data)])
    assert isinstance(result.exception, ZeroDivisionError)


def test_a_stopped_command_does_not_wait_for_libraries_to_be_unloaded():
    code = (
        "import atexit, sys, wsseg.cli\n"
        "atexit.register(print, 'unloaded')\n"
        "wsseg.cli.app = lambda: (print('Stopped.'), sys.exit(130))\n"
        "wsseg.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "Stopped.\n")


@pytest.mark.parametrize(
    ("seconds", "words"), [(12.4, "12 s"), (60, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_times_are_told_as_a_person_does(seconds, words):
    assert duration(seconds) == words


def test_check_loads_no_torch(tmp_path):
    data = make_dataset(tmp_path / "data", 2)
    code = f"import wsseg.cli\ntry: wsseg.cli.app(['check', {str(data)!r}])\nexcept SystemExit: pass"
    assert loaded_after(code) & {"torch", "monai", "matplotlib", "skimage"} == set()


@pytest.mark.parametrize("labelled", [0, 1, 500, 5_000, 50_000, 10**9])
def test_more_labels_are_more_steps_within_bounds(labelled):
    assert 400 <= steps_for(labelled) <= steps_for(2 * labelled) <= 1200
    assert steps_for(labelled) % 100 == 0


def test_a_missing_argument_is_told_with_2():
    assert "Missing argument" in wsseg_("predict", code=2).stderr


def test_the_gui_tells_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "napari", None)
    assert "install wsseg[gui]" in wsseg_("gui", code=2).stderr


def test_the_gui_tells_of_a_missing_image_before_a_window_opens(tmp_path):
    pytest.importorskip("napari")
    assert "there is no such file" in wsseg_("gui", tmp_path / "none.png", code=2).stderr


class TestRobot:
    @pytest.mark.parametrize("kind", ["scribbles", "slices", "clicks"])
    def test_what_it_makes_can_be_trained_on(self, tmp_path, data, kind):
        made = tmp_path / "made"
        command = ("robot", tmp_path / "truth", "--images", data / "images", "--out", made, "--kind", kind)
        shown = wsseg_(*command).stdout
        assert f"2 images with {kind} in {made}: " in shown
        assert "of a person's time" in shown
        wsseg_("fit", made, "--out", tmp_path / "model", "--steps", 2)
        wsseg_(*command, code=2)
        wsseg_(*command, "--overwrite")

    @pytest.mark.parametrize("kind", ["boxes", "tags"])
    def test_check_reads_the_other_kinds(self, tmp_path, data, kind):
        made = tmp_path / "made"
        wsseg_("robot", tmp_path / "truth", "--images", data / "images", "--out", made, "--kind", kind)
        code = 2 if kind == "tags" else 0  # both images have the class, so nothing tells where it is
        told = wsseg_("check", made, code=code).stdout
        assert f"2 {kind}" in told
        assert ("wsseg refine" in told) == (kind == "boxes")

    def test_slices_are_those_asked_for(self, tmp_path):
        data = make_dataset(tmp_path / "data", 3)
        made = tmp_path / "made"
        where = ["--images", data / "images", "--out", made, "--kind", "slices", "--every", 4, "--axis", 2]
        wsseg_("robot", tmp_path / "truth", *where, "--first", 1)
        hints = read_labels(made / "hints" / "ball0.nii.gz")
        assert np.flatnonzero(hints.any((0, 1))).tolist() == [2, 6]
        truth = read_labels(tmp_path / "truth" / "ball0.nii.gz")
        np.testing.assert_array_equal(hints[..., 2] == 1, truth[..., 2] == 1)
        assert len(list((made / "images").iterdir())) == 1

    def test_options_that_do_not_fit_are_told(self, tmp_path, data):
        where = [tmp_path / "truth", "--images", data / "images", "--out", tmp_path / "made", "--kind"]
        assert "“dots”" in wsseg_("robot", *where, "dots", code=2).stderr
        assert "--axis up" in wsseg_("robot", *where, "slices", "--axis", "up", code=2).stderr
        assert not (tmp_path / "made").exists()


@pytest.mark.gui
def test_the_gui_opens_a_dataset_with_the_widget_docked(data, monkeypatch, qtbot):
    napari = pytest.importorskip("napari")
    import torch._dynamo  # noqa: F401  brings triton, which must not come after a window (napari_plugin/backend.py)

    seen = {}

    def look():
        viewer = napari.current_viewer()
        seen["layers"] = [layer.name for layer in viewer.layers]
        seen["docked"] = list(viewer.window.dock_widgets)
        viewer.close()

    monkeypatch.setattr(napari, "run", look)
    wsseg_("gui", data)
    assert seen["layers"] == ["ball0", "ball0 hints", "ball1", "ball1 hints"]
    assert any("wsseg" in name for name in seen["docked"])
