"""A robot that annotates in the real window with mouse and keyboard, until it is killed.

`python annotator.py annotate OUT NAME`: draws all five kinds of hint on an image of `images`, trains, stops,
corrects, undoes, accepts, saves; writes what is marked then to OUT/NAME.npz, and kills itself as a crash
would. `python annotator.py find_again OUT NAME`: restores it, writes the same to OUT/NAME-again.npz, exports.
With $PICTURES set it takes a picture of the window.
"""

import os
import signal
import sys
import time
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QPushButton, QWidget

from napari_plugin.results import find
from napari_plugin.taglayer import tags_of
from napari_plugin.widget import SegmentWidget

PICTURES = os.environ.get("PICTURES")
CONTROL, SHIFT, NONE = (
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.ShiftModifier,
    Qt.KeyboardModifier.NoModifier,
)


def ball(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A bright ball in noise; conftest has one too, but that loads torch before the window is there."""
    grid = np.stack(np.meshgrid(*[(np.arange(n) / n) - 0.5 for n in shape], indexing="ij"), -1)
    noise = np.random.default_rng(seed).normal(0, 0.3, shape)
    return (2.0 * (np.linalg.norm(grid, axis=-1) < 0.3) + noise).astype(np.float32)


def images() -> dict[str, tuple[np.ndarray, dict]]:
    """Name, values and place of each image: a picture, and a volume that is turned in the scanner."""
    turn = np.deg2rad(25.0)
    affine = np.diag([2.0, 0.8, 0.8, 1.0])
    affine[1:3, 1:3] = 0.8 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    affine[:3, 3] = (10.0, -20.0, 30.0)
    return {
        "picture": (ball((48, 48), 0), {}),
        "turned": (ball((8, 32, 32), 2), {"affine": affine}),
    }


class Hand:
    """Mouse and keyboard over the canvas of a viewer.

    Args:
        viewer: napari's.
        widget: The panel in it.
    """

    def __init__(self, viewer, widget: SegmentWidget) -> None:
        self.viewer, self.widget = viewer, widget
        kinds = {type(one).__name__: one for one in widget.window().findChildren(QWidget)}
        self.keys, self.canvas = kinds["QtViewer"], kinds["CanvasBackendDesktop"]

    def key(self, key: Qt.Key, modifier=NONE) -> None:
        """Press a key."""
        QTest.keyClick(self.keys, key, modifier)
        self.live(0.02)

    def press(self, text: str, nth: int = 0) -> None:
        """Press a button of the panel, by what stands on it."""
        buttons = [one for one in self.widget.findChildren(QPushButton) if one.text() == text]
        QTest.mouseClick(buttons[nth], Qt.MouseButton.LeftButton)
        self.live(0.02)

    def drag(self, *places) -> None:
        """Press the left button at a voxel of the image, move over the others, and let go at the last."""
        points = [self.point(place) for place in places]
        self._mouse(QEvent.Type.MouseMove, points[0], down=False)
        self._mouse(QEvent.Type.MouseButtonPress, points[0])
        for start, stop in pairwise(points):
            for part in (0.5, 1.0):
                self._mouse(QEvent.Type.MouseMove, start + part * (stop - start))
        self._mouse(QEvent.Type.MouseButtonRelease, points[-1], down=False)
        self.live(0.02)

    def click(self, place, *, twice: bool = False) -> None:
        """Click on a voxel; `twice` is a double click."""
        point = self.point(place)
        self._mouse(QEvent.Type.MouseMove, point, down=False)
        pressed = QEvent.Type.MouseButtonDblClick if twice else QEvent.Type.MouseButtonPress
        self._mouse(pressed, point)
        self._mouse(QEvent.Type.MouseButtonRelease, point, down=False)
        self.live(0.02)

    def hover(self, place) -> None:
        """Put the cursor on a voxel."""
        self._mouse(QEvent.Type.MouseMove, self.point(place), down=False)

    def point(self, place) -> np.ndarray:
        """Where a voxel of the image is on the canvas: x and y in pixels."""
        dims, camera = self.viewer.dims, self.viewer.scene.camera
        world = np.array(self.widget.controller.image.data_to_world(place))[list(dims.displayed)]
        y, x = (world - camera.center[-2:]) * camera.zoom + np.array(self.viewer.canvas.size) / 2
        return np.array([x, y])

    def _mouse(self, kind, point, *, down: bool = True) -> None:
        left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
        where = QPointF(*(float(v) for v in point))
        button = none if kind == QEvent.Type.MouseMove else left
        held = left if down else none
        event = QMouseEvent(
            kind, where, QPointF(self.canvas.mapToGlobal(where.toPoint())), button, held, NONE
        )
        QApplication.sendEvent(self.canvas, event)
        self.live(0.0)

    def live(self, seconds: float, until=lambda: False) -> None:
        """Let the window live for a while, or until something is so."""
        end = time.monotonic() + seconds
        while True:
            QApplication.processEvents()
            if until() or time.monotonic() >= end:
                return
            time.sleep(0.005)

    def wait(self, until, seconds: float = 60.0) -> None:
        """Let the window live until something is so; it has to become so."""
        self.live(seconds, until)
        assert until(), f"{until.__code__.co_filename}:{until.__code__.co_firstlineno} never came true"

    def rest(self, pause: float = 0.0) -> None:
        """Until nothing is under way, and all is on disk; boxes and answers begin when the hand rests."""
        widget = self.widget
        self.live(pause)
        self.wait(lambda: widget.worker is None and widget.instant.worker is None)
        widget.autosave.pulse()
        self.wait(lambda: not widget.autosave.busy())


def marked(controller) -> dict[str, np.ndarray]:
    """All that is marked and found on the image at work, as arrays."""
    hints, image = controller.peek_hints(), controller.image
    mask, locked = (find(controller.layers, image, role) for role in ("mask", "locked"))
    return {
        "hints": np.array(controller.hints.data),
        "mask": np.array(mask.data),
        "locked": np.array(locked.data),
        "clicks": np.array([(click.class_id, *click.position) for click in hints.clicks]),
        "boxes": np.array([(b.id, b.class_id, *b.start, *b.stop) for b in hints.boxes]),
        "tags": np.array(sorted((t.class_id, t.axis or 0, t.slice or 0) for t in tags_of(image) or ())),
    }


def annotate(viewer, widget: SegmentWidget, out: Path) -> None:
    """All that a person does with one image."""
    hand, c, key = Hand(viewer, widget), widget.controller, Qt.Key
    ndim, image = c.image.ndim, c.image
    middle = 4

    def at(y: float, x: float):
        return (y, x) if ndim == 2 else (viewer_slice(), y, x)

    def viewer_slice() -> float:
        return image.world_to_data(viewer.dims.point)[0]

    def go_to(z: int) -> None:
        if ndim == 3:
            viewer.dims.set_point(0, image.data_to_world((z, 0, 0))[0])
            hand.live(0.02)

    size = image.data.shape[-1]
    centre, radius = size / 2, 0.3 * size
    go_to(middle)
    widget.instant.choose("auto")
    if c.model is not None:
        hand.press("Forget model")  # of another image
        assert c.model is None
    hand.live(0.3)  # the docks have their sizes by then
    viewer.reset_view()

    hand.key(key.Key_1, CONTROL)  # a tag
    assert tags_of(image) is not None
    hand.press("New")  # beside Hints: the brush is taken
    hints = c.hints
    hints.brush_size = 3
    hand.drag(at(centre, centre - radius / 2), at(centre, centre + radius / 2))
    assert (hints.data == 1).sum() > 10
    hand.key(key.Key_Q)
    hand.drag(at(2, 4), at(2, size - 4), at(size - 6, size - 3))
    assert (hints.data == 255).sum() > 10
    go_to(0)
    hand.key(key.Key_U)  # a finished slice
    plane = hints.data if ndim == 2 else hints.data[0]
    assert plane.all()
    if ndim == 2:
        hand.key(key.Key_Z, CONTROL)
        assert not plane.all()
    go_to(middle)
    hand.wait(lambda: find(c.layers, image, "mask") is not None)

    hand.press("New", 1)  # beside Clicks
    hand.drag(at(4, 6))
    assert [click.class_id for click in c.peek_hints().clicks] == [0]
    hand.key(key.Key_N)
    assert viewer.layers.selection.active == c.clicks  # one goes on clicking
    hand.drag(at(centre + 3, centre))
    assert [click.class_id for click in c.peek_hints().clicks] == [0, 1]
    hand.key(key.Key_Z, CONTROL)
    assert len(c.clicks.data) == 1
    hand.key(key.Key_Z, CONTROL | SHIFT)
    assert len(c.clicks.data) == 2

    if ndim == 3:
        c.boxes.set_depth(5)
    hand.key(key.Key_W)
    hand.drag(at(centre - radius, centre - radius), at(centre + radius, centre + radius))
    assert len(c.peek_hints().boxes) == 1
    hand.wait(lambda: find(c.layers, image, "objects") is not None)
    hand.rest()
    assert find(c.layers, image, "objects").data.any()

    widget.steps.setValue(3)
    hand.key(key.Key_G)
    hand.rest()
    assert c.model is not None, widget.message.text()
    assert c.instant.masks.on() == "network"
    widget.steps.setValue(100_000)
    hand.key(key.Key_G)
    hand.wait(lambda: len(c.losses) > 3)
    hand.key(key.Key_G)
    assert widget.worker is None
    widget.steps.setValue(0)
    while c.model is not None:
        hand.press("Undo")  # both runs, and what was set between them
    assert c.model is None
    hand.key(key.Key_Z, CONTROL | SHIFT)
    assert c.model is not None

    before = hints.data.copy()  # a correction
    hand.key(key.Key_Q)
    hand.drag(at(size - 8, 6), at(size - 5, 6))
    corrected = hints.data.copy()
    assert not np.array_equal(before, corrected)
    go_to(0)
    viewer.layers.selection.active = image
    hand.key(key.Key_Z, CONTROL)  # whatever layer is chosen, and the window goes there
    np.testing.assert_array_equal(hints.data, before)
    assert ndim == 2 or round(viewer_slice()) == middle
    hand.key(key.Key_Z, CONTROL | SHIFT)
    np.testing.assert_array_equal(hints.data, corrected)

    widget.instant.choose("instant")  # the network of three steps has found nothing yet
    hand.rest(0.5)
    hand.hover(at(centre, centre))
    hand.key(key.Key_J, SHIFT)
    assert c.lock.map_of(image)[tuple(int(v) for v in at(centre, centre))] == 1
    widget.begin(lambda: c.save("mask", out / f"{image.name}.tif"))
    hand.rest(0.8)  # as long as a person looks at what came
    np.savez(out / f"{image.name}.npz", **marked(c))


def find_again(viewer, widget: SegmentWidget, out: Path) -> None:
    """What a person does after a crash: restore, look, export."""
    hand, c = Hand(viewer, widget), widget.controller
    assert not c.timeline.words()[0]
    hand.press("Restore")
    hand.rest()
    assert widget.go.text() == "Segment on"  # its model is back too
    widget.instant.choose("instant")
    hand.rest(0.8)
    np.savez(out / f"{c.image.name}-again.npz", **marked(c))
    kind, suffix = ("PNG", "png") if c.image.ndim == 2 else ("NIfTI", "nii.gz")
    path = out / f"{c.image.name}.{suffix}"
    widget.begin(lambda: c.leaving.export("mask", kind, path))
    hand.rest()
    assert "Wrote" in c.message


def main(act, out: Path, name: str) -> None:
    """Do this with an image in a window of its own; then die."""
    import napari

    viewer = napari.Viewer(show=True)
    viewer.window.resize(900, 640)  # drawing takes most of the time
    widget = SegmentWidget(viewer)
    viewer.window.add_dock_widget(widget, name="wsseg")
    data, place = images()[name]
    widget.choose_image(viewer.add_image(data, name=name, **place))
    act(viewer, widget, out)
    if PICTURES:
        viewer.window.screenshot(str(out / f"{name}-{act.__name__}.png"), canvas_only=False, flash=False)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    # napari says so of each turned layer, and turned is what is tried here
    warnings.filterwarnings("ignore", message="Non-orthogonal slicing")
    main({"annotate": annotate, "find_again": find_again}[sys.argv[1]], Path(sys.argv[2]), sys.argv[3])
