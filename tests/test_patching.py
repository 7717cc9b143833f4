"""A network's mask follows new strokes as the answer does: against slow loops, and in the plugin."""

import numpy as np
import pytest
from scipy import ndimage
from test_instanttool import hasty, mask_of, paint, preview, ready, run  # noqa: F401

from napari_plugin.patching import REACH, Patches, around, changed
from wsseg.hints import BACKGROUND


def grown(seeds: np.ndarray, room: np.ndarray) -> np.ndarray:
    """All of `room` that hangs together with voxels beside the seeds, by a slow loop."""
    stack = [place for place in np.ndindex(*room.shape) if seeds[place]]
    reached = np.zeros(room.shape, bool)
    while stack:
        place = stack.pop()
        for step in np.ndindex(*(3,) * room.ndim):
            near = tuple(p + s - 1 for p, s in zip(place, step, strict=True))
            inside = all(0 <= n < size for n, size in zip(near, room.shape, strict=True))
            if inside and room[near] and not reached[near]:
                reached[near] = True
                stack.append(near)
    return reached


@pytest.mark.parametrize("shape", [(30, 28), (12, 14, 13)])
def test_the_answer_is_believed_where_its_change_hangs_together_with_a_new_stroke(shape):
    rng = np.random.default_rng(0)
    network, then = (rng.integers(0, 3, shape).astype(np.uint8) for _ in range(2))
    other = ndimage.gaussian_filter(rng.normal(size=shape), 1.5) > 0.1
    answer = np.where(other, (then + 1) % 3, then).astype(np.uint8)
    before = np.where(rng.random(shape) < 0.02, 1, 0).astype(np.uint8)
    now = before.copy()
    now[(5,) * len(shape)], now[(9,) * len(shape)] = BACKGROUND, 2
    new = now != before
    patches, said = Patches(), network.copy()
    patches.learns(before, then)
    assert patches.mask(network) is network
    whole = tuple(slice(0, n) for n in shape)
    believed = patches.follow(whole, network, answer, now, None)
    expected = grown(new, other)
    np.testing.assert_array_equal(believed, expected)
    np.testing.assert_array_equal(patches.mask(network), np.where(expected, answer, network))
    # taken back, all is as the network said it; what was accepted is no stroke
    patches.follow(whole, network, answer, before, None)
    np.testing.assert_array_equal(patches.mask(network), network)
    patches.follow(whole, network, answer, now, now)
    np.testing.assert_array_equal(patches.mask(network), network)
    np.testing.assert_array_equal(network, said)  # it is never written into


def test_what_the_network_says_anew_is_what_is_gone_back_to():
    network, then, answer = (np.full((6, 6), k, np.uint8) for k in (0, 0, 1))
    now = np.zeros((6, 6), np.uint8)
    now[2, 2] = 1
    patches, whole = Patches(), (slice(0, 6), slice(0, 6))
    patches.learns(None, then)
    patches.follow(whole, network, answer, now, None)
    assert (patches.mask(network) == 1).all()
    network[:3] = 2
    patches.wrote((slice(0, 3), slice(0, 6)), network[:3])
    np.testing.assert_array_equal(patches.mask(network)[:3], 2)
    patches.follow(whole, network, then, now * 0, None)
    np.testing.assert_array_equal(patches.mask(network)[:3], 2)
    np.testing.assert_array_equal(patches.mask(network)[3:], 0)


def test_without_an_answer_to_compare_with_nothing_changes():
    network, patches = np.zeros((4, 4), np.uint8), Patches()
    painted, whole = np.ones((4, 4), np.uint8), (slice(0, 4), slice(0, 4))
    assert patches.follow(whole, network, painted, painted, None) is None
    patches.learns(painted, None)
    assert patches.follow(whole, network, painted, painted, None) is None
    assert patches.mask(network) is network


@pytest.mark.parametrize("shape", [(200, 150), (80, 90, 100)])
def test_the_part_around_a_change(shape):
    before = np.zeros(shape, np.uint8)
    now = before.copy()
    low, high = (40,) * len(shape), (75,) * len(shape)
    now[low], now[high] = 1, BACKGROUND
    for first, second in ((before, now), (now, before)):
        where = changed(first, second)
        np.testing.assert_array_equal(np.stack(np.unravel_index(where, shape), 1), [low, high])
        part = around(where, shape)
        assert part == tuple(slice(40 - REACH, min(n, 75 + REACH + 1)) for n in shape)
    assert around(changed(now, now), shape) is None
    assert around(changed(None, None), shape) is None
    assert len(changed(now, None)) == 2


@pytest.mark.parametrize("ndim", [2, 3])
def test_in_the_plugin_a_stroke_after_a_run_changes_the_mask_on_show_and_undo_changes_it_back(ndim):
    _, controller = ready(ndim)
    tool = controller.instant
    paint(controller)
    run(tool, tool.due())
    tool.learns(controller.read_hints())
    answer = tool.masks.mask(controller.image, "instant").copy()
    preview(controller, 0, done=9)  # finds nothing
    assert tool.masks.on() == "network"
    before = mask_of(controller).copy()
    inside = np.zeros(answer.shape, bool)
    inside[(slice(6, 18),) * ndim] = True
    assert not before[inside & (controller.hints.data == 0)].any()
    # the answer to a stroke of background through the object is another one there
    controller.hints.brush_size = 5
    controller.hints.paint((12,) * (ndim - 1) + (12,), BACKGROUND)
    run(tool, tool.due())
    said = tool.masks.mask(controller.image, "instant")
    new = controller.hints.data == BACKGROUND
    differs, _ = ndimage.label(said != answer, np.ones((3,) * ndim))
    touched = np.unique(differs[ndimage.binary_dilation(new, np.ones((3,) * ndim))])
    believed = np.isin(differs, touched[touched > 0])
    assert believed.any()
    np.testing.assert_array_equal(mask_of(controller)[believed], said[believed])
    np.testing.assert_array_equal(mask_of(controller)[~believed & ~new], before[~believed & ~new])
    assert "change it around" in tool.told()
    after = mask_of(controller).copy()
    preview(controller, 0, done=9)  # the run's last word, which has not learnt the stroke either
    np.testing.assert_array_equal(mask_of(controller), after)
    controller.timeline.undo()
    run(tool, tool.due())
    np.testing.assert_array_equal(mask_of(controller), before)
