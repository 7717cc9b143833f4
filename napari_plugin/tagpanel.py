"""The part of the widget for tags: what is in this image or slice, heat from it, and two thresholds."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QDoubleRangeSlider

from napari_plugin.classlist import swatch
from napari_plugin.forms import Sentence, button, form, row
from napari_plugin.keymap import told
from napari_plugin.layers import to_image
from napari_plugin.tagstrip import TagStrip
from napari_plugin.trying import Tried

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_plugin.controller import Controller

LIVE = 0.05  # seconds that seeds are made for before the window is served again
MARKS = {True: "✓ ", False: "– ", None: ""}


class TagPanel(QWidget):
    """Shows the controller's tags and calls it.

    Args:
        viewer: napari's.
        controller: The plugin's.
        try_to: Calls it and shows its sentence where it refuses; see `Tried`.
        begin: Starts the work that it makes.
        view: Gives the viewer's point and the axes on screen, in the image's axes.
        choose: Works on another image.
    """

    def __init__(
        self,
        viewer: "Viewer",
        controller: "Controller",
        try_to: Callable[..., Tried],
        begin: Callable[[Callable[[], Any]], None],
        view: Callable[[], Any],
        choose: Callable[[Any], None],
    ) -> None:
        super().__init__()
        self.viewer, self.controller = viewer, controller
        self.try_to, self.begin, self.view, self.choose = try_to, begin, view, choose
        self.wanted: bool | None = None  # None: the rows are there where tags are used
        self._classes: dict[int, tuple[str, str]] | None = None
        self._build()
        viewer.dims.events.current_step.connect(self._moved)
        self.timer = QTimer(self)
        self.timer.setSingleShot(True)
        self.timer.timeout.connect(self._go_on)

    def key_actions(self) -> dict[str, Callable[[], Any]]:
        """What the keys for tags do."""
        return {
            "next_image": self.next_image,
            "extend_tags": self.extend,
            "undo_tag": self.undo,
            "tag_none": self.toggle_none,
            **{f"tag_{number}": partial(self.toggle_nth, number) for number in range(1, 10)},
        }

    def _build(self) -> None:
        self.summary, self.opener = QLabel(), button("Tag", self.toggle_open)
        self.opener.setToolTip("Say which classes are in an image or slice; masks can come of that alone.")
        self.summary.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.head = row(self.summary, self.opener, stretch=0)
        self.scope = QComboBox()
        self.scope.addItems(["this slice", "the whole volume"])
        self.scope.activated.connect(self._choose_scope)
        self.scope_row = QWidget()
        self.scope_row.setLayout(form(("Tag", self.scope)))
        self.buttons: dict[int, QPushButton] = {}
        self.grid = QGridLayout()
        self.none = QPushButton("none of them")
        self.none.setCheckable(True)
        self.none.setToolTip(f"None of the classes is here ({told('tag_none')}).")
        self.none.clicked.connect(lambda: self.toggle_none())
        self.strip, self.state, self.verdict, self.values = TagStrip(), Sentence(), Sentence(), Sentence()
        self.strip.picked.connect(self._go_to)
        self.extend_button = button("To here", self.extend)
        self.extend_button.setToolTip(
            f"All slices from the one tagged last to this one are tagged alike ({told('extend_tags')})."
        )
        self.next_button = button("Next", self.next_image)
        self.next_button.setToolTip(f"Show the next open image of the same kind ({told('next_image')}).")
        self.untag_button = button("Untag", self.untag)
        self.untag_button.setToolTip("Say nothing of this image or slice.")
        tools = QHBoxLayout()
        for widget in (self.extend_button, self.next_button, self.untag_button):
            widget.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            tools.addWidget(widget)
        self.heat = button("Heat", self.find_heat)
        self.heat.setToolTip("Learn from the tags where each class is.")
        self.slider = QDoubleRangeSlider(Qt.Orientation.Horizontal)
        self.slider.setToolTip("Left of the left handle is background, right of the right one the class.")
        self.slider.valueChanged.connect(self._cut)
        self.use = button("Use as hints", lambda: self.begin(self.controller.use_seeds))
        self.use.setToolTip("Add the seeds to the hints where nothing is painted; Ctrl+Z takes them back.")
        reset = button("As chosen", self._reset)
        reset.setToolTip("The thresholds that were chosen from the data.")
        self.cuts = QWidget()
        below = QVBoxLayout(self.cuts)
        below.setContentsMargins(0, 0, 0, 0)
        below.addWidget(self.slider)
        below.addWidget(self.values)
        below.addLayout(row(self.use, reset, stretch=0))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.scope_row)
        column.addLayout(self.grid)
        column.addWidget(self.strip)
        column.addWidget(self.state)
        column.addLayout(tools)
        for part in (self.heat, self.verdict, self.cuts):
            column.addWidget(part)

    # what the user does

    def toggle_open(self) -> None:
        """Show the rows for tags, or hide them."""
        self.wanted = not self._is_open()
        self.show_state(busy=not self.heat.isEnabled())

    def toggle_nth(self, number: int) -> None:
        """The class in this row of the table, from 1, is here, or is not."""
        classes = list(self.controller.classes)
        if number <= len(classes):
            self.toggle(classes[number - 1])

    def toggle(self, class_id: int) -> None:
        """This class is here, or is not."""
        self.try_to(self.controller.tags.toggle, class_id, self.view())

    def toggle_none(self) -> None:
        """None of the classes is here, or that is not said."""
        self.try_to(self.controller.tags.toggle_none, self.view())

    def untag(self) -> None:
        """Nothing is said of what is here."""
        self.try_to(self.controller.tags.untag, self.view())

    def extend(self) -> None:
        """The slices from the newest tagged one to this one are alike."""
        self.try_to(self.controller.tags.extend, self.view())

    def undo(self) -> None:
        """Take the newest tag back."""
        self.try_to(self.controller.tags.undo)

    def next_image(self) -> None:
        """Go on with the next image of the kind."""
        if found := self.try_to(self.controller.tags.next_image):
            self.choose(found.value)

    def find_heat(self) -> None:
        """Learn from the tags."""
        self.begin(lambda: self.controller.find_heat(self.controller.settings.steps or None))

    # how it is shown

    def show_state(self, *, busy: bool) -> None:
        """Show the controller's tags; the rows are there where tags are used, or the user wants them."""
        tags = self.controller.tags
        self.setVisible(self._is_open())
        self.opener.setText("Hide" if self._is_open() else "Tag")
        self.heat.setEnabled(not busy)
        self.use.setEnabled(not busy)
        self._show_tags()
        lines = tags.view.verdict()
        self.verdict.tell("\n".join(lines))
        self._show_cuts()
        if tags.view.unfinished and not self.timer.isActive():
            self.timer.start(0)

    def _is_open(self) -> bool:
        return self.controller.tags.is_used() if self.wanted is None else self.wanted

    def _show_tags(self) -> None:
        """What is tagged, here and elsewhere."""
        c = self.controller
        tags, overview = c.tags, c.tags.overview(self.view())
        what = "image" if overview.whole else "slice"
        tagged = sum(said is not None for said in overview.said)
        total = f"{tagged} of {len(overview.said)} {what}s tagged" if overview.said else ""
        self.summary.setText(total if tagged else "none yet")
        if not self._is_open():
            return
        volume = c.image is not None and to_image(c.image).ndim == 3
        self.scope_row.setVisible(volume)
        self.scope.setCurrentIndex(int(tags.whole))
        self.extend_button.setVisible(tags.by_slice)
        self.next_button.setVisible(len(tags.kin()) > 1)
        self._show_buttons(overview.here)
        self.strip.show_tags(overview.said, c.colours, overview.at)
        place = overview.places[overview.at].words if overview.at is not None else ""
        self.state.tell(f"{place}: {self._words(overview.here)}" if place else total)

    def _words(self, here: frozenset[int] | None) -> str:
        """What is said of a place."""
        names = self.controller.classes
        if here is None:
            return "not tagged."
        there = ", ".join(name for k, name in names.items() if k in here)
        absent = ", ".join(name for k, name in names.items() if k not in here)
        return f"{there or 'none of the classes'}{f'; not {absent}' if there and absent else ''}."

    def _show_buttons(self, here: frozenset[int] | None) -> None:
        """A button a class, made anew where the table has changed."""
        c = self.controller
        wanted = {k: (name, c.colours[k]) for k, name in c.classes.items()}
        if wanted != self._classes:
            self._classes = wanted
            for old in self.buttons.values():
                self.grid.removeWidget(old)
                old.deleteLater()
            self.buttons = {}
            for number, (k, (name, colour)) in enumerate(wanted.items(), 1):
                made = button(name, partial(self.toggle, k))
                made.setCheckable(True)
                made.setIcon(swatch(colour))
                key = told(f"tag_{number}") if number < 10 else "no key"
                made.setToolTip(f"{name} is here ({key}).")
                made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
                self.buttons[k] = made
            for place, widget in enumerate([*self.buttons.values(), self.none]):
                self.grid.addWidget(widget, place // 2, place % 2)
        for k, own in self.buttons.items():
            own.setChecked(here is not None and k in here)
            own.setText(MARKS[None if here is None else k in here] + wanted[k][0])
        self.none.setChecked(here == frozenset())

    def _show_cuts(self) -> None:
        """The two thresholds of the class whose heat is shown."""
        view = self.controller.tags.view
        chosen, now = view.chosen(), view.thresholds.get(view.class_id)
        shown = view.image is not None and chosen is not None and now is not None
        self.cuts.setVisible(shown)
        if not shown or chosen is None or now is None:
            return
        self.slider.blockSignals(True)
        self.slider.setRange(*view.ranges[view.class_id])
        if not self.slider.isSliderDown():
            self.slider.setValue((now.lower, now.upper))
        self.slider.blockSignals(False)
        name = view.bags.classes[view.class_id]
        self.values.tell(
            f"Background up to {now.lower:.2f}, {name} above {now.upper:.2f} "
            f"(chosen: {chosen.lower:.2f} and {chosen.upper:.2f})."
        )

    def _cut(self, values: tuple[float, float]) -> None:
        """A handle was moved."""
        tags = self.controller.tags
        overview = tags.overview(self.view())
        tags.view.cut(*values, at=None if overview.whole else overview.at)
        self._go_on()
        self._show_cuts()

    def _reset(self) -> None:
        chosen = self.controller.tags.view.chosen()
        if chosen is not None:
            self._cut((chosen.lower, chosen.upper))

    def _go_on(self) -> None:
        """Make more of the seeds while the window is served in between."""
        if self.controller.tags.view.go_on(LIVE):
            self.timer.start(20)

    def _moved(self, event: Any = None) -> None:
        """Another slice is on screen."""
        if self._is_open():
            self._show_tags()

    def _choose_scope(self, index: int) -> None:
        self.controller.tags.whole = bool(index)
        self._show_tags()

    def _go_to(self, column: int) -> None:
        """Show the slice or image of a column of the strip."""
        place = self.controller.tags.overview(self.view()).places[column]
        if place.index is None:
            self.try_to(self.controller.tags.show_alone, place.layer)
            self.choose(place.layer)
            return
        layer = place.layer
        axis = place.axis + layer.ndim - 3  # channels come first
        at = [0.0] * layer.ndim
        at[axis] = place.index
        self.viewer.dims.set_point(axis + self.viewer.dims.ndim - layer.ndim, layer.data_to_world(at)[axis])
