"""Denoising autoencoder: take the noise out again that was put in.

Vincent et al. 2010, "Stacked Denoising Autoencoders", section 3 (equation 8, Gaussian corruption), with a
whole U-Net instead of layers trained one by one. Encoder and decoder are handed over.
Differs from the paper in: noise is made at a random coarseness of 1 to 4 voxels, so that it can't be taken
out by looking at the nearest voxels alone.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from pretrain.restoring import Restoring

NOISE = (0.3, 1.5)  # standard deviations of the crop
COARSE = (1.0, 4.0)  # voxels


class Denoising(Restoring):
    """See the head of the file."""

    SUMMARY = "takes noise out again; learns fine structure, and trains the decoder too"
    advice = (
        "Denoising learns little where scans are noisy themselves: use --method mae, whose gaps can't be "
        "filled by smoothing."
    )

    def spoil(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Each crop with noise of its own strength and coarseness; all voxels count."""
        generator = self.views.generator
        noisy = []
        for image in images:
            strength, coarse = torch.rand(2, generator=generator).tolist()
            step = COARSE[0] + (COARSE[1] - COARSE[0]) * coarse
            size = [max(2, round(n / step)) for n in image.shape[1:]]
            noise = torch.randn(1, len(image), *size, generator=generator)
            noise = F.interpolate(noise.to(image.device), image.shape[1:])
            noisy.append(image + (NOISE[0] + (NOISE[1] - NOISE[0]) * strength) * noise[0])
        return torch.stack(noisy), torch.ones_like(images, dtype=torch.bool)
