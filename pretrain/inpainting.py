"""Inpainting: restore one large box that was cut out of a crop.

Pathak et al. 2016, "Context Encoders: Feature Learning by Inpainting", sections 3.2 and 3.3 (reconstruction
loss on what is missing), with a whole U-Net. Encoder and decoder are handed over.
Differs from the paper in: the box lies anywhere and has any size from a third to a half of the crop's sides,
and there is no adversarial loss, which the paper found useless for features.
"""

import torch
from torch import Tensor

from pretrain.restoring import Restoring

SIDE = (1 / 3, 1 / 2)  # of the crop's


class Inpainting(Restoring):
    """See the head of the file."""

    SUMMARY = "restores one large box; learns how parts continue, and trains the decoder too"
    advice = (
        "Inpainting restores no more than the mean where nothing continues over a third of a crop: use "
        "smaller crops, or --method mae."
    )

    def spoil(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The box becomes 0, the crop's mean, and is what counts."""
        missing = torch.zeros(len(images), 1, *images.shape[2:], dtype=torch.bool)
        for index in range(len(images)):
            box: list[slice] = []
            for n in images.shape[2:]:
                share, at = torch.rand(2, generator=self.views.generator).tolist()
                side = max(1, round(n * (SIDE[0] + (SIDE[1] - SIDE[0]) * share)))
                start = int(at * (n - side + 1))
                box.append(slice(start, start + side))
            missing[index, 0][tuple(box)] = True
        missing = missing.to(images.device)
        return images * ~missing, missing
