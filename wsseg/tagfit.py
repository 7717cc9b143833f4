"""Training a classifier from tags: a generator that yields after each optimiser step."""

import copy
import hashlib
import json
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wsseg.augment import AugmentConfig, draw_geometry, draw_intensity, recolour, warp
from wsseg.checkpoint import load_checkpoint, save_checkpoint
from wsseg.classifier import (
    STRIDES,
    ClassifierConfig,
    TagModel,
    build_classifier,
    first_levels,
)
from wsseg.device import choose_device, memory_format, precision
from wsseg.encoder import SavedEncoder
from wsseg.errors import InputError
from wsseg.fit import suited
from wsseg.normalise import Statistics
from wsseg.patches import plan_patch
from wsseg.pooling import Pooling, pool
from wsseg.steps import Step
from wsseg.tagcheck import centred, check_classifier
from wsseg.tagged import NORMALISATION, BagSampler, Tagged, split
from wsseg.train import average_decay, descend, learning_rate, mix
from wsseg.unet import Encoder, plan_encoder, take_weights

BUDGET = {2: 2**15, 3: 2**17}  # voxels in a patch; a larger image is seen part by part
ENOUGH = 0.75  # mean AUC from which no wider view is tried: more is reached by what lies around as well
GAIN = 0.02  # in mean AUC, that a wider view must bring
CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class TagConfig:
    """How to train a classifier.

    Attributes:
        steps: Optimiser steps.
        seed: Of patches, augmentation, fresh weights and of what is held back.
        device: auto, cpu, cuda or mps.
        batch: Patches a step; None = 4 in 3D, 8 in 2D.
        learning_rate: The largest; warmed up over 5 % of the steps, then a cosine down to 0.
        decay: Of the averaged weights.
        pooling: How places become a score.
        stride: Of the maps, at most: how many of the encoder's levels are used.
        exclusive: At most one class is in an image.
        augment: How strongly patches are varied; axes to mirror are added.
    """

    steps: int = 300
    seed: int = 0
    device: str = "auto"
    batch: int | None = None
    learning_rate: float = 2e-3
    decay: float = 0.98
    pooling: Pooling = "rank"
    stride: int = STRIDES[0]
    exclusive: bool = False
    augment: AugmentConfig = field(default_factory=AugmentConfig)


def plan_classifier(
    tagged: Sequence[Tagged], classes: Mapping[int, str], config: TagConfig, axis: int | None
) -> ClassifierConfig:
    """Choose architecture and patch from the data.

    Raises:
        InputError: `exclusive`, and an image has two classes.
    """
    if config.exclusive and (both := [one for one in tagged if one.present.sum() > 1]):
        raise InputError(
            f"{both[0].bag.item.image}: has {both[0].present.sum()} classes, where one at most was said; "
            "leave out --exclusive, or mend tags.csv."
        )
    spacing = tuple(float(v) for v in np.median([one.image.spacing for one in tagged], axis=0))
    sizes = [one.image.shape for one in tagged]
    whole = plan_encoder(
        channels_in=tagged[0].image.channels,
        spacing=spacing,
        size=[int(v) for v in np.median(sizes, axis=0)],
    )
    shape = first_levels(whole, config.stride)
    return ClassifierConfig(
        architecture=shape,
        classes=dict(classes),
        normalisation=NORMALISATION,
        spacing=spacing,
        patch=plan_patch(sizes, shape.divisor, BUDGET[shape.dims]),
        pooling=config.pooling,
        exclusive=config.exclusive,
        axis=axis,
        rgb=tagged[0].image.rgb,
        statistics=_lists(tagged[0].statistics) if tagged[0].shared else None,
    )


def _lists(statistics: Statistics) -> dict[str, list[float]]:
    return {part: values.tolist() for part, values in vars(statistics).items()}


