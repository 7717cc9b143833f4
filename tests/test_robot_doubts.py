"""What the robot says of hints that teach nothing, and of truths that number objects."""

import numpy as np
import pytest
from tiny import write_any, wsseg_

from wsseg.hints import Tag
from wsseg.robot_doubts import instance_doubts, tag_doubts

NAMES = {1: "cell", 2: "vessel"}


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"a": {Tag(1)}, "b": {Tag(1), Tag(2)}}, "Every tagged image has cell, so"),
        ({"a": {Tag(1), Tag(2)}, "b": {Tag(1), Tag(2)}}, "Every tagged image has cell, vessel, so"),
        ({"a": {Tag(1)}, "b": {Tag(2)}}, None),
        ({"a": {Tag(1)}, "b": ()}, None),
        ({"a": {Tag(1, 0, 2), Tag(1, 0, 3)}}, "Every tagged slice has cell, so"),
        ({"a": {Tag(1, 0, 2), Tag(0, 0, 3)}}, None),
    ],
)
def test_a_class_that_is_everywhere(tags, said):
    found = tag_doubts(tags, NAMES)
    assert [said in sentence for sentence in found] == ([True] if said else [])


@pytest.mark.parametrize(
    ("values", "odd"),
    [
        ({"a": range(1, 13), "b": range(1, 8)}, True),
        ({"a": range(1, 13)}, True),
        ({"a": range(1, 13), "b": range(1, 13)}, False),  # a parcellation
        ({"a": [*range(1, 12), 14], "b": [1]}, False),
        ({"a": range(1, 4), "b": range(1, 3)}, False),
        ({"a": [], "b": []}, False),
    ],
)
def test_numbers_of_objects(values, odd):
    assert bool(instance_doubts(values)) == odd


def test_robot_tells_both(tmp_path, dims):
    size = {2: (24, 30), 3: (6, 24, 30)}[dims]
    for index, count in enumerate((12, 3)):
        truth = np.zeros(size, np.uint8)
        for k in range(count):
            truth[..., 2 + 5 * (k // 5) : 5 + 5 * (k // 5), 2 + 5 * (k % 5) : 5 + 5 * (k % 5)] = k + 1
        write_any(tmp_path / "truth", f"i{index}", truth)
        write_any(tmp_path / "images", f"i{index}", truth)
    arguments = ["robot", tmp_path / "truth", "--images", tmp_path / "images", "--kind", "tags", "--out"]
    told = " ".join(wsseg_(*arguments, tmp_path / "plain").stderr.split())
    assert "i0 has the values 1 to 12" in told
    assert "Every tagged image has class 1, class 2, class 3, so" in told
    evaluation = ["evaluate", tmp_path / "truth", tmp_path / "truth"]
    assert "look as if they numbered objects (i0 has" in " ".join(wsseg_(*evaluation).stderr.split())
    assert "look as if" not in wsseg_(*evaluation, "--instances").stderr
    told = " ".join(wsseg_(*arguments, tmp_path / "objects", "--instances").stderr.split())
    assert "look as if" not in told
    assert "Every tagged image has object, so tags teach nothing" in told
