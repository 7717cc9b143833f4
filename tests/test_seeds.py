"""Seeds of heat, and `wsseg seeds` from tags to hint maps."""

import json
from functools import partial

import numpy as np
import pytest
from tiny import files_in, write_any, wsseg_

import wsseg.tagfit
from wsseg.dataset import open_dataset
from wsseg.hints import BACKGROUND
from wsseg.images import read_image, read_labels
from wsseg.seeds import SeedConfig, kernels_of, merge, seeds, solve_field
from wsseg.thresholds import Thresholds
from wsseg.unet import plan_encoder

SIZE = {2: (24, 32), 3: (10, 12, 16)}
PLAIN = SeedConfig(smooth=0)


def heat_of(dims, classes=2):
    """Heat of 0 with a hot block and a warm margin for each class; (heat, image of the blocks)."""
    heat, image = np.zeros((classes, *SIZE[dims]), np.float32), np.zeros((1, *SIZE[dims]), np.float32)
    for k in range(classes):
        around = (slice(1, 9), *[slice(0 + 8 * k, 8 + 8 * k)] * (dims - 1))
        block = tuple(slice(s.start + 2, s.stop - 2) for s in around)
        heat[k][around], heat[k][block] = 4.0, 10.0
        image[0][block] = 1.0 + k
    return heat, image


BOTH = {3: Thresholds(1.0, 7.0), 5: Thresholds(1.0, 7.0)}


def test_hot_is_the_class_cold_is_background_and_between_is_unknown(dims):
    heat, image = heat_of(dims)
    found = seeds(heat, image, [3, 5], BOTH, PLAIN, spacing=(1.0,) * dims)
    expected = np.full(SIZE[dims], BACKGROUND, np.uint8)
    expected[(heat == 4).any(0)] = 0
    for row, k in enumerate(BOTH):
        expected[heat[row] == 10] = k
    assert np.array_equal(found, expected)


def test_a_class_that_is_not_tagged_cannot_appear(dims):
    heat, image = heat_of(dims)
    found = seeds(heat, image, [3], BOTH, PLAIN, spacing=(1.0,) * dims)
    assert set(np.unique(found)) == {0, 3, BACKGROUND}
    assert (found[heat[1] == 10] == BACKGROUND).all()
    assert (seeds(heat, image, [], BOTH, PLAIN, spacing=(1.0,) * dims) == BACKGROUND).all()


def test_where_a_class_that_is_there_cannot_be_found_no_background_is_sure(dims):
    heat, image = heat_of(dims)
    unknown = {3: BOTH[3], 5: None}
    assert set(np.unique(seeds(heat, image, [3, 5], unknown, PLAIN, spacing=(1.0,) * dims))) == {0, 3}
    assert not seeds(heat, image, [5], unknown, PLAIN, spacing=(1.0,) * dims).any()


def test_the_hotter_class_wins_relative_to_its_thresholds():
    heat = np.full((2, 4, 4), 8.0, np.float32)
    own = {3: Thresholds(0.0, 7.0), 5: Thresholds(0.0, 4.0)}  # twice its threshold
    assert (seeds(heat, heat[:1], [3, 5], own, PLAIN, spacing=(1.0, 1.0)) == 5).all()


def test_the_field_moves_a_seed_to_the_edge_of_the_image_and_takes_away_specks(dims):
    size = (20,) * dims
    truth = np.zeros(size, bool)
    truth[(slice(5, 15),) * dims] = True
    rng = np.random.default_rng(0)
    heat = np.where(truth, 8.0, 0.0) + rng.normal(0, 3.0, size)
    image = (truth + rng.normal(0, 0.05, size))[None].astype(np.float32)
    own = {1: Thresholds(2.0, 6.0)}
    heat = heat[None].astype(np.float32)
    plain, smooth = (
        seeds(heat, image, [1], own, SeedConfig(smooth=s), spacing=(1.0,) * dims) for s in (0.0, 4.0)
    )

    def right(found):
        return (found == np.where(truth, 1, BACKGROUND)).mean()

    assert right(plain) < 0.8
    assert right(smooth) > 0.95


