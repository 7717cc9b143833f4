"""Boxes in the plugin from the button to the mask, without Qt: objects, training, saving; 2D and 3D."""

import json
from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from test_controller import run
from tiny import small_plans, write_any

from napari_plugin.boxwork import FAINT, Learnt, learn_from, refine_objects, with_faint_background
from napari_plugin.controller import Controller
from napari_plugin.events import Objects, Preview
from napari_plugin.layers import KEY
from napari_plugin.reader import get_reader
from napari_plugin.results import find
from wsseg import boxmasks
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND, Box, Hints
from wsseg.images import Image
from wsseg.steps import Step, finish

SIZE = {2: (32, 32), 3: (10, 24, 24)}
# two cubes of class 1, and between them in the row below one of class 2
PLACES = {
    2: [((4, 4), (12, 14)), ((4, 18), (12, 28)), ((18, 10), (28, 20))],
    3: [((2, 2, 2), (7, 9, 9)), ((2, 2, 13), (7, 9, 20)), ((3, 13, 6), (8, 21, 15))],
}
CLASSES = [1, 1, 2]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    small_plans(monkeypatch)
    quick = replace(boxmasks.ALONE, turns=1, iterations=2)
    monkeypatch.setattr(boxmasks, "ALONE", quick)
    monkeypatch.setattr(boxmasks, "AUTO", replace(boxmasks.AUTO, between=replace(quick, network=0.6)))


def scene(ndim: int) -> tuple[ViewerModel, Controller, np.ndarray]:
    """Bright boxes in noise on an anisotropic grid, each with a box drawn around it; the truth by number."""
    data, truth = np.random.default_rng(0).normal(0, 0.1, SIZE[ndim]), np.zeros(SIZE[ndim], int)
    viewer = ViewerModel()
    for number, (start, stop) in enumerate(PLACES[ndim], 1):
        place = tuple(slice(a + 1, b - 1) for a, b in zip(start, stop, strict=True))
        data[place] += 2.0 * CLASSES[number - 1]
        truth[place] = number
    image = viewer.add_image(data, name="cubes", scale=(3.0, 1.0, 1.0)[-ndim:], translate=(5.0,) * ndim)
    controller = Controller(viewer.layers)
    controller.choose_image(image)
    controller.add_class()
    controller.new_boxes()
    for number in range(1, 4):
        controller.select(CLASSES[number - 1])
        start, stop = (np.array(corner) for corner in PLACES[ndim][number - 1])
        draw(controller, start + 1, stop - 1)
    return viewer, controller, truth


def draw(controller: Controller, start, stop) -> None:
    """Draw a box as a user does, in a volume on its first slice and its last."""
    low, high = np.array(start) - 0.5, np.array(stop) - 0.5
    flat = [[low[-2], low[-1]], [low[-2], high[-1]], [high[-2], high[-1]], [high[-2], low[-1]]]
    for end in [()] if len(start) == 2 else [(start[0],), (stop[0] - 1,)]:
        corners = np.array([[*end, *corner] for corner in flat])
        controller.boxes.layer.add(corners, shape_type="rectangle")


def objects(controller: Controller) -> np.ndarray:
    return find(controller.layers, controller.image, "objects").data


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("ndim", [2, 3])
def test_each_box_becomes_an_object_with_its_number_on_the_image(ndim):
    viewer, controller, truth = scene(ndim)
    events = run(controller, controller.find_objects())
    steps = [event for event in events if isinstance(event, Step) and event.stage == "boxes"]
    assert (steps[-1].index, steps[-1].total) == (3, 3)
    layer = find(controller.layers, controller.image, "objects")
    np.testing.assert_allclose(layer.data_to_world([3] * ndim), controller.image.data_to_world([3] * ndim))
    assert not layer.editable
    assert layer.data.dtype == np.uint16
    for number in (1, 2, 3):
        assert overlap(layer.data == number, truth == number) > 0.75
    assert controller.model is None
    assert controller.losses == []
    assert viewer.layers.selection.active is controller.boxes.layer
    controller.toggle_mask()
    assert not layer.visible


