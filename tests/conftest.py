"""Shared by all tests: few threads, and a small phantom with truth."""

import numpy as np
import pytest
import torch

from wsseg.images import Image

torch.set_num_threads(1)  # two threads waiting for each other on a busy machine are slower than one


def ball(size: tuple[int, ...], *, centre=None, radius=0.3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A bright ball on a dark noisy ground: values (1, *S) float32 and truth (*S) uint8 of class 1."""
    grid = np.stack(np.meshgrid(*[np.arange(n) / n for n in size], indexing="ij"), -1)
    truth = np.linalg.norm(grid - (centre or (0.5,) * len(size)), axis=-1) < radius
    noise = np.random.default_rng(seed).normal(0, 0.3, size)
    return (truth * 2.0 + noise)[None].astype(np.float32), truth.astype(np.uint8)


@pytest.fixture
def ball_image():
    """Makes a ball: size -> (Image, truth)."""

    def make(size, **options):
        values, truth = ball(size, **options)
        return Image(values, (1.0,) * len(size)), truth

    return make


def pytest_collection_modifyitems(items):
    """Tests with windows run one after the other: they share a screen, and the keyboard's focus on it."""
    for item in items:
        if item.get_closest_marker("gui"):
            item.add_marker(pytest.mark.xdist_group("gui"))


@pytest.fixture(autouse=True)
def _sessions(tmp_path_factory, monkeypatch):
    """What windows of tests save is nobody's work."""
    monkeypatch.setenv("WSSEG_SESSIONS", str(tmp_path_factory.getbasetemp() / "sessions"))


@pytest.fixture(params=[2, 3])
def dims(request) -> int:
    """Everything once in 2D and once in 3D."""
    return request.param


@pytest.fixture
def data(tmp_path, dims):
    """A dataset folder of two balls with hints."""
    from tiny import make_dataset  # it takes `ball` from here

    return make_dataset(tmp_path / "data", dims)
