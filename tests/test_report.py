"""The picture of a run, read back: its size, and colours where they must be."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from wsseg.colours import CLASS_COLOURS, CONFUSED_COLOUR, EXTRA_COLOUR, MISSED_COLOUR, class_colour
from wsseg.errors import InputError
from wsseg.report import overview

CLASSES = {1: "ball", 2: "cap"}
LOSSES = list(np.geomspace(2, 0.05, 60))


def ball(ndim: int, size: int = 24) -> np.ndarray:
    """Class 1 a ball, class 2 its upper part along axis 0, background around."""
    grid = np.indices((size,) * ndim) - size // 2 + 0.5
    inside = (grid**2).sum(0) <= (0.35 * size) ** 2
    return np.where(inside, np.where(grid[0] < -3, 2, 1), 0).astype(np.uint8)


def an_image(truth: np.ndarray, channels: int = 1) -> np.ndarray:
    """Grey 0.5 everywhere but at two edges, which set the window to 0 and 1."""
    edge = max(3, len(truth) // 20)
    image = np.full((channels, *truth.shape), 0.5, dtype=np.float32)
    image[:, :edge], image[:, -edge:] = 0, 1
    return image


def draw(path, truth, mask, hints=None, *, with_truth=True, **options) -> np.ndarray:
    hints = np.zeros_like(truth) if hints is None else hints
    options = {"classes": CLASSES, "losses": [], "spacing": (1.0,) * truth.ndim} | options
    overview(path, an_image(truth), hints, mask, truth if with_truth else None, **options)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")) / 255


def share(picture: np.ndarray, colour) -> float:
    """Share of the page's pixels that have this colour."""
    return float((np.abs(picture - np.array(colour)).max(-1) < 0.02).mean())


def over_grey(colour: str, opacity: float) -> np.ndarray:
    return opacity * np.array(to_rgb(colour)) + (1 - opacity) * 0.5


@pytest.mark.parametrize("ndim", [2, 3])
def test_classes_lie_over_the_mask_panel(tmp_path, ndim):
    truth = ball(ndim)
    page = draw(tmp_path / "run.png", truth, truth, losses=LOSSES)
    assert 600 < page.shape[0] < 2400
    assert 1000 < page.shape[1] < 2600
    first, second = (share(page, over_grey(class_colour(k), 0.65)) for k in (1, 2))
    plane = truth if ndim == 2 else truth[:, :, 12]
    assert first / second == pytest.approx((plane == 1).sum() / (plane == 2).sum(), rel=0.6)
    assert first > 0.01


@pytest.mark.parametrize("ndim", [2, 3])
def test_errors_have_the_colour_of_their_kind(tmp_path, ndim):
    truth = ball(ndim)
    perfect = draw(tmp_path / "perfect.png", truth, truth)
    nothing = draw(tmp_path / "nothing.png", truth, np.zeros_like(truth))
    swapped = draw(tmp_path / "swapped.png", truth, np.where(truth > 0, 3 - truth, 0).astype(np.uint8))
    full = draw(tmp_path / "full.png", truth, np.ones_like(truth))
    legend = {c: share(perfect, to_rgb(c)) for c in (MISSED_COLOUR, EXTRA_COLOUR, CONFUSED_COLOUR)}
    assert share(nothing, to_rgb(MISSED_COLOUR)) > legend[MISSED_COLOUR] + 0.01
    assert share(nothing, to_rgb(EXTRA_COLOUR)) == legend[EXTRA_COLOUR]
    assert share(swapped, to_rgb(CONFUSED_COLOUR)) > legend[CONFUSED_COLOUR] + 0.01
    assert share(full, to_rgb(EXTRA_COLOUR)) > legend[EXTRA_COLOUR] + 0.01
    assert legend[MISSED_COLOUR] < 0.002  # only its square in the legend


