"""Going on past the last image of a dataset: what is broken is skipped, what was closed comes last."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from napari.utils.notifications import notification_manager
from tiny import write_any, write_picture

import wsseg.dataset
import wsseg.folder
from napari_plugin.controller import Controller
from napari_plugin.openfolder import dataset_at
from napari_plugin.reader import get_reader
from napari_plugin.taglayer import tags_of
from wsseg.hints import Tag

STEMS = [f"s{index:02}" for index in range(18)]


@pytest.fixture
def folder(tmp_path):
    """A dataset of 18 pictures, of which napari opens 12."""
    rng = np.random.default_rng(0)
    for stem in STEMS:
        write_picture(tmp_path / "images" / f"{stem}.png", rng.integers(0, 99, (6, 7)))
    (tmp_path / "classes.json").write_text(json.dumps({"1": "cell"}))
    return tmp_path


@pytest.fixture
def told():
    """What napari's notifications say while the test runs."""
    messages: list[str] = []

    def tell(notification):
        messages.append(notification.message)

    notification_manager.notification_ready.connect(tell)
    yield messages
    notification_manager.notification_ready.disconnect(tell)


def opened(folder: Path, at: str = "s11") -> Controller:
    viewer = ViewerModel()
    for data in get_reader(str(folder))(str(folder)):
        viewer.add_layer(Layer.create(*data))
    controller = Controller(viewer.layers)
    controller.choose_image(viewer.layers[at])
    return controller


def go_on(controller: Controller, times: int) -> list[str]:
    """The names of the images that K shows, pressed so many times."""
    seen = []
    for _ in range(times):
        controller.choose_image(controller.tags.next_image())
        seen.append(controller.image.name)
    return seen


def test_an_image_that_cannot_be_read_is_skipped_and_named(folder, told):
    (folder / "images" / "s13.png").write_bytes(b"no picture")
    (folder / "hints").mkdir()
    write_picture(folder / "hints" / "s14.png", np.full((6, 7), 9))  # no such class
    write_picture(folder / "images" / "s17.png", np.zeros((6, 7)))
    controller = opened(folder)
    told.clear()
    assert go_on(controller, 1) == ["s12"]
    (message,) = told
    assert message.startswith("Skipped s13.png; ")
    assert f"{folder / 'images' / 's13.png'}: is not a readable" in message
    assert "\nSkipped s14.png; " in message
    assert f"{folder / 'hints' / 's14.png'}: the value 9 is an unknown class" in message
    assert go_on(controller, 4) == ["s15", "s16", "s17", "s00"]


def test_an_image_that_was_mended_comes_the_next_time(folder, told):
    broken = folder / "images" / "s17.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:20])
    controller = opened(folder)
    assert go_on(controller, 6) == [*STEMS[12:17], "s00"]
    broken.write_bytes(whole)
    controller.choose_image(controller.layers["s16"])
    assert go_on(controller, 2) == ["s17", "s00"]


def test_of_many_broken_images_some_are_named_and_the_others_counted(folder, told):
    for stem in STEMS[12:]:
        (folder / "images" / f"{stem}.png").write_bytes(b"no picture")
    controller = opened(folder)
    told.clear()
    assert go_on(controller, 2) == ["s00", "s01"]
    assert [line.partition(";")[0] for line in told[0].splitlines()] == [
        *(f"Skipped {stem}.png" for stem in STEMS[12:15]),
        "Skipped 3 more images that can't be read.",
    ]


@pytest.mark.parametrize("text", ["image,class\ns01.png,spoon\n", None])
def test_a_folder_that_cannot_be_read_any_more_keeps_nobody_from_the_open_images(folder, told, text):
    controller = opened(folder)
    if text is None:
        (folder / "images").rename(folder / "elsewhere")
    else:
        (folder / "tags.csv").write_text(text)
    told.clear()
    assert go_on(controller, 1) == ["s00"]
    assert len(told) == 1
    assert told[0].startswith("No more images are opened: ")
    assert ("spoon" if text else "has no folder images/") in told[0]


