"""The tutorial of docs/napari.md, done by a robot in the real window: from the sample of coins to a file.

`python tutorial.py OUT STEPS`: a training of STEPS, 0 = the usual ones; what was exported and shown goes to
OUT. With $PICTURES set each step leaves its picture in that folder.
"""

import os
import sys
from pathlib import Path

import numpy as np
from hand import SHIFT, Hand, choose_in_menu, open_panel
from PIL import Image as Picture
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from scipy import ndimage
from skimage.filters import threshold_otsu

from napari_plugin import backend
from napari_plugin.results import find

PICTURES = os.environ.get("PICTURES")
WIDTH = 1100  # of the pictures


def coins_of(values: np.ndarray) -> list[tuple[slice, ...]]:
    """Bounding boxes of the coins that lie whole and bright in the picture, from top left."""
    smooth = ndimage.gaussian_filter(values.astype(float), 2)
    smooth -= ndimage.gaussian_filter(smooth, 40)
    pieces, _ = ndimage.label(ndimage.binary_fill_holes(smooth > threshold_otsu(smooth)))
    sizes = np.bincount(pieces.ravel())
    boxes = [box for k, box in enumerate(ndimage.find_objects(pieces), 1) if 900 < sizes[k] < 4000]
    return [box for box in boxes if 4 < box[0].start and box[0].stop < values.shape[0] - 4]


def middle(box: tuple[slice, ...]) -> tuple[float, float]:
    """Of a box."""
    y, x = ((one.start + one.stop) / 2 for one in box)
    return y, x


class Tutor:
    """Shows how it is done.

    Args:
        viewer: napari's.
        widget: The panel in it.
    """

    def __init__(self, viewer, widget) -> None:
        self.viewer, self.widget, self.controller = viewer, widget, widget.controller
        self.hand = Hand(viewer, widget)
        self.image = widget.controller.image
        self.coins = coins_of(np.asarray(self.image.data))

    def picture(self, name: str) -> None:
        """Take a picture of the window."""
        if not PICTURES:
            return
        self.hand.live(0.6)
        shot = Picture.fromarray(self.viewer.window.screenshot(canvas_only=False, flash=False)).convert("RGB")
        shot = shot.resize((WIDTH, round(shot.height * WIDTH / shot.width)), Picture.Resampling.LANCZOS)
        shot.quantize(255, dither=Picture.Dither.NONE).save(Path(PICTURES) / f"{name}.png", optimize=True)

    def mask(self):
        """The layer of the mask."""
        return find(self.controller.layers, self.image, "mask")

    def stroke(self, box, label: int) -> None:
        """A wavy line through a coin, or under it where the label is background."""
        y, x = middle(box)
        reach = 0.28 * (box[1].stop - box[1].start)
        y += 0 if label == 1 else 0.62 * (box[0].stop - box[0].start)
        reach *= 1 if label == 1 else 1.8
        self.hand.drag(*[(y + 2 * np.sin(3 * t), x + reach * t) for t in np.linspace(-1, 1, 9)])

    def draw(self) -> None:
        """Two coins and the background between, in the hints."""
        self.hand.press("New")
        self.controller.hints.brush_size = 5
        for at in (1, 8):
            self.stroke(self.coins[at], 1)
        self.hand.key(Qt.Key.Key_Q)
        for at in (1, 8):
            self.stroke(self.coins[at], 255)
        width = self.image.data.shape[1]
        self.hand.drag(*[(6, part * width) for part in (0.05, 0.3, 0.6, 0.9)])
        self.hand.wait(lambda: self.mask() is not None and self.mask().data.any(), 120)
        self.hand.rest(1.0)

    def correct(self) -> tuple[int, ...]:
        """Paint on the mask where a coin is not whole; gives a pixel that this has changed."""
        self.hand.key(Qt.Key.Key_N)
        self.viewer.layers.selection.active = self.mask()
        self.mask().mode, self.mask().brush_size = "paint", 9
        mask = self.mask().data
        missed = [np.count_nonzero(mask[box] == 0) / mask[box].size for box in self.coins]
        y, x = middle(self.coins[int(np.argmax(missed))])
        before = mask.copy()
        self.hand.drag((y, x - 9), (y, x), (y, x + 9))
        painted = np.argwhere(self.mask().data != before)[0]
        self.hand.rest(0.5)
        return tuple(painted)

    def polygon(self, top: float, bottom: float, left: float, right: float) -> None:
        """Draw around this, corner by corner."""
        corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
        for corner in corners:
            self.hand.click(corner)
        self.hand.click(corners[-1], twice=True)

    def learn(self, steps: int) -> None:
        """Train, and take the picture when half is done."""
        self.widget.steps.setValue(steps)
        self.hand.key(Qt.Key.Key_G)
        run = self.controller.run
        self.hand.wait(lambda: run.trained is not None and 2 * run.trained.index > run.trained.total, 600)
        self.picture("step-4-segment")
        self.hand.wait(lambda: self.widget.worker is None, 600)
        self.hand.rest()

    def accept(self) -> tuple[int, int]:
        """Accept a coin, and then a region around another; gives a voxel of the region."""
        self.hand.hover(middle(self.coins[8]))
        self.hand.key(Qt.Key.Key_J, SHIFT)
        self.hand.key(Qt.Key.Key_K, SHIFT)
        box = self.coins[9]
        (top, bottom), (left, right) = ((one.start - 5, one.stop + 5) for one in box)
        self.polygon(top, bottom, left, right)
        self.hand.rest(0.5)
        y, x = middle(box)
        return int(y), int(x)

    def export(self, path: Path) -> None:
        """Save the mask and export it, by the panel's buttons."""
        self.hand.press_and_name("Save mask …", path.with_suffix(".tif"))
        self.hand.rest()
        self.hand.pick(self.widget.leaving.format, "PNG")
        self.hand.press_and_name("Export …", path.with_suffix(".png"))
        self.hand.rest()
        self.widget.ensureWidgetVisible(self.widget.images)


def main(out: Path, steps: int) -> None:
    """All steps."""
    import napari

    viewer = napari.Viewer(show=True)
    viewer.theme = "dark"
    viewer.window.resize(1240, 860)
    QApplication.setAttribute(Qt.ApplicationAttribute.AA_DontUseNativeDialogs)  # nobody reaches into those
    choose_in_menu(viewer, "File", "Open Sample", "wsseg", "Coins (2D)")
    tutor = Tutor(viewer, open_panel(viewer))
    tutor.hand.wait(backend.is_loaded, 120)
    tutor.hand.live(0.5)  # the docks have their sizes by then
    viewer.reset_view()
    tutor.picture("step-1-open")
    tutor.draw()
    tutor.picture("step-2-draw")
    painted = tutor.correct()
    tutor.picture("step-3-correct")
    hints = np.array(tutor.controller.hints.data)
    tutor.learn(steps)
    region = tutor.accept()
    tutor.picture("step-5-accept")
    tutor.export(out / "coins_mask")
    tutor.picture("step-6-export")
    locked = np.array(tutor.controller.lock.map_of(tutor.image))
    places = {"painted": painted, "region": region, "accepted": [int(v) for v in middle(tutor.coins[8])]}
    mask = np.array(tutor.mask().data)
    np.savez(out / "shown.npz", mask=mask, hints=hints, locked=locked, **places)
    viewer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
