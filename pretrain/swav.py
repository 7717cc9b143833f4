"""SwAV: from one view, predict the cluster of the other; clusters are found on the way. No negatives.

Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments", section 3.1
(equations 1 to 5, and the queue for small batches); prototypes are held still at first, as by the authors.
Differs from the paper in: two views and no small crops beside them; 128 instead of 3000 prototypes and 512
instead of 3840 places a queue, since scans are few; prototypes rest and the queue waits for a share of the
run instead of 1 and 15 epochs; places of the queue that are still empty are left out.
"""

import torch
from torch import Tensor, nn

from pretrain.codes import swav_loss
from pretrain.method import Method, Setting
from pretrain.parts import enqueue, gather, mlp, pooled, product, project, unit
from wsseg.unet import Encoder

FROZEN = 0.05  # share of the steps at first in which the prototypes are not trained
ALONE = 0.1  # share of the steps at first in which codes are made without the queue, whose rows age fast then


class SwAV(Method):
    """See the head of the file.

    Args: as of `Method`, and
        prototypes: K, clusters.
        queue: Earlier embeddings of each view that codes are made with, so that a batch smaller than K can
            be shared out evenly; 0 = none.
        temperature: τ.
    """

    SUMMARY = "two views fall into one cluster, clusters of equal size: no negatives, and collapse costs"
    advice = (
        "SwAV shares crops out evenly among clusters: raise --batch to 32 or more, check --modality, or use "
        "--method vicreg."
    )
    queue: Tensor
    pointer: Tensor
    filled: Tensor
    done: Tensor

    def __init__(
        self,
        encoder: Encoder,
        setting: Setting,
        *,
        prototypes: int = 128,
        queue: int = 512,
        temperature: float = 0.1,
    ) -> None:
        super().__init__(encoder, setting)
        self.steps, self.temperature = setting.steps, temperature
        self.head = mlp(pooled(encoder), 512, 128)
        self.prototypes = nn.Parameter(unit(torch.randn(prototypes, 128)))
        # saved with the state, as MoCo's: a resumed run would otherwise make other codes
        self.register_buffer("queue", torch.zeros(2, queue, 128))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))
        self._waiting: list[Tensor] = []  # (2, N, 128), embeddings of this step

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch, see `Method`; `scans` are not used."""
        views = torch.cat([self.views(images), self.views(images)])
        embedded = unit(project(self.encoder, self.head, views))
        pair = torch.stack([gather(view) for view in embedded.chunk(2)])  # (2, N, 128)
        # at rest they have a gradient of 0; DistributedDataParallel would wait for one that does not come
        moving = float(self.done >= FROZEN * self.steps)
        prototypes = moving * self.prototypes + (1 - moving) * self.prototypes.detach()
        first, second = (product(view, prototypes) for view in pair)
        loss = swav_loss(first, second, self.temperature, earlier=self._earlier())
        if self.training:
            self._waiting.append(pair.detach())
        agreement = (first.argmax(1) == second.argmax(1)).float().mean()
        self.note(agreement=agreement, used=used(torch.cat([first, second])))
        return loss

    def _earlier(self) -> list[Tensor] | None:
        """Scores of the queue's embeddings with the prototypes as they are; None while it waits."""
        if self.done < ALONE * self.steps or not self.filled:
            return None
        return [product(rows[: int(self.filled)], self.prototypes.detach()) for rows in self.queue]

    @torch.no_grad()
    def after_step(self) -> None:
        """Prototypes are made of length 1 again, and the step's embeddings take the oldest places."""
        self.prototypes.copy_(unit(self.prototypes))
        rows = torch.cat(self._waiting, 1)
        self._waiting.clear()
        length = self.queue.shape[1]
        if length:
            enqueue(self.queue, rows, self.pointer)
            self.pointer.add_(rows.shape[1]).remainder_(length)
            self.filled.add_(rows.shape[1]).clamp_max_(length)
        self.done.add_(1)

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, *S) -> (N, 128), the projection."""
        return project(self.encoder, self.head, images)


@torch.no_grad()
def used(scores: Tensor) -> Tensor:
    """How many clusters the samples' best ones are spread over: e to the entropy of their shares; 1 to K.

    Args:
        scores: (N, K).
    """
    shares = torch.bincount(scores.argmax(1), minlength=scores.shape[1]) / len(scores)
    return torch.special.entr(shares).sum().exp()
