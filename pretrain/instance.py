"""Instance discrimination: tell which scan a crop is of, from a memory of all scans.

Wu et al. 2018, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", sections 3.1 and
3.2. Differs from the paper in: subjects (blocks of scans where there are few) take the place of images;
they are so few that the softmax over all of them is computed, not estimated from some (NCE); no proximal
term. Features are centred first (`SteadyNorm`), since instance norm makes them all alike.
"""

import torch
from torch import Tensor, nn

from pretrain.bank import Bank
from pretrain.method import Method, Setting
from pretrain.parts import SteadyNorm, pooled, project
from wsseg.unet import Encoder

WIDTH = 128


def linear_head(width: int) -> nn.Sequential:
    """The papers' head: one linear layer, on features that are centred without a look at the batch."""
    return nn.Sequential(SteadyNorm(width), nn.Linear(width, WIDTH))


class Instance(Method):
    """See the head of the file."""

    SUMMARY = "tells which scan a crop is of, from a memory: small batches do; for many small scans"
    advice = (
        "Which scan a crop is of can't be told where all look alike: check --modality and --subject, or use "
        "--method mae."
    )

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting)
        self.head = linear_head(pooled(encoder))
        self.bank = Bank(setting.scans, WIDTH)

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch, see `Method`."""
        embedded = project(self.encoder, self.head, self.views(images))
        loss, accuracy = self.bank.compare(embedded, scans)
        if self.training:
            self.bank.remember(embedded, scans)
        self.note(accuracy=accuracy, chance=1 / len(self.bank.rows))
        return loss

    @torch.no_grad()
    def after_step(self) -> None:
        """The memory takes up what was seen."""
        self.bank.after_step()

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, *S) -> (N, 128), the projection."""
        return project(self.encoder, self.head, images)
