"""What a frozen encoder knows: its features at a voxel, and two simple readers of them."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from wsseg.patches import PatchSampler, Sample
from wsseg.unet import Encoder

PATCHES = 8  # of the images to learn from, and as many of those to test on
VOXELS = 200  # of each class in a patch
NEIGHBOURS = 9
RIDGE = 1e-3


def columns(
    encoder: Encoder, samples: Sequence[Sample], patch: Sequence[int], *, seed: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Features of every level at labelled voxels, as many of each class as there are, up to a bound.

    Args:
        encoder: Frozen.
        samples: Images with dense labels.
        patch: Size of the pieces that are encoded, voxels.
        seed: Of places and voxels.
        device: Where to compute.

    Returns:
        float32 (V, channels of all levels), levels interpolated to the voxels; and outputs int64 (V,).
    """
    images, target, weight, _ = PatchSampler(samples, patch, seed=seed).draw(0, PATCHES)
    generator = torch.Generator().manual_seed(seed)
    encoder = encoder.to(device).eval()
    mode = "bilinear" if encoder.config.dims == 2 else "trilinear"
    found, classes = [], []
    for image, outputs, known in zip(images, target, weight, strict=True):
        with torch.no_grad():
            levels = encoder(torch.from_numpy(image)[None].to(device))
        flat, certain = torch.from_numpy(outputs).flatten(), torch.from_numpy(known).flatten() > 0
        chosen = []
        for k in flat[certain].unique():
            places = ((flat == k) & certain).nonzero().flatten()
            chosen.append(places[torch.randperm(len(places), generator=generator)[:VOXELS]])
        at = torch.cat(chosen)
        size = image.shape[1:]
        whole = [F.interpolate(level, size, mode=mode).flatten(2)[0, :, at.to(device)] for level in levels]
        found.append(torch.cat(whole).T.float().cpu())
        classes.append(flat[at])
    return torch.cat(found), torch.cat(classes)


def linear_probe(features: Tensor, classes: Tensor, test: Tensor, outputs: int) -> Tensor:
    """Logistic regression on standardised features; what it says of the test features, int64 (W,).

    Args:
        features: (V, D), with `classes` int64 (V,).
        test: (W, D).
        outputs: How many classes there are.
    """
    mean, deviation = features.mean(0), features.std(0).clamp_min(1e-6)
    features, test = (features - mean) / deviation, (test - mean) / deviation
    weight = torch.zeros(features.shape[1], outputs, requires_grad=True)
    bias = torch.zeros(outputs, requires_grad=True)
    balance = 1 / torch.bincount(classes, minlength=outputs).clamp_min(1).float()
    solver = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(features @ weight + bias, classes, balance) + RIDGE * weight.square().sum()
        loss.backward()
        return loss

    solver.step(closure)
    return (test @ weight + bias).argmax(1).detach()


def nearest_probe(features: Tensor, classes: Tensor, test: Tensor, outputs: int) -> Tensor:
    """The class most common among the nearest features, cosine of standardised ones; int64 (W,)."""
    mean, deviation = features.mean(0), features.std(0).clamp_min(1e-6)
    features, test = (F.normalize((part - mean) / deviation) for part in (features, test))
    nearest = (test @ features.T).topk(min(NEIGHBOURS, len(features)), 1)
    votes = F.one_hot(classes[nearest.indices], outputs) * nearest.values.clamp_min(1e-6)[..., None]
    return votes.sum(1).argmax(1)


def balanced_accuracy(said: Tensor, classes: Tensor) -> float:
    """Share of voxels that are right, mean over the classes there are."""
    shares = [(said[classes == k] == k).float().mean() for k in classes.unique()]
    return float(torch.stack(shares).mean())
