"""The journal: what is written is read, whatever is cut off; drawings and their differences; replay."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import write_any, wsseg_

from wsseg.dataset import open_dataset
from wsseg.drawing import Drawing, changed, differences
from wsseg.errors import InputError
from wsseg.hints import Box, Click, Tag
from wsseg.journal import ABOUT, LINES, MAPS, Entry, Journal, read_journal
from wsseg.replay import PAUSE, Tally, replay

SIZE = {2: (12, 10), 3: (4, 12, 10)}


def read(folder):
    return list(read_journal(folder)[1])


def start(tmp_path, dims, name="session", **about):
    return Journal(tmp_path / name, {"image": "scan.tif", "shape": list(SIZE[dims]), **about})


def drawn(dims):
    """A drawing with everything in it."""
    hints = np.zeros(SIZE[dims], np.uint8)
    hints[..., 2:5] = 1
    hints[..., -1] = 255
    return Drawing(
        SIZE[dims],
        hints=hints,
        mask=(hints == 1).astype(np.uint8),
        clicks=(Click((1.5,) * dims, 2), Click((0.0,) * dims, 0)),
        boxes=(Box((0,) * dims, (3,) * dims, 1, 7),),
        tags=frozenset({Tag(1), Tag(0, 0, 2)}),
        all_boxed=True,
        classes={1: "cell", 2: "wärts"},
        colours={1: "#ff0000", 2: "#00ff00"},
    )


def same(one, other):
    assert not list(differences(one, other))
    assert not list(differences(other, one))


def test_what_is_written_is_read(tmp_path, dims):
    journal = start(tmp_path, dims)
    block = np.arange(6, dtype=np.uint8).reshape(2, 3)
    begin = time.time()
    journal.append("hints", {"start": [1, 2]}, block)
    journal.append("note", {"text": "größer"})
    journal.append("mask", {"start": [0, 0]}, block.astype(np.uint16) * 300)
    journal.close()
    about, entries = read_journal(tmp_path / "session")
    assert about == {"format": 1, "image": "scan.tif", "shape": list(SIZE[dims])}
    one, two, three = entries
    assert (one.kind, two.kind, three.kind) == ("hints", "note", "mask")
    assert begin - 0.01 <= one.time <= two.time <= three.time <= time.time() + 0.01
    assert np.array_equal(one.block, block)
    assert two.values == {"text": "größer"}
    assert three.block.dtype == np.uint16
    assert np.array_equal(three.block, block.astype(np.uint16) * 300)


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(0, 400))
def test_a_kill_at_any_byte_leaves_whole_changes(tmp_path_factory, cut):
    """The end of both files may be missing; every change whose line is whole is read as it was."""
    folder = tmp_path_factory.mktemp("cut")
    journal = start(folder, 2)
    blocks = [np.full((3, n + 1), n, np.uint8) for n in range(4)]
    for number, block in enumerate(blocks):
        journal.append("hints", {"start": [0, number]}, block)
    journal.close()
    lines = folder / "session" / LINES
    whole = lines.read_bytes()
    lines.write_bytes(whole[: max(0, len(whole) - cut)])
    found = read(folder / "session")
    assert len(found) == whole[: max(0, len(whole) - cut)].count(b"\n")
    for entry, block in zip(found, blocks, strict=False):
        assert np.array_equal(entry.block, block)


def test_a_killed_writer_loses_nothing_that_was_appended(tmp_path):
    code = (
        "import os, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from wsseg.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]), {'shape': [4, 4]})\n"
        "for n in range(5):\n"
        "    journal.append('hints', {'start': [0, 0]}, np.full((4, 4), n, np.uint8))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "session")], check=False)
    assert done.returncode == -9
    assert [int(entry.block[0, 0]) for entry in read(tmp_path / "session")] == [0, 1, 2, 3, 4]


def test_an_earlier_session_goes_on_in_a_folder_of_its_own(tmp_path, dims):
    journal = start(tmp_path, dims)
    journal.append("hints", {"start": [0] * dims}, np.ones((2,) * dims, np.uint8))
    journal.close()
    with open(tmp_path / "session" / LINES, "ab") as handle:
        handle.write(b'{"time": 3, "ki')  # cut short by a kill
    before = (tmp_path / "session" / LINES).read_bytes()
    journal = Journal(tmp_path / "later", {"shape": list(SIZE[dims])}, goes_on=tmp_path / "session")
    journal.append("note", {"text": "on"})
    journal.close()
    assert [entry.kind for entry in read(tmp_path / "later")] == ["hints", "note"]
    assert read(tmp_path / "later")[0].block.sum() == 2**dims
    assert read_journal(tmp_path / "later")[0]["goes_on"] == "session"
    assert (tmp_path / "session" / LINES).read_bytes() == before


def test_damage_is_told(tmp_path):
    journal = start(tmp_path, 2)
    journal.append("hints", {"start": [0, 0]}, np.ones((2, 2), np.uint8))
    journal.close()
    folder = tmp_path / "session"
    with pytest.raises(InputError, match="there already"):
        Journal(folder, {})
    packed = (folder / MAPS).read_bytes()
    (folder / MAPS).write_bytes(bytes([packed[0] ^ 1]) + packed[1:])
    with pytest.raises(InputError, match="line 1: is damaged"):
        read(folder)
    (folder / LINES).write_bytes(b'{"time": 1}\n')
    with pytest.raises(InputError, match="line 1: is damaged"):
        read(folder)
    (folder / ABOUT).write_text('{"format": 2}')
    with pytest.raises(InputError, match="format 1"):
        read(folder)
    with pytest.raises(InputError, match="is no session"):
        read(tmp_path)
    with pytest.raises(InputError, match="nosuch: there is no such folder"):
        read(tmp_path / "nosuch")


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    """A line that went in half is taken out again, and what comes next is whole."""
    journal = start(tmp_path, 2)
    journal.append("note", {"number": 1})

    def full(file, data):
        file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("wsseg.journal._put", full)
        with pytest.raises(InputError, match="No space left"):
            journal.append("hints", {"start": [0, 0]}, np.ones((3, 3), np.uint8))
    journal.append("note", {"number": 2})
    journal.close()
    assert [entry.values["number"] for entry in read(tmp_path / "session")] == [1, 2]


def test_differences_build_up_the_drawing(dims):
    now, built = drawn(dims), Drawing(SIZE[dims])
    found = list(differences(built, now))
    assert [kind for kind, *_ in found] == ["classes", "hints", "mask", "clicks", "boxes", "tags"]
    for kind, values, block in found:
        through_text = json.loads(json.dumps(values))
        built.apply(Entry(0.0, kind, through_text, block))
    same(built, now)
    assert built.to_hints().same(now.to_hints())


def test_the_changed_block_is_the_smallest(dims):
    before = np.zeros(SIZE[dims], np.uint8)
    assert changed(before, before) is None
    assert changed(None, before) is None
    now = before.copy()
    now[(1,) * dims], now[(3,) * dims] = 5, 6
    start, block = changed(before, now)
    assert start == (1,) * dims
    assert block.shape == (3,) * dims
    assert np.array_equal(block, now[(slice(1, 4),) * dims])
    assert changed(now, before)[1].sum() == 0


def test_the_changed_block_is_found_slab_by_slab(dims, monkeypatch):
    monkeypatch.setattr("wsseg.drawing.SLAB", 1)
    rng = np.random.default_rng(0)
    for _ in range(20):
        before = np.zeros(SIZE[dims], np.uint8)
        now = before.copy()
        places = rng.integers(0, SIZE[dims], (3, dims))
        now[tuple(places.T)] = 1
        start, block = changed(before, now)
        assert start == tuple(places.min(0))
        assert block.shape == tuple(places.max(0) - places.min(0) + 1)


def test_a_change_that_does_not_fit_is_told(dims):
    drawing = Drawing(SIZE[dims])
    with pytest.raises(InputError, match="does not fit"):
        drawing.apply(Entry(0, "hints", {"start": [11] * dims}, np.ones((3,) * dims, np.uint8)))
    with pytest.raises(InputError, match="does not fit"):
        drawing.apply(Entry(0, "clicks", {}))


def test_time_is_counted_up_to_a_pause():
    tally, drawing = Tally(), Drawing((4, 4))
    for moment, value in ((100, 1), (110, 2), (110 + 5 * PAUSE, 0)):
        entry = Entry(moment, "hints", {"start": [0, 0]}, np.full((2, 2), value, np.uint8))
        tally.add(entry, drawing)
        drawing.apply(entry)
    tally.add(Entry(118 + 5 * PAUSE, "clicks", {"clicks": [[1, 0, 0]]}), drawing)
    told = tally.report(drawing)
    assert told["working_seconds"] == 10 + PAUSE + 8
    assert told["seconds"] == {"hints": 10 + PAUSE, "clicks": 8}
    assert told["actions"] == {"hints": 3, "clicks": 1}
    assert told["painted"] == {"erased": 4, "1": 4, "2": 4}


def test_a_session_becomes_a_dataset(tmp_path, dims):
    write_any(tmp_path, "scan", np.random.default_rng(0).integers(0, 200, SIZE[dims]).astype(np.uint8))
    image = next(tmp_path.glob("scan.*"))
    journal = Journal(tmp_path / "session", {"image": str(image), "shape": list(SIZE[dims])})
    now = drawn(dims)
    now.tags = frozenset({Tag(1), Tag(2)})
    now.held = np.zeros(SIZE[dims], np.uint8)
    now.held[-1] = 2  # among the hints again
    for kind, values, block in differences(Drawing(SIZE[dims]), now):
        journal.append(kind, values, block)
    journal.append("clicks", {"clicks": []})
    journal.close()
    said = wsseg_(
        "replay", tmp_path / "session", "--out", tmp_path / "data", "--json", tmp_path / "t.json"
    ).output
    assert "Voxels painted: cell" in said
    told = json.loads((tmp_path / "t.json").read_text())
    assert told["changes"] == 8
    assert told["marked"]["clicks"] == 0
    dataset = open_dataset(tmp_path / "data")
    found = dataset.read(dataset.items[0])[1]
    assert np.array_equal(found.scribbles, np.where(now.hints > 0, now.hints, now.held))
    assert [(box.start, box.stop, box.class_id) for box in found.boxes] == [((0,) * dims, (3,) * dims, 1)]
    assert dataset.classes == {1: "cell", 2: "wärts"}
    assert found.tags == now.tags
    before = replay(tmp_path / "session", until=5).drawing
    assert before.clicks == now.clicks
    assert not before.boxes
    assert (
        "is there already"
        in wsseg_("replay", tmp_path / "session", "--out", tmp_path / "data", code=2).output
    )


def test_a_session_of_an_image_without_a_file_becomes_a_dataset_too(tmp_path, dims):
    journal = start(tmp_path, dims, spacing=[2.0] * dims)
    journal.append("hints", {"start": [0] * dims}, np.ones((2,) * dims, np.uint8))
    journal.append("locked", {"start": [1] * dims}, np.full((2,) * dims, 255, np.uint8))
    journal.close()
    wsseg_("replay", tmp_path / "session", "--out", tmp_path / "data")
    (hints,) = (tmp_path / "data/hints").iterdir()
    assert hints.suffix == ".tif"
    painted = tifffile.imread(hints)
    assert [painted[(at,) * dims] for at in range(4)] == [1, 255, 255, 0]  # what was accepted counts
    assert not list((tmp_path / "data/images").iterdir())


def test_a_session_with_nothing_in_it(tmp_path):
    start(tmp_path, 2).close()
    assert "Nothing was changed" in wsseg_("replay", tmp_path / "session").output
    assert "is no session" in wsseg_("replay", tmp_path, code=2).output
