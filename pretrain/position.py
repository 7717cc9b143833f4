"""Relative position: tell where a tile lies, seen from the one in the middle.

Doersch et al. 2015, "Unsupervised Visual Representation Learning by Context Prediction", section 3; in 3D
Taleb et al. 2020, section 3.2 (26 neighbours). Tiles are cut with gaps and jitter and normalised each on its
own, as for the jigsaw.
Differs from the papers in: several neighbours of a middle tile a step, which is encoded once; pairs with a
flat tile are left out.
"""

from typing import ClassVar

import torch
from torch import Tensor

from pretrain.method import Method, Setting
from pretrain.parts import mlp, pooled, project, recognised
from pretrain.tiles import cut_tiles, plain, prepare, tiling
from wsseg.unet import Encoder


class Position(Method):
    """See the head of the file.

    Args: as of `Method`, and
        copies: Neighbours of each middle tile a step.
    """

    SUMMARY = "tells where a tile lies beside another; where scans have parts with places of their own"
    advice = (
        "Relative positions can't be told where all tiles look alike (cells, textures): use --method mae or "
        "moco; in scans of a body use larger crops."
    )
    CROP: ClassVar[dict[int, int]] = {2: 96, 3: 64}

    def __init__(self, encoder: Encoder, setting: Setting, *, copies: int = 4) -> None:
        super().__init__(encoder, setting)
        self.grid, self.tile = tiling(setting.size, setting.spacing, encoder.config.divisor, least=3)
        self.neighbours = torch.Size(self.grid).numel() - 1
        self.copies = min(copies, self.neighbours)
        self.code = mlp(pooled(encoder), 128, 128)
        self.head = mlp(256, 256, self.neighbours)

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch, see `Method`."""
        tiles = cut_tiles(images, self.grid, self.tile, self.views.generator)  # (N, T, C, *tile)
        labels = self.draw(len(images)).to(images.device)  # (N, copies)
        rows = torch.arange(len(images), device=images.device).view(-1, 1)
        chosen = torch.cat([torch.full_like(labels[:, :1], self.middle), self.tile_of(labels)], 1)
        tiles, known = tiles[rows, chosen], ~plain(tiles)[rows, chosen]
        codes = project(self.encoder, self.code, prepare(tiles.flatten(0, 1), self.views))
        codes = codes.view(len(images), 1 + self.copies, -1)
        pairs = torch.cat([codes[:, :1].expand_as(codes[:, 1:]), codes[:, 1:]], 2)
        scores = self.head(pairs.flatten(0, 1))
        both = (known[:, :1] & known[:, 1:]).flatten()
        loss, accuracy = recognised(scores, labels.flatten(), both)
        self.note(accuracy=accuracy, chance=1 / self.neighbours)
        return loss

    @property
    def middle(self) -> int:
        """Number of the tile in the middle."""
        return self.neighbours // 2

    def tile_of(self, labels: Tensor) -> Tensor:
        """Numbers of the tiles that labels stand for: the middle is left out."""
        return labels + (labels >= self.middle)

    def draw(self, count: int) -> Tensor:
        """Which neighbours of N crops, int64 (N, copies), all different."""
        order = torch.rand(count, self.neighbours, generator=self.views.generator).argsort(1)
        return order[:, : self.copies]
