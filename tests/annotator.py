"""A robot that annotates in the real window with mouse and keyboard, until it is killed.

`python annotator.py annotate OUT NAME`: draws all five kinds of hint on an image of `cases`, trains, stops,
corrects, undoes, accepts, saves; writes what is marked then to OUT/NAME.npz, and kills itself as a crash
would. `python annotator.py find_again OUT NAME`: restores it, writes the same to OUT/NAME-again.npz, exports.
With $PICTURES set it takes a picture of the window.
"""

import os
import signal
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hand import CONTROL, SHIFT, Hand, choose_in_menu, open_panel
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from skimage.data import coins

from napari_plugin.results import find
from napari_plugin.taglayer import tags_of
from napari_plugin.widget import SegmentWidget

PICTURES = os.environ.get("PICTURES")


def ball(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A bright ball in noise; conftest has one too, but that loads torch before the window is there."""
    grid = np.stack(np.meshgrid(*[(np.arange(n) / n) - 0.5 for n in shape], indexing="ij"), -1)
    noise = np.random.default_rng(seed).normal(0, 0.3, shape)
    return (2.0 * (np.linalg.norm(grid, axis=-1) < 0.3) + noise).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Case:
    """An image, and what is where in it.

    Attributes:
        data: Its values.
        place: Its place in the world, as napari's layers take it.
        centre: Of a ball or a coin, y and x in pixels.
        radius: Of that, in pixels.
        outside: Places of a line over background, y and x in pixels.
    """

    data: np.ndarray
    place: dict[str, Any]
    centre: tuple[float, float]
    radius: float
    outside: tuple[tuple[float, float], ...]


def cases() -> dict[str, Case]:
    """By name: the plugin's own sample, a picture, and a volume that is turned in the scanner."""
    turn = np.deg2rad(25.0)
    affine = np.diag([2.0, 0.8, 0.8, 1.0])
    affine[1:3, 1:3] = 0.8 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    affine[:3, 3] = (10.0, -20.0, 30.0)
    volume = ball((8, 32, 32), 2)
    return {
        "coins": Case(coins(), {}, (194.0, 211.0), 24.0, ((80, 8), (80, 290))),
        "turned": Case(volume, {"affine": affine}, (16.0, 16.0), 9.6, ((2, 4), (2, 28), (26, 29))),
    }


def marked(controller) -> dict[str, np.ndarray]:
    """All that is marked and found on the image at work, as arrays."""
    hints, image = controller.peek_hints(), controller.image
    mask, locked = (find(controller.layers, image, role) for role in ("mask", "locked"))
    assert mask.visible
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

    case = cases()[image.name]
    (y, x), radius, height = case.centre, case.radius, image.data.shape[-2]
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
    hand.drag(at(y, x - radius / 2), at(y, x + radius / 2))
    assert (hints.data == 1).sum() > 10
    hand.key(key.Key_Q)
    hand.drag(*(at(*place) for place in case.outside))
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
    hand.drag(at(y + 3, x))
    assert [click.class_id for click in c.peek_hints().clicks] == [0, 1]
    hand.key(key.Key_Z, CONTROL)
    assert len(c.clicks.data) == 1
    hand.key(key.Key_Z, CONTROL | SHIFT)
    assert len(c.clicks.data) == 2

    if ndim == 3:
        c.boxes.set_depth(5)
    hand.key(key.Key_W)
    hand.drag(at(y - radius, x - radius), at(y + radius, x + radius))
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
    hand.drag(at(height - 8, 6), at(height - 5, 6))
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
    hand.hover(at(y, x))
    hand.key(key.Key_J, SHIFT)
    assert c.lock.map_of(image)[tuple(int(v) for v in at(y, x))] == 1
    hand.rest(0.8)  # as long as a person looks at what came: what is accepted changes the answer once more
    hand.press_and_name("Save mask …", out / f"{image.name}.tif")
    hand.rest()
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
    hand.pick(widget.leaving.format, kind)
    hand.press_and_name("Export …", path)
    hand.rest()
    assert "Wrote" in c.message


def main(act, out: Path, name: str) -> None:
    """Do this with an image in a window of its own; then die."""
    import napari

    viewer = napari.Viewer(show=True)
    viewer.window.resize(900, 640)  # drawing takes most of the time
    QApplication.setAttribute(Qt.ApplicationAttribute.AA_DontUseNativeDialogs)  # nobody reaches into those
    if name == "coins":
        choose_in_menu(viewer, "File", "Open Sample", "wsseg", "Coins (2D)")
    else:
        case = cases()[name]
        viewer.add_image(case.data, name=name, **case.place)
    widget = open_panel(viewer)
    np.testing.assert_array_equal(widget.controller.image.data, cases()[name].data)
    act(viewer, widget, out)
    if PICTURES:
        viewer.window.screenshot(str(out / f"{name}-{act.__name__}.png"), canvas_only=False, flash=False)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    # napari says so of each turned layer, and turned is what is tried here
    warnings.filterwarnings("ignore", message="Non-orthogonal slicing")
    main({"annotate": annotate, "find_again": find_again}[sys.argv[1]], Path(sys.argv[2]), sys.argv[3])
