"""One and many, as people say them."""

import pytest

from wsseg.words import counted


@pytest.mark.parametrize(
    ("count", "what", "said"),
    [
        (1, "clicks", "1 click"),
        (3, "boxes", "3 boxes"),
        (1, "boxes", "1 box"),
        (0, "slices", "0 slices"),
        (1, "slices", "1 slice"),
        (1, "tagged images", "1 tagged image"),
        (2, "subjects", "2 subjects"),
    ],
)
def test_one_and_many(count, what, said):
    assert counted(count, what) == said
