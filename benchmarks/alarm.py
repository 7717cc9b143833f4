"""Does the collapse alarm fire when it should? BYOL on hippocampus images, whole and broken three ways.

Part of `benchmarks.pretrain`. What is known to keep BYOL from collapsing is taken out of it: the predictor,
the slowness of its copy, or both; recipe and monitors are those of any run of `RUN` steps, of which only the
first ones are run.
"""

import time
from collections.abc import Sequence
from itertools import islice

from torch import nn

from benchmarks.common import keep, pack
from pretrain.byol import BYOL
from pretrain.method import Setting
from pretrain.methods import METHODS
from pretrain.monitor import Collapsed, judge
from pretrain.parallel import processes
from pretrain.plan import Plan, plan_architecture, plan_size
from pretrain.run import Source, sampler_of
from pretrain.scans import find_scans, look, read_headers
from pretrain.train import PretrainConfig, Pretrainer
from wsseg.steps import finish
from wsseg.unet import Encoder

SCANS = 40
RUN = 1000  # steps that the schedules are for, and the readings: one in 25


class NoPredictor(BYOL):
    """What is compared is the projection itself."""

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting)
        self.predictor = nn.Identity()


class NoCopy(BYOL):
    """The target is the online network of the step before."""

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting)
        self.target.steps, self.target.start = 10**9, 0.0  # no momentum, to the end


class Neither(NoPredictor, NoCopy):
    """Nothing keeps it from collapsing but the batch norm of its heads."""


ARMS: dict[str, type[BYOL]] = {
    "byol": BYOL,
    "no predictor": NoPredictor,
    "no slow copy": NoCopy,
    "neither": Neither,
}


def measure_alarm(watched: int, seed: int, arms: Sequence[str] = tuple(ARMS)) -> list[dict]:
    """A row for each kind of BYOL: when it was warned first, when the alarm stopped it, what was seen.

    Args:
        watched: Steps after which a run that is not stopped is left.
        seed: Of weights, crops and views.
        arms: Keys of `ARMS`.
    """
    images = sorted((pack("hippocampus") / "imagesTr").glob("*.nii.gz"))[:SCANS]
    headers = read_headers(find_scans(images), dims=None, skip_bad=False)
    shape = plan_architecture(headers)
    crop = plan_size(headers, "byol", shape)
    source = Source(finish(look(headers, crop))[0])
    rows = []
    for arm in arms:
        METHODS["byol"] = ARMS[arm]
        plan = Plan("byol", shape, headers.spacing, crop, "mr", False, BYOL.BATCH[headers.dims])
        rows.append({"byol": arm, **_watch(source, plan, PretrainConfig(RUN, seed), watched)})
        keep("alarm", {**rows[-1], "seed": seed})
    METHODS["byol"] = BYOL
    return rows


def _watch(source: Source, plan: Plan, config: PretrainConfig, watched: int) -> dict:
    warned = stopped = None
    began = time.monotonic()
    with processes("cpu") as these:
        trainer = Pretrainer(sampler_of(source, plan, config.seed), plan, config, these)
        try:
            for step in islice(trainer.steps(), watched):
                said = judge(trainer.rows, config.steps, trainer.method.advice)
                warned = warned or (step.index if said else None)
        except Collapsed:
            stopped = trainer.done
    readings = [row for row in trainer.rows if "spread" in row]
    return {
        "warned at": warned,
        "stopped at": stopped,
        "steps": trainer.done,
        "spread first": readings[0]["spread"],
        "spread last": readings[-1]["spread"],
        "rank first": readings[0]["rank"],
        "rank last": readings[-1]["rank"],
        "similarity": readings[-1]["similarity"],
        "seconds": time.monotonic() - began,
    }
