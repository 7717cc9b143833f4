"""Written beside and renamed: old or new, never half, and nothing else is left."""

import os

import pytest

from wsseg import atomic
from wsseg.atomic import check_writable, remove, write_beside
from wsseg.errors import InputError


def _folder(path, text):
    path.mkdir()
    (path / "a").write_text(text)


def test_a_file_is_written_and_replaced(tmp_path):
    for text in ("one", "two"):
        with write_beside(tmp_path / "deep" / "x.nii.gz") as fresh:
            assert fresh.name == "x.nii.gz"
            fresh.write_text(text)
        assert (tmp_path / "deep/x.nii.gz").read_text() == text
    assert os.listdir(tmp_path / "deep") == ["x.nii.gz"]


@pytest.mark.parametrize("can", [True, False])
def test_a_folder_is_replaced_as_a_whole(tmp_path, monkeypatch, can):
    if not can:
        monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    _folder(tmp_path / "model", "old")
    (tmp_path / "model/b").write_text("goes with the old one")
    with write_beside(tmp_path / "model") as fresh:
        _folder(fresh, "new")
    assert os.listdir(tmp_path / "model") == ["a"]
    assert (tmp_path / "model/a").read_text() == "new"
    assert os.listdir(tmp_path) == ["model"]


def test_two_folders_change_places_in_one_step(tmp_path):
    _folder(tmp_path / "one", "1")
    _folder(tmp_path / "two", "2")
    if not atomic._exchange(tmp_path / "one", tmp_path / "two"):
        pytest.skip("this system or disk can't exchange two folders")
    assert (tmp_path / "one/a").read_text() == "2"
    assert (tmp_path / "two/a").read_text() == "1"
    assert not atomic._exchange(tmp_path / "one", tmp_path / "missing")


def _write_then_fail(path, error):
    with write_beside(path) as fresh:
        fresh.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_one_alone(tmp_path, error):
    (tmp_path / "x").write_text("old")
    with pytest.raises(type(error)):
        _write_then_fail(tmp_path / "x", error)
    assert (tmp_path / "x").read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_a_full_disk_is_told_in_a_sentence(tmp_path):
    (tmp_path / "x").write_text("old")
    with pytest.raises(InputError, match=r"x: can't be written \(No space left on device\)"):
        _write_then_fail(tmp_path / "x", OSError(28, "No space left on device"))
    assert (tmp_path / "x").read_text() == "old"
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose a folder that can"), write_beside(tmp_path / "file" / "x"):
        pass


def test_what_can_not_be_written_is_told_before_and_nothing_is_left(tmp_path):
    check_writable(tmp_path / "deep" / "deeper" / "a.json")
    assert not os.listdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't be written"):
        check_writable(tmp_path / "file" / "a.json")
    with pytest.raises(InputError, match="is a folder; name a file in it"):
        check_writable(tmp_path)
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_is_taken_away_whole_or_not_at_all(tmp_path, monkeypatch):
    _folder(tmp_path / "model", "old")
    remove(tmp_path / "model")
    assert os.listdir(tmp_path) == []
    remove(tmp_path / "model")  # and again: it is gone
    remove(tmp_path / "nowhere" / "model")
    _folder(tmp_path / "model", "old")

    def refuse(one, other):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(InputError, match=r"model: can't be removed \(Permission denied\)"):
        remove(tmp_path / "model")
    assert (tmp_path / "model/a").read_text() == "old"
    assert os.listdir(tmp_path) == ["model"]
