"""The page "Learn from my scans": it shows the learner's state and calls it, nothing more."""

from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
)

from napari_plugin.closing import CONTINUE, CloseGuard
from napari_plugin.curve import Curve
from napari_plugin.docks import PANEL, open_dock
from napari_plugin.forms import Sentence, button, fill_column, form, row, widen
from napari_plugin.learner import Learner
from napari_plugin.learnwords import found, seen
from napari_plugin.pretexts import HONEST, METHODS, MODALITIES, recommended
from napari_plugin.scanfiles import Loaded, of_layers
from napari_plugin.trying import Tried
from napari_plugin.worker import sentence, start
from wsseg.errors import InputError

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

CURVES = {
    "loss": ("loss", "What the network is trained on; it should fall and level off."),
    "spread": (
        "spread",
        "How unlike crops are to the encoder. It falls to nothing in a collapse, and the run stops.",
    ),
    "rank": ("directions", "How many directions crops are told apart along; many is good."),
    "alignment": ("alignment", "How far apart two crops are that show nearly the same; it should fall."),
    "nearest": ("same subject", "How often the nearest crop is of the same subject; the dots are chance."),
    "accuracy": ("task solved", "It should rise slowly from chance, the dots; soon near 1 is a shortcut."),
}
CHANCE = {"nearest": "nearest_chance", "accuracy": "chance"}
SETTLED = 700  # milliseconds after the last change before a look begins


