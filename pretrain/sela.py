"""Self-labelling: crops are given labels that share them out evenly, the labels are learned, and given anew.

Asano, Rupprecht & Vedaldi 2020, "Self-labelling via Simultaneous Clustering and Representation Learning",
section 3. The images are a fixed set of crops, which come again after `REPEAT` steps.
Differs from the paper in: crops are labelled anew after each round, from the scores of their two views as
they were seen in it, as in DeepCluster-v2 (Caron et al. 2020), instead of by a further pass; a crop that is
seen for the first time is labelled at once, beside all that have a label; scores are cosines, also as there,
since scores without bounds would take ever more iterations to be shared out; one head, and 64 clusters, since
there are about a thousand crops and not a million.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.codes import sinkhorn
from pretrain.method import Method, Setting
from pretrain.parts import gather, mlp, pooled, product, project, unit
from wsseg.unet import Encoder

NONE = -1  # in place of a label
EPSILON = 0.02  # 1/λ, of cosines: near enough to 0 for labels rather than shares
AT_ONCE, SETTLED = 3, 200  # Sinkhorn's iterations, for crops seen first and for all
TEMPERATURE = 0.1


class SeLa(Method):
    """See the head of the file.

    Args: as of `Method`, and
        clusters: K.
    """

    SUMMARY = "learns labels that it gives the crops itself, evenly, and gives them anew every 100 steps"
    advice = (
        "Self-labelling needs crops of several kinds of things: raise --batch, check --modality, or use "
        "--method vicreg."
    )
    REPEAT: ClassVar[int] = 100
    labels: Tensor
    scores: Tensor
    kept: Tensor
    done: Tensor

    def __init__(self, encoder: Encoder, setting: Setting, *, clusters: int = 64) -> None:
        super().__init__(encoder, setting)
        self.batch = setting.batch
        self.head = mlp(pooled(encoder), 512, 128)
        self.clusters = nn.Parameter(unit(torch.randn(clusters, 128)))
        crops = self.REPEAT * setting.batch
        self.register_buffer("labels", torch.full((crops,), NONE))
        self.register_buffer("scores", torch.zeros(crops, clusters))
        self.register_buffer("kept", torch.zeros(()))  # share of the crops whose label stayed, last time
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))
        self._waiting: list[tuple[Tensor, ...]] = []  # rows, scores and labels of this step

    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            images: (N, C, *S), normalised.
            scans: int64 (N, 3): which scan (not used), which batch of the round, which place in it.
        """
        rows = scans[:, 1] * self.batch + scans[:, 2]
        views = torch.cat([self.views(images), self.views(images)])
        embedded = unit(project(self.encoder, self.head, views))
        scores = product(embedded, unit(self.clusters))  # cosines
        both = scores.detach().unflatten(0, (2, -1)).mean(0)  # (N, K)
        labels = torch.where(self.labels[rows] == NONE, self._first(both), self.labels[rows])
        if self.training:
            self._waiting.append((rows, both, labels))
        agreement = (scores.argmax(1) == labels.repeat(2)).float().mean()
        self.note(agreement=agreement, kept=self.kept)
        return F.cross_entropy(scores / TEMPERATURE, labels.repeat(2))

    def _first(self, scores: Tensor) -> Tensor:
        """Labels of crops that have none yet, from scores (N, K): shared out beside those that have one."""
        beside = torch.cat([scores, self.scores[self.labels != NONE]])
        return sinkhorn(beside, epsilon=EPSILON, iterations=AT_ONCE)[: len(scores)].argmax(1)

    @torch.no_grad()
    def after_step(self) -> None:
        """The step's scores are kept, and at the end of a round all crops are labelled anew."""
        rows, scores, labels = (gather(torch.cat(part)) for part in zip(*self._waiting, strict=True))
        self._waiting.clear()
        self.scores[rows], self.labels[rows] = scores, labels
        self.done.add_(1)
        if self.done % self.REPEAT == 0:
            self.label()

    @torch.no_grad()
    def label(self) -> None:
        """New labels for all crops that have one: evenly, and as well as the scores allow."""
        seen = self.labels != NONE
        labels = sinkhorn(self.scores[seen], epsilon=EPSILON, iterations=SETTLED).argmax(1)
        self.kept.copy_((labels == self.labels[seen]).float().mean())
        self.labels[seen] = labels

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, *S) -> (N, 128), the projection."""
        return project(self.encoder, self.head, images)
