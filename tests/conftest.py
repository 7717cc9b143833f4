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
