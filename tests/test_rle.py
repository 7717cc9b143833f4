"""Run-length codes: there and back, and known by heart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import decode

from wsseg.rle import encode


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_there_and_back(data):
    shape = data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=3).map(tuple))
    mask = np.random.default_rng(data.draw(st.integers(0, 999))).random(shape) < data.draw(st.floats(0, 1))
    code = encode(mask)
    assert code["size"] == list(shape)
    assert isinstance(code["counts"], str if len(shape) == 2 else list)
    assert np.array_equal(decode(code), mask)


@pytest.mark.parametrize(
    ("voxels", "counts"),
    [([0, 1, 1, 0], [1, 2, 1]), ([1, 1, 0, 0], [0, 2, 2]), ([0, 0, 0, 0], [4]), ([1, 1, 1, 1], [0, 4])],
)
def test_runs_begin_with_background_and_the_first_axis_is_fastest(voxels, counts):
    assert encode(np.array(voxels, bool).reshape(4, 1, 1))["counts"] == counts
    assert (
        encode(np.array(voxels, bool).reshape(1, 2, 2))["counts"]
        == {
            (1, 2, 1): [1, 2, 1],
            (0, 2, 2): [0, 1, 1, 1, 1],
            (4,): [4],
            (0, 4): [0, 4],
        }[tuple(counts)]
    )
