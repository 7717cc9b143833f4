"""The parts that methods are made of: first labels, votes, agreement, certainty."""

import numpy as np
import pytest

import wsseg.recipes
from wsseg.boxes import THRESHOLD, ellipse, segment
from wsseg.hints import Box
from wsseg.recipes import METHODS, View, certainty, evidence_of, fallback_of, first_segments, fit_image


@pytest.fixture
def view(dims):
    """A bright block in its tight box, and a dark one in another."""
    size = (40, 36, 30)[:dims]
    values = np.random.default_rng(0).normal(0, 0.5, (1, *size)).astype(np.float32)
    bright = (slice(4, 16),) + (slice(5, 15),) * (dims - 1)
    dark = (slice(22, 36),) + (slice(8, 20),) * (dims - 1)
    values[(0, *bright)] += 4
    values[(0, *dark)] -= 4
    boxes = [
        Box(tuple(s.start for s in place), tuple(s.stop for s in place), k, k)
        for k, place in ((1, bright), (2, dark))
    ]
    return View(values, boxes)


def fills(segments):
    return [one.fill for one in segments]


def test_colours_fill_a_block_where_an_ellipse_does_not(view, dims):
    by_colour, found = first_segments(view, "colour")
    assert all(np.array_equal(p > THRESHOLD, one.mask) for p, one in zip(found, by_colour, strict=True))
    assert min(fills(by_colour)) > {2: 0.9, 3: 0.8}[dims]
    assert max(fills(first_segments(view, "ellipse")[0])) < 0.85
    assert fills(first_segments(view, "filled")[0]) == [1, 1]


def test_votes_and_agreement_leave_voxels_unknown(view, monkeypatch):
    monkeypatch.setattr(wsseg.recipes, "RUNS", 5)
    votes, shares = first_segments(view, "votes", seed=3)
    again, _ = first_segments(view, "votes", seed=3)
    for one, share in zip(votes, shares, strict=True):
        assert np.array_equal(share >= 0.7, one.mask)
        assert np.allclose(5 * share, np.rint(5 * share), atol=1e-5)
    for one, other in zip(votes, again, strict=True):
        assert np.array_equal(one.known, other.known)
        assert one.mask.mean() > 0.5
    for one in first_segments(view, "agreement")[0]:
        assert 0 < (~one.known).mean() < 0.6  # the corners, which ellipse and colours see differently
        assert not (one.mask & ~one.known).any()


def test_the_share_of_the_core_is_an_option(view):
    assert max(fills(first_segments(view, "core", share=0.5)[0])) > max(
        fills(first_segments(view, "core")[0])
    )


def test_order_and_company_of_boxes_do_not_matter(view):
    alone = [fit_image(View(view.values, [box]), wsseg.recipes.ALONE)[0] for box in view.boxes]
    for probability, other in zip(fit_image(view, wsseg.recipes.ALONE), alone, strict=True):
        assert np.allclose(probability, other, atol=1e-3)
    swapped = fit_image(View(view.values, view.boxes[::-1]), wsseg.recipes.ALONE)[::-1]
    for probability, other in zip(swapped, alone, strict=True):
        assert np.allclose(probability, other, atol=1e-3)


def test_evidence_is_that_of_the_boxs_class(dims):
    probabilities = np.full((3, *(4,) * dims), 0.25, np.float32)
    probabilities[0] = 0.5
    found = evidence_of(probabilities, (0, 4, 9))
    assert set(found) == {4, 9}
    assert np.allclose(found[9], np.log(1 / 3), atol=1e-5)


def test_certainty_is_one_for_a_clear_mask_that_spans_its_box(dims):
    box = Box((0,) * dims, (10,) * dims, 1, 1)
    round_ = ellipse(box)
    clear = round_.mask.astype(np.float32)
    assert certainty(box, clear, round_) == 1
    assert certainty(box, clear * 0.6, round_) == 0
    assert certainty(box, clear, segment(box, np.zeros((10,) * dims, bool))) == 0
    half = np.zeros((10,) * dims, bool)
    half[:5] = True
    assert certainty(box, half.astype(float), segment(box, half)) == pytest.approx(0.5)


def test_fallbacks(dims):
    box = Box((0,) * dims, (10,) * dims, 1, 1)
    assert fallback_of(METHODS["box"], box).fill == 1
    assert not fallback_of(METHODS["box-inner"], box).known.any()
    assert fallback_of(METHODS["auto"], box).fill == ellipse(box).fill
    assert fallback_of(METHODS["naive"], box) is None