def test_a_box_that_is_moved_removed_or_added_changes_the_result_and_numbers_stay(monkeypatch):
    monkeypatch.setattr("napari_plugin.marks.SETTLED", 0.0)
    _, controller, truth = scene(2)
    assert controller.objects_due()
    run(controller, controller.find_objects())
    assert not controller.objects_due()
    layer = controller.boxes.layer
    found = controller.boxes.found
    layer.remove([1])
    assert controller.objects_due()
    run(controller, controller.find_objects())
    assert set(np.unique(objects(controller))) == {0, 1, 3}
    draw(controller, (5, 19), (11, 27))
    run(controller, controller.find_objects())
    assert set(np.unique(objects(controller))) == {0, 1, 3, 4}
    assert controller.boxes.found[3].probability is found[3].probability  # not done again
    layer.data = [corners + (12.0 if index == 2 else 0.0) for index, corners in enumerate(layer.data)]
    run(controller, controller.find_objects())
    assert not (objects(controller)[truth == 2] == 4).any()
    layer.remove([0, 1, 2])
    run(controller, controller.find_objects())
    assert not objects(controller).any()


def test_strokes_in_a_box_correct_its_object_at_once(monkeypatch):
    monkeypatch.setattr("napari_plugin.marks.SETTLED", 0.0)
    _, controller, _ = scene(2)
    run(controller, controller.find_objects())
    assert objects(controller)[8, 9] == 1
    hints = controller.new_hints()
    hints.brush_size = 1
    hints.paint([8, 9], BACKGROUND)
    assert controller.objects_due()
    run(controller, controller.find_objects())
    assert objects(controller)[8, 9] == 0
    hints.undo()
    run(controller, controller.find_objects())
    assert objects(controller)[8, 9] == 1


@pytest.mark.parametrize("ndim", [2, 3])
def test_training_takes_the_boxes_and_the_mask_keeps_what_is_certain(ndim):
    _, controller, truth = scene(ndim)
    hints = controller.new_hints()
    hints.data[(0,) * ndim] = 1  # a stroke is more certain than “all objects have a box”
    controller.say_all_boxed(True)
    events = run(controller, controller.segment(steps=3))
    assert len(controller.losses) == 3
    assert controller.model.config.classes == {1: "class 1", 2: "class 2"}
    assert isinstance(events[-1], Preview)
    assert any(isinstance(event, Objects) for event in events)
    mask = find(controller.layers, controller.image, "mask").data
    expected = np.array([0, *CLASSES])[objects(controller)]
    expected[(0,) * ndim] = 1
    np.testing.assert_array_equal(mask, expected)
    for number in (1, 2, 3):
        assert overlap(objects(controller) == number, truth == number) > 0.75


@pytest.mark.parametrize("ndim", [2, 3])
def test_labels_of_boxes_and_strokes(ndim):
    _, controller, _ = scene(ndim)
    boxes = controller.boxes.read(controller.image)
    data = np.asarray(controller.image.data)[None]
    shape = data.shape[1:]
    scribbles = np.zeros(shape, np.uint8)
    start = boxes[0].start
    middle = tuple((a + b) // 2 for a, b in zip(start, boxes[0].stop, strict=True))
    scribbles[middle] = BACKGROUND
    inside = np.zeros(shape, bool)
    for box in boxes:
        inside[tuple(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))] = True
    learnt = {}
    for all_boxed in (False, True):
        hints = Hints(shape, scribbles, boxes=boxes, all_boxed=all_boxed)
        learnt[all_boxed] = finish(
            learn_from(Image(data, (1.0,) * ndim), hints, {1: "a", 2: "b"}, "cubes", {})
        )
        labels = learnt[all_boxed].sample.labels
        np.testing.assert_array_equal(labels.weight, 1.0 if all_boxed else inside)
        assert labels.target[middle] == 0  # the stroke wins
        assert not labels.target[~inside].any()
        assert set(np.unique(labels.target[inside])) == {0, 1, 2}
    some = with_faint_background(learnt[False].sample, learnt[False]).labels
    np.testing.assert_array_equal(some.weight, np.where(inside, 1, np.float32(FAINT)))
    assert not some.target[~inside].any()
    assert with_faint_background(learnt[True].sample, learnt[True]) is learnt[True].sample
    alone = Learnt(learnt[False].sample)  # without boxes, what is unknown stays unknown
    assert with_faint_background(alone.sample, alone) is alone.sample


