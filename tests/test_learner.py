"""The state of the page "Learn from my scans", without a window; the runs are real, with tiny networks."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from napari.layers import Image as ImageLayer
from safetensors.torch import load_file
from tiny import SIZE, files_in, write_any, wsseg_
from tiny_wsseg import shrink

from napari_plugin import pretexts
from napari_plugin.learner import Choice, Learner
from napari_plugin.learnwords import found, seen
from napari_plugin.pretexts import METHODS, MODALITIES, recommended
from napari_plugin.scanfiles import as_files, of_layers
from pretrain.methods import METHODS as REAL_METHODS
from pretrain.views import MODALITIES as REAL_MODALITIES
from wsseg.errors import InputError
from wsseg.images import read_image
from wsseg.steps import Step

TINY = (sys.executable, str(Path(__file__).with_name("tiny_wsseg.py")))


def make_scans(folder, dims):
    for index in range(2):
        values = np.random.default_rng(index).integers(0, 200, [2 * n for n in SIZE[dims]])
        write_any(folder, f"a{index}", values.astype(np.uint8))
    return folder


def drive(learner, work, until=None):
    """What the worker does, without a thread; stops the learner at the first step that `until` wants."""
    told = []
    for step in work:
        learner.take(step)
        told.append(step)
        if until is not None and until(step):
            learner.stop()
    learner.end()
    return told


def test_every_method_and_modality_has_its_words_and_the_recommended_ones_stand_on_top():
    assert set(METHODS) == set(REAL_METHODS)
    assert set(MODALITIES) == set(REAL_MODALITIES)
    assert list(METHODS)[:2] == [recommended("mr"), recommended("fluorescence")]
    assert {recommended(modality) for modality in MODALITIES} == {"location", "mae"}
    assert Choice().method == recommended(None)
    assert all(why.endswith(".") and len(why) < 160 for why in METHODS.values())
    assert "wsseg probe" in pretexts.HONEST


def test_stopped_and_continued_it_leaves_what_the_command_line_leaves(tmp_path, monkeypatch):
    """The plugin's runs in processes of their own, with a stop between them, against one that is unbroken."""
    monkeypatch.setattr("napari_plugin.child.POLITE", 0)  # nobody waits for a window here
    scans = make_scans(tmp_path / "scans", 2)
    (scans / "bad.png").write_bytes(b"no picture")
    learner = Learner(program=TINY)
    learner.choose(scans=(scans,), out=tmp_path / "enc", method="simclr", steps=60)
    told = drive(learner, learner.learn(), until=lambda step: step.stage == "pretrain" and step.index == 5)
    assert learner.plan["scans"] == 2
    done = learner.kept
    assert 5 <= done < 60
    assert told[-1].index == done
    assert learner.status() == f"Kept up to step {done}; Continue goes on from there."
    again = Learner(program=TINY)  # napari was left in between
    again.adopt(tmp_path / "enc")
    assert again.choice == learner.choice
    told = drive(again, again.learn())
    assert [step.index for step in told if step.stage == "pretrain"] == list(range(done + 1, 61))
    assert again.status() == "The encoder is ready."
    lines = (tmp_path / "enc" / "metrics.jsonl").read_text().splitlines()
    assert again.rows == [json.loads(line) for line in lines]  # the rows before the stop as well
    with pytest.raises(InputError, match="finished encoder"):
        again.learn()
    shrink(monkeypatch.setattr)
    options = ("--method", "simclr", "--steps", 60, "--skip-bad")
    wsseg_("pretrain", scans, "--out", tmp_path / "whole", *options)
    one, two = (load_file(tmp_path / name / "weights.safetensors") for name in ("enc", "whole"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines() == lines


def test_what_it_asks_for_are_words_of_the_command(tmp_path):
    choice = Choice((tmp_path,), tmp_path / "enc", "byol", "ct", 7)
    words = choice.words([tmp_path], "--dry-run")
    options = {word for word in words if word.startswith("--")}
    assert options == {"--method", "--out", "--modality", "--steps", "--skip-bad", "--events", "--dry-run"}
    assert all(option in wsseg_("pretrain", "--help").output for option in options)


def test_it_says_what_is_missing_and_does_one_thing_at_a_time(tmp_path):
    learner = Learner(program=TINY)
    with pytest.raises(InputError, match="Choose a folder"):
        learner.look()
    with pytest.raises(InputError, match="where the encoder"):
        learner.learn()
    learner.choose(scans=(tmp_path,))
    learner.choose(out=learner.suggest())
    assert learner.choice.out == tmp_path.parent / f"{tmp_path.name}-encoder"
    learner.choice.out.mkdir()
    assert learner.suggest().name == f"{tmp_path.name}-encoder-2"
    learner.look()
    with pytest.raises(InputError, match="press Stop first"):
        learner.learn()
    learner.end()
    shutil.rmtree(learner.choice.out)
    learner.learn()
    with pytest.raises(InputError, match="The encoder is learning"):
        learner.choose(out=tmp_path / "elsewhere")


def test_a_look_at_what_is_no_longer_chosen_has_nothing_to_say(tmp_path):
    learner = Learner(program=TINY)
    learner.choose(scans=(tmp_path,))
    learner.look()
    assert learner.choose(method="byol")
    learner.take(Step("plan", 1, 1, info={"scans": 1}))
    assert learner.plan is None
    learner.end()
    learner.look()
    learner.take(Step("plan", 1, 1, info={"scans": 1}))
    assert learner.plan == {"scans": 1}
    assert not learner.choose(method="byol")  # no change
    assert learner.choose(out=tmp_path / "elsewhere")
    assert learner.plan == {"scans": 1}  # it looks the same from there
    learner.choose(modality="ct")
    assert learner.plan is None


def test_a_look_takes_what_the_process_says_and_its_error_is_a_sentence(tmp_path):
    plan = json.dumps({"stage": "plan", "index": 1, "total": 1, "info": PLAN})
    time = json.dumps({"stage": "time", "index": 7, "total": 7, "info": {"seconds": 600.0}})
    learner = Learner(program=(sys.executable, "-c", f"print({plan!r})\nprint({time!r})"))
    learner.choose(scans=(tmp_path,))
    drive(learner, learner.look())
    assert (learner.plan, learner.seconds) == (PLAN, 600.0)
    assert learner.stage is None
    broken = Learner(
        program=(sys.executable, "-c", "import sys\nsys.exit('Error: scans: has no image in it.')")
    )
    broken.choose(scans=(tmp_path,))
    with pytest.raises(InputError, match=r"^scans: has no image in it\.$"):
        drive(broken, broken.look())


def test_only_what_is_an_encoder_or_a_stopped_run_is_taken_over(tmp_path):
    learner = Learner(program=TINY)
    with pytest.raises(InputError, match="is no encoder, and no run"):
        learner.adopt(tmp_path)
    (tmp_path / "checkpoint").mkdir()
    state = {"kind": "checkpoint", "done": 7}
    for command in (None, "wsseg pretrain gone --method byol --batch 4 --out enc"):
        kept = state if command is None else {**state, "command": command}
        (tmp_path / "checkpoint" / "config.json").write_text(json.dumps(kept))
        learner.adopt(tmp_path)
        assert learner.kept == 7
        assert learner.choice.scans == ()  # unknown, or no longer there
    assert learner.choice.method == "byol"
    (tmp_path / "config.json").write_text(json.dumps({"kind": "encoder"}))
    learner.adopt(tmp_path)
    assert learner.finished
    assert learner.kept is None


def test_stop_is_heard_before_the_process_is_there(tmp_path):
    code = "import os, sys\nos.read(0, 1)\nsys.exit(130)"
    learner = Learner(program=(sys.executable, "-c", code))
    learner.choose(scans=(tmp_path,))
    work = learner.look()
    learner.stop()
    assert learner.status() == "Stopping …"
    assert drive(learner, work) == []


def test_time_left_comes_from_the_pace_of_the_run_itself(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("napari_plugin.learner.time.monotonic", lambda: clock[0])
    learner = Learner()
    learner.choose(scans=(tmp_path,), out=tmp_path / "enc")
    learner.learn()
    (tmp_path / "enc").mkdir()
    earlier = [{"step": k, "loss": 1.0} for k in range(40)]
    text = "".join(json.dumps(row) + "\n" for row in earlier)
    (tmp_path / "enc" / "metrics.jsonl").write_text(text + '{"step": 40, "lo')  # the next is being written
    for index in range(40, 51):
        learner.take(Step("pretrain", index, 100, 0.5, {"step": index, "loss": 0.5, "warnings": ["Mind."]}))
        clock[0] += 2
    clock[0] -= 2
    assert learner.seconds_left() == pytest.approx(2 * 50)
    assert learner.status() == "Learning: step 50 of 100, 2 min left"
    assert learner.share() == 0.5
    assert learner.warnings == ["Mind."]
    assert [row["step"] for row in learner.rows] == list(range(51))
    assert learner.curve("loss") == [1.0] * 40 + [0.5] * 11


def test_layers_are_their_files_or_are_written_with_their_geometry(tmp_path, dims):
    path = make_scans(tmp_path / "scans", dims) / ("a0.png" if dims == 2 else "a0.nii.gz")
    values = np.random.default_rng(0).random((6,) * dims)
    layers = [
        ImageLayer(values, name="in memory", metadata={"wsseg": {"path": str(path)}}),
        ImageLayer(values, name="new: one/two", scale=[2.0, 1.0, 0.5][:dims]),
        ImageLayer(
            values,
            name="new: one two",
            metadata={"wsseg": {"affine": np.eye(4).tolist()}} if dims == 3 else {},
        ),
    ]
    if dims == 2:
        layers.append(ImageLayer(np.zeros((6, 7, 3), np.uint8), rgb=True, name="colour"))
    scans = of_layers([*layers, layers[0]])
    assert len(scans) == len(layers)
    assert scans[0] == path.resolve()
    files = as_files(scans, tmp_path / "new")
    assert files_in(tmp_path / "scans") == files_in(path.parent)
    one, two, *colour = (read_image(file) for file in files[1:])
    np.testing.assert_allclose(np.asarray(one.data[:])[0], values, rtol=1e-6)
    assert one.spacing == (2.0, 1.0, 0.5)[:dims]
    assert (one.kind, two.kind) == ("zarr", "nifti" if dims == 3 else "zarr")
    np.testing.assert_allclose(np.asarray(two.data[:])[0], values, rtol=1e-6)
    assert all(image.rgb and image.channels == 3 for image in colour)


PLAN = {
    "scans": 1,
    "subjects": 1,
    "modality": "em",
    "guessed": True,
    "crop": [64, 64],
    "spacing": [0.5, 0.5],
    "steps": 1000,
    "batch": 32,
    "doubt": None,
    "skipped": {f"{k}.png": f"{k}.png: is broken." for k in range(5)},
}


def test_what_was_found_in_words():
    words = found(PLAN, 600.0)
    assert words[0] == "1 scan of 1 subject: electron microscopy (a guess; say so above if it is not)."
    assert words[1] == "1000 steps of 32 crops of 64×64 voxels at a spacing of 0.5 × 0.5."
    assert words[2] == "On this machine about 10 min (0.6 s a step)."
    assert words[3:] == [f"Left out: {k}.png: is broken." for k in range(3)] + ["Left out: 2 more."]
    assert "(a guess" not in found({**PLAN, "guessed": False}, None)[0]


def test_what_the_monitors_see_in_words():
    assert seen([]) == []
    rows = [{"spread": 0.9, "rank": 20.0, "full_rank": 47.0}, {"loss": 1.0}]
    rows += [{"spread": 0.5, "rank": 10.0, "full_rank": 47.0, "accuracy": 0.75, "chance": 0.25}]
    first, task = seen(rows)
    assert "10 of 47 directions (at first 20)" in first
    assert "spread is 56% of the widest" in first
    assert task == "The task is solved in 75% of cases, by chance in 25%."