class LearnPage(QScrollArea):
    """Scans at the top, then what was found, the run with its curves, and what becomes of the encoder."""

    def __init__(self, napari_viewer: "Viewer") -> None:
        super().__init__()
        self.viewer, self.learner = napari_viewer, Learner()
        self.worker: Any = None
        self._next: Callable[[], None] | None = None  # what begins when the look under way has ended
        self._picked = False  # the user has chosen the method, or taken over a run that has one
        self.setWidgetResizable(True)
        self._build()
        self._listen()
        self._show()

    # what is on it

    def _build(self) -> None:
        self.scans, self.out = Sentence(), QLineEdit()
        self.method, self.modality, self.steps = QComboBox(), QComboBox(), QSpinBox()
        for name in METHODS:
            self.method.addItem(name, name)
        for index, why in enumerate(METHODS.values()):
            self.method.setItemData(index, why, Qt.ItemDataRole.ToolTipRole)
        self.modality.addItem("guess", None)
        for key, words in MODALITIES.items():
            self.modality.addItem(words, key)
        self.modality.setToolTip("What the scans are: views of a CT may not change what those of an MR may.")
        self.steps.setRange(0, 1_000_000)
        self.steps.setSingleStep(100)
        self.steps.setSpecialValueText("auto")
        self.why, self.found, self.status, self.seen, self.message, self.honest = (
            Sentence() for _ in range(6)
        )
        self.go, self.stop_button = QPushButton("Start"), QPushButton("Stop")
        self.use = button("Use for this annotation task", self.use_encoder)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.curves = {key: Curve(*words) for key, words in CURVES.items()}
        grid = QGridLayout()
        for index, curve in enumerate(self.curves.values()):
            grid.addWidget(curve, index // 2, index % 2)

        column = QVBoxLayout()
        column.addLayout(self._sources())
        column.addWidget(self.scans)
        column.addLayout(form(("Method", self.method)))
        column.addWidget(self.why)
        place = row(self.out, button("…", self.ask_out), stretch=0)
        column.addLayout(form(("Scans are", self.modality), ("Steps", self.steps), ("Encoder", place)))
        column.addWidget(self.found)
        column.addLayout(row(self.go, self.stop_button, stretch=0))
        for widget in (self.bar, self.status, self.message):
            column.addWidget(widget)
        column.addLayout(grid)
        column.addWidget(self.seen)
        column.addLayout(row(self.use, button("Open encoder …", self.ask_encoder), stretch=0))
        column.addWidget(self.honest)
        column.addStretch()
        fill_column(self, column)
        self.honest.tell(HONEST)
        widen(self)

    def _sources(self) -> QHBoxLayout:
        folder, layers = button("Folder of scans …", self.ask_folder), button("Open images", self.take_layers)
        layers.setToolTip("Learn from the image layers that are open.")
        return row(folder, layers, stretch=0)

    def _listen(self) -> None:
        self.method.activated.connect(self.pick)
        self.modality.activated.connect(lambda: self.choose(modality=self.modality.currentData()))
        self.steps.valueChanged.connect(lambda steps: self.choose(steps=steps or None))
        self.out.editingFinished.connect(lambda: self.choose(out=_path(self.out.text())))
        self.go.clicked.connect(self.learn)
        self.stop_button.clicked.connect(self.stop)
        self.timer, self.settled = QTimer(self), QTimer(self)
        self.timer.timeout.connect(self._show)
        self.settled.setSingleShot(True)
        self.settled.timeout.connect(self.look)
        self.guard = CloseGuard(self, self._learning, CONTINUE, self.learner.leave)
        # a window that is closed, and napari that is left, stop what runs; the process keeps its checkpoint
        self.destroyed.connect(self.learner.leave)
        cast(QApplication, QApplication.instance()).aboutToQuit.connect(self.learner.leave)

    # what the user does

    def ask_folder(self) -> None:
        """Learn from the folder that the user names."""
        name = QFileDialog.getExistingDirectory(self, "Folder of scans (searched at any depth)")
        if name:
            self.try_to(lambda: self.take_scans((Path(name),)))

    def take_layers(self) -> None:
        """Learn from the image layers that are open."""
        kinds = [layer for layer in self.viewer.layers if type(layer).__name__ == "Image"]
        self.try_to(lambda: self.take_scans(of_layers(cast("list[Image]", kinds))))

    def take_scans(self, scans: tuple[Path | Loaded, ...]) -> None:
        """Learn from these; a place for the encoder is proposed."""
        if not scans:
            raise InputError("No image is open; open some, or choose a folder of scans.")
        self.learner.choose(scans=scans)
        self.choose(out=self.learner.suggest())

    def choose(self, **changes: Any) -> None:
        """Change the choice, and look again when the hand rests."""
        if self.try_to(lambda: self.learner.choose(**changes)).value:
            self.settled.start(SETTLED)

    def pick(self) -> None:
        """Learn by the method that is shown, whatever the scans turn out to be."""
        self._picked = True
        self.choose(method=self.method.currentData())

    def advise(self) -> None:
        """Once it is known what the scans are: take the method for such, unless the user has chosen one."""
        if (
            self.learner.plan is None
            or self._picked
            or self.learner.finished
            or self.learner.kept is not None
        ):
            return
        method = recommended(self.learner.plan["modality"])
        self.method.setCurrentIndex(self.method.findData(method))
        self.choose(method=method)

    def ask_out(self) -> None:
        """Write the encoder where the user says; a run that was stopped there goes on."""
        name, _ = QFileDialog.getSaveFileName(
            self, "Encoder (a folder)", str(self.learner.choice.out or ""), options=_FOLDER
        )
        if name:
            self.choose(out=Path(name))

    def look(self) -> None:
        """Say what there is and how long it would take, unless that is known or the run is under way."""
        learner = self.learner
        if learner.stage != "learn" and learner.choice.scans and learner.seconds is None:
            self._begin(learner.look)

    def learn(self) -> None:
        """Start, or go on."""
        self.settled.stop()
        self._begin(self.learner.learn)

    def stop(self) -> None:
        """Stop after the step under way; what was learned is kept."""
        self.settled.stop()
        self._next = None
        self.learner.stop()
        self._show()

    def use_encoder(self) -> None:
        """The main panel's next Segment starts from this encoder."""
        folder = cast(Path, self.learner.choice.out)
        main = self._main()
        if main.worker is not None:
            self.learner.message = "The main panel is at work; press Stop there first."
        else:
            main.begin(lambda: main.controller.use_encoder(folder))
        self._show()

    def ask_encoder(self) -> None:
        """Go on with an encoder that was made before, here or by the shell, or with a stopped run."""
        name = QFileDialog.getExistingDirectory(self, "Open an encoder, or a run that was stopped (a folder)")
        if name:
            self.open_encoder(Path(name))

    def open_encoder(self, folder: Path) -> None:
        """As `ask_encoder`; the main panel's next Segment starts from one that is finished."""
        if self.try_to(lambda: self.learner.adopt(folder)):
            choice, self._picked = self.learner.choice, True
            for box, value in ((self.method, choice.method), (self.modality, choice.modality)):
                box.setCurrentIndex(box.findData(value))
            self.steps.setValue(choice.steps or 0)
            if self.learner.finished:
                self.use_encoder()

    # how it is done

    def try_to(self, action: Callable[[], Any]) -> Tried:
        """Call the learner; show an InputError as its sentence. See `Tried`."""
        try:
            return Tried(True, action())
        except InputError as error:
            self.learner.message = str(error)
            return Tried(False)
        finally:
            self._show()

    def _learning(self) -> str:
        return self.learner.status() if self.learner.stage == "learn" else ""

    def _main(self) -> Any:
        return open_dock(self.viewer, PANEL)

    def _begin(self, make: Callable[[], Generator[Any, None, Any]]) -> None:
        if self.learner.stage == "look":
            self._next = partial(self._begin, make)
            self.learner.stop()
            return
        if not (made := self.try_to(make)):
            return
        problems: list[str] = []
        self.worker = start(
            made.value,
            event=self.learner.take,
            result=lambda _: None,
            error=lambda error: problems.append(sentence(error)),
            finished=partial(self._finished, problems),
        )
        self.timer.start(250)
        self._show()

    def _finished(self, problems: list[str]) -> None:
        self.learner.end(" ".join(problems))
        if self.learner.left:
            return
        self.worker = None
        self.timer.stop()
        if self._next is not None:
            begin, self._next = self._next, None
            begin()
        elif not problems:
            self.advise()
        self._show()

    def _show(self) -> None:
        learner, choice = self.learner, self.learner.choice
        names = [scan.name for scan in choice.scans]
        self.scans.tell(", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else ""))
        self.scans.setToolTip(
            "\n".join(str(scan) if isinstance(scan, Path) else scan.name for scan in choice.scans)
        )
        if not self.out.hasFocus():
            self.out.setText("" if choice.out is None else str(choice.out))
        self.why.tell(METHODS[choice.method])
        self.found.tell("\n".join(found(learner.plan, learner.seconds)) if learner.plan else "")
        busy, learning = learner.stage is not None, learner.stage == "learn"
        for widget in (self.method, self.modality, self.steps, self.out):
            widget.setEnabled(not learning)
        self.go.setText("Continue" if learner.kept is not None and not learning else "Start")
        self.go.setEnabled(not learning and bool(choice.scans) and not learner.finished)
        self.stop_button.setEnabled(busy)
        self.use.setEnabled(learner.finished)
        share = learner.share() if busy else 0.0
        self.bar.setRange(0, 0 if share is None else 1000)
        self.bar.setValue(round(1000 * (share or 0)))
        self._show_curves()
        self.status.tell(learner.status())
        self.seen.tell("\n".join([*learner.warnings, *seen(learner.rows)]))
        self.message.tell(learner.message)

    def _show_curves(self) -> None:
        steps = self.learner.plan["steps"] if self.learner.plan else 0
        for key, curve in self.curves.items():
            values = self.learner.curve(key)
            chance = self.learner.curve(CHANCE[key])[-1:] if key in CHANCE else []
            total = steps if key in ("loss", "accuracy") else self.learner.readings
            curve.show_values(values, total, chance[0] if chance else None)
        self.curves["accuracy"].setVisible(bool(self.learner.curve("accuracy")))


_FOLDER = QFileDialog.Option.DontConfirmOverwrite


def _path(text: str) -> Path | None:
    return Path(text).expanduser() if text.strip() else None
