"""Training from weak labels: a generator that yields after each optimiser step.

Sparse-loss U-Net (Çiçek et al. 2016). The model that is handed out is a running average of the weights
(Polyak & Juditsky 1992), which is steadier than the last ones. What each part is worth, and what was tried
and left out: docs/sparse.md.
"""

import copy
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from wsseg.augment import AugmentConfig, draw_geometry, draw_intensity, recolour, warp
from wsseg.device import choose_device, memory_format, precision
from wsseg.encoder import SavedEncoder
from wsseg.extent import imply_background
from wsseg.losses import weak_loss
from wsseg.model import Model, ModelConfig, build
from wsseg.patches import PatchSampler, Sample
from wsseg.propagate import Meaning, Objects
from wsseg.steps import Step
from wsseg.unet import take_weights

BATCH = {2: 8, 3: 2}  # patches a step, by dimensions
RATE = {2: 8e-3, 3: 4e-3}  # the largest learning rate, by dimensions
SHORT = 300  # steps; a longer run of volumes takes less


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        steps: Optimiser steps.
        seed: Of patches, augmentation and fresh weights.
        device: auto, cpu, cuda or mps.
        batch: Patches a step; None = `BATCH`.
        learning_rate: The largest; warmed up over 5 % of the steps, then a cosine to 0; None = `usual_rate`.
        encoder_rate: Share of it for a pretrained encoder below a fresh decoder; it waits until that has
            found its feet (a tenth of the steps, rising evenly over another). An encoder that comes with its
            decoder waits for nothing: both train at the full rate from the first step.
        decay: Of the averaged weights.
        augment: How strongly patches are varied.
        objects: What strokes mean: "marked", "alike", "auto" to find out (see `wsseg.propagate`), or "off" to
            learn from the painted voxels alone.
        compile: Let torch.compile translate the network; pays on GPUs in long runs.
    """

    steps: int = 1000
    seed: int = 0
    device: str = "auto"
    batch: int | None = None
    learning_rate: float | None = None
    encoder_rate: float = 0.3
    decay: float = 0.99
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    objects: Meaning = "auto"
    compile: bool = False


# (scores (N, K, *S), images (N, C, *S), maps int64 (N, M, *S), share of the run 0 to 1) -> a number to add
Term = Callable[[Tensor, Tensor, Tensor, float], Tensor]


class Trainer:
    """One training run: call `steps()` and iterate; `model` may be asked for between any two steps.

    Args:
        samples: Images with labels.
        model_config: What to build.
        config: How to train.
        init: A model to go on from; tensors that fit are taken (`taken` tells which).
        encoder: A pretrained encoder for images with these channels; the model's config says what was taken.
        term: A further term of the loss, which sees the samples' maps.

    Raises:
        InputError: The encoder does not fit.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        model_config: ModelConfig,
        config: TrainConfig,
        *,
        init: Model | None = None,
        encoder: SavedEncoder | None = None,
        term: Term | None = None,
    ) -> None:
        self.model_config, self.config, self.term = model_config, config, term
        self.dims = model_config.architecture.dims
        self.device = choose_device(config.device)
        self.batch = config.batch or BATCH[self.dims]
        usual = usual_rate(self.dims, config.steps)
        self.rate = usual if config.learning_rate is None else config.learning_rate
        torch.manual_seed(config.seed)
        self.net = build(model_config)
        self.taken = take_weights(self.net, init.net.state_dict()) if init else None
        handed = encoder.hand_over(self.net) if encoder else None
        counts = handed.counts if handed else init.config.encoder if init else None
        self.model_config = replace(model_config, encoder=counts)
        self.waits = handed is not None and not handed.decoder
        self.net.to(self.device).to(memory_format=memory_format(self.dims))
        self.average = copy.deepcopy(self.net).requires_grad_(False).eval()
        rest = [p for name, p in self.net.named_parameters() if not name.startswith("encoder.")]
        groups = [self.net.encoder.parameters(), rest] if self.waits else [self.net.parameters()]
        self.optimiser = torch.optim.AdamW(
            [{"params": list(group)} for group in groups],
            lr=self.rate,
            weight_decay=1e-2,
            fused=True,
        )
        self.done = 0
        self.set_samples(samples)

    def set_samples(self, samples: Sequence[Sample], objects: Objects | None = None) -> None:
        """Go on with these images and labels; all of them, never only the newest (networks forget).

        Args:
            samples: Images with labels, those that strokes imply among them.
            objects: What the strokes mean, where that is new.
        """
        self.model_config = replace(self.model_config, objects=objects or self.model_config.objects)
        known = [
            replace(sample, labels=imply_background(sample.labels, sample.image.spacing))
            for sample in samples
        ]
        self.sampler = PatchSampler(known, self.model_config.patch, seed=self.config.seed)

    @property
    def model(self) -> Model:
        """The averaged weights as of now, a copy on the CPU."""
        return Model(self.model_config, copy.deepcopy(self.average).cpu().eval())

    def steps(self) -> Generator[Step, None, Model]:
        """Train from where the run stands to its end."""
        net = torch.compile(self.net) if self.config.compile else self.net
        while self.done < self.config.steps:
            batch = self._draw()
            for group in self.optimiser.param_groups:
                group["lr"] = learning_rate(self.rate, self.done, self.config.steps)
            if self.waits:
                self.optimiser.param_groups[0]["lr"] *= self._encoder_share()
            loss = self._loss(net, *batch)
            descend(loss, self.net, self.optimiser)
            self._average()
            self.done += 1
            yield Step("train", self.done, self.config.steps, float(loss.detach()))
        return self.model

    def _draw(self) -> tuple[Tensor, Tensor, torch.Generator]:
        """Images, labels (N, 2 + M, *S: target, weight, maps), random numbers."""
        images, target, weight, maps = self.sampler.draw(self.done, self.batch)
        generator = torch.Generator().manual_seed(mix(self.config.seed, self.done))
        labels = np.concatenate([target[:, None], weight[:, None], maps], 1, dtype=np.float32)
        moved = torch.from_numpy(images).to(self.device, memory_format=memory_format(self.dims))
        return moved, torch.from_numpy(labels).to(self.device), generator

    def _loss(self, net, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        augment, size = self.config.augment, images.shape[2:]
        positions = draw_geometry(len(images), size, self.model_config.spacing, augment, generator)
        positions = positions.to(self.device)
        moved = warp(images, positions)
        labels = warp(labels, positions, nearest=True, outside="zeros")
        target, weight, maps = labels[:, 0].long(), labels[:, 1], labels[:, 2:].long()
        varied = recolour(moved, draw_intensity(len(images), augment, generator))
        varied = varied.contiguous(memory_format=memory_format(self.dims))
        with precision(self.device):
            scores = net(varied).float()
        loss = weak_loss(scores, target, weight)
        if self.term is not None:
            loss = loss + self.term(scores, moved, maps, self.done / self.config.steps)
        return loss

    def _encoder_share(self) -> float:
        """Share of the learning rate that an encoder below a fresh decoder gets at this step."""
        return self.config.encoder_rate * min(1.0, max(0.0, 10 * self.done / self.config.steps - 1))

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights."""
        decay = average_decay(self.config.decay, self.done)
        torch._foreach_lerp_(
            list(self.average.parameters()), [p.detach() for p in self.net.parameters()], 1 - decay
        )


def usual_rate(dims: int, steps: int) -> float:
    """The largest learning rate of a run of so many steps; measured on four sets of images, docs/sparse.md.

    Pictures take the same however long a run is; volumes that of a short run, by the root of the length less.
    """
    return RATE[dims] * (min(1.0, (SHORT / max(1, steps)) ** 0.5) if dims == 3 else 1.0)


def learning_rate(largest: float, done: int, steps: int, *, warm: int = 20) -> float:
    """After so many steps: linear warm-up over one in `warm` of them, then half a cosine to 0."""
    rising = max(1, steps // warm)
    if done < rising:
        return largest * (done + 1) / rising
    progress = (done - rising) / max(1, steps - rising)
    return largest * 0.5 * (1 + float(np.cos(np.pi * progress)))


def descend(loss: Tensor, net: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """One step against the gradient of a loss, which is clipped."""
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimiser.step()


def average_decay(longest: float, done: int) -> float:
    """Of averaged weights: early on the average is short, so that it leaves the fresh weights."""
    return min(longest, (1 + done) / (10 + done))


def mix(seed: int, index: int) -> int:
    """One number from two, far from that of the neighbours."""
    return int(np.random.SeedSequence((seed, index)).generate_state(1)[0])