class TagTrainer:
    """One training run of a classifier: call `steps()` and iterate.

    Args:
        tagged: Images to train on.
        model_config: What to build.
        config: How to train.
        encoder: A pretrained encoder to start from; its first levels are taken.

    Raises:
        InputError: The encoder is for images of other dimensions or channels.
    """

    def __init__(
        self,
        tagged: Sequence[Tagged],
        model_config: ClassifierConfig,
        config: TagConfig,
        *,
        encoder: SavedEncoder | None = None,
    ) -> None:
        own = model_config.architecture
        pretrained = suited(encoder, own.dims, own.channels_in).encoder if encoder else None
        if pretrained is not None:
            sizes = [one.image.shape for one in tagged]
            model_config = _with_encoder(model_config, pretrained, config.stride, sizes)
        self.config = config
        dims = model_config.architecture.dims
        axes = tuple(range(dims))
        self.augment = replace(config.augment, flip_axes=axes)
        self.model_config = model_config
        self.device = choose_device(config.device)
        self.batch = config.batch or (8 if dims == 2 else 4)
        torch.manual_seed(config.seed)
        self.net = build_classifier(model_config)
        self.taken = take_weights(self.net.encoder, pretrained.state_dict()) if pretrained else None
        self.format = memory_format(dims)
        self.net.to(self.device).to(memory_format=self.format)
        self.average = copy.deepcopy(self.net).requires_grad_(False).eval()
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=config.learning_rate, weight_decay=1e-2, fused=True
        )
        self.sampler = BagSampler(tagged, model_config.patch, seed=config.seed)
        share = torch.from_numpy(self.sampler.share).float().to(self.device)
        self.balance = 0.5 / share, 0.5 / (1 - share)  # weights of there and not there
        self.done = 0

    @property
    def model(self) -> TagModel:
        """The averaged weights as of now, a copy on the CPU."""
        return TagModel(self.model_config, copy.deepcopy(self.average).cpu().eval())

    def steps(self) -> Generator[Step, None, TagModel]:
        """Train from where the run stands to its end."""
        while self.done < self.config.steps:
            images, present = self._draw()
            for group in self.optimiser.param_groups:
                group["lr"] = learning_rate(self.config.learning_rate, self.done, self.config.steps)
            self.net.train()
            with precision(self.device):
                places = self.net.places(images).float()
            loss = tag_loss(
                places, present, self.config.pooling, self.balance, exclusive=self.config.exclusive
            )
            descend(loss, self.net, self.optimiser)
            self._average()
            self.done += 1
            yield Step("classify", self.done, self.config.steps, float(loss.detach()))
        return self.model

    def _draw(self) -> tuple[Tensor, Tensor]:
        drawn, present = self.sampler.draw(self.done, self.batch)
        generator = torch.Generator().manual_seed(mix(self.config.seed, self.done))
        images = torch.from_numpy(drawn).to(self.device)
        size = images.shape[2:]
        positions = draw_geometry(len(images), size, self.model_config.spacing, self.augment, generator)
        images = warp(images, positions.to(self.device))
        images = recolour(images, draw_intensity(len(images), self.augment, generator))
        return images.contiguous(memory_format=self.format), torch.from_numpy(present).to(self.device)

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights, and with them the norms' means and variances."""
        decay = average_decay(self.config.decay, self.done)
        for own, new in zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True):
            if own.dtype.is_floating_point:
                own.lerp_(new, 1 - decay)
            else:
                own.copy_(new)


def _with_encoder(
    config: ClassifierConfig, encoder: Encoder, stride: int, sizes: Sequence[tuple[int, ...]]
) -> ClassifierConfig:
    shape = first_levels(encoder.config, stride)
    return replace(config, architecture=shape, patch=plan_patch(sizes, shape.divisor, BUDGET[shape.dims]))