def test_beside_a_box_the_network_is_heard_where_not_all_objects_have_one():
    _, controller, _ = scene(2)
    run(controller, controller.segment(steps=1))
    everywhere = controller.model
    bias = list(everywhere.net.parameters())[-1]
    bias.data[:] = 0
    bias.data[1] = 99.0  # a network that sees class 1 everywhere
    hints = Hints(SIZE[2], boxes=controller.boxes.read(controller.image), all_boxed=False)
    image = Image(np.asarray(controller.image.data)[None], (1.0, 1.0))
    learnt = finish(learn_from(image, hints, {1: "a", 2: "b"}, "cubes", {}))
    *_, last = refine_objects(everywhere, learnt)
    kept = np.zeros(SIZE[2], bool)
    for one in last_objects(everywhere, learnt).segments:
        if one.box.class_id == 2:
            kept[tuple(slice(a, b) for a, b in zip(one.box.start, one.box.stop, strict=True))] = one.mask
    np.testing.assert_array_equal(last.mask, np.where(kept, 2, 1))


def last_objects(model, learnt) -> Objects:
    return [event for event in refine_objects(model, learnt) if isinstance(event, Objects)][-1]


def test_boxes_that_are_drawn_while_it_trains_are_learned_from(monkeypatch):
    monkeypatch.setattr("napari_plugin.marks.SETTLED", 0.0)
    _, controller, _ = scene(2)
    work = controller.segment(steps=4)
    generation = controller.generation
    for event in work:
        controller.take(event, generation)
        if isinstance(event, Step) and event.stage == "train":
            break
    controller.tick((0, 0), (0, 1))
    assert not controller.run.wishes.hints
    controller.select(1)
    draw(controller, (24, 24), (30, 30))
    assert not controller.objects_due()  # the training takes them
    controller.tick((0, 0), (0, 1))
    assert [box.id for box in controller.run.wishes.hints[0].boxes] == [1, 2, 3, 4]
    controller.say_all_boxed(True)
    controller.tick((0, 0), (0, 1))
    assert controller.run.wishes.hints[0].all_boxed
    run(controller, work)
    assert 4 in controller.boxes.found
    assert len(controller.losses) == 4


@pytest.mark.parametrize(
    ("corners", "words"),
    [
        (((2, 2), (2, 9)), "Box 4 has no area"),
        (((50, 2), (60, 9)), "Box 4 lies outside of the image"),
    ],
)
def test_boxes_that_make_no_sense_are_told_and_the_others_done(corners, words):
    _, controller, _ = scene(2)
    draw(controller, *corners)
    run(controller, controller.find_objects())
    assert words in controller.message
    assert set(np.unique(objects(controller))) == {0, 1, 2, 3}
    controller.segment(steps=1)
    assert words in controller.message
    controller.drop()
    with pytest.raises(InputError, match=words):
        controller.save_boxes("boxes.json")
    controller.boxes.layer.remove([0, 1, 2])
    with pytest.raises(InputError, match=words):
        controller.segment()


def test_what_is_missing_is_told():
    viewer = ViewerModel()
    controller = Controller(viewer.layers)
    for action in (controller.find_objects, controller.new_boxes, lambda: controller.place_for("boxes")):
        with pytest.raises(InputError, match="Choose an image"):
            action()
    controller.choose_image(viewer.add_image(np.zeros((8, 8)), name="flat"))
    for action in (controller.find_objects, lambda: controller.save_boxes("boxes.json")):
        with pytest.raises(InputError, match="box"):
            action()
    controller.new_boxes()
    draw(controller, (2, 2), (5, 5))
    with pytest.raises(InputError, match="constant"):
        run(controller, controller.find_objects())
    controller.drop()
    controller.add_class()
    with pytest.raises(InputError, match="boxes of “class 1”"):
        controller.remove_class(1)
    with pytest.raises(InputError, match="no objects yet"):
        controller.save("objects", "x.png")


