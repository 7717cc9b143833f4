"""Regions: voxels of all scans, sorted into groups by where they lie and how bright they are.

Mini-batch k-means (Sculley 2010, "Web-scale k-means clustering", algorithm 1) on what is known of each voxel
without labels: its coordinates in the scan and the brightness about it. A group is "what is dark at the
front, low on the left" in every scan, so the groups are labels of a segmentation that nobody had to draw, and
their borders are edges of the image. (Ouyang et al. 2020, "Self-Supervision with Superpixels", learn from
superpixels in the same spirit; theirs are of one scan each.) Differs from Sculley in: a centre moves to the
mean of a whole batch's voxels at once, and after some batches the centres rest, so that labels stay.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.parts import exact, gather


class Regions(nn.Module):
    """Centres of the groups, a buffer that is saved with the run and alike in all processes.

    Args:
        groups: K.
        width: D, numbers known of a voxel.
        rest: Batches after which the centres no longer move.
    """

    centres: Tensor
    members: Tensor
    batches: Tensor

    def __init__(self, groups: int, width: int, *, rest: int) -> None:
        super().__init__()
        self.rest = rest
        self.register_buffer("centres", torch.zeros(groups, width))
        self.register_buffer("members", torch.zeros(groups))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self._waiting: list[
            tuple[Tensor, Tensor]
        ] = []  # of this step: sums and numbers of each group's voxels

    @torch.no_grad()
    def label(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """The group of each voxel.

        Args:
            values: (N, D, *S), what is known of each voxel.
            generator: On the CPU; says at which voxels the first centres are.

        Returns:
            int64 (N, *S), 0 to K − 1.
        """
        flat = exact(values).movedim(1, -1).flatten(0, -2)  # (N·S, D)
        if not self.batches and not self.members.any():
            self._begin(flat, generator)
        nearest = torch.cdist(flat, self.centres).argmin(1)
        if self.training and self.batches < self.rest:
            sums = torch.zeros_like(self.centres).index_add_(0, nearest, flat)
            self._waiting.append((sums, nearest.bincount(minlength=len(self.centres))))
        return nearest.view(len(values), *values.shape[2:])

    def _begin(self, flat: Tensor, generator: torch.Generator) -> None:
        """The first centres: voxels of the first batch, the same in all processes."""
        drawn = torch.randint(len(flat), (len(self.centres),), generator=generator)
        candidates = gather(flat[drawn.to(flat.device)])
        self.centres.copy_(candidates[:: len(candidates) // len(self.centres)])
        self.members.fill_(1)

    @torch.no_grad()
    def after_step(self) -> None:
        """Each centre moves towards the mean of its voxels, the less the more it has seen."""
        if not self._waiting:
            return
        sums, counts = (torch.stack(part).sum(0) for part in zip(*self._waiting, strict=True))
        self._waiting.clear()
        sums, counts = gather(sums[None]).sum(0), gather(counts[None]).sum(0)
        self.members += counts
        self.centres += (sums - counts.unsqueeze(1) * self.centres) / self.members.unsqueeze(1)
        self.batches += 1


def about(images: Tensor, kernel: tuple[int, ...]) -> Tensor:
    """Mean brightness about each voxel, over windows of `kernel` that end where the image does.

    Args:
        images: (N, C, *S).
        kernel: Odd, per axis.
    """
    mean = F.avg_pool2d if len(kernel) == 2 else F.avg_pool3d
    return mean(images, kernel, 1, [k // 2 for k in kernel], count_include_pad=False)
