"""Terms of boxes against slow loops over rows and columns, and what they do to a network."""

import math

import numpy as np
import pytest
import torch

from wsseg.boxterms import (
    TERMS,
    BoxTerms,
    affinity_loss,
    barrier,
    line_maps,
    projection_loss,
    tightness_loss,
)
from wsseg.hints import Box

CASES = {2: ((12, 14), ((2, 3), (8, 11))), 3: ((8, 9, 10), ((1, 2, 3), (6, 7, 8)))}


def _one(dims, class_id=1):
    shape, (start, stop) = CASES[dims]
    box = Box(start, stop, class_id, id=1)
    maps = line_maps(shape, [box], {class_id: 1})
    chance = torch.rand(1, *shape, generator=torch.Generator().manual_seed(dims))
    return box, maps, chance


def _lines_of(box, chance):
    """Slow: the values on each line across a box."""
    inside = chance[0].numpy()[tuple(slice(a, b) for a, b in zip(box.start, box.stop, strict=True))]
    return [
        inside.take(index, axis).ravel() for axis in range(inside.ndim) for index in range(inside.shape[axis])
    ]


@pytest.mark.parametrize("dims", [2, 3])
def test_projection_is_dice_of_the_largest_values_on_rows_and_columns(dims):
    box, maps, chance = _one(dims)
    largest = np.array([line.max() for line in _lines_of(box, chance)])
    expected = 1 - 2 * largest.sum() / ((largest**2).sum() + len(largest))
    found = projection_loss(chance, torch.from_numpy(maps[1:])[None].long())
    assert float(found) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("dims", [2, 3])
def test_tightness_is_the_barrier_of_the_sums_on_rows_and_columns(dims):
    box, maps, chance = _one(dims)
    expected = np.mean([float(barrier(torch.tensor(1 - line.sum()))) for line in _lines_of(box, chance)])
    found = tightness_loss(chance, torch.from_numpy(maps[1:])[None].long())
    assert float(found) == pytest.approx(expected, abs=1e-5)


def test_the_barrier_is_a_logarithm_and_then_its_tangent():
    t = 5.0
    assert float(barrier(torch.tensor(-1.0), t)) == pytest.approx(0, abs=1e-7)
    assert float(barrier(torch.tensor(-0.5), t)) == pytest.approx(-math.log(0.5) / t)
    edge = -1 / t**2
    assert float(barrier(torch.tensor(edge), t)) == pytest.approx(math.log(t**2) / t, abs=1e-6)
    assert float(barrier(torch.tensor(1.0), t)) == pytest.approx(t - math.log(1 / t**2) / t + 1 / t, abs=1e-5)
    z = torch.tensor([edge - 1e-3, edge + 1e-3], requires_grad=True)
    barrier(z, t).sum().backward()
    assert float(z.grad[0]) == pytest.approx(float(z.grad[1]), rel=0.05)  # no kink


@pytest.mark.parametrize("dims", [2, 3])
def test_lines_follow_a_patch_that_is_mirrored_and_turned(dims):
    _, maps, chance = _one(dims)
    lines = torch.from_numpy(maps[1:])[None].long()
    for term in (projection_loss, tightness_loss):
        straight = term(chance, lines)
        turned = term(chance.flip(1).transpose(1, 2), lines.flip(2).transpose(2, 3))
        assert float(turned) == pytest.approx(float(straight), abs=1e-6)


def test_lines_that_the_patch_cuts_off_are_left_out():
    box, maps, chance = _one(2)
    rows = slice(box.start[0] + 2, None)  # cuts every column's line, and the first rows away
    lines = torch.from_numpy(maps[1:, rows])[None].long()
    whole = [line.max() for line in _lines_of(box, chance)[3 : box.stop[0] - box.start[0]]]
    largest = np.array(whole)  # the row on the border counts as cut off as well
    expected = 1 - 2 * largest.sum() / ((largest**2).sum() + len(largest))
    assert float(projection_loss(chance[:, rows], lines)) == pytest.approx(expected, abs=1e-6)


def test_two_patches_are_two_sets_of_lines():
    _, maps, chance = _one(2)
    lines = torch.from_numpy(maps[1:])[None].long()
    both = tightness_loss(torch.cat([chance, chance / 2]), torch.cat([lines, lines]))
    each = [tightness_loss(c, lines) for c in (chance, chance / 2)]
    assert float(both) == pytest.approx(float(sum(each) / 2), abs=1e-6)


