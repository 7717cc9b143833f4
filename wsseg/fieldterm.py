"""A term of the loss: the network's word shall be what a local field makes of it, along the image's edges.

Labels end where people stopped to mark; a field goes on along the edges. It is the regularised loss of Tang
et al. 2018 (a CRF's energy, no labels needed), minimised as Marin et al. 2019 do it (section 3): the field
is solved first, then the network is drawn to the solution. Differs in: the field is solved by two iterations
of mean field and gives probabilities; it sees two voxels to each side. docs/sparse.md has its worth.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from wsseg.crf import Kernel, LocalField

PULL = 3.0  # of like neighbours, in units of the scores
POSITION = 1.5  # standard deviation of distance, in voxels of the finest axis
VALUE = 0.5  # standard deviation of a channel's normalised intensity
RADIUS = 2  # half the window, voxels
ITERATIONS = 2


def field_loss(scores: Tensor, images: Tensor, spacing: Sequence[float]) -> Tensor:
    """Mean KL(R‖P) over all voxels; R is what a field makes of the network's word P.

    R is a target: no gradient flows through it.

    Args:
        scores: (N, K, *S) before the softmax.
        images: (N, C, *S), normalised.
        spacing: Size of a voxel per axis; distance counts in the world.
    """
    said = scores.float().log_softmax(1)
    with torch.no_grad():
        sharper = LocalField(images, [_kernel(images.shape[1], spacing)]).solve(said, iterations=ITERATIONS)
    return F.kl_div(said, sharper, reduction="none").sum(1).mean()


def _kernel(channels: int, spacing: Sequence[float]) -> Kernel:
    finest = min(spacing)
    position = tuple(POSITION * finest / s for s in spacing)
    return Kernel(PULL, position, VALUE * channels**0.5, (RADIUS,) * len(position))
