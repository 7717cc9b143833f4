"""What self-supervised methods are put together from."""

import copy
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from wsseg.unet import Encoder


class Method(nn.Module):
    """What the loop knows of a method: `loss = method(images, scans)`, then `after_step()` once a step.

    Attributes:
        encoder: What is handed over.
        metrics: Numbers of the last forward worth a curve; "accuracy" and "chance" where there is a task.
        advice: What to change if it collapses or stays at chance, one sentence.
        SUMMARY: What it is, one line.
        BATCH: Places a step on a CPU, by the number of axes.
        CROP: Edge of a crop in voxels of the finest axis, likewise.
    """

    SUMMARY: str
    advice: str
    BATCH: dict[int, int] = {2: 32, 3: 8}
    CROP: dict[int, int] = {2: 64, 3: 32}

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self._seen: dict[str, Tensor] = {}

    @property
    def metrics(self) -> dict[str, float]:
        """Numbers of the last forward; waits for the device, so not to be asked for at every step."""
        return {name: float(value) for name, value in self._seen.items()}

    def note(self, **values: Tensor) -> None:
        """Keep numbers for `metrics`."""
        self._seen = {name: value.detach() for name, value in values.items()}

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, *S) -> (N, D), what a collapse shows in: here pooled features of the deepest level."""
        return pool(self.encoder(images)[-1])

    def decoder_state(self) -> dict[str, Tensor]:
        """Decoder tensors named as in `wsseg.unet.UNet`, where the method trains one."""
        return {}

    def after_step(self) -> None:
        """Called once an optimiser step: momentum copies, queues."""


def pool(features: Tensor) -> Tensor:
    """Global average and largest value: (N, C, *S) -> (N, 2·C).

    Instance norm has set the mean of every channel, so that the average alone says little of the image.
    """
    flat = features.flatten(2)
    return torch.cat([flat.mean(2), flat.amax(2)], 1)


def pooled(encoder: Encoder) -> int:
    """Numbers that `pool` gives of an encoder's deepest level."""
    return 2 * encoder.config.channels[-1]


def mlp(*widths: int, norm: bool = True, last_norm: bool = False) -> nn.Sequential:
    """Linear layers with batch norm and ReLU between them: the head of most methods.

    Args:
        widths: From the input's to the output's.
        norm: Batch norm after every layer but the last.
        last_norm: Batch norm without scale and shift after the last layer.
    """
    layers: list[nn.Module] = []
    for before, after in zip(widths[:-2], widths[1:-1], strict=True):
        layers += [nn.Linear(before, after, bias=not norm)]
        layers += [nn.BatchNorm1d(after)] if norm else []
        layers += [nn.ReLU()]
    layers += [nn.Linear(widths[-2], widths[-1], bias=not last_norm)]
    layers += [nn.BatchNorm1d(widths[-1], affine=False)] if last_norm else []
    return nn.Sequential(*layers)


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


def momentum_start(steps: int) -> float:
    """Momentum of a run's first step: as slow as short runs allow, so that the copy leaves its random start.

    BYOL's 0.996 belongs to 1000 epochs; after 500 steps such a copy would still be noise. S·(1 − m) ≥ 5.
    """
    return min(0.99, max(0.0, 1 - 5 / max(steps, 1)))


def momentum(step: int, steps: int, start: float) -> float:
    """1 − (1 − start)·(cos(π·step/steps) + 1)/2: from `start` to 1 (Grill et al. 2020, section 3.2)."""
    return 1 - (1 - start) * (math.cos(math.pi * min(step / max(steps, 1), 1)) + 1) / 2


class Momentum(nn.Module):
    """An exact copy of networks that follows them slowly and has no gradient.

    Parameters are averaged and buffers (batch norm's statistics) copied, so that the copy in evaluation mode
    is a whole network.

    Args:
        networks: Copied as they are, never initialised anew.
        steps: Length of the run, for `momentum`.
    """

    count: Tensor

    def __init__(self, networks: nn.Module, steps: int) -> None:
        super().__init__()
        self.copy = copy.deepcopy(networks).requires_grad_(False)
        self.steps, self.start = steps, momentum_start(steps)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """What the copy says."""
        return self.copy(images)

    @torch.no_grad()
    def follow(self, networks: nn.Module) -> None:
        """One step after the networks."""
        share = momentum(int(self.count), self.steps, self.start)
        for own, other in zip(self.copy.parameters(), networks.parameters(), strict=True):
            own.lerp_(other, 1 - share)
        for own, other in zip(self.copy.buffers(), networks.buffers(), strict=True):
            own.copy_(other)
        self.count += 1


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