def test_the_field_by_blocks_is_the_field_at_once(dims, monkeypatch):
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(2, *SIZE[dims])).astype(np.float32)
    image = generator.normal(size=(1, *SIZE[dims])).astype(np.float32)
    config = SeedConfig(reach=1.0)
    whole = solve_field(scores, image, config, spacing=(1.0,) * dims)
    monkeypatch.setattr("wsseg.seeds.BLOCK", 2**7)
    assert np.allclose(solve_field(scores, image, config, spacing=(1.0,) * dims), whole, atol=1e-5)


def test_kernels_are_round_in_the_world():
    wide, near = kernels_of(SeedConfig(reach=4.0), (1.0, 1.0, 4.0))
    assert wide.position == (4.0, 4.0, 1.0)
    assert wide.radius == (4, 4, 1)
    assert near.radius == (1, 1, 0)


def test_what_a_person_painted_wins():
    seed_map = np.array([[1, 0], [BACKGROUND, 2]], np.uint8)
    painted = np.array([[BACKGROUND, 2], [0, 0]], np.uint8)
    assert merge(seed_map, painted).tolist() == [[BACKGROUND, 2], [BACKGROUND, 2]]
    assert merge(seed_map, None) is seed_map


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Networks that train in a moment."""
    monkeypatch.setattr(wsseg.tagfit, "plan_encoder", partial(plan_encoder, channels=(4, 8)))


def tagged_squares(folder, dims, *, random=False, count=16):
    """Noise; every second image holds a bright block and is tagged with it. (folder, truths)"""
    rng = np.random.default_rng(0)
    lines, truths = [], {}
    for index in range(count):
        values, truth = rng.normal(90, 8, SIZE[dims]), np.zeros(SIZE[dims], bool)
        if index % 2 and not random:
            start = [int(rng.integers(0, n - 5)) for n in SIZE[dims]]
            truth[tuple(slice(s, s + 5) for s in start)] = True
            values[truth] += 100
        write_any(folder / "images", f"i{index:02}", np.clip(values, 0, 255).astype(np.uint8))
        lines.append(f"i{index:02},{'square' if index % 2 else ''}")
        truths[f"i{index:02}"] = truth
    (folder / "tags.csv").write_text("image,class\n" + "\n".join(lines) + "\n")
    (folder / "classes.json").write_text(json.dumps({"4": "square"}))
    return folder, truths


def test_seeds_from_tags_alone(tmp_path, dims):
    data, truths = tagged_squares(tmp_path / "data", dims)
    (data / "classes.json").write_text('{"4": "square", "9": "ghost"}')
    said = wsseg_("seeds", data, "--out", tmp_path / "out", "--steps", 40, "--device", "cpu").output
    assert "Class 4 (square): AUC" in said
    assert "no tag names ghost; it gets no seeds" in said
    assert "on 4 of 16 images held back" in said
    found = right = wanted = 0
    for item in open_dataset(data).items:
        image = read_image(item.image)
        seed_map = read_labels(next((tmp_path / "out/hints").glob(f"{item.stem}.*")), image)
        truth = truths[item.stem]
        found, right = found + (seed_map == 4).sum(), right + ((seed_map == 4) & truth).sum()
        wanted += truth.sum()
        heat = next((tmp_path / "out/heat").glob(f"{item.stem}.*"))
        assert read_image(heat, channel_axis=None if dims == 2 else 3).shape[-dims:] == SIZE[dims]
        if not truth.any():
            assert (seed_map == BACKGROUND).all()
    assert right / found > 0.7
    assert right / wanted > 0.3
    quality = json.loads((tmp_path / "out/quality.json").read_text())
    assert quality["auc"]["4"] == 1.0
    assert quality["thresholds"]["4"]["lower"] < quality["thresholds"]["4"]["upper"]
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        *("classifier", "heat", "hints", "quality.json", "seeds.json")
    }
    again = wsseg_("seeds", data, "--out", tmp_path / "out", "--steps", 40, "--resume").output
    assert "nothing is left to do" in again
    other = wsseg_("seeds", data, "--out", tmp_path / "out", "--steps", 41, "--resume", code=2).output
    assert "other options" in other


def test_tags_that_are_chance_are_refused_unless_forced(tmp_path):
    data, _ = tagged_squares(tmp_path / "data", 2, random=True, count=24)
    arguments = ("seeds", data, "--out", tmp_path / "out", "--steps", 4, "--device", "cpu")
    said = wsseg_(*arguments, code=2).output
    assert "maps would mean nothing and no seeds are written" in said
    assert not (tmp_path / "out/hints").exists()
    forced = wsseg_(*arguments, "--force", "--overwrite").output
    assert "its maps mean nothing" in forced
    assert (tmp_path / "out/hints").is_dir()


def test_slices_that_are_tagged_get_seeds_and_others_none(tmp_path):
    data, truths = tagged_squares(tmp_path / "data", 3, count=6)
    lines = []
    for stem, truth in truths.items():
        for index in range(0, SIZE[3][1], 2):
            lines.append(f"{stem},{'square' if truth[:, index].any() else ''},1,{index}")
    (data / "tags.csv").write_text("image,class,axis,slice\n" + "\n".join(lines) + "\n")
    said = wsseg_("seeds", data, "--out", tmp_path / "out", "--steps", 30, "--device", "cpu").output
    assert "of 6 images held back" in said
    for stem, truth in truths.items():
        seed_map = np.asarray(read_image(tmp_path / "out/hints" / f"{stem}.nii.gz").data[0])
        assert not seed_map[:, 1::2].any()
        empty = [i for i in range(0, SIZE[3][1], 2) if not truth[:, i].any()]
        assert (seed_map[:, empty] == BACKGROUND).all()


def test_a_scribble_wins_and_one_that_contradicts_is_told(tmp_path):
    data, _ = tagged_squares(tmp_path / "data", 2)
    painted = np.zeros(SIZE[2], np.uint8)
    painted[0, :6] = 4
    write_any(data / "hints", "i01", painted)
    wsseg_("seeds", data, "--out", tmp_path / "out", "--steps", 20, "--device", "cpu")
    found = np.asarray(read_image(tmp_path / "out/hints/i01.png").data[0])
    assert (found[0, :6] == 4).all()
    write_any(data / "hints", "i02", painted)  # tagged with none
    said = wsseg_("seeds", data, "--out", tmp_path / "other", "--steps", 2, code=2).output
    assert "i02.png: class 4 is marked on it but not among its tags" in said
    assert not (tmp_path / "other").exists()
    told = wsseg_("fit", data, "--out", tmp_path / "other", "--steps", 2, code=2).output
    assert "i02.png: class 4 is marked on it" in told


@pytest.mark.parametrize("size", ["20", "20-1", "a-b", "5-120"])
def test_a_wrong_size_is_told(tmp_path, size):
    data, _ = tagged_squares(tmp_path / "data", 2, count=6)
    said = wsseg_("seeds", data, "--out", tmp_path / "out", "--size", size, code=2).output
    assert "two percentages from 0 to 100 such as 1-20 are right" in said
    assert not (tmp_path / "out").exists() or not files_in(tmp_path / "out")


def test_a_stopped_run_goes_on_to_the_same_seeds(tmp_path, monkeypatch):
    data, _ = tagged_squares(tmp_path / "data", 2, count=8)
    arguments = ("--steps", 6, "--device", "cpu")
    wsseg_("seeds", data, "--out", tmp_path / "whole", *arguments, "--force")
    with monkeypatch.context() as patch:
        patch.setattr("wsseg.seedrun.write_probabilities", _fail_at("i03"))
        wsseg_("seeds", data, "--out", tmp_path / "broken", *arguments, "--force", code=1)
    wsseg_("seeds", data, "--out", tmp_path / "broken", *arguments, "--force", "--resume")
    for path in sorted((tmp_path / "whole/hints").iterdir()):
        other = tmp_path / "broken/hints" / path.name
        assert np.array_equal(read_image(path).data, read_image(other).data)


def _fail_at(stem):
    from wsseg.images import write_probabilities

    def write(path, *rest):
        if path.name.startswith(stem):
            raise ValueError("stopped here")
        write_probabilities(path, *rest)

    return write
