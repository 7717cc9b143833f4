"""Draws pictures of the plugin at work in docs/images: napari.png, and one each of boxes, tags and learning.

`python scripts/screenshots.py [hints] [boxes] [tags] [learn] [STEPS]`: all pictures where none is named.
Needs a screen (make screenshots brings one) and nilearn.
"""

import os
import runpy
import sys
import tempfile
import time
from contextlib import chdir
from pathlib import Path

import numpy as np
from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template
from PIL import Image
from qtpy.QtWidgets import QApplication
from scipy import ndimage

from napari_plugin import backend
from napari_plugin.docks import LEARN, open_dock

ROOT = Path(__file__).parent.parent
SIZE = (1400, 900)
SLICES = range(18, 80, 10)  # axial slices that get strokes
SHOWN = 43  # one between two of them
os.environ["WSSEG_SESSIONS"] = tempfile.mkdtemp()  # what is marked here is nobody's work
STEPS = next((int(word) for word in sys.argv[1:] if word.isdigit()), 300)


def strokes(mask: np.ndarray, rng: np.random.Generator, count: int = 2, length: int = 22) -> np.ndarray:
    """A few lines that wander through a shape as a hand does: they turn slowly and stay inside."""
    drawn = np.zeros_like(mask)
    depth = ndimage.distance_transform_edt(mask)
    places = np.argwhere(depth >= np.quantile(depth[mask], 0.7)) if mask.any() else []
    for _ in range(count if len(places) else 0):
        at, angle = places[rng.integers(len(places))].astype(float), rng.uniform(0, 2 * np.pi)
        for _ in range(length):
            turns = angle + rng.normal(0, 0.15) + np.array([0, 0.4, -0.4, 0.8, -0.8])
            ahead = [at + 2.5 * np.array([np.cos(a), np.sin(a)]) for a in turns]
            angle = turns[int(np.argmax([_value(depth, p) for p in ahead]))]
            step = at + np.array([np.cos(angle), np.sin(angle)])
            if _value(depth, step) < 1:
                break
            drawn[tuple(np.round(at).astype(int))] = drawn[tuple(np.round(step).astype(int))] = True
            at = step
    return drawn


def _value(array: np.ndarray, place: np.ndarray) -> float:
    index = tuple(np.round(place).astype(int))
    return float(array[index]) if all(0 <= i < n for i, n in zip(index, array.shape, strict=True)) else -1.0


def tissue() -> np.ndarray:
    """Class of every voxel of the sample: 1 grey matter, 2 white matter, 0 the rest."""
    grey, white = (
        load(resolution=2).get_fdata() for load in (load_mni152_gm_template, load_mni152_wm_template)
    )
    return np.where(np.maximum(grey, white) < 0.5, 0, np.where(white > grey, 2, 1))


def wait(seconds: float, until=lambda: False) -> float:
    """Let the window live for a while; gives the longest time that it did not answer, in seconds."""
    end, slowest = time.monotonic() + seconds, 0.0
    while time.monotonic() < end and not until():
        began = time.monotonic()
        QApplication.processEvents()
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.01)
    return slowest


def window():
    """A viewer, large enough and dark."""
    import napari

    viewer = napari.Viewer(show=True)
    viewer.theme = "dark"
    viewer.window.resize(*SIZE)
    return viewer


def save(viewer, name: str) -> None:
    """Take the picture of the window."""
    out = ROOT / "docs" / "images" / name
    picture = Image.fromarray(viewer.window.screenshot(canvas_only=False, flash=False))
    out.parent.mkdir(parents=True, exist_ok=True)
    picture.convert("RGB").quantize(255, dither=Image.Dither.NONE).save(out, optimize=True)
    print(f"{out.name}: {picture.size}, {out.stat().st_size // 1024} kB")


def example(script: str, dataset: str):
    """A window with the dataset that an example makes, and the widget in it."""
    viewer = window()
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        runpy.run_path(str(ROOT / "examples" / script))
        viewer.open(dataset, plugin="wsseg")
    return viewer, viewer.window.add_plugin_dock_widget("wsseg", "wsseg")[1]


def boxes() -> None:
    """Open the coins with their boxes, and let each become an object."""
    viewer, widget = example("boxes.py", "coins")
    controller = widget.controller
    widget.draw_boxes()
    wait(60, backend.is_loaded)  # else its load is timed as well
    viewer.reset_view()  # the docks have their sizes by now
    began = time.monotonic()
    widget.find_objects()
    slowest = wait(120, lambda: widget.worker is None)
    count = len(controller.boxes.segments)
    print(f"{count} boxes: masks after {time.monotonic() - began:.1f} s; slowest answer {slowest:.2f} s")
    wait(1)
    save(viewer, "napari-boxes.png")
    viewer.close()


