"""The wsseg command with networks and crops that train in a moment; a script, with the command's words."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

import pretrain.monitor
import pretrain.plan
import pretrain.run
from pretrain.methods import METHODS
from wsseg.cli import main
from wsseg.unet import plan_encoder


def shrink(put: Callable[[Any, str, Any], None]) -> None:
    """Make pretraining small; `put` is `setattr`, or pytest's that takes it back."""
    put(pretrain.plan, "plan_encoder", partial(plan_encoder, channels=(4, 8)))
    put(pretrain.monitor, "PAIRS", 6)
    put(pretrain.run, "write_report", lambda *_, **__: "page")
    for method in METHODS.values():
        put(method, "CROP", {2: 16, 3: 8})
        put(method, "BATCH", {2: 4, 3: 4})


if __name__ == "__main__":
    torch.set_num_threads(1)
    shrink(setattr)
    main()