@pytest.mark.parametrize("ndim", [2, 3])
def test_boxes_and_objects_are_saved_and_come_back_with_the_dataset(ndim, tmp_path):
    _, plain, _ = scene(ndim)
    values = np.clip(60 + 40 * np.asarray(plain.image.data), 0, 255).astype(np.uint8)
    path = write_any(tmp_path / "images", "cubes", values)
    (tmp_path / "classes.json").write_text(json.dumps({"1": "cube", "2": "block"}))
    opened = [Layer.create(*data) for data in get_reader(str(path))(str(path))]
    viewer = ViewerModel()
    viewer.layers.extend(opened)
    controller = Controller(viewer.layers)
    controller.choose_image(viewer.layers["cubes"])
    controller.table.replace({1: "cube", 2: "block"})
    controller.new_boxes()
    boxes = []
    for number, (start, stop) in enumerate(PLACES[ndim], 1):
        controller.select(CLASSES[number - 1])
        draw(controller, start, stop)
        boxes.append(Box(start, stop, CLASSES[number - 1], number))
    run(controller, controller.find_objects())
    assert controller.place_for("boxes") == tmp_path / "boxes.json"
    run(controller, controller.save_boxes(controller.place_for("boxes")))
    run(controller, controller.save("objects", controller.place_for("objects")))
    run(controller, controller.save("mask", controller.place_for("mask")))  # of the objects: none was trained
    saved = {stem: one.data for stem, one in read_back(tmp_path).items()}
    np.testing.assert_array_equal(saved["cubes_objects"], objects(controller))
    np.testing.assert_array_equal(saved["cubes_mask"], np.array([0, *CLASSES])[objects(controller)])
    for name in ("cubes_objects", "cubes_mask"):
        next((tmp_path / "images").glob(f"{name}.*")).unlink()
    viewer = ViewerModel()
    for data in get_reader(str(tmp_path))(str(tmp_path)):
        viewer.add_layer(Layer.create(*data))
    assert [layer.name for layer in viewer.layers] == ["cubes", "cubes boxes"]
    assert viewer.layers["cubes boxes"].metadata[KEY]["role"] == "boxes"
    other = Controller(viewer.layers)
    other.choose_image(viewer.layers["cubes"])
    assert other.classes == {1: "cube", 2: "block"}
    assert other.boxes.read(other.image) == tuple(boxes)
    run(other, other.find_objects())
    np.testing.assert_array_equal(objects(other), objects(controller))


def test_boxes_and_classes_come_back_with_their_image():
    viewer, controller, _ = scene(2)
    controller.rename_class(2, "block")
    run(controller, controller.find_objects())
    other = Controller(viewer.layers)
    other.choose_image(viewer.layers["cubes"])
    assert other.classes == {1: "class 1", 2: "block"}
    assert other.boxes.layer is controller.boxes.layer
    before = objects(controller).copy()
    run(other, other.find_objects())  # nothing is left of what another showed
    np.testing.assert_array_equal(objects(other), before)
    other.choose_image(viewer.add_image(np.zeros((4, 4, 3), np.uint8), rgb=True, name="colour"))
    assert other.boxes.layer is None


def test_boxes_on_a_picture_in_colour():
    viewer, controller, truth = scene(2)
    grey = np.asarray(viewer.layers["cubes"].data)
    colour = np.stack([grey, grey * 0, 1 - grey], -1)
    image = viewer.add_image(np.clip(60 + 40 * colour, 0, 255).astype(np.uint8), rgb=True, name="colour")
    controller.choose_image(image)
    controller.new_boxes()
    start, stop = PLACES[2][0]
    draw(controller, np.array(start) + 1, np.array(stop) - 1)
    run(controller, controller.find_objects())
    assert overlap(objects(controller) == 1, truth == 1) > 0.75
    run(controller, controller.segment(steps=1))
    assert controller.model.config.rgb


def read_back(folder) -> dict[str, Layer]:
    """The label images that were saved beside the image, by name."""
    layers = {}
    for path in (folder / "images").iterdir():
        ((data, options, kind),) = get_reader(str(path))(str(path))
        layers[options["name"]] = Layer.create(data, options, kind)
    return layers


def test_errors_of_the_image_are_sentences():
    flat = Image(np.ones((1, 8, 8)), (1.0, 1.0))
    hints = Hints((8, 8), boxes=(Box((1, 1), (4, 4), 1, 1),))
    with pytest.raises(InputError, match="flat is constant"):
        finish(learn_from(flat, hints, {1: "a"}, "flat", {}))
