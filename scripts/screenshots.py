"""Draws docs/images/napari.png: the plugin at work on the brain sample, hints painted and a mask learned.

Needs a screen (make screenshots brings one) and nilearn.
"""

import sys
import time
from pathlib import Path

import numpy as np
from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template
from PIL import Image
from qtpy.QtWidgets import QApplication
from scipy import ndimage
from skimage.morphology import skeletonize

OUT = Path(__file__).parent.parent / "docs" / "images" / "napari.png"
SIZE = (1400, 900)
SLICES = range(18, 80, 10)  # axial slices that get strokes
SHOWN = 43  # one between two of them
SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 90.0


def strokes(mask: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """A few thin lines along the middle of a shape, as a hand would draw them."""
    middle = skeletonize(ndimage.binary_erosion(mask) if mask.sum() > 200 else mask)
    drawn = np.zeros_like(mask)
    places = np.argwhere(middle)
    for place in places[rng.permutation(len(places))[:3]]:
        near = np.linalg.norm(np.argwhere(middle) - place, axis=1) < length
        drawn[tuple(np.argwhere(middle)[near].T)] = True
    return drawn


def tissue() -> np.ndarray:
    """Class of every voxel of the sample: 1 grey matter, 2 white matter, 0 the rest."""
    grey, white = (
        load(resolution=2).get_fdata() for load in (load_mni152_gm_template, load_mni152_wm_template)
    )
    return np.where(np.maximum(grey, white) < 0.5, 0, np.where(white > grey, 2, 1))


def wait(seconds: float, until=lambda: False) -> None:
    """Let the window live for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        QApplication.processEvents()
        time.sleep(0.01)


def main() -> None:
    """Paint, train, and take the picture."""
    import napari

    viewer = napari.Viewer(show=True)
    viewer.theme = "dark"
    viewer.window.resize(*SIZE)
    viewer.open_sample("wsseg", "brain")
    _, widget = viewer.window.add_plugin_dock_widget("wsseg", "wsseg")
    controller = widget.controller
    controller.rename_class(1, "grey matter")
    controller.rename_class(controller.add_class(), "white matter")
    controller.select(1)
    widget.new_hints()
    truth, rng = tissue(), np.random.default_rng(3)
    for z in (SHOWN, *SLICES):
        for k, label in ((1, 1), (2, 2), (0, 255)):
            controller.hints.data[:, :, z][strokes(truth[:, :, z] == k, 9, rng)] = label
    controller.hints.refresh()
    viewer.dims.set_point(2, SHOWN * 2.0)
    viewer.scene.camera.zoom *= 1.1
    wait(1)
    began = time.monotonic()
    widget.segment()
    first = None
    while time.monotonic() - began < SECONDS and widget.worker is not None:
        wait(0.05)
        if first is None and any("mask" in layer.name for layer in viewer.layers):
            first = time.monotonic() - began
            print(f"first mask after {first:.1f} s")
    QApplication.processEvents()
    picture = Image.fromarray(viewer.window.screenshot(canvas_only=False, flash=False))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    picture.convert("RGB").quantize(255, dither=Image.Dither.NONE).save(OUT, optimize=True)
    print(f"{OUT.name}: {picture.size}, {OUT.stat().st_size // 1024} kB")
    stopped = time.monotonic()
    widget.stop()
    wait(30, lambda: widget.worker is None)
    print(f"stopped after {time.monotonic() - stopped:.2f} s: {controller.message or widget.status.text()}")
    viewer.close()


if __name__ == "__main__":
    main()