def learn() -> None:
    """Learn an encoder from the brain sample's file, and take the picture when half is done."""
    viewer = window()
    viewer.open_sample("wsseg", "brain")
    viewer.window.add_plugin_dock_widget("wsseg", "wsseg")
    page = open_dock(viewer, LEARN)
    wait(60, backend.is_loaded)
    viewer.dims.set_point(2, SHOWN * 2.0)
    viewer.reset_view()
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        page.steps.setValue(STEPS)
        page.take_layers()
        page.choose(out=Path("brain-encoder"))
        wait(300, lambda: page.learner.seconds is not None and page.worker is None)
        print(page.found.text())
        page.learn()
        began = time.monotonic()
        slowest = wait(1800, lambda: len(page.learner.rows) > 0.6 * STEPS or page.learner.stage is None)
        print(f"{page.status.text()} after {time.monotonic() - began:.0f} s; slowest answer {slowest:.2f} s")
        save(viewer, "napari-learn.png")
        stopped = time.monotonic()
        page.stop()
        wait(60, lambda: page.learner.stage is None)
        print(f"stopped after {time.monotonic() - stopped:.1f} s: {page.status.text()} {page.message.text()}")
    viewer.close()


def tags() -> None:
    """Open pictures that are tagged with "coin" or with none, and find where the coins are."""
    viewer, widget = example("tags.py", "coins-tagged")
    controller, panel = widget.controller, widget.tags
    shown = next(layer for layer in viewer.layers if layer.name.startswith("03-coin"))
    controller.tags.show_alone(shown)
    widget.choose_image(shown)
    wait(60, backend.is_loaded)
    widget.steps.setValue(STEPS)
    began = time.monotonic()
    panel.find_heat()
    slowest = wait(1200, lambda: widget.worker is None)
    print(f"heat after {time.monotonic() - began:.1f} s; slowest answer {slowest:.2f} s")
    print(panel.verdict.text())
    widget.steps.setValue(0)
    wait(2, lambda: not controller.tags.view.unfinished)
    viewer.layers.selection.active = viewer.layers[f"{shown.name} seeds"]
    viewer.reset_view()
    for widget in QApplication.allWidgets():
        if type(widget).__name__ == "NapariQtNotification":  # that there are more pictures
            widget.close()
    wait(1)
    save(viewer, "napari-tags.png")
    viewer.close()


def hints() -> None:
    """Paint, train, and take the picture."""
    viewer = window()
    viewer.open_sample("wsseg", "brain")
    _, widget = viewer.window.add_plugin_dock_widget("wsseg", "wsseg")
    controller = widget.controller
    controller.rename_class(1, "grey matter")
    controller.rename_class(controller.add_class(), "white matter")
    controller.select(1)
    widget.new_hints()
    truth, rng = tissue(), np.random.default_rng(3)
    for z in (SHOWN, *SLICES):
        away = ndimage.distance_transform_edt(truth[:, :, z] == 0)
        near = (away > 2) & (away < 9)  # a person paints background along the head and away from it
        shapes = ((truth[:, :, z] == 1, 1), (truth[:, :, z] == 2, 2), (near, 255), (away > 9, 255))
        for shape, label in shapes:
            controller.hints.data[:, :, z][strokes(shape, rng, 5 if z == SHOWN else 2)] = label
    controller.hints.refresh()
    viewer.dims.set_point(2, SHOWN * 2.0)
    viewer.scene.camera.zoom *= 1.1
    wait(1)
    widget.steps.setValue(STEPS)
    began = time.monotonic()
    widget.segment()
    first, slowest = None, 0.0
    while controller.run is not None and len(controller.losses) < 0.9 * STEPS:
        slowest = max(slowest, wait(0.05))
        if first is None and any("mask" in layer.name for layer in viewer.layers):
            first = time.monotonic() - began
            print(f"first mask after {first:.1f} s")
    print(f"the window was slow to answer for {slowest:.2f} s at most; {controller.run.words()}")
    save(viewer, "napari.png")
    stopped = time.monotonic()
    widget.stop()
    print(f"Stop answered after {time.monotonic() - stopped:.3f} s: {widget.status.text()}")
    wait(15)
    viewer.close()


if __name__ == "__main__":
    pictures = (boxes, tags, learn, hints)
    named = {draw.__name__ for draw in pictures} & set(sys.argv)
    for draw in pictures:
        if draw.__name__ in named or not named:
            draw()
