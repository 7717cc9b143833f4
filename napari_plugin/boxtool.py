"""The boxes at work: their layer, what the next one is, and what was found in them. Knows no Qt."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from napari_plugin.boxlayer import make_boxes, tidy, to_boxes
from napari_plugin.classtable import ClassTable
from napari_plugin.itemhistory import ItemHistory
from napari_plugin.keymap import told
from napari_plugin.timeline import Change
from wsseg.boxes import Segment
from wsseg.hints import BACKGROUND, Box

if TYPE_CHECKING:
    from napari.layers import Image as ImageLayer
    from napari.layers import Shapes

    from wsseg.boxmasks import Found

TOLD = 3  # sentences about boxes that can't be used, the rest is counted


class BoxTool:
    """What the controller knows of boxes.

    Args:
        table: The classes.
        changed: Called when a box has come, changed or gone.
        record: Takes each change, for undo.

    Attributes:
        layer: The Shapes layer at work, or None.
        history: Of that layer, for undo.
        all_boxed: Whether every object has a box, so that outside of them is background.
        depth: Slices that the next rectangle of a volume stands for, 0 = a second rectangle says it.
        class_id: Class of the next box.
        found: Box id to what was found in it.
        segments: The masks that are shown, None while it is not known what is.
        problems: What is wrong with boxes that were left out when they were last read.
    """

    def __init__(
        self, table: ClassTable, changed: Callable[[], None], record: Callable[[Change], None]
    ) -> None:
        self.table, self._changed, self._record = table, changed, record
        self.layer: Shapes | None = None
        self.history = ItemHistory("boxes", record, self._restored)
        self.all_boxed = False
        self.depth = 0
        self.class_id = 1
        self.found: Mapping[int, Found] = {}
        self.segments: tuple[Segment, ...] | None = None
        self.problems: list[str] = []

    def choose(self, layer: "Shapes | None") -> None:
        """Work with these boxes, or with none."""
        if self.layer is not None:
            self.layer.events.data.disconnect(self._follow)
            self.layer.events.features.disconnect(self._follow)
        self.layer, self.found, self.segments, self.problems = layer, {}, None, []
        self.tidy()
        self.history.follow(layer)
        if layer is None:
            return
        layer.events.data.connect(self._follow)
        layer.events.features.connect(self._follow)  # a paste says only this

    def new(self, image: "ImageLayer") -> "Shapes":
        """Make an empty layer for the boxes of an image."""
        return make_boxes(image, self.table.colours, self.class_id)

    def read(self, image: "ImageLayer") -> tuple[Box, ...]:
        """The boxes as they are now; `problems` tells which can't be used.

        Raises:
            InputError: The layer has other axes than the image, or a shape names an unknown class.
        """
        self.problems = []
        if self.layer is None:
            return ()
        boxes, self.problems = to_boxes(self.layer, image, self.table.names)
        return boxes

    def told(self) -> str:
        """The problems in words."""
        more = len(self.problems) - TOLD
        return " ".join(self.problems[:TOLD] + ([f"And {more} more."] if more > 0 else []))

    def missing(self) -> str:
        """Why there is no box, in words."""
        return self.told() or f"No box is drawn yet: press {told('draw_boxes')}, then drag a rectangle."

    def select(self, class_id: int) -> None:
        """The next box, and those that the user has selected, are of this class; no box is background."""
        if class_id != BACKGROUND:
            self.class_id = class_id
            self._change("class", str(class_id))

    def set_depth(self, depth: int) -> None:
        """The next rectangle, and those that the user has selected, reach through so many slices."""
        self.depth = depth
        self._change("depth", depth)

    def uses(self, class_id: int) -> bool:
        """Whether a box is of this class."""
        return self.layer is not None and str(class_id) in set(self.layer.features["class"])

    def tidy(self) -> None:
        """Bring numbers and colours of the shapes in order."""
        if self.layer is not None:
            tidy(self.layer, self.table.colours, self.class_id, self.depth)

    def _change(self, name: str, value: Any) -> None:
        """Give the selected boxes a value; while one draws, the last box is selected too, but not meant."""
        layer = self.layer
        if layer is None:
            return
        if layer.mode in ("select", "direct") and layer.selected_data:
            table = layer.features.copy()
            numbers = set(table["box"].iloc[list(layer.selected_data)])
            table.loc[table["box"].isin(numbers), name] = value
            if not table.equals(layer.features):
                layer.features = table
        self.tidy()

    def _follow(self, event: Any) -> None:
        begins = str(getattr(event, "action", "")) in ("adding", "changing", "removing")
        if begins or self.history.restoring:
            return  # it will say so once more when it is done
        self.tidy()
        self.history.note()
        self._changed()

    def _restored(self) -> None:
        self.tidy()
        self._changed()
