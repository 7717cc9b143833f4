"""Learning goes on when there is more to learn, and only then."""

import numpy as np
import pytest
from test_controller import run, scene

from napari_plugin.keeplearning import KeepLearning
from wsseg.hints import BACKGROUND


@pytest.fixture
def learnt(monkeypatch):
    """Makes a scene that has been learnt once: ndim -> (viewer, controller, keeping)."""
    monkeypatch.setattr("napari_plugin.marks.SETTLED", 0.0)

    def make(ndim):
        viewer, controller = scene(ndim)
        keeping = KeepLearning(controller)
        controller.set("keep_learning", True)
        assert not keeping.due()  # the first run is the user's
        segment(controller, keeping)
        return viewer, controller, keeping

    return make


def segment(controller, keeping):
    """A run, with what the widget's timer does meanwhile."""
    work = controller.segment(steps=2)
    keeping.note()
    run(controller, work)


@pytest.mark.parametrize("ndim", [2, 3])
def test_more_strokes_are_learnt_once_each(learnt, ndim):
    _, controller, keeping = learnt(ndim)
    assert not keeping.due()
    controller.hints.paint((14,) * ndim, BACKGROUND)
    assert keeping.due()
    before = controller.model
    segment(controller, keeping)
    assert controller.model is not before
    assert not keeping.due()
    controller.timeline.undo()  # the run
    controller.timeline.undo()  # the stroke, which has been learnt from
    controller.set("keep_learning", False)
    assert not keeping.due()


def test_strokes_that_a_run_has_swapped_in_are_learnt(learnt):
    _, controller, keeping = learnt(2)
    work = controller.segment(steps=2)
    keeping.note()
    controller.hints.paint((14, 14), BACKGROUND)
    controller.tick((0.0, 0.0), (0, 1))
    keeping.note()
    run(controller, work)
    assert not keeping.due()


def test_a_stroke_that_is_taken_back_before_the_hand_rests_starts_nothing(learnt):
    _, controller, keeping = learnt(2)
    controller.hints.paint((14, 14), BACKGROUND)
    controller.timeline.undo()
    assert not keeping.due()


def test_another_image_or_no_model_starts_nothing(learnt):
    viewer, controller, keeping = learnt(2)
    first = controller.image
    controller.choose_image(viewer.add_image(np.ones((16, 16)), name="other"))
    controller.new_hints().paint((2, 2), 1)
    assert not keeping.due()
    controller.choose_image(first)
    controller.hints.paint((14, 14), BACKGROUND)
    controller.forget_model()
    assert not keeping.due()


def test_what_can_not_be_learnt_from_starts_nothing(learnt):
    viewer, controller, keeping = learnt(2)
    points = viewer.add_points(np.array([[2.0, 2.0]]))  # of no class
    controller.choose_clicks(points)
    controller.hints.paint((14, 14), BACKGROUND)
    assert not keeping.due()
