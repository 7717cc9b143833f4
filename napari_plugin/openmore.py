"""The next images of a dataset folder, opened when one goes on past the last. Knows no Qt."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_plugin.layers import KEY, identity
from napari_plugin.openfolder import dataset_at
from napari_plugin.reader import LayerData, item_layers
from wsseg.errors import InputError

if TYPE_CHECKING:
    from napari.components import LayerList
    from napari.layers import Image as ImageLayer

    from wsseg.folder import Dataset, Item

MORE = 4  # that are opened at a time
NAMED = 3  # of the images that can't be read; the others are counted


def open_more(layers: "LayerList", image: "ImageLayer") -> bool:
    """Open the next images of the dataset that an image is of, hidden, with their hints.

    They are those behind the one that was opened last, be it closed by now; what was closed comes back
    after the last of the folder. A notification tells what can't be read; it never stops the user.

    Returns:
        Whether there were any.
    """
    own = image.metadata.get(KEY, {})
    if "dataset" not in own:
        return False
    there = {identity(layer) for layer in layers}
    try:
        dataset = dataset_at(own["dataset"])
        _ = dataset.classes  # may look at all label maps; what is wrong with one is told once, not per image
    except InputError as error:
        _warn(f"No more images are opened: {error}")
        return False
    items = [item for item in dataset.items if str(item.image) not in there]
    reached = own.get("reached", "")
    skipped: list[str] = []
    found = _read(dataset, [item for item in items if item.stem > reached], skipped)
    if not found:
        found = _read(dataset, [item for item in items if item.stem <= reached], skipped)
    if skipped:
        _warn(_listed(skipped))
    if found:
        _add(layers, [data for item in found.values() for data in item])
        _remember(layers, own["dataset"], list(found)[-1])
    return bool(found)


def _read(dataset: "Dataset", items: Sequence["Item"], skipped: list[str]) -> dict[str, list[LayerData]]:
    """The layers of the first images that can be read, by stem; of the others `skipped` gets a sentence."""
    found: dict[str, list[LayerData]] = {}
    for item in items:
        try:
            found[item.stem] = item_layers(dataset, item)
        except InputError as error:
            skipped.append(f"Skipped {item.image.name}; {error}")
        if len(found) == MORE:
            break
    return found


def _add(layers: "LayerList", found: Sequence[LayerData]) -> None:
    """Add layers, hidden; the one that is selected stays so."""
    from napari.layers import Layer

    active = layers.selection.active
    for data, options, kind in found:
        layers.append(Layer.create(data, {**options, "visible": False}, kind))
    if active is not None:
        layers.selection.active = active


def _remember(layers: "LayerList", folder: str, stem: str) -> None:
    """Write into each open image of a folder how far that was opened, for any of them may be closed."""
    for layer in layers:
        own = layer.metadata.get(KEY, {})
        if own.get("dataset") == folder:
            layer.metadata = {**layer.metadata, KEY: {**own, "reached": stem}}


def _listed(skipped: Sequence[str]) -> str:
    """The first sentences, a line each, and how many images there are besides."""
    lines, others = list(skipped[:NAMED]), len(skipped) - NAMED
    if others > 0:
        lines.append(f"Skipped {others} more image{'s' if others > 1 else ''} that can't be read.")
    return "\n".join(lines)


def _warn(text: str) -> None:
    from napari.utils.notifications import show_warning

    show_warning(text)