def tag_loss(
    places: Tensor,
    present: Tensor,
    pooling: Pooling,
    balance: tuple[Tensor, Tensor],
    *,
    exclusive: bool = False,
) -> Tensor:
    """Cross-entropy of scores and tags, each class's two sides weighing the same.

    Args:
        places: (N, K, *S) scores at every place. Pooled, but for "every": there each place is asked for its
            image's tags by itself.
        present: float (N, K), 0 or 1.
        pooling: How places become a score.
        balance: Weights (K,) of a class that is there and of one that is not.
        exclusive: Softmax over the classes and "none", whose score is 0, instead of a sigmoid for each.
    """
    scores = places.flatten(2) if pooling == "every" else pool(places, pooling).unsqueeze(2)  # (N, K, P)
    wanted = present.unsqueeze(2).expand_as(scores)
    if exclusive:
        none = torch.zeros_like(scores[:, :1])
        target = torch.where(wanted.any(1), wanted.argmax(1) + 1, 0)  # the sampler balances the classes
        return F.cross_entropy(torch.cat([none, scores], 1), target)
    there, absent = (weight.view(1, -1, 1) for weight in balance)
    loss = F.binary_cross_entropy_with_logits(scores, wanted, reduction="none")
    return (loss * torch.where(wanted > 0, there, absent)).mean()


def fit_classifier(
    tagged: Sequence[Tagged],
    classes: Mapping[int, str],
    config: TagConfig,
    *,
    axis: int | None = None,
    encoder: SavedEncoder | None = None,
    checkpoint: Path | None = None,
) -> Generator[Step, None, TagModel]:
    """Train and check a classifier: first with a small view, then wider ones while that is not enough.

    What tells classes apart with the least view has to be in the place where it is seen; so a wider view is
    only tried where the mean AUC of the narrow one is below `ENOUGH`, and kept where it is better by `GAIN`.

    Args:
        tagged: All images with tags; a quarter is held back.
        classes: Class id to name.
        config: How to train; `stride` is the finest that is tried.
        axis: The axis of tagged slices, for the record.
        encoder: A pretrained encoder to start from.
        checkpoint: Folder for the state of a run that is stopped; it goes on from there. None = none.

    Returns:
        The best one, with what the check found in `config.quality`.
    """
    kept, held, words = split(tagged, config.seed)
    best: TagModel | None = None
    for stride in [s for s in STRIDES if s >= config.stride]:
        now = replace(config, stride=stride)
        trainer = TagTrainer(kept, plan_classifier(kept, classes, now, axis), now, encoder=encoder)
        if best is not None and trainer.model_config.architecture == best.config.architecture:
            break  # images too small for a wider view
        model = centred((yield from _kept_steps(trainer, checkpoint, stride)), kept, config.device)
        quality = yield from check_classifier(model, held, config.device, words)
        model = TagModel(replace(model.config, quality=quality), model.net)
        if best is None or _mean_auc(model) > _mean_auc(best) + GAIN:
            best = model
        if _mean_auc(best) >= ENOUGH:
            break
    assert best is not None
    return best


def _kept_steps(trainer: TagTrainer, checkpoint: Path | None, stride: int) -> Generator[Step, None, TagModel]:
    """Train with a checkpoint now and then, and when stopped; go on from one that is there."""
    if checkpoint is None:
        return (yield from trainer.steps())
    folder = checkpoint / f"stride-{stride}"
    names = [(one.bag.item.stem, one.bag.index, one.present.tolist()) for one in trainer.sampler.tagged]
    parts = [asdict(trainer.config), asdict(trainer.model_config), names]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    if folder.is_dir():
        load_checkpoint(folder, trainer, key)
    saved = time.monotonic()
    try:
        for step in trainer.steps():
            yield step
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                save_checkpoint(folder, trainer, key, [], None)
                saved = time.monotonic()
    finally:  # also when stopped between two steps: nothing that was learnt is lost
        if trainer.done:
            save_checkpoint(folder, trainer, key, [], None)
    return trainer.model


def _mean_auc(model: TagModel) -> float:
    return float(np.mean(list((model.config.quality or {})["auc"].values())))