def test_mask_lands_where_it_is(tmp_path):
    truth = np.zeros((20, 40), np.uint8)
    truth[8:14, 2:10] = 1
    page = draw(tmp_path / "run.png", truth, truth, with_truth=False, classes={1: "ball"}, losses=[])
    rows, columns = np.nonzero(np.abs(page - over_grey(class_colour(1), 0.65)).max(-1) < 0.02)
    height, width = rows.max() - rows.min() + 1, columns.max() - columns.min() + 1
    assert width / height == pytest.approx(8 / 6, rel=0.05)
    assert columns.min() > 0.6 * page.shape[1]  # the third of three columns
    hints = np.zeros_like(truth)
    hints[8:14, 2:10] = 1
    painted = draw(
        tmp_path / "h.png", truth, np.zeros_like(truth), hints, with_truth=False, classes={1: "b"}, losses=[]
    )
    _, columns = np.nonzero(np.abs(painted - over_grey(class_colour(1), 0.85)).max(-1) < 0.02)
    assert 0.3 * page.shape[1] < columns.min() < columns.max() < 0.6 * page.shape[1]


def test_spacing_stretches_the_planes(tmp_path):
    truth = ball(3)
    flat = draw(tmp_path / "flat.png", truth, truth, spacing=(1, 1, 1), axes="xyz")
    tall = draw(tmp_path / "tall.png", truth, truth, spacing=(1, 1, 2), axes="xyz")
    assert tall.shape[0] / tall.shape[1] > flat.shape[0] / flat.shape[1]


def test_finished_slices_cross_the_other_planes_as_lines(tmp_path):
    truth = ball(3)
    hints = np.zeros_like(truth)
    for z in (6, 12, 18):
        hints[:, :, z] = np.where(truth[:, :, z] == 0, 255, truth[:, :, z])
    page = draw(tmp_path / "run.png", truth, np.zeros_like(truth), hints, axes="xyz")
    lines = (np.abs(page - over_grey(class_colour(1), 0.85)).max(-1) < 0.02).any(1)
    assert (
        np.count_nonzero(np.diff(lines.astype(int)) == 1) >= 4
    )  # three lines and the slice itself, at least


def test_a_stroke_one_pixel_wide_is_seen_in_a_large_picture(tmp_path):
    truth = np.zeros((1500, 1500), np.uint8)
    hints = truth.copy()
    hints[700, 200:1200], hints[900, 200:1200] = 1, 255
    page = draw(tmp_path / "run.png", truth, truth, hints, with_truth=False)
    assert (np.abs(page - over_grey(class_colour(1), 0.85)).max(-1) < 0.02).sum() > 400


def test_colour_and_many_channels(tmp_path):
    truth = ball(2, size=32)
    image = np.zeros((3, 32, 32), np.uint8)
    image[0], image[:, 0] = 200, 255
    options = {"classes": {1: "ball"}, "losses": [], "spacing": (1, 1)}
    overview(tmp_path / "rgb.png", image, truth * 0, truth * 0, rgb=True, **options)
    overview(tmp_path / "two.png", image[:2], truth * 0, truth * 0, **options)
    red = {
        name: share(np.asarray(Image.open(tmp_path / name).convert("RGB")) / 255, (200 / 255, 0, 0))
        for name in ("rgb.png", "two.png")
    }
    assert red["rgb.png"] > 0.1
    assert red["two.png"] == 0


@pytest.mark.parametrize("losses", [[], [0.5], [float("nan")] * 3, [3.0, float("inf"), 0.1, 0.2]])
def test_any_curve_can_be_drawn(tmp_path, losses):
    draw(tmp_path / "run.png", ball(2), ball(2), losses=losses, quality={1: 0.9, 2: 0.8})


def test_values_that_are_no_numbers_and_a_constant_image(tmp_path):
    truth = ball(2)
    image = np.full((1, *truth.shape), np.nan)
    overview(tmp_path / "nan.png", image, truth, truth, classes=CLASSES, losses=[], spacing=(1, 1))
    overview(tmp_path / "one.png", image * 0 + 7, truth, truth, classes=CLASSES, losses=[], spacing=(1, 1))


def test_the_same_run_gives_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        draw(tmp_path / name, ball(3), ball(3), quality={1: 0.9})
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_shapes_that_differ_are_an_input_error(tmp_path):
    with pytest.raises(InputError, match="mask has the shape"):
        draw(tmp_path / "run.png", ball(2), ball(2, size=20))
    assert not (tmp_path / "run.png").exists()


def test_class_colours_are_distinct_and_begin_anew():
    assert len(set(CLASS_COLOURS)) == len(CLASS_COLOURS)
    assert class_colour(1) == class_colour(1 + len(CLASS_COLOURS)) == CLASS_COLOURS[0]
    with pytest.raises(ValueError, match="begin at 1"):
        class_colour(0)
