"""How long a run would take on this machine, from its first few steps."""

import time
from collections.abc import Generator
from dataclasses import replace
from statistics import median

from pretrain.parallel import Processes
from pretrain.plan import Plan
from pretrain.run import Source, sampler_of
from pretrain.train import READINGS, PretrainConfig, Pretrainer
from wsseg.steps import Step

TIMED = 7  # steps; the first ones, slow while caches fill, do not count


def time_steps(
    source: Source, plan: Plan, config: PretrainConfig, processes: Processes
) -> Generator[Step, None, float]:
    """Train a few steps, keep nothing, and tell how many seconds the whole run would take.

    Args:
        source, plan, config, processes: As for `pretrain.run.pretrain_steps`.

    Raises:
        InputError: As `pretrain_steps`.
    """
    sampler = sampler_of(source, plan, config.seed)
    # a run of twice as many steps as readings reads the monitors at every second step: both can be timed
    trainer = Pretrainer(sampler, plan, replace(config, steps=2 * READINGS), processes)
    run, seconds = trainer.steps(), []
    for index in range(1, TIMED + 1):
        began = time.monotonic()
        next(run)
        seconds.append(time.monotonic() - began)
        if index < TIMED:
            yield Step("time", index, TIMED)
    run.close()
    plain, read = median(seconds[2::2]), median(seconds[3::2])
    whole = config.steps * plain + READINGS * max(0.0, read - plain)
    yield Step("time", TIMED, TIMED, info={"seconds": whole, "seconds_a_step": plain})
    return whole