def test_closed_images_come_back_after_the_rest_of_the_folder(folder):
    controller = opened(folder)
    layers = controller.layers
    for stem in ("s00", "s05", "s10"):
        layers.remove(layers[stem])
    assert go_on(controller, 1) == ["s12"]
    layers.remove(layers["s13"])
    layers.remove(layers["s15"])  # the last one opened
    assert go_on(controller, 3) == ["s14", "s16", "s17"]
    assert go_on(controller, 4) == ["s00", "s05", "s10", "s13"]
    assert go_on(controller, 2) == ["s15", "s01"]


def test_closed_images_come_back_past_a_broken_one_at_the_end(folder, told):
    (folder / "images" / "s17.png").write_bytes(b"no picture")
    controller = opened(folder)
    controller.layers.remove(controller.layers["s03"])
    assert go_on(controller, 7) == [*STEMS[12:17], "s03", "s00"]


def test_the_last_image_closed_at_the_start_does_not_come_first(folder):
    controller = opened(folder, at="s10")
    controller.layers.remove(controller.layers["s11"])
    assert go_on(controller, 7) == [*STEMS[12:], "s11"]


@pytest.mark.parametrize("shape", [(6, 7), (4, 6, 7)])
def test_only_label_maps_that_changed_are_read_for_their_classes(tmp_path, monkeypatch, shape):
    read, paths = wsseg.folder.read_labels, []

    def counted(path, *arguments):
        paths.append(path.stem)
        return read(path, *arguments)

    def paint(kind, stem, value):
        write_any(tmp_path / kind, stem, np.full(shape, value, np.uint8))

    monkeypatch.setattr(wsseg.folder, "read_labels", counted)
    for index, stem in enumerate("abc"):
        write_any(tmp_path / "images", stem, np.arange(np.prod(shape), dtype=np.uint8).reshape(shape))
        paint("hints", stem, 255 if stem == "b" else 1 + index)
    paint("masks", "b", 5)
    assert dataset_at(str(tmp_path)).classes == {1: "class 1", 3: "class 3", 5: "class 5"}
    assert len(paths) == 4
    paths.clear()
    (tmp_path / "tags.csv").write_text("image,class\na,7\n")
    classes = {k: f"class {k}" for k in (1, 3, 5, 7)}
    assert dataset_at(str(tmp_path)).classes == classes
    assert paths == []
    (map_of_c,) = (tmp_path / "hints").glob("c.*")
    map_of_c.unlink()
    write_any(tmp_path / "hints", "c", np.full(shape, 4, np.uint8))
    os.utime(map_of_c, ns=(1, 1))
    assert dataset_at(str(tmp_path)).classes == {k: f"class {k}" for k in (1, 4, 5, 7)}
    assert len(paths) == 1


def test_a_folder_is_read_once_and_again_when_it_has_changed(folder, monkeypatch):
    read, times = wsseg.dataset.open_dataset, []

    def counted(*arguments, **options):
        times.append(arguments)
        return read(*arguments, **options)

    monkeypatch.setattr(wsseg.dataset, "open_dataset", counted)
    controller = opened(folder)
    assert go_on(controller, 5)[-1] == "s16"  # after two more times that some were opened
    assert len(times) == 1
    (folder / "tags.csv").write_text("image,class\ns18.png,cell\n")
    write_picture(folder / "images" / "s18.png", np.ones((6, 7)))
    assert go_on(controller, 2) == ["s17", "s18"]
    assert tags_of(controller.image) == frozenset({Tag(1)})
    assert len(times) == 2
    assert go_on(controller, 1) == ["s00"]
    controller.choose_image(controller.layers["s18"])
    assert go_on(controller, 1) == ["s00"]
    assert len(times) == 2
