"""Dice after strokes that a network has not learnt yet: does its mask follow them?

A robot (`benchmarks.actions`) draws seven strokes or more, a network learns from these, and then the robot
draws `--actions` strokes more, each where the mask is wrong that the panel shows. `network` is the mask as
the run left it, `paint` has the new strokes in it, `followed` is what the panel shows
(`napari_plugin.patching`), `answer` the answer to all strokes. Dice is the mean over classes, images and the
strokes after the run.
"""

import time

import numpy as np

from benchmarks.actions import DATA, Answered, Network, Robot, _dice
from benchmarks.common import keep, options, table
from benchmarks.scribbles import Task
from napari_plugin.instantwork import look
from napari_plugin.patching import Patches, around, changed
from wsseg.hints import BACKGROUND
from wsseg.steps import finish

STEPS = 180  # of the network's training, unless the command says another number
BEFORE = 6  # strokes that the network learns from, beside the first ones


def one(task: Task, actions: int, steps: int, seed: int) -> list[dict[str, float]]:
    """Dice of each mask after each stroke that follows the run."""
    truth = task.truth.astype(np.int64)
    robot = Robot(truth, task.image.spacing, np.random.default_rng([seed, truth.size]))
    looked = finish(look(task.image, task.group))
    answer = Answered(looked, np.zeros(truth.shape, np.uint8), np.zeros(truth.shape, np.uint8))
    robot.begin()
    for _ in range(BEFORE - 1):
        answer.learn(robot.painted.copy())
        if not robot.correct(answer.mask, answer.doubt, "doubt"):
            break
    learnt = robot.painted.copy()
    answer.learn(learnt)
    network = Network(task, steps, seed)
    network.learn(learnt, steps)
    patches, shown = Patches(), network.mask.copy()
    patches.learns(learnt, answer.mask)
    found = []
    for _ in range(actions):
        before = robot.painted.copy()
        if not robot.correct(shown, network.doubt, "doubt"):
            break
        answer.learn(robot.painted.copy())
        window = around(changed(before, robot.painted), truth.shape)
        if window is not None:  # there was room for a stroke
            patches.follow(window, network.mask, answer.mask, robot.painted, None)
        new, said = robot.painted != learnt, np.where(robot.painted == BACKGROUND, 0, robot.painted)
        paint = np.where(new, said, network.mask)
        shown = np.where(new, said, patches.mask(network.mask))
        masks = {"network": network.mask, "paint": paint, "followed": shown, "answer": answer.mask}
        found.append({name: _dice(mask, truth) for name, mask in masks.items()})
    return found


def main() -> None:
    """Every set."""
    chosen = options(
        __doc__,
        data={"nargs": "+", "default": list(DATA), "choices": list(DATA)},
        actions={"type": int, "default": 4, "help": "strokes after the run"},
        images={"type": int, "default": None, "help": "only the first N images"},
    )
    rows = []
    for name in chosen.data:
        begin = time.monotonic()
        found = [
            each
            for seed in chosen.seeds
            for task in DATA[name](seed, chosen.images)
            for each in one(task, chosen.actions, chosen.steps or STEPS, seed)
        ]
        row = {"data": name, "strokes": len(found)}
        row |= {method: float(np.mean([each[method] for each in found])) for method in found[0]}
        rows.append(row)
        keep("afterwards", row)
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
    table(rows)


if __name__ == "__main__":
    main()
