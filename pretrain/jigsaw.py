"""Jigsaw: tell in which order the tiles of an image were laid.

Noroozi & Favaro 2016, "Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles", section
3; in 3D Taleb et al. 2020, section 3.4. One encoder sees every tile alone. So that the answer is not given
away by borders that fit, there are gaps between tiles and each is cut at a random place of its cell; so
that it is not by brightness, each is changed and normalised on its own.
Differs from the papers in: the order is applied to the tiles' features, so that several orders of an image
cost one pass; orders by largest least distance (`far_permutations`); images of which so many tiles are flat
that two orders could look the same are left out.
"""

from typing import ClassVar

import torch
from torch import Tensor

from pretrain.method import Method, Setting
from pretrain.parts import mlp, pooled, project, recognised
from pretrain.permutations import far_permutations, least_distance
from pretrain.tiles import cut_tiles, plain, prepare, tiling
from wsseg.unet import Encoder


class Jigsaw(Method):
    """See the head of the file.

    Args: as of `Method`, and
        orders: P, size of the set of permutations.
        copies: Orders of each image a step.
    """

    SUMMARY = "puts shuffled tiles in order; where scans have parts with places of their own"
    advice = (
        "Jigsaw can't be solved where all tiles look alike (cells, textures): use --method mae or moco; in "
        "scans of a body use larger crops, or fewer orders."
    )
    CROP: ClassVar[dict[int, int]] = {2: 96, 3: 48}

    def __init__(self, encoder: Encoder, setting: Setting, *, orders: int = 100, copies: int = 4) -> None:
        super().__init__(encoder, setting)
        self.grid, self.tile = tiling(setting.size, setting.spacing, encoder.config.divisor)
        tiles = torch.Size(self.grid).numel()
        table = far_permutations(tiles, orders)
        self.orders, self.distance = torch.from_numpy(table), least_distance(table)
        self.copies = min(copies, len(table))
        self.code = mlp(pooled(encoder), 128, 128)
        self.head = mlp(128 * tiles, 256, len(table))

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch, see `Method`."""
        tiles = cut_tiles(images, self.grid, self.tile, self.views.generator)  # (N, T, C, *tile)
        solvable = plain(tiles).sum(1) < self.distance
        count, number = tiles.shape[:2]
        codes = project(self.encoder, self.code, prepare(tiles.flatten(0, 1), self.views))
        codes = codes.view(count, number, -1)
        labels = self.draw(count).to(images.device)  # (copies, N)
        laid = self.orders.to(images.device)[labels]  # (copies, N, T)
        shuffled = codes[torch.arange(count, device=images.device).view(-1, 1), laid]
        scores = self.head(shuffled.flatten(2).flatten(0, 1))
        loss, accuracy = recognised(scores, labels.flatten(), solvable.repeat(self.copies))
        self.note(accuracy=accuracy, chance=1 / len(self.orders), solvable=solvable.float().mean())
        return loss

    def draw(self, count: int) -> Tensor:
        """Which orders of N images, int64 (copies, N), the copies of an image all different."""
        drawn = torch.rand(count, len(self.orders), generator=self.views.generator).argsort(1)
        return drawn[:, : self.copies].T
