"""What `wsseg` promises to have is there, documented, and the same object as in its own module."""

import importlib

import pytest

import wsseg


@pytest.mark.parametrize("name", wsseg.__all__)
def test_a_public_name_is_there_and_documented(name):
    thing = getattr(wsseg, name)
    if name != "BACKGROUND":
        assert thing.__doc__
        home = importlib.import_module(thing.__module__)
        assert getattr(home, name) is thing
    assert name in dir(wsseg)


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        wsseg.nothing  # noqa: B018
