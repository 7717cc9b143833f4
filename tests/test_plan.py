"""What a run is made of, from the scans alone."""

import re
from dataclasses import replace

import numpy as np
import pytest
from test_pretrain_crops import ramps
from tiny import wsseg_

from pretrain.methods import METHODS
from pretrain.plan import FEWEST, MOST, check_method, default_steps, plan_architecture, plan_size
from pretrain.scans import Headers
from pretrain.views import MODALITIES
from wsseg.errors import InputError
from wsseg.images import Image
from wsseg.unet import plan_encoder


def headers(shape, spacing, channels=1):
    image = Image(np.broadcast_to(np.zeros(()), (channels, *shape)), spacing)
    return Headers((image,) * 3, len(shape), channels, channels == 3, {})


def test_the_encoder_is_the_one_that_fit_would_choose():
    found = plan_architecture(headers((300, 300, 20), (0.5, 0.5, 3.0)))
    assert found == plan_encoder(channels_in=1, spacing=(0.5, 0.5, 3.0), size=(300, 300, 20))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gets_a_crop_that_it_can_use(method):
    for shape, spacing in (
        ((300, 300), (1.0, 1.0)),
        ((200, 200, 200), (1.0, 1.0, 1.0)),
        ((256, 256, 12), (1.4, 1.4, 10.0)),
    ):
        scans = headers(shape, spacing)
        architecture = plan_architecture(scans)
        crop = plan_size(scans, method, architecture)
        assert all(c % d == 0 and c <= n for c, d, n in zip(crop, architecture.divisor, shape, strict=True))
        wanted = METHODS[method].CROP[len(shape)] ** len(shape)
        assert 0.5 * wanted <= np.prod(crop) <= 1.5 * wanted


def test_more_to_see_is_more_steps_within_bounds(dims):
    shape = (64,) * dims

    def steps(count, filled=1.0):
        scans = [replace(scan, filled=filled) for scan in ramps(count, shape)]
        return default_steps(scans, (1.0,) * dims, (16,) * dims)

    found = [steps(count) for count in (1, 10, 100, 1000)]
    assert found == sorted(found)
    assert FEWEST <= found[0] < found[-1] <= MOST
    assert all(value % 100 == 0 for value in found)
    assert steps(100, 0.1) == steps(10)  # nine tenths of air are no more to see


def test_a_method_must_be_named():
    check_method("mae")
    with pytest.raises(InputError, match="--method is missing; right are mae"):
        check_method(None)
    with pytest.raises(InputError, match="--method simclrr: there is no such method"):
        check_method("simclrr")


def test_the_help_names_every_method_and_modality():
    shown = set(re.findall(r"[a-z]+", wsseg_("pretrain", "--help").stdout))
    assert {*METHODS, *MODALITIES} - shown == set()
