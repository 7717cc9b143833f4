"""The dock widget: it shows the controller's state and calls it, nothing more."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
)

from napari_plugin.autosave import Autosave, sessions_folder
from napari_plugin.backend import begin_loading, thaw
from napari_plugin.boxrows import BoxRows
from napari_plugin.classlist import ClassList
from napari_plugin.closing import SESSION, CloseGuard
from napari_plugin.controller import Controller
from napari_plugin.curve import Curve
from napari_plugin.encoderrow import EncoderRow
from napari_plugin.filebuttons import FileButtons
from napari_plugin.follow import Follow
from napari_plugin.forms import Sentence, button, fill, fill_column, form, group, narrow, row, widen
from napari_plugin.guidepanel import GuidePanel
from napari_plugin.instantpanel import InstantPanel
from napari_plugin.keeplearning import KeepLearning
from napari_plugin.keytable import KeyTable
from napari_plugin.layers import may_be_hints, to_image
from napari_plugin.leaverows import LeaveRows
from napari_plugin.levelrow import LevelRow
from napari_plugin.qualitypanel import QualityPanel
from napari_plugin.restorerow import RestoreRow
from napari_plugin.taglayer import is_heat
from napari_plugin.tagpanel import TagPanel
from napari_plugin.trainrows import TrainRows
from napari_plugin.trying import Tried
from napari_plugin.undorow import UndoRow
from napari_plugin.worker import sentence, start
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND

if TYPE_CHECKING:
    from napari.layers import Layer, Points
    from napari.viewer import Viewer

DRAWN = 200  # milliseconds in which the panel is drawn


class SegmentWidget(QScrollArea):
    """Hints in, mask out: one column from the image at the top to the files at the bottom."""

    def __init__(self, napari_viewer: "Viewer") -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.controller = Controller(napari_viewer.layers)
        self.autosave = Autosave(self.controller, sessions_folder())
        self.keeping = KeepLearning(self.controller)
        self.worker: Any = None
        self.setWidgetResizable(True)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self._build()
        self._listen()
        # By the time that hints are painted it is done. The panel is drawn before: time runs from when the
        # window next does what has come together until then.
        QTimer.singleShot(0, lambda: QTimer.singleShot(DRAWN, begin_loading))
        self._list_layers()

    # what is on it

    def _build(self) -> None:
        self.images, self.hints, self.clicks, self.boxes = (QComboBox() for _ in range(4))
        for box in (self.images, self.hints, self.clicks, self.boxes):
            narrow(box, 8)
        self.classes, self.curve = ClassList(), Curve()
        self.go, self.stop_button = QPushButton("Segment"), QPushButton("Stop")
        self.go.setToolTip("Learn from all hints and predict. Pressed again, it goes on from there.")
        self.training = TrainRows(self.controller)
        self.steps, self.objects = self.training.steps, self.training.objects
        self.bar, self.status, self.message = QProgressBar(), Sentence(), Sentence()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.message.setObjectName("message")

        self.tags = TagPanel(
            self.viewer, self.controller, self.try_to, self.begin, self._view, self.choose_image
        )
        column = QVBoxLayout()
        self.level = LevelRow(self.viewer.layers, self.controller, self.choose_image)
        column.addLayout(
            form(
                ("Image", self.images),
                ("", self.level),
                ("Hints", row(self.hints, button("New", self.new_hints), stretch=0)),
                ("Clicks", row(self.clicks, button("New", self.new_clicks), stretch=0)),
                ("Boxes", row(self.boxes, button("New", self.new_boxes), stretch=0)),
                ("Tags", self.tags.head),
            )
        )
        self.restore = RestoreRow(self.autosave, self.try_to, self.begin)
        column.addWidget(self.restore)
        self.undo_row = UndoRow(self.viewer, self.controller, self.try_to)
        column.addWidget(self.undo_row)
        self.box_rows = BoxRows(self.controller, self.try_to, self.find_objects)
        column.addWidget(self.box_rows)
        column.addWidget(self.tags)
        column.addWidget(group("Classes", self.classes))
        self.instant = InstantPanel(self.controller.instant, self._view)
        self.quality = QualityPanel(self.controller)
        column.addWidget(self.instant)
        column.addWidget(self.quality)
        self.guide = GuidePanel(self.viewer, self.controller, self._view, self.try_to)
        column.addWidget(self.guide)
        column.addLayout(row(self.go, self.stop_button, stretch=0))
        column.addWidget(self.training)
        self.encoder = EncoderRow(self.controller, self.try_to)
        for widget in (self.encoder, self.bar, self.curve, self.status, self.message):
            column.addWidget(widget)
        self.files = FileButtons(self.controller, self.try_to, self.begin)
        column.addWidget(self.files)
        self.controller.leaving.session = self.autosave.folder
        self.leaving = LeaveRows(self.controller, self.try_to, self.begin)
        column.addWidget(group("Results", self.leaving))
        self.keys = KeyTable(self.viewer, self._key_actions())
        column.addWidget(group("Keys", self.keys))
        column.addStretch()
        fill_column(self, column)

    def _listen(self) -> None:
        layers, c = self.viewer.layers, self.controller
        for event in (layers.events.inserted, layers.events.removed, layers.events.reordered):
            event.connect(self._list_layers)
        layers.events.removed.connect(thaw)
        self.follow = Follow(layers, c, self.choose_image, lambda: self.worker is not None)
        for layer in layers:
            layer.events.name.connect(self._list_layers)
        self.images.activated.connect(lambda: self.choose_image(self.images.currentData()))
        self.hints.activated.connect(lambda: self.try_to(c.choose_hints, self.hints.currentData()))
        self.clicks.activated.connect(lambda: self.try_to(c.choose_clicks, self.clicks.currentData()))
        self.boxes.activated.connect(lambda: self.try_to(c.choose_boxes, self.boxes.currentData()))
        self.classes.selected.connect(self.take_class)
        self.classes.added.connect(lambda: self.try_to(c.add_class))
        self.classes.removed.connect(lambda k: self.try_to(c.remove_class, k))
        self.classes.renamed.connect(lambda k, name: self.try_to(c.rename_class, k, name))
        self.classes.recoloured.connect(lambda k, colour: self.try_to(c.recolour_class, k, colour))
        self.go.clicked.connect(self.segment)
        self.stop_button.clicked.connect(self.stop)
        self.timer = QTimer(self)
        self.timer.timeout.connect(self._tick)
        self.pulse = QTimer(self)
        follow = (self._follow_marks, self.autosave.pulse, self.undo_row.show_state, self.quality.show_state)
        for one in (*follow, self._show_message):
            self.pulse.timeout.connect(one)
        self.pulse.start(250)
        self.guard = CloseGuard(self, c.words, SESSION, self.stop, self.autosave.save)
        for end in (self.stop, self.instant.stop, self.guide.stop, self.autosave.close):
            cast(QApplication, QApplication.instance()).aboutToQuit.connect(end)

    def _key_actions(self) -> dict[str, Callable[[], Any]]:
        """What each key does."""
        guide = self.guide
        return {
            "next_class": self.next_class,
            "background": lambda: self.take_class(BACKGROUND, boxes=False),
            "finish_slice": self.finish_slice,
            "draw_boxes": self.draw_boxes,
            "find_objects": self.find_objects,
            "go_or_stop": self.go_or_stop,
            "hide_or_show": lambda: self.try_to(self.controller.toggle_mask),
            "go_to_next": guide.go,
            "accept_object": guide.accept_object,
            "reject_object": guide.reject_object,
            "accept_slice": guide.accept_slice,
            "accept_region": guide.accept_region,
            "background_region": guide.background_region,
            "hold_out": guide.hold_out,
            **self.tags.key_actions(),
        }

    # what the user does

    def choose_image(self, layer: "Layer | None") -> None:
        """Work on another image; what runs on the old one is stopped."""
        self.autosave.pulse()
        self.stop()
        if self.try_to(self.controller.choose_image, layer):
            self._turn()
            self.follow.leave()

    def new_hints(self) -> None:
        """Add a hints layer and start to paint."""
        if self.try_to(self.controller.new_hints):
            self._paint()

    def new_clicks(self) -> None:
        """Add a points layer and start to click."""
        if self.try_to(self.controller.new_clicks):
            self.viewer.layers.selection.active = self.controller.clicks
            cast("Points", self.controller.clicks).mode = "add"

    def new_boxes(self) -> None:
        """Add a layer for boxes and start to draw."""
        if self.try_to(self.controller.new_boxes):
            self.draw_boxes()

    def draw_boxes(self) -> None:
        """Take the rectangle tool, in a new layer where there is none."""
        c = self.controller
        if c.boxes.layer is None:
            self.new_boxes()
            return
        self.viewer.layers.selection.active = c.boxes.layer
        c.boxes.layer.mode = "add_rectangle"

    def take_class(self, class_id: int, *, boxes: bool = True) -> None:
        """Go on with this class, with clicks or `boxes` where they are drawn, else with the brush."""
        c, active = self.controller, self.viewer.layers.selection.active
        drawn = (c.clicks, c.boxes.layer if boxes else None, c.instant.brush.mask())
        if self.try_to(c.select, class_id) and (active is None or active not in drawn):
            self._paint()

    def next_class(self) -> None:
        """Go on with the next class."""
        self.take_class(self.controller.next_class())

    def finish_slice(self) -> None:
        """What is unpainted of this slice is background."""
        self.try_to(lambda: self.controller.finish_slice(*self._view()))

    def segment(self) -> None:
        """Train on all hints."""
        settings = self.controller.settings
        self.begin(lambda: self.controller.segment(settings.steps or None, settings.objects))

    def find_objects(self) -> None:
        """Make masks of all boxes, of each anew."""
        self.begin(lambda: self.controller.find_objects(again=True))

    def go_or_stop(self) -> None:
        """One key for both buttons."""
        if self.worker is None:
            self.segment()
        else:
            self.stop()

    def stop(self) -> None:
        """End the work; what is there stays. The step under way ends by itself, and nobody listens to it."""
        if self.worker is None:
            return
        self.worker.quit()
        self.worker = None
        self.timer.stop()
        self.controller.drop()
        self._show()
        self.status.tell("Stopped; what is there is kept.")

    # how it is done

    def _follow_marks(self) -> None:
        """Boxes have changed, or there is more to learn, and nothing else is under way."""
        if self.worker is not None:
            self.keeping.note()
        elif self.controller.objects_due():
            self.begin(self.controller.find_objects)
        elif self.keeping.due():
            self.segment()

    def try_to(self, action: Callable[..., Any], *arguments: Any) -> Tried:
        """Call the controller; show an InputError as its sentence. See `Tried`."""
        self.controller.message = ""
        try:
            return Tried(True, action(*arguments))
        except InputError as error:
            self.controller.message = str(error)
            return Tried(False)
        finally:
            self._list_layers()

    def begin(self, make: Callable[[], Any]) -> None:
        """Start the work that the controller makes, unless some is under way."""
        if self.worker is not None:
            return
        if not (made := self.try_to(make)):
            return
        c, generation = self.controller, self.controller.generation
        self.worker = start(
            made.value,
            event=lambda event: c.take(event, generation),
            result=lambda model: c.keep(model, generation),
            error=lambda error: self._show_error(error, generation),
            finished=lambda: self._finished(generation),
        )
        self.timer.start(250)  # each repaint of the window redraws its canvas as well
        self._show()

    def _finished(self, generation: int) -> None:
        if generation != self.controller.generation:
            return  # stopped before, and perhaps another one runs
        self.worker = None  # or its model would stay in memory
        self.timer.stop()
        self.controller.end(generation)
        self._show()
        self.status.tell("" if self.controller.message else "Done.")

    def _show_error(self, error: BaseException, generation: int) -> None:
        words = sentence(error)
        if generation == self.controller.generation:
            self.controller.message = words

    def _turn(self) -> None:
        """Show a volume stored x first, as NIfTI is, in axial slices, nose up; its data stay as they are."""
        image, dims = self.controller.image, self.viewer.dims
        if image is None or tuple(image.axis_labels) != ("x", "y", "z"):
            return
        if dims.ndim == 3 and tuple(dims.order) == (0, 1, 2):
            dims.order = (2, 1, 0)
            self.viewer.scene.camera.orientation2d = ("up", "right")
            self.viewer.reset_view()

    def _tick(self) -> None:
        self.controller.tick(*self._view())
        self._show()

    def _view(self) -> tuple[list[float], list[int]]:
        """The viewer's point and displayed axes, counted in the image's spatial axes, the last ones."""
        dims, image = self.viewer.dims, self.controller.image
        before = dims.ndim - (dims.ndim if image is None else to_image(image).ndim)
        return list(dims.point[before:]), [axis - before for axis in dims.displayed if axis >= before]

    def _paint(self) -> None:
        hints = self.controller.hints
        if hints is not None:
            self.viewer.layers.selection.active = hints
            hints.mode = "paint"

    def _list_layers(self, event: Any = None) -> None:
        c, layers = self.controller, list(self.viewer.layers)
        if event is not None and event.type == "inserted":
            event.value.events.name.connect(self._list_layers)
        kinds = {name: [x for x in layers if type(x).__name__ == name and not is_heat(x)] for name in _SHOWN}
        if c.image is not None and c.image not in layers:
            self.choose_image(None)
        if c.image is None and kinds["Image"]:
            try:
                c.choose_image(kinds["Image"][-1])
                self._turn()
            except InputError as error:
                c.message = str(error)
        c.hints = c.hints if c.hints in layers else None
        c.clicks = c.clicks if c.clicks in layers else None
        if c.boxes.layer is not None and c.boxes.layer not in layers:
            c.boxes.choose(None)
        labels = [layer for layer in kinds["Labels"] if may_be_hints(layer)]
        fill(self.images, kinds["Image"], c.image, None)
        fill(self.hints, labels, c.hints, "none yet")
        fill(self.clicks, kinds["Points"], c.clicks, "none")
        fill(self.boxes, kinds["Shapes"], c.boxes.layer, "none")
        self._show()

    def _show(self) -> None:
        c, run = self.controller, self.controller.run
        self.classes.show_classes(c.classes, c.colours, c.selected)
        self.level.show_state()
        self.training.show_state()
        self.restore.show_state()
        self.undo_row.show_state()
        self.box_rows.show_state()
        busy = self.worker is not None
        self.tags.show_state(busy=busy)
        self.go.setEnabled(not busy)
        self.stop_button.setEnabled(busy)
        self.go.setText("Segment" if c.model is None else "Segment on")
        share = run.share() if run is not None else 0
        self.bar.setRange(0, 0 if share is None else 1000)
        self.bar.setValue(round(1000 * (share or 0)))
        total = run.trained.total if run is not None and run.trained is not None else 0
        self.curve.show_values(c.losses, total)
        self.curve.setVisible(bool(c.losses))
        self.encoder.show_encoder()
        self.leaving.show_state()
        if run is not None:
            self.status.tell(run.words())
        self._show_message()
        # here, not when it is built: napari's theme changes the sizes
        widen(self)

    def _show_message(self) -> None:
        self.message.tell(self.controller.message)


_SHOWN = ("Image", "Labels", "Points", "Shapes")
