"""The simulated annotator: counted slices, hints on their own class, boxes by a slow loop."""

from pathlib import Path

import numpy as np
import pytest

from wsseg.errors import InputError
from wsseg.hints import BACKGROUND, Hints, Tag
from wsseg.images import read_labels
from wsseg.robot import KINDS, SECONDS, annotate, slice_numbers

DATA = Path(__file__).parent.parent.parent / "shared" / "data"


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def picture():
    """Two discs of class 1 and a bar of class 2 on 64 x 96."""
    y, x = np.mgrid[:64, :96]
    truth = np.zeros((64, 96), np.uint8)
    truth[(y - 20) ** 2 + (x - 20) ** 2 < 100] = 1
    truth[(y - 40) ** 2 + (x - 60) ** 2 < 150] = 1
    truth[50:58, 4:40] = 2
    return truth


@pytest.fixture
def volume():
    """A ball of class 1 in slices 8 … 16 and a rod of class 2 in slices 20 … 25 of 32 x 40 x 36."""
    z, y, x = np.mgrid[:32, :40, :36]
    truth = np.zeros((32, 40, 36), np.uint8)
    truth[(z - 12) ** 2 + (y - 15) ** 2 + (x - 15) ** 2 < 25] = 1
    truth[20:26, 25:32, 5:30] = 2
    return truth


def hints_of(truth, robot):
    """Checked on the way: everything lies in the image."""
    return Hints(truth.shape, scribbles=robot.scribbles, clicks=robot.clicks, boxes=robot.boxes)


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_hints(kind, picture, volume):
    for truth in (picture, volume):
        first, again = (annotate(truth, kind, rng=rng(5)) for _ in range(2))
        np.testing.assert_array_equal(first.scribbles, again.scribbles)
        assert (first.clicks, first.boxes, first.tags) == (again.clicks, again.boxes, again.tags)
        assert first.seconds > 0
        hints_of(truth, first).check({1: "a", 2: "b"})


@pytest.mark.parametrize("kind", ["scribbles", "clicks"])
def test_another_seed_other_hints(kind, picture):
    first, other = (annotate(picture, kind, rng=rng(s)) for s in (1, 2))
    assert first.clicks != other.clicks or not np.array_equal(first.scribbles, other.scribbles)


def test_every_kth_slice_starts_at_half(volume):
    robot = annotate(volume, "slices", rng=rng(), every=8)
    wanted = np.zeros(volume.shape, np.uint8)
    for i in (4, 12, 20, 28):
        wanted[i] = np.where(volume[i] > 0, volume[i], BACKGROUND)
    np.testing.assert_array_equal(robot.scribbles, wanted)
    assert robot.annotated_share == 4 / 32
    # slice 12 shows the ball, slice 20 the rod; 4 and 28 are only looked at, for two classes each
    assert robot.seconds == 2 * SECONDS["outline"] + 4 * 2 * SECONDS["look"]


def test_slice_numbers(volume):
    assert slice_numbers(volume, 1, every=8) == [4, 12, 20, 28, 36]
    assert slice_numbers(volume, 0, every=5) == [2, 7, 12, 17, 22, 27]
    assert slice_numbers(volume, 0, count=4) == [4, 12, 20, 28]
    assert slice_numbers(volume, 0, count=100) == list(range(32))
    # objects fill slices 8 … 25: 18 of them, cut in three
    assert slice_numbers(volume, 0, count=3, inside=True) == [11, 17, 23]
    assert slice_numbers(volume, 0, every=10, inside=True) == [13, 23]
    assert slice_numbers(volume[:3], 0, every=8) == [1]  # thinner than K//2: one all the same
    assert slice_numbers(np.zeros((8, 4, 4), int), 0, count=2, inside=True) == [2, 6]


def test_orthogonal_slices(volume):
    robot = annotate(volume, "slices", rng=rng(), count=1, axis="orthogonal")
    wanted = np.zeros(volume.shape, np.uint8)
    full = np.where(volume > 0, volume, BACKGROUND)
    for place in (np.s_[16], np.s_[:, 20], np.s_[:, :, 18]):
        wanted[place] = full[place]
    np.testing.assert_array_equal(robot.scribbles, wanted)


def test_a_picture_is_finished_whole(picture):
    robot = annotate(picture, "slices", rng=rng(), every=8)
    np.testing.assert_array_equal(robot.scribbles, np.where(picture > 0, picture, BACKGROUND))
    assert robot.annotated_share == 1


