"""How likely intensities are under Gaussian mixtures, one mixture a crop, all crops at once."""

import torch
from torch import Tensor

COMPONENTS = 3
FLOOR = 0.02  # least variance, of the crop's: one grey level alone must not become infinitely likely


def mixture_log_likelihood(values: Tensor, weight: Tensor, *, iterations: int = 6) -> Tensor:
    """Fit a mixture of Gaussians to the weighted values of each crop and ask it about all of them.

    Expectation maximisation with diagonal covariances, begun at the quantiles of the mean intensity, so that
    it needs no random numbers.

    Args:
        values: (N, V, C) intensities, standardised.
        weight: (N, V), ≥ 0: what each value counts in the fit.
        iterations: Of expectation maximisation.

    Returns:
        (N, V) logarithms of densities.
    """
    share = _starting_shares(values.mean(-1), weight)
    for _ in range(iterations):
        counted = share * weight[..., None]  # (N, V, K)
        size = counted.sum(1) + 1e-6
        mean = torch.einsum("nvk,nvc->nkc", counted, values) / size[..., None]
        square = torch.einsum("nvk,nvc->nkc", counted, values.square()) / size[..., None]
        variance = (square - mean.square()).clamp_min(0) + FLOOR
        distance = ((values[:, :, None] - mean[:, None]).square() / variance[:, None]).sum(-1)
        prior = (size / size.sum(1, keepdim=True)).log()
        log = prior[:, None] - 0.5 * (distance + variance.log().sum(-1)[:, None])
        share = log.softmax(-1)
    return log.logsumexp(-1)


def _starting_shares(key: Tensor, weight: Tensor) -> Tensor:
    """(N, V, K): nearness to the weighted quantiles (k + ½)/K of a value."""
    ordered, order = key.sort(1)
    rank = weight.gather(1, order).cumsum(1)
    at = (torch.arange(COMPONENTS, device=key.device) + 0.5) / COMPONENTS
    place = torch.searchsorted(rank, at * rank[:, -1:]).clamp_max(key.shape[1] - 1)
    centre = ordered.gather(1, place)
    return (-((key[..., None] - centre[:, None]) ** 2) / (2 * 0.3**2)).softmax(-1)