def test_the_smaller_box_is_in_front_and_numbers_are_unique():
    large, small = Box((0, 0), (8, 8), 1, id=1), Box((2, 2), (5, 5), 2, id=2)
    maps = line_maps((9, 9), [small, large], {1: 1, 2: 2})
    assert maps[0, 3, 3] == 2
    assert maps[0, 1, 1] == 1
    assert maps[0, 8, 8] == 0
    assert not set(np.unique(maps[1])) & set(np.unique(maps[2])) - {0}
    assert len(np.unique(maps[1:])) == 1 + 2 * 8 + 2 * 3


@pytest.mark.parametrize("dims", [2, 3])
def test_affinity_against_a_loop_over_pairs(dims):
    shape = (7, 6, 5)[:dims]
    generator = torch.Generator().manual_seed(0)
    chance = torch.rand(2, *shape, generator=generator) * 0.9 + 0.05
    images = torch.randn(2, 3, *shape, generator=generator)
    inside = torch.rand(2, *shape, generator=generator) < 0.3
    total, count = 0.0, 0
    offsets = [tuple(2 * o - 2 for o in at) for at in np.ndindex(*[3] * dims)]
    for offset in [o for o in offsets if o > (0,) * dims]:
        for n in range(2):
            pairs = []
            for place in np.ndindex(*shape):
                other = tuple(a + o for a, o in zip(place, offset, strict=True))
                if all(0 <= a < m for a, m in zip(other, shape, strict=True)):
                    away = float((images[(n, slice(None), *place)] - images[(n, slice(None), *other)]).norm())
                    pairs.append((away, place, other))
            usual = np.mean([away for away, *_ in pairs])
            for away, place, other in pairs:
                if away < usual and (inside[(n, *place)] or inside[(n, *other)]):
                    a, b = float(chance[(n, *place)]), float(chance[(n, *other)])
                    total -= math.log(a * b + (1 - a) * (1 - b))
                    count += 1
    assert float(affinity_loss(chance, images, inside)) == pytest.approx(total / count, rel=1e-4)


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("dims", [2, 3])
def test_without_boxes_a_term_is_zero_and_has_no_gradient(name, dims):
    shape = CASES[dims][0]
    scores = torch.randn(1, 2, *shape, requires_grad=True)
    maps = torch.zeros(1, 1 + dims, *shape, dtype=torch.long)
    loss = BoxTerms([name])(scores, torch.randn(1, 1, *shape), maps, 1.0)
    loss.backward()
    assert loss.item() == 0
    assert not scores.grad.any()


def test_the_affinity_grows_over_the_run_and_the_other_terms_do_not():
    _, maps, _ = _one(2)
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(1, 2, *maps.shape[1:], generator=generator)
    image, on = torch.randn(1, 1, *maps.shape[1:], generator=generator), torch.from_numpy(maps)[None].long()
    at = {p: float(BoxTerms(["affinity"])(scores, image, on, p)) for p in (0.0, 0.15, 0.3, 1.0)}
    assert at[0.0] == 0
    assert at[0.15] == pytest.approx(at[0.3] / 2)
    assert at[1.0] == at[0.3] > 0
    assert BoxTerms(["projection"])(scores, image, on, 0.0) == BoxTerms(["projection"])(scores, image, on, 1)


@pytest.mark.parametrize("dims", [2, 3])
def test_projection_affinity_and_background_alone_find_a_bright_ball(dims):
    """Gradient descent on free scores: nothing but the box, its outside and the image is given."""
    size = 15 if dims == 2 else 11
    axes = np.meshgrid(*[np.arange(size) - size // 2] * dims, indexing="ij")
    radius = size // 2 - 2
    truth = np.sqrt(sum(a**2 for a in axes)) <= radius + 0.3
    box = Box((2,) * dims, (size - 2,) * dims, 1, id=1)
    maps = torch.from_numpy(line_maps(truth.shape, [box], {1: 1}))[None].long()
    image = torch.from_numpy(truth.astype(np.float32))[None, None]
    scores = torch.zeros(1, 2, *truth.shape, requires_grad=True)
    optimiser = torch.optim.Adam([scores], 0.2)
    terms = BoxTerms(["projection", "affinity"])
    for _ in range(150):
        loss = terms(scores, image, maps, 1.0)
        loss = loss + torch.nn.functional.softplus(scores[:, 1] - scores[:, 0])[maps[:, 0] == 0].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = (scores[0, 1] > scores[0, 0]).detach().numpy()
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.9
