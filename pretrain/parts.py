"""What self-supervised methods are put together from."""

import copy
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

if TYPE_CHECKING:
    from wsseg.unet import Encoder


def pool(features: Tensor) -> Tensor:
    """Global average, (N, C, *S) -> (N, C).

    Instance norm fixes the mean of a channel before the activation, not after it; adding the largest values
    was tried and recognised no more.
    """
    return features.flatten(2).mean(2)


def pooled(encoder: "Encoder") -> int:
    """Numbers that `pool` gives of an encoder's deepest level."""
    return encoder.config.channels[-1]


def mlp(*widths: int, norm: bool = True, last_norm: bool = False) -> nn.Sequential:
    """Linear layers with batch norm and ReLU between them: the head of most methods.

    Args:
        widths: From the input's to the output's.
        norm: Batch norm after every layer but the last.
        last_norm: Batch norm without scale and shift after the last layer.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(widths[:-1]):
        layers += [nn.Linear(before, after, bias=not norm)]
        layers += [nn.BatchNorm1d(after)] if norm else []
        layers += [nn.ReLU()]
    layers += [nn.Linear(widths[-2], widths[-1], bias=not last_norm)]
    layers += [nn.BatchNorm1d(widths[-1], affine=False)] if last_norm else []
    return nn.Sequential(*layers)


class SteadyNorm(nn.Module):
    """Batch norm by the running statistics of the batches before, in training too.

    Pooled features of an encoder with instance norm are nearly the same for all images (cosine 0.9996 when
    fresh), so a head needs them centred; but if batch norm did it, its statistics would tell query and key
    of a batch from keys of the queue (He et al. 2020, section 3.3). Here no sample sees others of its batch.

    Args:
        width: D of the features (N, D).
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, values: Tensor) -> Tensor:
        """(N, D) -> (N, D); the very first batch is normalised by its own statistics."""
        values = exact(values)
        mean, variance = self.mean.clone(), self.variance.clone()
        if self.training:
            batch = gather(values.detach())  # so that all processes keep the same
            now = batch.mean(0), batch.var(0, correction=0)
            share = (1 / (self.batches + 1)).clamp_min(0.1)
            self.mean.lerp_(now[0].to(mean), share)
            self.variance.lerp_(now[1].to(mean), share)
            first = self.batches == 0
            mean, variance = torch.where(first, self.mean, mean), torch.where(first, self.variance, variance)
            self.batches.add_(1)
        return (values - mean) / (variance + 1e-5).sqrt()


def exact(values: Tensor) -> Tensor:
    """At least float32: losses are not computed in half precision."""
    return values if values.dtype == torch.float64 else values.float()


def unit(values: Tensor) -> Tensor:
    """(N, D) with every row of length 1."""
    return nn.functional.normalize(exact(values), dim=1)


def product(a: Tensor, b: Tensor) -> Tensor:
    """(N, D) and (M, D) -> (N, M) inner products; autocast would round them to half precision."""
    with torch.autocast(a.device.type, enabled=False):
        return exact(a) @ exact(b).T


def off_diagonal(matrix: Tensor) -> Tensor:
    """(D, D) with zeros on the diagonal."""
    return matrix - torch.diag(matrix.diagonal())


def standardised(values: Tensor, over: Sequence[int]) -> Tensor:
    """Mean 0 and deviation 1 along `over`; what is constant becomes 0."""
    centred = values - values.mean(tuple(over), keepdim=True)
    return centred / centred.square().mean(tuple(over), keepdim=True).sqrt().clamp_min(1e-4)


class Contrast(NamedTuple):
    """Numbers of a contrastive loss: how often the positive is the nearest, and how often by luck."""

    loss: Tensor
    accuracy: Tensor
    chance: Tensor


def contrast(logits: Tensor, positive: Tensor, negative: Tensor, *, decoupled: bool = False) -> Contrast:
    """InfoNCE: −log softmax of the positive among itself and its negatives, mean over rows.

    Args:
        logits: (N, K) similarities over temperature.
        positive: int64 (N,), the column of each row's positive.
        negative: bool (N, K), which columns are negatives of a row; rows without any say nothing and are left
            out of the mean.
        decoupled: Leave the positive out of the denominator (Yeh et al. 2022, DCL).
    """
    logits = exact(logits)
    rows = torch.arange(len(logits), device=logits.device)
    of_positive = logits[rows, positive]
    known = negative.clone()
    known[rows, positive] = False
    counts = known.any(1)
    against = logits.masked_fill(~known, -torch.inf)
    # a row without negatives would give log 0 and a gradient of NaN
    against = torch.where(counts.view(-1, 1), against, 0.0)
    denominator = against.logsumexp(1)
    if not decoupled:
        denominator = torch.logaddexp(denominator, of_positive)
    used = counts.sum().clamp_min(1)
    with torch.no_grad():
        hit = (of_positive > against.amax(1)) & counts
        luck = torch.where(counts, 1 / (1 + known.sum(1)), 0.0)
    loss = torch.where(counts, denominator - of_positive, 0.0).sum() / used
    return Contrast(loss, hit.sum() / used, luck.sum() / used)