@pytest.mark.parametrize("seed", range(5))
def test_scribbles_lie_on_their_class(seed, picture):
    robot = annotate(picture, "scribbles", rng=rng(seed), pixels=200)
    drawn = robot.scribbles
    for k, value in ((0, BACKGROUND), (1, 1), (2, 2)):
        own = picture[drawn == value] == k
        assert len(own) >= 10
        assert own.mean() > 0.85  # a stroke may slip at its end
    assert 120 <= np.count_nonzero(drawn) <= 220
    assert robot.annotated_share == np.count_nonzero(drawn) / drawn.size


def test_scribbles_hardly_ever_miss(picture):
    wrong = total = 0
    for seed in range(40):
        drawn = annotate(picture, "scribbles", rng=rng(seed)).scribbles
        said = np.where(drawn == BACKGROUND, 0, drawn)
        wrong += int(((drawn > 0) & (said != picture)).sum())
        total += int((drawn > 0).sum())
    assert 80 <= total / 40 <= 120
    assert wrong / total < 0.015


def test_scribbles_in_a_volume(volume):
    drawn = annotate(volume, "scribbles", rng=rng(), count=3).scribbles
    slices = np.flatnonzero(drawn.any((1, 2)))
    # of the 15 slices with objects those at index 2, 7 and 12, and an empty one at either end
    assert slices.tolist() == [4, 10, 15, 23, 28]
    for i in (4, 28):
        assert set(np.unique(drawn[i])) == {0, BACKGROUND}
    assert {1, 2, BACKGROUND} <= set(np.unique(drawn))
    every = annotate(volume, "scribbles", rng=rng(), every=8).scribbles
    assert np.flatnonzero(every.any((1, 2))).tolist() == [4, 12, 20, 28]


def test_every_class_is_scribbled_on_however_rare():
    truth = np.zeros((40, 30, 30), np.uint8)
    truth[5:35, 10:20, 10:20] = 1
    truth[30, 2:5, 2:5] = 2
    drawn = annotate(truth, "scribbles", rng=rng(), count=2).scribbles
    assert np.any(truth[drawn == 2] == 2)
    dot = np.zeros((20, 20), np.uint8)
    dot[3, 3] = 1
    assert annotate(dot, "scribbles", rng=rng()).scribbles[3, 3] == 1


@pytest.mark.parametrize("fill", [0, 3])
def test_only_background_or_none(fill):
    truth = np.full((30, 40), fill, np.uint8)
    drawn = annotate(truth, "scribbles", rng=rng()).scribbles
    assert set(np.unique(drawn)) == {0, fill or BACKGROUND}
    clicks = annotate(truth, "clicks", rng=rng()).clicks
    assert {c.class_id for c in clicks} == {fill}


def test_clicks_hit_each_object_and_background(picture, volume):
    for truth, pieces in ((picture, 3), (volume, 2)):
        robot = annotate(truth, "clicks", rng=rng(3), spacing=(1.0,) * truth.ndim)
        for click in robot.clicks:
            assert truth[tuple(np.rint(click.position).astype(int))] == click.class_id
        assert sum(c.class_id > 0 for c in robot.clicks) == pieces
        assert sum(c.class_id == 0 for c in robot.clicks) >= 4
        assert robot.annotated_share == len(robot.clicks) / truth.size
    few = annotate(picture, "clicks", rng=rng(3), count=2).clicks
    assert {c.class_id for c in few} == {0, 1, 2}  # both classes, although class 1 has two objects
    assert sum(c.class_id > 0 for c in few) == 2


def test_clicks_hit_large_and_thin_objects():
    """Both have boxes that are looked at on a coarser grid, which misses the thread altogether."""
    truth = np.zeros((90, 90, 90), np.uint8)
    truth[5:85, 5:85, 20:80] = 1
    np.einsum("iij->ij", truth)[...] = 0
    truth[1, 1:89, 1] = truth[1:89, 1, 1] = truth[1, 1, 1:89] = 2
    for seed in range(3):
        for click in annotate(truth, "clicks", rng=rng(seed)).clicks:
            assert truth[tuple(np.rint(click.position).astype(int))] == click.class_id


def test_clicks_are_not_the_centroid(picture):
    places = {annotate(picture, "clicks", rng=rng(s)).clicks[0].position for s in range(5)}
    assert len(places) == 5


