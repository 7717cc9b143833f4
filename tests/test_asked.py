"""What a run was asked for: told apart by options and by hints, and `fit --resume` with others refused."""

import json

import pytest
from test_seeds import tagged_squares
from tiny import make_dataset, small_plans, wsseg_

import wsseg.tagrounds
from wsseg.asked import asked_for, changes, hold_to
from wsseg.errors import InputError


def test_what_differs_is_named(tmp_path):
    data = make_dataset(tmp_path / "data")
    before = asked_for(data, {"terms": "", "steps": None, "init": tmp_path / "a", "seed": 0})
    assert before == json.loads(json.dumps(before))
    assert (
        changes(before, asked_for(data, {"terms": "", "steps": None, "init": tmp_path / "a", "seed": 0}))
        == []
    )
    (data / "clicks.csv").write_text("image,class,axis-0,axis-1\nball0,1,3,3\n")
    (data / "hints/ball0.png").unlink()
    (data / "classes.json").write_text('{"1": "moon"}')
    now = asked_for(data, {"terms": "expand", "steps": 5, "init": tmp_path / "a", "seed": 0})
    assert changes(before, now) == [
        *("--terms was not given and is expand", "--steps was not given and is 5"),
        *("classes.json has changed", "clicks.csv is new", "hints/ball0.png is gone"),
    ]


def test_a_record_is_written_once_and_kept_to(tmp_path):
    first = {"options": {"seed": 0}, "hints": {}}
    hold_to(tmp_path / "room/asked.json", first, tmp_path / "model")
    hold_to(tmp_path / "room/asked.json", first, tmp_path / "model")
    with pytest.raises(
        InputError, match=r"the stopped run was asked for otherwise \(--seed was 0 and is 1\)"
    ):
        hold_to(tmp_path / "room/asked.json", {"options": {"seed": 1}, "hints": {}}, tmp_path / "model")


def _stop(*arguments, **options):
    raise KeyboardInterrupt


def test_a_stopped_run_on_tags_is_not_gone_on_with_by_another(tmp_path, monkeypatch):
    small_plans(monkeypatch)
    data, _ = tagged_squares(tmp_path / "data", 2, count=8)
    arguments = ("fit", data, "--out", tmp_path / "model", "--device", "cpu")
    with monkeypatch.context() as patch:
        patch.setattr(wsseg.tagrounds, "seed_steps", _stop)
        wsseg_(*arguments, "--steps", 4, code=130)
    told = wsseg_(*arguments, "--steps", 4, "--terms", "expand", "--resume", code=2).stderr
    assert "--terms was not given and is expand" in " ".join(told.split())
    table = data / "tags.csv"
    table.write_text(table.read_text().replace("i07,square", "i07,"))
    told = wsseg_(*arguments, "--steps", 4, "--resume", code=2).stderr
    assert "tags.csv has changed" in " ".join(told.split())
    monkeypatch.setattr(wsseg.tagrounds, "seed_steps", _stop)
    wsseg_(*arguments, "--steps", 5, "--overwrite", code=130)  # begins anew
    wsseg_(*arguments, "--steps", 5, "--resume", code=130)


def test_a_folder_that_cannot_be_made_is_told_before_the_training(tmp_path, monkeypatch):
    small_plans(monkeypatch)
    data = make_dataset(tmp_path / "data")

    def full(*given, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("wsseg.atomic.tempfile.TemporaryDirectory", full)
    said = wsseg_("fit", data, "--out", tmp_path / "new" / "model", "--steps", 2, code=2)
    assert "model: can't be written (Read-only file system)" in " ".join(said.stderr.split())
    assert "train" not in said.stderr.replace("can't", "")
    assert not (tmp_path / "new").exists()


def test_a_finished_model_of_other_options_or_hints_is_not_taken_for_done(tmp_path, dims, monkeypatch):
    small_plans(monkeypatch)
    data = make_dataset(tmp_path / "data", dims)
    arguments = ("fit", data, "--out", tmp_path / "model", "--device", "cpu")
    wsseg_(*arguments, "--steps", 2)
    assert "nothing is left to do" in wsseg_(*arguments, "--steps", 2, "--resume").stdout
    told = wsseg_(*arguments, "--steps", 3, "--resume", code=2).stderr
    assert "--steps was 2 and is 3" in " ".join(told.split())
    next((data / "hints").iterdir()).unlink()
    assert "is gone" in " ".join(wsseg_(*arguments, "--steps", 2, "--resume", code=2).stderr.split())
