"""One row of actions: their order, what belongs together, whose turn it is, how much memory it may take."""

import numpy as np
import pytest

from napari_plugin.timeline import STEPS, Change, Timeline
from wsseg.errors import InputError


class World:
    """Named values on several images, and a timeline of their changes."""

    def __init__(self) -> None:
        self.layers: list[str] = ["a", "b"]
        self.image = "a"
        self.values: dict[str, object] = {}
        self.changes = 0
        self.timeline = Timeline(self.layers, lambda: self.image, self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def set(self, name: str, value: object, layer: str | None = None, size: int = 10) -> None:
        def exchange(kept):
            now = self.values.get(name)
            self.values[name] = kept
            return now

        before = exchange(value)
        self.timeline.record(
            Change(f"{name}={value}", name, before, exchange, layer, weigh=lambda kept: size)
        )


def test_each_state_comes_back_and_goes_again():
    world, rng = World(), np.random.default_rng(0)
    states = [{}]
    for step in range(STEPS):
        world.set(str(rng.integers(5)), step)
        states.append(dict(world.values))

    def said(values):
        return {name: value for name, value in values.items() if value is not None}

    for state in states[-2::-1]:
        world.timeline.undo()
        assert said(world.values) == said(state)
    with pytest.raises(InputError, match="nothing to undo"):
        world.timeline.undo()
    for state in states[1:]:
        world.timeline.redo()
        assert said(world.values) == said(state)
    with pytest.raises(InputError, match="nothing to redo"):
        world.timeline.redo()
    assert world.changes == 2 * STEPS


def test_words_say_what_would_be_undone_and_a_new_action_ends_redo():
    world = World()
    assert world.timeline.words() == ("", "")
    world.set("x", 1)
    world.set("y", 2)
    assert world.timeline.words() == ("y=2", "")
    assert world.timeline.undo().words == "y=2"
    assert world.timeline.words() == ("x=1", "y=2")
    world.set("x", 3)
    assert world.timeline.words() == ("x=3", "")
    world.timeline.replace(world.image, [], [])
    assert world.timeline.words() == ("", "")


def test_what_belongs_together_is_one_action_and_goes_backwards():
    world = World()
    world.set("x", 0)
    with world.timeline.as_one("all"):
        world.set("x", 1)
        with world.timeline.as_one("inside"):
            world.set("x", 2)
        world.set("y", 3)
    with world.timeline.as_one("nothing"):
        pass
    assert world.timeline.words()[0] == "all"
    world.timeline.undo()
    assert world.values == {"x": 0, "y": None}
    world.timeline.redo()
    assert world.values == {"x": 2, "y": 3}
    world.timeline.undo()
    world.timeline.undo()
    assert world.values == {"x": None, "y": None}


def test_each_image_has_its_turn_and_one_part_can_be_asked_for():
    world = World()
    world.set("tags", 1)
    world.set("x", 1)
    world.image = "b"
    assert world.timeline.words() == ("", "")
    world.set("w", 2)
    world.image = "a"
    assert world.timeline.undo().words == "x=1"
    world.image = "b"
    world.set("z", 5)
    assert world.timeline.undo("tags").words == "tags=1"
    world.image = "a"
    assert world.timeline.words() == ("", "tags=1")  # and b's z did not end a's redo
    world.timeline.redo()
    world.timeline.redo()
    assert world.values == {"tags": 1, "x": 1, "w": 2, "z": 5}


def test_actions_of_layers_that_are_gone_are_forgotten():
    world = World()
    world.set("x", 1, "a")
    world.set("y", 2, "b")
    world.layers.remove("b")
    assert world.timeline.words() == ("x=1", "")
    world.timeline.undo()
    world.layers.remove("a")
    with pytest.raises(InputError, match="nothing to redo"):
        world.timeline.redo()


def test_what_refuses_stays_where_it_is():
    world = World()

    def refuse(kept):
        raise InputError("Stop first.")

    world.set("x", 1)
    change = Change("run", "mask", None, refuse)
    world.timeline.record(change)
    with pytest.raises(InputError, match="Stop first"):
        world.timeline.undo()
    assert world.timeline.words() == ("run", "")
    world.timeline.withdraw(change)
    assert world.timeline.words() == ("x=1", "")


def test_what_an_undo_changes_is_no_new_action():
    world = World()

    def exchange(kept):
        world.set("other", kept)
        return None

    world.timeline.record(Change("x", "x", 1, exchange))
    world.timeline.undo()
    assert world.timeline.words() == ("", "x")


def test_memory_is_bounded_by_steps_and_bytes(monkeypatch):
    world = World()
    for step in range(STEPS + 5):
        world.set("x", step)
    for _ in range(STEPS):
        world.timeline.undo()
    with pytest.raises(InputError):
        world.timeline.undo()
    assert world.values["x"] == 4
    monkeypatch.setattr("napari_plugin.timeline.BYTES", 35)
    world.set("x", -1)  # ends redo
    assert world.timeline.size() == 10
    for step in range(9):
        world.set("x", step)
        assert world.timeline.size() <= 35
    assert world.timeline.words()[0] == "x=8"
    for _ in range(3):
        world.timeline.undo()
    assert world.timeline.words() == ("", "x=6")
    world.set("y", 0, size=36)
    assert world.timeline.words() == ("", "")
