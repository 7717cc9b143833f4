"""PIRL: the shuffled tiles of a crop, and the crop itself, are recognised from a memory of all scans.

Misra & van der Maaten 2020, "Self-Supervised Learning of Pretext-Invariant Representations", sections 3.1
(equation 5, λ = 0.5) and 3.2 (the jigsaw). Where the jigsaw asks in which order tiles lie, here the answer
must not depend on it.
Differs from the paper in: the softmax over the memory takes the place of NCE, and its rows are scans, see
`pretrain.instance`; tiles are cut as for the jigsaw (`pretrain.tiles`), with gaps and jitter.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from pretrain.instance import WIDTH, Instance, linear_head
from pretrain.method import Setting
from pretrain.parts import pooled, project
from pretrain.tiles import cut_tiles, prepare, tiling
from wsseg.unet import Encoder

SHARE = 0.5  # λ, of the shuffled tiles' loss


class PIRL(Instance):
    """See the head of the file."""

    SUMMARY = "as instance, and the same from shuffled tiles; for many small scans"
    advice = (
        "PIRL needs scans that differ in what their parts look like: check --modality and --subject, use "
        "larger crops, or --method mae."
    )
    CROP: ClassVar[dict[int, int]] = {2: 96, 3: 48}

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__(encoder, setting)
        self.grid, self.tile = tiling(setting.size, setting.spacing, encoder.config.divisor)
        self.tiles = torch.Size(self.grid).numel()
        self.code = linear_head(pooled(encoder))
        self.joined = nn.Linear(WIDTH * self.tiles, WIDTH)

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch, see `Method`."""
        whole = super().forward(images, scans)
        loss, accuracy = self.bank.compare(self.shuffled(images), scans)
        self.note(**self._seen, tiles=accuracy)
        return SHARE * loss + (1 - SHARE) * whole

    def shuffled(self, images: Tensor) -> Tensor:
        """(N, C, *S) -> (N, D): embeddings of the tiles of each crop, laid in an order of its own."""
        tiles = cut_tiles(images, self.grid, self.tile, self.views.generator)  # (N, T, C, *tile)
        codes = project(self.encoder, self.code, prepare(tiles.flatten(0, 1), self.views))
        codes = codes.view(len(images), self.tiles, WIDTH)
        order = torch.rand(len(images), self.tiles, generator=self.views.generator).argsort(1)
        rows = torch.arange(len(images)).view(-1, 1)
        return self.joined(codes[rows.to(codes.device), order.to(codes.device)].flatten(1))
