"""Plans against sums by hand, a network whose values can be counted, and memory that is said to be short."""

import numpy as np
import psutil
import pytest
import torch
from tiny import tiny_model

import wsseg.memoryplan as memoryplan
from napari_plugin.events import Note
from napari_plugin.memorywork import told_prediction, told_training
from wsseg.images import Image
from wsseg.memoryplan import MemoryPlan, plan_prediction, plan_training, predicting, training


@pytest.fixture
def have(monkeypatch):
    """Pretend that so many bytes are free."""

    def pretend(free):
        monkeypatch.setattr(memoryplan, "free_memory", lambda device=None: (int(free), "memory"))

    return pretend


def chain(monkeypatch, *widths):
    """A network of 1×1 convolutions with these widths, in place of every model's."""
    layers = [torch.nn.Conv2d(a, b, 1, bias=False) for a, b in zip((1, *widths), widths, strict=False)]
    monkeypatch.setattr(
        memoryplan,
        "build",
        lambda config: torch.nn.Sequential(
            *[torch.nn.Conv2d(x.in_channels, x.out_channels, 1, bias=False) for x in layers]
        ),
    )
    return 4 * sum(a * b for a, b in zip((1, *widths), widths, strict=False))


def test_of_a_chain_two_neighbours_are_alive_at_once(monkeypatch):
    weights = chain(monkeypatch, 8, 16, 2)
    voxels, config = 4 * 32 * 32, tiny_model(2).config
    assert predicting(config, (32, 32)) == weights + (8 + 16) * voxels + voxels
    # while training all inputs of convolutions are kept, four times the scores for the loss
    expected = weights * 5 + 3 * (1 + 8 + 16) * voxels + 4 * 3 * 2 * voxels
    assert training(config, (32, 32), 3) == expected


def test_training_takes_more_than_predicting_and_grows_with_the_tile(dims):
    config = tiny_model(dims).config
    one, two = predicting(config, (16,) * dims), predicting(config, (32,) * dims)
    assert one < training(config, (16,) * dims, 1) < training(config, (16,) * dims, 2)
    assert 1.5**dims * one < two < 2.1**dims * one


def test_probabilities_and_labels_are_counted(dims, have):
    have(1e12)
    config, shape = tiny_model(dims).config, (64,) * dims
    voxels = 64**dims
    more = plan_prediction(config, shape, keep_probabilities=True).needed
    assert more - plan_prediction(config, shape).needed == 4 * 2 * voxels
    assert plan_training(config, voxels).needed - plan_training(config, 0).needed == 12 * voxels


def test_tiles_are_halved_until_they_fit(dims, have):
    config, shape = tiny_model(dims).config, (20,) * dims
    have(1e12)
    plan = plan_prediction(config, shape)
    assert plan.fits
    assert not plan.smaller
    assert not plan.matters
    have(plan.needed / memoryplan.SPARE - 1)
    less = plan_prediction(config, shape)
    assert less.tile == (8,) * dims
    assert less.smaller
    assert less.fits
    assert "using smaller tiles of 8×8" in less.sentence()
    own = plan_prediction(config, shape, tile=(16,) * dims)  # the user's own choice stays
    assert own.tile == (16,) * dims
    assert not own.fits
    have(10)
    none = plan_prediction(config, shape)
    assert not none.fits
    assert none.sentence().endswith("That may not be enough; close other programs, or crop.")


def test_the_sentence():
    plan = MemoryPlan(6_100_000_000, 20_000_000_000, (96, 96, 96))
    assert plan.sentence() == "Needs about 6.1 GB of memory, 20.0 GB free: using tiles of 96×96×96."
    assert plan.matters
    assert "3 MB" in MemoryPlan(3_000_000, 10**9, (8, 8), where="GPU memory").sentence()


def test_free_memory_of_the_machine_and_of_a_container(monkeypatch, tmp_path):
    monkeypatch.setattr(memoryplan, "CONTAINER", tmp_path)
    whole, where = memoryplan.free_memory()
    assert where == "memory"
    assert 0 < whole <= psutil.virtual_memory().total
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 700\nactive_file 50\n")
    assert memoryplan.free_memory()[0] == 2700
    (tmp_path / "memory.max").write_text("max\n")
    assert memoryplan.free_memory()[0] > 5000


def finished(work):
    events = []
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            return events, end.value


def test_the_window_is_told_only_where_it_matters(have):
    config, image = tiny_model(2).config, Image(np.zeros((1, 40, 40)), (1.0, 1.0))
    have(1e12)
    assert finished(told_training(config, image))[0] == []
    assert finished(told_prediction(config, image)) == ([], (16, 16))
    have(1000)
    (note,), _ = finished(told_training(config, image))
    assert isinstance(note, Note)
    assert "may not be enough" in note.text
    (note,), tile = finished(told_prediction(config, image, keep_probabilities=True))
    assert "1 MB" in note.text
    assert tile == (16, 16)  # smaller ones would not help: the mask alone is too large