@pytest.mark.parametrize("ndim", [2, 3])
def test_boxes_are_tight(ndim):
    random = rng(1)
    truth = np.zeros((20,) * ndim, np.uint8)
    for k in range(1, 4):
        start = random.integers(0, 15, ndim)
        truth[tuple(slice(a, a + 4) for a in start)] = k
    robot = annotate(truth.astype(np.int32) * 700, "boxes", rng=rng(), instances=True)
    ids = [v for v in np.unique(truth) if v]
    assert [box.class_id for box in robot.boxes] == [1] * len(ids)
    for box, k in zip(robot.boxes, ids, strict=True):
        places = np.argwhere(truth == k)
        assert box.start == tuple(places.min(0))
        assert box.stop == tuple(places.max(0) + 1)
    assert robot.seconds == SECONDS["look"] + SECONDS["box"] * len(ids)


def test_boxes_of_pieces_and_with_jitter(picture):
    tight = annotate(picture, "boxes", rng=rng()).boxes
    assert [(b.class_id, b.id) for b in tight] == [(1, 1), (1, 2), (2, 3)]
    assert (tight[2].start, tight[2].stop) == ((50, 4), (58, 40))
    loose = [annotate(picture, "boxes", rng=rng(s), jitter=0.25).boxes[2] for s in range(30)]
    assert {b.start for b in loose} != {(50, 4)}
    for box in loose:
        assert abs(box.start[0] - 50) <= 2
        assert 0 <= box.start[1] <= 13
        assert abs(box.stop[1] - 40) <= 9


def test_tags(picture, volume):
    assert annotate(picture, "tags", rng=rng()).tags == {Tag(1), Tag(2)}
    assert annotate(volume, "tags", rng=rng()).tags == {Tag(1), Tag(2)}
    found = annotate(volume, "tags", rng=rng(), every=8).tags
    assert found == {Tag(0, 0, 4), Tag(1, 0, 12), Tag(2, 0, 20), Tag(0, 0, 28)}
    assert annotate(np.zeros((5, 5), int), "tags", rng=rng()).tags == frozenset()


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("lines", {}, "scribbles, slices"),
        ("slices", {"axis": 2}, "axis 2"),
        ("slices", {"every": 0}, "every is 0"),
        ("slices", {"every": 2, "count": 2}, "exclude"),
        ("boxes", {"count": 2}, "no count"),
        ("boxes", {"jitter": 0.5}, "jitter"),
        ("scribbles", {"pixels": 0}, "pixels is 0"),
    ],
)
def test_wrong_arguments(kind, options, says, picture):
    with pytest.raises(InputError, match=says):
        annotate(picture, kind, rng=rng(), **options)


def test_wrong_truth():
    with pytest.raises(InputError, match="--instances"):
        annotate(np.full((4, 4), 300), "clicks", rng=rng())
    with pytest.raises(InputError, match="whole numbers"):
        annotate(np.zeros((4, 4)), "clicks", rng=rng())


def real(folder, pattern, count):
    files = sorted((DATA / folder).glob(pattern))[:: 1 if count is None else 20][:count]
    if not files:
        pytest.skip(f"shared/data/{folder} is not here")
    return [read_labels(file) for file in files]


def test_real_nuclei():
    wrong = total = 0
    for truth in real("nuclei", "labels/*.tif", 6):
        drawn = annotate(truth, "scribbles", rng=rng(), instances=True).scribbles
        assert 50 <= np.count_nonzero(drawn) <= 120
        wrong += int(((drawn > 0) & ((drawn == 1) != (truth > 0))).sum())
        total += int((drawn > 0).sum())
        clicks = annotate(truth, "clicks", rng=rng(), instances=True).clicks
        hit = [int(truth[tuple(np.rint(c.position).astype(int))]) for c in clicks if c.class_id]
        assert sorted(hit) == np.unique(truth)[1:].tolist()  # each nucleus once
    assert wrong / total < 0.03


def test_real_hippocampus():
    wrong = total = 0
    for truth in real("hippocampus", "labelsTr/*.nii.gz", 3):
        drawn = annotate(truth, "scribbles", rng=rng(), axis=1).scribbles
        said = np.where(drawn == BACKGROUND, 0, drawn)
        wrong += int(((drawn > 0) & (said != truth)).sum())
        total += int((drawn > 0).sum())
        assert {1, 2, BACKGROUND} <= set(np.unique(drawn))
        slices = annotate(truth, "slices", rng=rng(), every=8).scribbles
        marked = np.flatnonzero(slices.all((1, 2)))
        assert marked.tolist() == list(range(4, truth.shape[0], 8))
        assert np.count_nonzero(slices) == len(marked) * truth[0].size
    assert wrong / total < 0.03
