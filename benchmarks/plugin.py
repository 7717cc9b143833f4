"""The napari plugin without a window: from button to masks of boxes, what saving and undoing a stroke costs.

`python -m benchmarks.plugin`. The controller is driven as the widget drives it, so that the time is that of
reading the boxes, the work, and writing the layers; drawing on screen comes on top.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from napari.components import ViewerModel

from napari_plugin.autosave import Autosave
from napari_plugin.backend import loading
from napari_plugin.controller import Controller
from napari_plugin.results import find
from napari_plugin.timeline import STEPS
from wsseg.steps import Step, finish

SIZE, COUNT = 512, 30
STROKES = 40


def discs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Blurred bright discs of 16 to 40 pixels on a noisy ground, and the number of the disc at each pixel."""
    rng = np.random.default_rng(0)
    truth = np.zeros((SIZE, SIZE), int)
    grid = np.indices(truth.shape)
    number = 0
    while number < count:
        radius, centre = rng.uniform(8, 20), rng.uniform(25, SIZE - 25, 2)
        inside = ((grid - centre[:, None, None]) ** 2).sum(0) < radius**2
        near = ((grid - centre[:, None, None]) ** 2).sum(0) < (radius + 6) ** 2
        if not truth[near].any():
            number += 1
            truth[inside] = number
    return 60 + 60 * (truth > 0) + rng.normal(0, 20, truth.shape), truth


def seconds(controller: Controller, *, again: bool = False) -> tuple[float, float]:
    """Until the first masks are shown, and until all are."""
    began, first = time.perf_counter(), None
    work = controller.find_objects(again=again)
    for event in work:
        controller.take(event, controller.generation)
        if first is None and isinstance(event, Step) and event.stage == "boxes" and event.index:
            first = time.perf_counter() - began
    controller.end(controller.generation)
    return first or time.perf_counter() - began, time.perf_counter() - began


def saving(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds that each stroke's saving takes of the main thread, and until it is on disk."""
    viewer, rng = ViewerModel(), np.random.default_rng(0)
    controller = Controller(viewer.layers)
    controller.choose_image(viewer.add_image(np.zeros(shape, np.uint8), name="zeros"))
    hints = controller.new_hints()
    hints.brush_size = 12
    taken, written = [], []
    with tempfile.TemporaryDirectory() as place:
        autosave = Autosave(controller, Path(place))
        for _ in range(STROKES):
            hints.paint(tuple(rng.integers(0, shape)), int(rng.integers(1, 4)))
            began = time.perf_counter()
            autosave.pulse()
            taken.append(time.perf_counter() - began)
            while autosave.busy():
                time.sleep(0.001)
            written.append(time.perf_counter() - began)
        autosave.close()
    return 1000 * np.array(taken), 1000 * np.array(written)


def undoing(shape: tuple[int, ...]) -> tuple[dict[str, np.ndarray], float]:
    """Milliseconds of each undo and redo, by the part that it changes; MB kept for all of them."""
    viewer, rng = ViewerModel(), np.random.default_rng(0)
    controller = Controller(viewer.layers)
    controller.choose_image(viewer.add_image(np.zeros(shape, np.uint8), name="zeros"))
    hints, clicks, boxes = controller.new_hints(), controller.new_clicks(), controller.new_boxes()
    controller.boxes.set_depth(4)
    hints.n_edit_dimensions = len(shape)
    hints.data[:] = rng.integers(0, 2, shape)
    for step in range(STEPS // 3):
        place = rng.uniform(0.2, 0.8, len(shape)) * shape
        hints.brush_size = 10 if step % 4 else min(shape)
        hints.paint(tuple(int(p) for p in place), 1 + step % 3)
        clicks.add(place)
        corners = np.tile(place, (4, 1))
        corners[:, -2:] += np.array([[-9, -9], [-9, 9], [9, 9], [9, -9]])
        boxes.add_rectangles(corners)
    kept = controller.timeline.size() / 2**20
    taken: dict[str, list[float]] = {}
    for which, go in enumerate((controller.timeline.undo, controller.timeline.redo)):
        while controller.timeline.words()[which]:
            began = time.perf_counter()
            part = go().changes[0].part
            taken.setdefault(part, []).append(1000 * (time.perf_counter() - began))
    return {part: np.array(one) for part, one in taken.items()}, kept


def main() -> None:
    """Print the tables."""
    print("| undo or redo in | of | median, 95 %, most, ms | all kept, MB |\n|---|---|---|---|")
    for shape in ((512, 512), (128, 128, 128)):
        taken, kept = undoing(shape)
        for part, one in taken.items():
            cells = ", ".join(f"{v:.0f}" for v in (*np.percentile(one, (50, 95)), one.max()))
            print(f"| {' × '.join(map(str, shape))} | {part} | {cells} | {kept:.1f} |")
    print("| a stroke in | main thread, median, 95 %, ms | on disk, median, 95 %, ms |\n|---|---|---|")
    for shape in ((512, 512), (128, 128, 128), (512, 512, 512)):
        told = [np.percentile(one, (50, 95)) for one in saving(shape)]
        cells = " | ".join(", ".join(f"{value:.1f}" for value in one) for one in told)
        print(f"| {' × '.join(map(str, shape))} | {cells} |")
    began = time.perf_counter()
    finish(loading())
    print(f"torch loaded in {time.perf_counter() - began:.1f} s, in the background while one draws")
    image, truth = discs(COUNT)
    viewer = ViewerModel()
    controller = Controller(viewer.layers)
    controller.choose_image(viewer.add_image(image, name="discs"))
    layer = controller.new_boxes()
    for number in range(1, COUNT + 1):
        where = np.argwhere(truth == number)
        layer.add(np.array([where.min(0) - 0.5, where.max(0) + 0.5]), shape_type="rectangle")
    print("|  | first masks, s | all masks, s | CPU, s |\n|---|---|---|---|")
    for what in (f"{COUNT} boxes, first time", f"{COUNT} boxes, again", "one moved", "one deleted"):
        if what == "one moved":
            layer.data = [one + (2.0 if index == 3 else 0.0) for index, one in enumerate(layer.data)]
        if what == "one deleted":
            layer.remove([5])
        cpu = time.process_time()
        first, all_ = seconds(controller, again=what.endswith("again"))
        print(f"| {what} | {first:.2f} | {all_:.2f} | {time.process_time() - cpu:.2f} |")
        if what.endswith("again"):
            objects = find(viewer.layers, controller.image, "objects").data
            pairs = [(objects == k, truth == k) for k in range(1, COUNT + 1)]
            iou = np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs])
    print(f"mean IoU {iou:.3f}")


if __name__ == "__main__":
    main()
