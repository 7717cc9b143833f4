"""MoCo: a view is nearer to its place's key than to a queue of keys of other scans.

He et al. 2020, "Momentum Contrast for Unsupervised Visual Representation Learning", section 3.2 (algorithm
1), with the head and the stronger views of MoCo v2 (Chen et al. 2020, section 3).
Differs from the papers in: the queue knows which scan each key is of, and keys of the query's own scan are
not its negatives; the batch's own keys are negatives too and empty places of the queue are none, so that
there is something to learn from the first step on; momentum is fitted to the run's length, and keys that are
too old for it are no negatives; the copy follows after the optimiser's step instead of before the next
forward pass, which is the same but for the first; no shuffling of batch norm, since neither encoder nor head
has one that sees the batch (`SteadyNorm`).
"""

import torch
from torch import Tensor, nn

from pretrain.method import Method, Setting
from pretrain.parts import (
    Contrast,
    Momentum,
    SteadyNorm,
    contrast,
    enqueue,
    gather,
    mlp,
    pooled,
    product,
    project,
    unit,
)
from wsseg.unet import Encoder

EMPTY = -1  # in place of a scan's number
SLOWEST = 0.999  # He et al. 2020, section 4.1
DRIFT = 0.1  # how far the copy may have moved, as a share of the way to the encoder, since a key was made


class MoCo(Method):
    """See the head of the file.

    Args: as of `Method`, and
        temperature: τ.
        queue: K, keys that are kept; fewer are negatives while the copy is fast, see `reach`.
    """

    SUMMARY = "contrastive with a queue of keys: as SimCLR, for small batches"
    advice = (
        "MoCo needs different scans and views that differ: check --modality, give more scans, or use "
        "--method mae, which needs no negatives."
    )
    queue: Tensor
    queue_scans: Tensor
    queue_steps: Tensor
    pointer: Tensor

    def __init__(
        self, encoder: Encoder, setting: Setting, *, temperature: float = 0.2, queue: int = 1024
    ) -> None:
        super().__init__(encoder, setting)
        self.temperature = temperature
        width = pooled(encoder)
        self.head = nn.Sequential(SteadyNorm(width), mlp(width, 512, 128, norm=False))
        self.target = Momentum(encoder, self.head, setting.steps, slowest=SLOWEST)
        # A short run needs a fast copy, and keys of a fast copy age fast: the encoder then learns to tell new
        # from old instead of place from place, by moving on. The authors' recipes have K/N·(1 − m) below 0.1.
        self.reach = max(1, round(DRIFT / (1 - self.target.start)))
        # saved with the state: a resumed run would otherwise go on against other negatives
        self.register_buffer("queue", torch.zeros(queue, 128))
        self.register_buffer("queue_scans", torch.full((queue,), EMPTY))
        self.register_buffer("queue_steps", torch.zeros(queue, dtype=torch.int64))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))
        self._waiting: list[tuple[Tensor, Tensor]] = []  # keys of this step

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch, see `Method`."""
        query = project(self.encoder, self.head, self.views(images))
        keys = unit(self.target(self.views(images)))
        fresh = self.queue_scans.where(self.target.done - self.queue_steps < self.reach, EMPTY)
        result = against_queue(query, keys, scans, self.queue, fresh, self.temperature)
        if self.training:
            self._waiting.append((keys, scans))
        self.note(accuracy=result.accuracy, chance=result.chance)
        return result.loss

    @torch.no_grad()
    def after_step(self) -> None:
        """The copy follows, and the step's keys take the places of the oldest."""
        self.target.follow(self.encoder, self.head)
        keys, scans = (gather(torch.cat(part)) for part in zip(*self._waiting, strict=True))
        self._waiting.clear()
        self._enqueue(keys, scans)

    def _enqueue(self, keys: Tensor, scans: Tensor) -> None:
        enqueue(self.queue, keys, self.pointer)
        enqueue(self.queue_scans, scans, self.pointer)
        enqueue(self.queue_steps, torch.full_like(scans, self.target.done), self.pointer)
        self.pointer.add_(len(keys)).remainder_(len(self.queue))

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, *S) -> (N, 128), the projection."""
        return project(self.encoder, self.head, images)


def against_queue(
    query: Tensor, keys: Tensor, scans: Tensor, queue: Tensor, queue_scans: Tensor, temperature: float
) -> Contrast:
    """InfoNCE against the other keys of the batch and the queue as it stands (equation 1).

    Args:
        query: (N, D), any length.
        keys: (N, D) of length 1, without gradient, of the same places.
        scans: int64 (N,).
        queue: (K, D) of length 1.
        queue_scans: int64 (K,), `EMPTY` where there is no key.
        temperature: τ.
    """
    of = torch.cat([scans, queue_scans])
    other = (of != scans.view(-1, 1)) & (of != EMPTY)
    logits = product(unit(query), torch.cat([keys, queue.to(keys)])) / temperature
    return contrast(logits, torch.arange(len(query), device=query.device), other)
