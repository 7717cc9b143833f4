"""What the loop knows of a method."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pretrain.parts import pool
from pretrain.views import SHARE, Views
from wsseg.unet import Encoder


@dataclass(frozen=True)
class Setting:
    """What a method is told of the run that it is for.

    Attributes:
        size: Spatial size of the crops that will be given, voxels.
        spacing: Size of a voxel per axis.
        modality: A key of `pretrain.views.MODALITIES`.
        steps: Length of the run, for schedules.
        seed: Of the views; under torch.distributed every process makes its own.
        batch: Places a step, over all processes.
        scans: How many are told apart: subjects, or blocks of scans where there are few.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    modality: str
    steps: int
    seed: int
    batch: int = 2
    scans: int = 2


class Method(nn.Module, ABC):
    """`loss = method(images, scans)`, then `after_step()` once an optimiser step.

    It makes its own views, and all of its state (queues, copies, the generator of the views) is in its
    `state_dict`. Heads are initialised from torch's global generator; nothing draws from that afterwards.

    Args:
        encoder: Trained in place; what is handed over.
        setting: Of the run.

    Raises:
        ValueError: Unknown modality, or crops too small for the method or the encoder.

    Attributes:
        SUMMARY: What it is, one line.
        advice: What to change if it collapses or stays at chance, one sentence.
        BATCH: Places a step on a CPU, by the number of axes.
        CROP: Edge of a crop in voxels of the finest axis, likewise.
        SHARE: Side of a view as a share of the crop's.
        LOCATED: Crops carry their coordinates, d more channels; see `pretrain.crops.coordinates`.
        TAGGED: Crops are told with the tags of their scans, K more columns of `scans`.
        REPEAT: Steps after which the same crops come again, in the same order; 0 = never.
    """

    SUMMARY: ClassVar[str]
    advice: ClassVar[str]
    BATCH: ClassVar[dict[int, int]] = {2: 32, 3: 8}
    CROP: ClassVar[dict[int, int]] = {2: 64, 3: 32}
    SHARE: ClassVar[float] = SHARE
    LOCATED: ClassVar[bool] = False
    TAGGED: ClassVar[bool] = False
    REPEAT: ClassVar[int] = 0

    def __init__(self, encoder: Encoder, setting: Setting) -> None:
        super().__init__()
        self.encoder = encoder
        self.views = Views(
            setting.size,
            setting.spacing,
            setting.modality,
            setting.seed,
            divisor=encoder.config.divisor,
            share=self.SHARE,
        )
        self._seen: dict[str, Tensor] = {}

    @abstractmethod
    def forward(self, images: Tensor, scans: Tensor) -> Tensor:
        """The loss of a batch, a number.

        Args:
            images: (N, C, *S), normalised; (N, C + d, *S) where `LOCATED`.
            scans: int64 (N,), ≥ 0, which scan each is of; (N, 1 + K) with `TAGGED`: and of each tag whether
                it is there (1), is not (0) or is not known (−1); (N, 3) with `REPEAT`: and which batch of
                those that come again it is of, and its place in it.
        """

    @property
    def metrics(self) -> dict[str, float]:
        """Numbers of the last forward worth a curve; "accuracy" and "chance" where there is a task.

        Waits for the device, so not to be asked for at every step.
        """
        return {name: float(value) for name, value in self._seen.items()}

    def note(self, **values: Tensor | float) -> None:
        """Keep numbers for `metrics`."""
        self._seen = {name: torch.as_tensor(value).detach() for name, value in values.items()}

    def embed(self, images: Tensor) -> Tensor:
        """(N, C, *S) -> (N, D), what a collapse shows in: here pooled features of the deepest level."""
        return pool(self.encoder(images)[-1])

    def decoder_state(self) -> dict[str, Tensor]:
        """Decoder tensors named as in `wsseg.unet.UNet`, where the method trains one."""
        return {}

    def after_step(self) -> None:
        """Momentum copies and queues."""
