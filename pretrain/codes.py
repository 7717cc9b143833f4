"""Codes: soft labels that share samples out evenly among clusters, so that one for all is no answer."""

import torch
from torch import Tensor

from pretrain.parts import exact

EPSILON, ITERATIONS = 0.05, 3  # of SwAV's codes (Caron et al. 2020, section 3.1)


@torch.no_grad()
def sinkhorn(scores: Tensor, *, epsilon: float, iterations: int) -> Tensor:
    """The codes Q ∝ diag(u)·exp(scores/ε)·diag(v) whose rows each sum to 1, and whose columns sum to N/K.

    Sinkhorn & Knopp's iterations (Cuturi 2013), as in Asano et al. 2020, section 3 (λ = 1/ε), and Caron et
    al. 2020 (SwAV), equations 3 to 5. Differs in: computed with logarithms, so that no ε is too small.

    Args:
        scores: (N, K), how well each sample suits each cluster.
        epsilon: ε; near 0 codes are nearly 0 or 1, far from it all alike.
        iterations: After a few the columns are nearly even, after many they are.
    """
    logs = exact(scores) / epsilon
    for _ in range(iterations):
        logs = logs - logs.logsumexp(0, keepdim=True)
        logs = logs - logs.logsumexp(1, keepdim=True)
    return logs.exp()


def swav_loss(
    first: Tensor, second: Tensor, temperature: float, *, earlier: list[Tensor] | None = None
) -> Tensor:
    """Cross-entropy of each view's codes against the other view's scores (SwAV, equation 2), mean over both.

    Args:
        first, second: (N, K), cosine of each embedding with each prototype.
        temperature: τ.
        earlier: (M, K) for each view, of embeddings that only take part in making its codes.
    """
    losses = []
    for index, (own, other) in enumerate(((first, second), (second, first))):
        known = own.detach() if earlier is None else torch.cat([own.detach(), earlier[index].to(own)])
        codes = sinkhorn(known, epsilon=EPSILON, iterations=ITERATIONS)[: len(own)]
        losses.append(-(codes * (exact(other) / temperature).log_softmax(1)).sum(1).mean())
    return torch.stack(losses).mean()
