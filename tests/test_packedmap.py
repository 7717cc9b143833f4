"""Maps come out of their packing as they went in, whatever happens to the original meanwhile."""

import threading

import numpy as np
import pytest

from napari_plugin import packedmap
from napari_plugin.packedmap import PackedMap


@pytest.mark.parametrize("shape", [(30, 40), (9, 20, 30)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_the_values_are_those_of_the_moment(shape, kind):
    values = np.zeros(shape, kind)
    values[2:7, 5:] = np.iinfo(kind).max
    kept, before = PackedMap(values), values.copy()
    values[:] = 3  # a run goes on in the same array
    found = kept.values()
    np.testing.assert_array_equal(found, before)
    assert found.dtype == kind
    found[:] = 1  # its own
    np.testing.assert_array_equal(kept.values(), before)
    assert 0 < kept.nbytes < before.nbytes / 10


def test_nobody_waits_until_it_is_asked_for(monkeypatch):
    go, own = threading.Event(), packedmap.packed

    def slowly(values):
        assert go.wait(60)
        return own(values)

    monkeypatch.setattr(packedmap, "packed", slowly)
    kept = PackedMap(np.ones((4, 5), np.uint8))
    assert kept.nbytes == 0  # it is still being packed, and this line is reached
    go.set()
    assert kept.values().sum() == 20
    assert kept.nbytes > 0
