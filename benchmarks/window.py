"""The plugin's real window: how long it does not answer while a network trains, Stop, and a large zarr.

`xvfb-run -a -s "-screen 0 1440x960x24 +extension GLX" python -m benchmarks.window`. A timer beats every 5 ms
in the thread that draws, and how late a beat comes is how long the window did not answer. The same script,
strokes into a labels layer of a 128³ volume and steps from slice to slice, runs in napari alone, with the
plugin while it loads torch, while it answers, and while it trains; milliseconds. A busy machine makes late
beats of its own: `cpu` is the longest that the thread itself computed from one beat to the next, `waited`
the longest that it neither computed nor stood in the queue for a core, so for other threads or the screen
(Linux). The zarr is 512³ in chunks of 64³: seconds until one can draw on it, by napari's own labels or with
the panel, those that this thread computed, and the peak of memory once torch is there.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.common import keep, options, table

BEAT = 0.005  # seconds
LASTS = 30  # seconds that each script runs
PAUSE = 0.1  # seconds from one action of the script to the next
SIDE, LARGE = 128, 512
CASES = ("alone", "loading", "answering", "training")


def volume() -> np.ndarray:
    """A bright ball in noise."""
    grid = np.indices((SIDE,) * 3) - SIDE / 2
    inside = (grid**2).sum(0) < (SIDE / 4) ** 2
    return (inside * 2 + np.random.default_rng(0).normal(0, 0.5, inside.shape)).astype(np.float32)


def strokes(viewer, labels) -> Iterator[None]:
    """A person who draws: one action a step, for ever."""
    rng = np.random.default_rng(1)
    while True:
        z = int(rng.integers(SIDE // 3, 2 * SIDE // 3))
        viewer.dims.set_current_step(0, z)
        yield
        y, x = rng.integers(SIDE // 4, 3 * SIDE // 4, 2)
        inside = ((np.array([z, y, x]) - SIDE / 2) ** 2).sum() < (SIDE / 4) ** 2
        for step in range(6):
            labels.paint((z, y, x + step), 1 if inside else 255)
            yield


class Heart:
    """Beats in the thread of the window and notes how late each beat came."""

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

        self.late: list[float] = []
        self.cpu: list[float] = []
        self.waited: list[float] = []
        self._last, self._spent = time.perf_counter(), spent()
        self._timer = QTimer()
        self._timer.timeout.connect(self._beat)
        self._timer.start(round(1000 * BEAT))

    def _beat(self) -> None:
        now = time.perf_counter()
        self.late.append(1000 * max(0.0, now - self._last - BEAT))
        cpu, queued = (1000 * (b - a) for a, b in zip(self._spent, spent(), strict=True))
        self.cpu.append(cpu)
        self.waited.append(self.late[-1] - cpu - queued)
        self._last, self._spent = now, spent()

    def stop(self) -> dict[str, float]:
        """The longest beats, milliseconds."""
        self._timer.stop()
        late = np.array(self.late)
        return {
            "median": float(np.median(late)),
            "95 %": float(np.percentile(late, 95)),
            "99.9 %": float(np.percentile(late, 99.9)),
            "longest": float(late.max()),
            "over 50 ms": int((late > 50).sum()),
            "cpu": max(self.cpu),
            "waited": max(self.waited),
        }


def spent() -> tuple[float, float]:
    """Seconds that this thread has computed, and those that it stood in the queue for a core."""
    path = Path("/proc/thread-self/schedstat")
    if not path.exists():
        return time.thread_time(), 0.0
    computed, queued, _ = map(int, path.read_text().split())
    return 1e-9 * computed, 1e-9 * queued


def live(
    seconds: float, act: Callable[[], object] = lambda: None, until: Callable[[], bool] | None = None
) -> float:
    """Let the window live, with an action every `PAUSE`; gives back the seconds that passed."""
    from qtpy.QtCore import QEventLoop, QTimer

    loop, begin = QEventLoop(), time.perf_counter()
    timer = QTimer()

    def tick() -> None:
        act()
        if time.perf_counter() - begin > seconds or (until is not None and until()):
            loop.quit()

    timer.timeout.connect(tick)
    timer.start(round(1000 * PAUSE))
    loop.exec_() if hasattr(loop, "exec_") else loop.exec()
    timer.stop()
    return time.perf_counter() - begin


def beats(case: str) -> dict:
    """One script in a window of its own."""
    import napari

    from napari_plugin.backend import is_loaded

    viewer = napari.Viewer(show=True)
    viewer.add_image(volume(), name="ball")
    if case == "alone":
        labels, widget = viewer.add_labels(np.zeros((SIDE,) * 3, np.uint8)), None
    else:
        from napari_plugin.widget import SegmentWidget

        widget = SegmentWidget(viewer)
        viewer.window.add_dock_widget(widget, name="wsseg")
        widget.new_hints()
        labels = widget.controller.hints
    labels.brush_size = 5
    script = strokes(viewer, labels)
    row: dict = {"case": case}
    if case == "loading":
        live(0.5)  # the panel is drawn
        heart = Heart()
        row["seconds"] = live(120, lambda: next(script), until=is_loaded)
        return row | heart.stop()
    if widget is not None:
        live(120, lambda: next(script), until=is_loaded)
    live(5, lambda: next(script))  # what comes once has come
    if widget is not None and case == "training":
        widget.steps.setValue(100_000)
        widget.segment()
        live(120, until=lambda: widget.controller.model is not None)
    heart = Heart()
    live(LASTS, lambda: next(script))
    row |= heart.stop()
    if widget is not None and case == "training":
        row["steps"] = len(widget.controller.losses)
        begin = time.perf_counter()
        widget.go_or_stop()
        row["stop"] = 1000 * (time.perf_counter() - begin)
        assert widget.worker is None
        live(30, until=lambda: not widget.controller.run)
    viewer.close()
    return row


def opening(case: str, path: Path) -> dict:
    """Open a large zarr and be ready to draw on it."""
    import dask.array
    import napari

    viewer = napari.Viewer(show=True)
    begin, computed = time.perf_counter(), time.thread_time()
    layer = viewer.add_image(dask.array.from_zarr(path), name="large", contrast_limits=(0, 255))
    if case == "labels":
        viewer.add_labels(np.zeros(layer.data.shape, np.uint8))
    if case == "plugin":
        from napari_plugin.widget import SegmentWidget

        widget = SegmentWidget(viewer)
        viewer.window.add_dock_widget(widget, name="wsseg")
        widget.images.setCurrentText(layer.name)
        widget.new_hints()
    live(0)
    row = {"case": f"512³ zarr, {case}", "seconds": time.perf_counter() - begin}
    row["cpu"] = time.thread_time() - computed
    if case == "plugin":
        from napari_plugin.backend import is_loaded

        live(120, until=is_loaded)
    live(3)  # what else begins in the background
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    viewer.close()
    return row | {"peak_mb": peak}


def _apart(*arguments: str) -> dict:
    """One case in a process of its own, so that its memory and threads are its own."""
    import json

    command = [sys.executable, "-m", "benchmarks.window", "--one", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def _kept(*arguments: str) -> dict:
    """The same, kept at once: all cases take many minutes."""
    row = _apart(*arguments)
    keep("window", row)
    return row


def main() -> None:
    """Both tables."""
    import json

    chosen = options(
        __doc__,
        parts={"nargs": "+", "default": ["beats", "zarr"], "choices": ["beats", "zarr"]},
        one={"nargs": 2, "default": None, "help": "for itself: a single case"},
    )
    if chosen.one:
        what, case = chosen.one
        row = beats(case) if not Path(what).exists() else opening(case, Path(what))
        print(json.dumps(row), flush=True)
        os._exit(0)  # workers may be at their last answer; nobody waits for that
    with tempfile.TemporaryDirectory() as place:
        os.environ["WSSEG_SESSIONS"] = str(Path(place) / "sessions")
        if "beats" in chosen.parts:
            table([_kept("beats", case) for case in CASES])
        if "zarr" in chosen.parts:
            import zarr

            path = Path(place) / "large.zarr"
            array = zarr.create_array(path, shape=(LARGE,) * 3, chunks=(64,) * 3, dtype="uint8")
            rng = np.random.default_rng(0)
            for start in range(0, LARGE, 64):
                array[start : start + 64] = rng.integers(0, 255, (64, LARGE, LARGE), np.uint8)
            table([_kept(str(path), case) for case in ("alone", "labels", "plugin")])


if __name__ == "__main__":
    main()