def recognised(scores: Tensor, labels: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and accuracy over the rows that count, 0 where none does.

    Args:
        scores: (N, K).
        labels: int64 (N,).
        known: bool (N,), which rows count.
    """
    scores, weight = exact(scores), known.to(exact(scores))
    total = weight.sum().clamp_min(1)
    losses = nn.functional.cross_entropy(scores, labels, reduction="none")
    hit = (scores.argmax(1) == labels) * weight
    return (losses * weight).sum() / total, hit.sum() / total


def nt_xent(
    first: Tensor, second: Tensor, scans: Tensor, temperature: float, *, decoupled: bool = False
) -> Contrast:
    """NT-Xent over 2·N views (Chen et al. 2020, equation 1), mean over views.

    Args:
        first, second: (N, D), any length; the rows of a place belong together.
        scans: int64 (N,); rows of one scan are not negatives of each other.
        temperature: τ.
        decoupled: See `contrast`.
    """
    views, scans = unit(torch.cat([first, second])), scans.repeat(2)
    positive = torch.arange(len(views), device=views.device).roll(len(first))
    other = scans.view(-1, 1) != scans
    return contrast(product(views, views) / temperature, positive, other, decoupled=decoupled)


def enqueue(ring: Tensor, rows: Tensor, pointer: Tensor) -> None:
    """Put rows in the places of the oldest; of more rows than places the newest stay.

    Args:
        ring: (…, K, D) or (K,), changed in place.
        rows: (…, N, D) or (N,).
        pointer: int64, where the next row goes; the caller moves it, once for all of its rings.
    """
    axis = max(ring.ndim - 2, 0)
    length = ring.shape[axis]
    kept = torch.arange(rows.shape[axis], device=ring.device)[-length:]
    ring.index_copy_(axis, (pointer + kept) % length, rows.index_select(axis, kept).to(ring))


def momentum_start(steps: int, slowest: float = 0.99) -> float:
    """Momentum of a run's first step: as slow as short runs allow, so that the copy leaves its random start.

    BYOL's 0.996 belongs to 1000 epochs; after 500 steps such a copy would still be noise. S·(1 − m) ≥ 5.
    """
    return min(slowest, max(0.0, 1 - 5 / max(steps, 1)))


def momentum(step: int, steps: int, start: float) -> float:
    """1 − (1 − start)·(cos(π·step/steps) + 1)/2: from `start` to 1 (Grill et al. 2020, section 3.2)."""
    return 1 - (1 - start) * (math.cos(math.pi * min(step / max(steps, 1), 1)) + 1) / 2


def project(encoder: "Encoder", head: nn.Module, images: Tensor) -> Tensor:
    """(N, C, *S) -> (N, D): encoder, pooling, head."""
    return head(pool(encoder(images)[-1]))


class Momentum(nn.Module):
    """An exact copy of encoder and head that follows them slowly and has no gradient.

    Parameters are averaged and buffers (batch norm's statistics) copied, so that the copy in evaluation mode
    is a whole network.

    Args:
        encoder, head: Copied as they are, never initialised anew.
        steps: Length of the run, for `momentum`.
        slowest: Largest momentum to start with.
    """

    def __init__(self, encoder: "Encoder", head: nn.Module, steps: int, *, slowest: float = 0.99) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.head = copy.deepcopy(head).requires_grad_(False)
        self.steps, self.start, self.done = steps, momentum_start(steps, slowest), 0

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """What the copy says: (N, C, *S) -> (N, D)."""
        return project(self.encoder, self.head, images)

    @torch.no_grad()
    def follow(self, encoder: "Encoder", head: nn.Module) -> None:
        """One step after the networks."""
        share = 1 - momentum(self.done, self.steps, self.start)
        for own, other in ((self.encoder, encoder), (self.head, head)):
            for weight, towards in zip(own.parameters(), other.parameters(), strict=True):
                weight.lerp_(towards, share)
            for module, source in zip(own.modules(), other.modules(), strict=True):
                if not isinstance(module, SteadyNorm):  # which keeps statistics of its own features
                    for mine, its in zip(module.buffers(False), source.buffers(False), strict=True):
                        mine.copy_(its)
        self.done += 1

    def get_extra_state(self) -> Tensor:
        """Steps done, a tensor so that it goes into a safetensors file."""
        return torch.tensor([self.done])

    def set_extra_state(self, state: Tensor) -> None:
        """Go on with the schedule where the other stood."""
        self.done = int(state)


def rank() -> int:
    """Which process of torchrun this is; 0 where there is only one."""
    return dist.get_rank() if dist.is_initialized() else 0


def gather(values: Tensor) -> Tensor:
    """Rows of all processes, (N, …) -> (processes·N, …), with gradient to each of them.

    Every process then computes the loss of the whole batch. The gradients that arrive at a row from all
    processes are added, and DistributedDataParallel takes the mean: the gradient of one process with all.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return values
    if not values.requires_grad:
        parts = [torch.empty_like(values) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts)
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(values.contiguous()))
