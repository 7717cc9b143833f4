"""The page "Learn from my scans" in a real viewer, with a process that only plays a run."""

import json
import sys

import numpy as np
import pytest
import torch

from napari_plugin.learnpage import LearnPage
from napari_plugin.widget import SegmentWidget
from wsseg.encoder import SavedEncoder
from wsseg.unet import Encoder, plan_encoder

pytestmark = pytest.mark.gui

PLAYED = """
import json, os, pathlib, sys, threading, time
words = sys.argv[1:]
out = pathlib.Path(words[words.index("--out") + 1])
closed = threading.Event()
threading.Thread(target=lambda: (os.read(0, 1), closed.set()), daemon=True).start()
def tell(stage, index, total, **info):
    print(json.dumps(dict(stage=stage, index=index, total=total, info=info)), flush=True)
def keep(done, kind):
    folder = out / "checkpoint" if kind == "checkpoint" else out
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"kind": kind, "done": done}))
tell("read", 1, 1)
tell("plan", 1, 1, scans=1, subjects=1, skipped={}, modality="mr", guessed=True, method="mae", steps=40,
     batch=2, crop=[16, 16], spacing=[1, 1], doubt=None)
if "--dry-run" in words:
    tell("time", 7, 7, seconds=90.0)
    sys.exit()
state = out / "checkpoint" / "config.json"
done = json.loads(state.read_text())["done"] if "--resume" in words else 0
out.mkdir(exist_ok=True)
rows = [dict(step=k, loss=1 / (k + 1), spread=0.9, rank=20.0, full_rank=47.0, alignment=0.1, nearest=0.5,
             nearest_chance=0.2) for k in range(41)]
(out / "metrics.jsonl").write_text("".join(json.dumps(row) + "\\n" for row in rows[:done + 1]))
for k in range(done + 1, 41):
    tell("pretrain", k, 40, **rows[k], warnings=["Mind the gap."] if k > 30 else [])
    if closed.wait(0.02 if done else 0.2):
        keep(k, "checkpoint")
        sys.exit(130)
"""


def test_from_the_open_images_to_the_encoder_of_the_next_segment(
    make_napari_viewer_proxy, qtbot, tmp_path, monkeypatch
):
    monkeypatch.setattr("napari_plugin.learnpage.SETTLED", 0)
    viewer = make_napari_viewer_proxy()
    data = np.random.default_rng(0).normal(0, 0.1, (16, 16))
    data[4:12, 4:12] += 2
    viewer.add_image(data, name="square")
    main = SegmentWidget(viewer)
    viewer.window.add_dock_widget(main, name="wsseg")
    page = LearnPage(viewer)
    viewer.window.add_dock_widget(page, name="Learn from my scans")
    monkeypatch.setattr(page, "_main", lambda: main)
    learner = page.learner
    learner._program = (sys.executable, "-c", PLAYED)

    def wait():
        qtbot.waitUntil(lambda: learner.stage is None and page.worker is None, timeout=30_000)

    # what there is is told before anything starts
    assert not page.go.isEnabled()
    page.take_layers()
    assert page.scans.text() == "square"
    page.choose(out=tmp_path / "mine")
    qtbot.waitUntil(lambda: "about 90 s" in page.found.text() or "2 min" in page.found.text(), timeout=30_000)
    wait()
    assert "1 scan of 1 subject: MR (a guess" in page.found.text()
    assert page.go.isEnabled()
    assert page.go.text() == "Start"
    assert page.why.text().startswith("Says where in the scan each voxel is")
    assert "wsseg probe" in page.honest.text()

    # it runs, is stopped, and goes on
    page.learn()
    qtbot.waitUntil(lambda: len(learner.rows) > 4, timeout=30_000)
    page._show()
    assert not page.method.isEnabled()
    assert page.status.text().startswith("Learning: step")
    assert page._learning().startswith("Learning: step")  # what is asked about when napari is closed
    assert "20 of 47 directions" in page.seen.text()
    assert len(page.curves["spread"]._values) > 4
    page.stop()
    assert page.status.text() == "Stopping …"
    wait()
    assert page.go.text() == "Continue"
    assert page.status.text().startswith("Kept up to step")
    assert not page.use.isEnabled()
    page.learn()
    wait()
    assert learner.rows[-1]["step"] == 40
    assert [row["step"] for row in learner.rows] == list(range(41))
    assert page.seen.text().startswith("Mind the gap.")

    # one click, and the main panel starts from it
    shape = plan_encoder(channels_in=1, spacing=(1, 1), size=(16, 16), channels=(4, 8))
    torch.manual_seed(0)
    SavedEncoder(Encoder(shape), {"method": "mae"}).save(tmp_path / "mine")
    page._show()
    assert page.status.text() == "The encoder is ready."
    assert not page.go.isEnabled()
    assert not main.encoder.isVisibleTo(main)
    page.open_encoder(tmp_path)
    assert "is no encoder" in page.message.text()
    page.open_encoder(tmp_path / "mine")  # as the button “Use for this annotation task”
    assert page.use.isEnabled()
    qtbot.waitUntil(lambda: main.worker is None, timeout=30_000)
    assert main.encoder.isVisibleTo(main)
    assert main.encoder.label.text() == "mine (mae): the next Segment starts from it."
    main.new_hints()
    main.controller.hints.data[6:10, 6:10] = 1
    main.controller.hints.data[0] = 255
    main.steps.setValue(2)
    main.segment()
    page.use_encoder()  # not while it is at work
    assert "press Stop there first" in page.message.text()
    qtbot.waitUntil(lambda: main.worker is None, timeout=60_000)
    assert "loaded 100 %" in main.encoder.label.text()
    main.encoder.drop()
    main._show()
    assert not main.encoder.isVisibleTo(main)


def test_errors_are_one_sentence_and_closing_the_window_ends_the_process(
    make_napari_viewer_proxy, qtbot, tmp_path, monkeypatch
):
    viewer = make_napari_viewer_proxy()
    page = LearnPage(viewer)
    learner = page.learner

    # what the scans turn out to be says by which method, until the user says so
    learner.plan = {"modality": "em"}
    page.advise()
    assert learner.choice.method == page.method.currentData() == "mae"
    page.method.setCurrentIndex(page.method.findData("dense"))
    page.pick()
    learner.plan = {"modality": "em"}
    page.advise()
    assert learner.choice.method == page.method.currentData() == "dense"
    learner.plan = None

    page.take_layers()
    assert page.message.text() == "No image is open; open some, or choose a folder of scans."
    learner._program = (sys.executable, "-c", "import sys; sys.exit('Error: scans: has no image in it.')")
    page.take_scans((tmp_path,))
    page.choose(out=tmp_path / "mine")
    page.look()
    qtbot.waitUntil(lambda: page.worker is None, timeout=30_000)
    assert page.message.text() == "scans: has no image in it."
    learner._program = (sys.executable, "-c", PLAYED)
    page.learn()
    qtbot.waitUntil(lambda: len(learner.rows) > 2, timeout=30_000)
    worker = page.worker
    learner.leave()  # what `destroyed` and `aboutToQuit` call
    assert json.loads((tmp_path / "mine" / "checkpoint" / "config.json").read_text())["done"] >= 2
    qtbot.waitUntil(lambda: not worker.is_running, timeout=30_000)
