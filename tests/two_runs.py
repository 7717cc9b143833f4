"""One process of a pretraining run that torchrun would start; run as a script with the command's words.

The method's views are no chance, so that several processes can be held against one.
"""

import sys
from contextlib import nullcontext
from functools import partial

import torch

import pretrain.monitor
import pretrain.plan
import pretrain.run
import pretrain.train
from pretrain.method import Method
from pretrain.methods import METHODS
from pretrain.parts import gather, nt_xent, pool
from wsseg.cli import app
from wsseg.unet import plan_encoder


class Plain(Method):
    """NT-Xent of a crop and its mirror image; a state that every process has for itself."""

    SUMMARY = "for tests"
    advice = "Advice."
    BATCH = {2: 4, 3: 4}  # noqa: RUF012
    CROP = {2: 16, 3: 8}  # noqa: RUF012

    def forward(self, images: torch.Tensor, scans: torch.Tensor) -> torch.Tensor:
        torch.rand(3, generator=self.views.generator)  # as views would draw
        one, other = (gather(pool(self.encoder(view)[-1])) for view in (images, images.flip(-1)))
        return nt_xent(one, other, gather(scans), 0.5).loss


if __name__ == "__main__":
    torch.set_num_threads(1)
    METHODS["plain"] = Plain
    pretrain.plan.plan_encoder = partial(plan_encoder, channels=(4, 8))
    pretrain.monitor.PAIRS = 6
    pretrain.train.precision = lambda device: nullcontext()  # half precision rounds a half batch otherwise
    pretrain.run.write_report = lambda *_, **__: "page"
    app(["pretrain", *sys.argv[1:], "--method", "plain", "--device", "cpu"])
