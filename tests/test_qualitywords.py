"""What `wsseg fit` tells at its end: how good the model is, and what that number is worth."""

from dataclasses import replace

import numpy as np
import pytest
from tiny import small_plans, tiny_model, write_any, wsseg_

from wsseg.commands.fit import quality_words
from wsseg.images import read_labels


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    small_plans(monkeypatch)


@pytest.mark.parametrize(("finished", "told"), [(False, True), (True, False)])
def test_fit_says_that_strokes_are_the_easy_voxels_where_they_are_all(tmp_path, data, dims, finished, told):
    for path in sorted((data / "hints").iterdir()):
        labels = read_labels(path).astype(np.uint8)
        labels[(slice(0, 2),) + (slice(None),) * (dims - 1)] = 0  # no slice is whole
        if finished and path.name.startswith("ball1"):
            write_any(data / "masks", "ball1", read_labels(next((tmp_path / "truth").glob("ball1*"))))
        write_any(data / "hints", path.name.split(".")[0], labels)
    shown = wsseg_("fit", data, "--out", tmp_path / "model", "--steps", 2).stdout
    assert ("the easy ones, away from edges" in shown) == told
    assert "Annotated" in shown


@pytest.mark.parametrize(("dice", "told"), [(0.0004, True), (0.0006, False)])
def test_a_class_that_is_never_found_comes_with_what_to_try(dice, told):
    quality = {"dice": {"1": dice, "2": 0.9}, "mean": 0.45, "held_back": "2 of 8 images", "at_step": 3}
    config = replace(tiny_model(classes={1: "wall", 2: "roof"}).config, quality=quality)
    said = quality_words(config)
    assert ("finds nothing of wall; more steps are the first thing to try" in said) == told
    assert "nothing of roof" not in said
    assert "easy" not in said
