"""How right the mask was where a person painted next: closed forms, and the order of things in the plugin."""

import numpy as np
import pytest
from test_instanttool import hasty, mask_of, paint, ready, run  # noqa: F401

from napari_plugin.agreement import ENOUGH, LAST, Agreement
from napari_plugin.patching import changed
from wsseg.hints import BACKGROUND


def maps(*rows) -> list[np.ndarray]:
    return [np.array([row], np.uint8) for row in rows]


def test_only_what_is_newly_painted_counts_and_each_class_alike():
    before, now, mask = maps(
        [1, 0, 0, 0, 0, 0, 0, 255],
        [1, 1, 255, 255, 255, 255, 0, 1],
        [0, 1, 0, 0, 0, 1, 1, 0],
    )
    scores = Agreement()
    scores.note(changed(before, now), before, now, mask, None)
    # class 1: one of two was right, background: three of four
    assert scores.values == [pytest.approx((1 / 2 + 3 / 4) / 2)]
    assert "62%" in scores.told()
    (locked,) = maps([0, 0, 0, 0, 0, 255, 0, 1])
    scores.note(changed(before, now), before, now, mask, locked)
    assert scores.values[1] == 1  # both that were wrong are accepted ones: they say nothing


def test_a_slow_loop_finds_the_same():
    rng = np.random.default_rng(0)
    before, now = (rng.choice([0, 0, 1, 2, 255], (6, 7, 8)).astype(np.uint8) for _ in range(2))
    mask = rng.integers(0, 3, (6, 7, 8)).astype(np.uint8)
    right: dict[int, list[bool]] = {}
    for place in np.ndindex(*mask.shape):
        if now[place] and now[place] != before[place]:
            k = now[place] % 255
            shown = before[place] % 255 if before[place] else mask[place]  # paint is in what is shown
            right.setdefault(k, []).append(bool(shown == k))
    scores = Agreement()
    scores.note(changed(before, now), before, now, mask, None)
    assert scores.values == [pytest.approx(np.mean([np.mean(each) for each in right.values()]))]


def test_what_has_no_score():
    before, now, mask = maps([1, 1], [1, 0], [1, 0])
    scores = Agreement()
    scores.note(changed(before, now), before, now, mask, None)  # only erased
    scores.note(changed(None, now), None, now, None, None)  # no mask yet
    scores.note(changed(None, now), None, now, mask * 0, None)  # nothing learnt yet
    scores.note(changed(None, None), None, None, mask, None)
    assert scores.values == []
    assert scores.told() == ""


def test_it_says_when_more_hints_stop_paying():
    scores = Agreement()
    now, mask = maps([1, 1], [1, 1])
    scores.note(changed(None, now), None, now, 2 - mask, None)
    scores.note(changed(None, now), None, now, mask + 1, None)
    for _ in range(LAST - 1):
        scores.note(changed(None, now), None, now, mask, None)
        assert "change little" not in scores.told()
    scores.note(changed(None, now), None, now, mask, None)
    assert "change little" in scores.told()
    assert ENOUGH < 1


def test_a_stroke_is_scored_against_the_mask_before_it_learns_of_it():
    _, controller = ready(2)
    tool, scores = controller.instant, controller.instant.agreement
    paint(controller)
    run(tool, tool.due())
    assert scores.values == []  # there was nothing to be right or wrong
    mask = mask_of(controller).copy()
    wrong = tuple(np.argwhere((mask == 1) & (controller.hints.data == 0))[0])
    controller.hints.paint(wrong, BACKGROUND)
    work = tool.due()
    assert scores.values == [0]
    run(tool, work)
    assert mask_of(controller)[wrong] == 0  # learnt
    controller.hints.undo()
    run(tool, tool.due())
    assert len(scores.values) == 1
    controller.accept_object((12, 12), [0, 1])
    run(tool, tool.due())
    assert len(scores.values) == 1
    right = tuple(np.argwhere((mask_of(controller) == 0) & (controller.hints.data == 0))[0])
    controller.hints.paint(right, BACKGROUND)
    tool.due()
    assert scores.values == [0, 1]
    controller.choose_image(None)
    tool.follow()
    assert tool.agreement.values == []


@pytest.mark.parametrize("dims", [2, 3])
def test_one_class_alone_leaves_nothing_to_be_right_in(dims):
    _, controller = ready(dims)
    tool, hints = controller.instant, controller.hints
    inside, beside = (8,) * (dims - 2) + (12, 12), (8,) * (dims - 2) + (12, 18)
    for place in (inside, beside):  # the mask of the first has its paint in it, and nothing else
        hints.paint(place, 1)
        run(tool, tool.due())
    np.testing.assert_array_equal(mask_of(controller) > 0, hints.data > 0)
    assert tool.agreement.values == []
