"""Probabilities of the answer while drawing: those of the mask on show, given again."""

from itertools import product

import nibabel
import numpy as np
import pytest
import tifffile
from scipy import sparse
from test_controller import run as work
from test_instanttool import hasty, mask_of, paint, preview, ready, run, scene  # noqa: F401
from tiny import tiny_model

import napari_plugin.leaveanswer
import wsseg.instant
import wsseg.propagate
import wsseg.walker
from napari_plugin.leaveanswer import agree
from napari_plugin.results import find
from wsseg.errors import InputError
from wsseg.hints import BACKGROUND
from wsseg.instant import fit_head
from wsseg.walker import BETA, WEAKEST
from wsseg.weak import weak_labels


def answered(ndim: int):
    """A controller whose answer is on show."""
    _, controller = ready(ndim)
    paint(controller)
    run(controller.instant, controller.instant.due())
    return controller


def exported(controller, path) -> np.ndarray:
    """What is written as TIFF: (K, *S)."""
    work(controller, controller.leaving.export("probabilities", "TIFF", path))
    return tifffile.imread(path)


@pytest.mark.parametrize("objects", ["auto", "marked", "alike", "off"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_they_sum_to_one_and_the_likeliest_class_is_the_mask_on_show(ndim, objects, tmp_path):
    _, controller = ready(ndim, scale=(2.0,) * ndim)
    controller.set("objects", objects)
    paint(controller)
    controller.add_class(5)
    controller.hints.paint((3,) * ndim, 5)
    tool = controller.instant
    run(tool, tool.due())
    controller.accept_object((2.0 * 12,) * ndim, [ndim - 2, ndim - 1])
    mask = mask_of(controller).copy()
    assert set(np.unique(mask)) == {0, 1, 5}
    path = tmp_path / "p.tif"
    work(controller, controller.leaving.export("probabilities", "TIFF", path))
    found = tifffile.imread(path)
    assert found.shape == (3, *mask.shape)
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(np.array([0, 1, 5])[found.argmax(0)], mask)
    assert "background, class 1, class 5, in this order" in controller.message
    # it is what the answer went by: the doubt on show is that of the two likeliest
    second, first = np.sort(found, 0)[-2:]
    doubt = find(controller.layers, controller.image, "doubt")
    assert doubt is None
    told = tool.masks.doubt(controller.image) / 255
    accepted, painted = controller.lock.map_of(controller.image), controller.hints.data
    assert (found.max(0)[(accepted > 0) | (painted > 0)] == 1).all()
    free = accepted + painted == 0
    np.testing.assert_allclose(told[free], 1 - (first - second)[free], atol=0.02)


@pytest.mark.parametrize("ndim", [2, 3])
def test_nifti_has_classes_last_and_says_what_tiff_says(ndim, tmp_path):
    controller = answered(ndim)
    told = exported(controller, tmp_path / "p.tif")
    work(controller, controller.leaving.export("probabilities", "NIfTI", tmp_path / "p.nii.gz"))
    found = nibabel.load(tmp_path / "p.nii.gz").get_fdata().squeeze()
    assert found.shape == (24,) * ndim + (2,)
    np.testing.assert_array_equal(np.moveaxis(found, -1, 0), told)
    np.testing.assert_array_equal(found.argmax(-1), mask_of(controller))


@pytest.mark.parametrize("ndim", [2, 3])
def test_looks_alone_are_votes_of_trees(ndim, tmp_path):
    _, controller = ready(ndim)
    controller.set("objects", "off")
    paint(controller)
    run(controller.instant, controller.instant.due())
    features, hints = controller.instant.asked().looked.features, controller.peek_hints()
    labels = weak_labels(hints, spacing=(1.0,) * ndim)
    rows = features.at(np.array(list(product(range(24), repeat=ndim))))
    votes = [tree.predict_proba(rows) for tree in fit_head(features, labels, 2).trees.estimators_]
    truth = np.mean(votes, 0).T.reshape(2, *(24,) * ndim)
    for output, hint in enumerate((BACKGROUND, 1)):
        truth[:, hints.scribbles == hint] = np.eye(2)[output][:, None]
    np.testing.assert_allclose(exported(controller, tmp_path / "p.tif"), truth, atol=1e-5)


@pytest.mark.parametrize("ndim", [2, 3])
def test_marked_objects_are_where_a_walk_arrives(ndim, tmp_path, monkeypatch):
    monkeypatch.setattr(wsseg.walker, "TOLERANCE", 1e-6)
    _, controller = ready(ndim)
    controller.set("objects", "marked")
    paint(controller)
    run(controller.instant, controller.instant.due())
    looked = controller.instant.asked().looked
    truth = arrivals(looked.statistics.apply(np.asarray(looked.image.data))[0], controller.hints.data)
    np.testing.assert_allclose(exported(controller, tmp_path / "p.tif")[1], truth, atol=1e-4)


def arrivals(image: np.ndarray, hints: np.ndarray) -> np.ndarray:
    """How likely a walk arrives at class 1: Grady's equations with a matrix, by a direct solver."""
    number, ends, squared = np.arange(image.size).reshape(image.shape), [], []
    for axis in range(image.ndim):
        low, high = (np.moveaxis(number, axis, 0)[part].ravel() for part in (np.s_[:-1], np.s_[1:]))
        ends.append((low, high))
        squared.append((image.ravel()[low] - image.ravel()[high]) ** 2)
    (low, high), square = np.concatenate(ends, 1), np.concatenate(squared)
    tie = np.exp(-BETA * square / square.mean()) + WEAKEST
    ties = sparse.coo_matrix((tie, (low, high)), (image.size,) * 2)
    matrix = sparse.csgraph.laplacian((ties + ties.T).tocsr()).tocsr()
    x, free = (hints.ravel() == 1).astype(float), hints.ravel() == 0
    x[free] = sparse.linalg.spsolve(matrix[free][:, free].tocsc(), -matrix[free] @ x)
    return x.reshape(image.shape)


def test_agreeing_with_a_mask_by_hand():
    ids = np.array([0, 1, 5], np.uint8)
    chances = np.array([[0.6, 0.2, 0.5, 0.1], [0.2, 0.4, 0.4999, 0.7], [0, 0.2, 0, 0.2]], np.float32)
    mask, certain = np.array([0, 5, 1, 1], np.uint8), np.array([False, True, False, False])
    assert agree(chances, ids, mask, certain) == 0  # the third one is as good as a tie
    np.testing.assert_allclose(chances[:, :2].T, [[0.75, 0.25, 0], [0, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(chances[:, 2:].T, [[0.5, 0.5, 0], [0.1, 0.7, 0.2]], atol=1e-3)
    np.testing.assert_allclose(chances.sum(0), 1, atol=1e-6)
    np.testing.assert_array_equal(ids[chances.argmax(0)], mask)
    assert agree(chances, ids, np.array([5, 5, 1, 9], np.uint8), certain) == 2  # 9 is none of them


def test_those_of_the_network_where_its_mask_is_on_show(tmp_path):
    _, controller = ready(2)
    paint(controller)
    run(controller.instant, controller.instant.due())
    assert controller.instant.asked() is not None
    preview(controller, 1, done=9)
    assert controller.instant.asked() is None
    with pytest.raises(InputError, match="Nothing tells"):  # this network has no model
        controller.leaving.export("probabilities", "TIFF", tmp_path / "p.tif")
    controller.instant.choose("instant")
    work(controller, controller.leaving.export("probabilities", "TIFF", tmp_path / "p.tif"))
    assert (tmp_path / "p.tif").exists()


def test_with_one_class_there_is_nothing_to_tell(tmp_path):
    _, controller = ready(2)
    controller.hints.paint((12, 12), BACKGROUND)
    run(controller.instant, controller.instant.due())
    with pytest.raises(InputError, match="mark two classes"):
        work(controller, controller.leaving.export("probabilities", "TIFF", tmp_path / "p.tif"))
    assert not list(tmp_path.iterdir())


def test_what_is_painted_on_the_mask_or_accepted_since_is_certain(tmp_path):
    controller = answered(2)
    layer = find(controller.layers, controller.image, "mask")
    controller.add_class(7)
    controller.instant.follow()
    layer.paint((3, 3), 7)
    controller.instant.follow()
    controller.accept_object((12, 12), [0, 1])
    found = exported(controller, tmp_path / "p.tif")
    assert "background, class 1, class 7, in this order" in controller.message
    np.testing.assert_array_equal(np.array([0, 1, 7])[found.argmax(0)], layer.data)
    assert (found.max(0)[controller.lock.map_of(controller.image) > 0] == 1).all()
    np.testing.assert_array_equal(found[:, 3, 3], [0, 0, 1])


def test_clicks_alone_do(tmp_path):
    _, controller = ready(2)
    clicks = controller.new_clicks()
    clicks.data = np.array([[12.0, 12.0], [2.0, 2.0], [21.0, 3.0]])
    clicks.features = {"class": ["1", "0", "0"]}
    run(controller.instant, controller.instant.due())
    found = exported(controller, tmp_path / "p.tif")
    np.testing.assert_array_equal(found.argmax(0), mask_of(controller))
    np.testing.assert_array_equal(found[:, 12, 12], [0, 1])


def test_an_answer_that_cannot_be_given_again_is_told_and_not_the_networks_written(tmp_path):
    controller = answered(2)
    controller.model, tool, path = tiny_model(), controller.instant, tmp_path / "p.tif"
    controller.hints.paint((3, 3), BACKGROUND)
    under_way = tool.due()
    with pytest.raises(InputError, match="not finished"):
        controller.leaving.export("probabilities", "TIFF", path)
    run(tool, under_way)
    tool.turn(False)
    with pytest.raises(InputError, match="turn Answer while drawing on"):
        controller.leaving.export("probabilities", "TIFF", path)
    tool.turn(True)
    run(tool, tool.due())
    mask_of(controller)[:3, :3] = 1  # as no tool of ours does
    with pytest.raises(InputError, match="changed since it was answered, in 9 voxels"):
        work(controller, controller.leaving.export("probabilities", "TIFF", path))
    assert controller.instant.masks.on() == "instant"
    assert not list(tmp_path.iterdir())
    preview(controller, 1, done=9)
    work(controller, controller.leaving.export("probabilities", "TIFF", path))
    assert "background, ball, in this order" in controller.message


@pytest.mark.parametrize("objects", ["marked", "alike"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_large_image_is_found_again_in_pieces_and_coarse_walks(ndim, objects, tmp_path, monkeypatch):
    monkeypatch.setattr(wsseg.propagate, "VOXELS", 24**ndim // 2)
    monkeypatch.setattr(wsseg.propagate, "COARSE", 24**ndim // 2**ndim // 2)
    for module in (wsseg.instant, napari_plugin.leaveanswer):
        monkeypatch.setattr(module, "PIECE", 24**ndim // 5)
    _, controller = ready(ndim)
    controller.set("objects", objects)
    paint(controller)
    tool = controller.instant
    tool.look_at((12,) * ndim, [ndim - 2, ndim - 1])
    run(tool, tool.due())
    found = exported(controller, tmp_path / "p.tif")
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    np.testing.assert_array_equal(found.argmax(0), mask_of(controller))
    assert len(np.unique(mask_of(controller))) == 2


def test_the_answer_of_another_image_is_not_taken_for_this_one_s():
    controller = answered(2)
    first, viewer = controller.image, controller.layers
    other = type(first)(first.data.copy(), name="other")
    viewer.append(other)
    controller.choose_image(other)
    controller.instant.follow()
    assert controller.instant.asked() is None  # it has no mask
    controller.choose_image(first)  # its mask is there; what it was asked for is not yet
    with pytest.raises(InputError, match="not finished"):
        controller.instant.asked()
