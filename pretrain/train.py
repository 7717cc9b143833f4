"""The loop: crops -> method -> loss -> step, as a generator that yields after each optimiser step.

AdamW, a warm-up and a cosine for any method; biases and norms do not decay. The papers' LARS is for batches
of thousands; at ours of tens a plain optimiser does as well.
"""

from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pretrain.crops import CropSampler
from pretrain.method import Setting
from pretrain.methods import METHODS
from pretrain.monitor import Monitor
from pretrain.parallel import Processes, gather_states, mean_of_all
from pretrain.plan import Plan
from wsseg.checkpoint import optimiser_tensors, part, restore_optimiser
from wsseg.device import memory_format, precision
from wsseg.errors import InputError
from wsseg.steps import Step
from wsseg.train import learning_rate
from wsseg.unet import Encoder

READINGS = 40  # of the monitor in a run
STATE = "_extra_state"  # what a process alone knows: how torch names states that are no parameters


@dataclass(frozen=True)
class PretrainConfig:
    """How to train.

    Attributes:
        steps: Optimiser steps.
        seed: Of fresh weights, crops and views.
        accumulate: Parts that a batch is computed in, one after the other, where memory is short. What a
            method compares within a batch it then compares within a part.
        learning_rate: The largest; warmed up over 10 % of the steps, then a cosine down to 0.
        decay: Of weights; biases and norms do not decay.
    """

    steps: int
    seed: int = 0
    accumulate: int = 1
    learning_rate: float = 1e-3
    decay: float = 1e-4


class Pretrainer:
    """One run: call `steps()` and iterate.

    Attributes:
        method: A module, `loss = method(images, scans)`.
        done: Steps.
        rows: What was measured, a row a step, and one before the first.

    Args:
        sampler: Where the crops come from.
        plan: What to build.
        config: How to train.
        processes: Which of several this is.

    Raises:
        InputError: The crops or the batch do not suit the method.
    """

    def __init__(
        self, sampler: CropSampler, plan: Plan, config: PretrainConfig, processes: Processes
    ) -> None:
        self.sampler, self.plan, self.config, self.processes = sampler, plan, config, processes
        self.device = processes.device
        self.places = processes.share(plan.batch)
        if len(self.places) % config.accumulate or len(self.places) < 2 * config.accumulate:
            least = 2 * config.accumulate * processes.count
            raise InputError(
                f"--batch {plan.batch} can't be cut into {config.accumulate} parts of at least 2 places in "
                f"each of {processes.count} processes; a multiple of {least} can."
            )
        torch.manual_seed(config.seed)
        encoder = Encoder(plan.architecture)
        try:
            setting = Setting(
                plan.crop,
                plan.spacing,
                plan.modality,
                config.steps,
                config.seed,
                batch=plan.batch,
                scans=sampler.numbers,
            )
            self.method = METHODS[plan.method](encoder, setting)
        except ValueError as error:
            raise InputError(str(error)) from error
        self.method.to(self.device).to(memory_format=memory_format(plan.architecture.dims))
        self.optimiser = _optimiser(self.method, config)
        self.done = 0
        self.rows: list[dict[str, float]] = []
        self.voxels = 0  # that went through the encoder in the last step, in this process
        self.method.encoder.register_forward_pre_hook(self._count)

    def steps(self) -> Generator[Step, None, None]:
        """Train from where the run stands to its end."""
        monitor = Monitor(self.sampler, self.device) if self.processes.first else None
        every = max(1, self.config.steps // READINGS)
        if monitor and not self.rows:
            self.rows.append({"step": 0, **monitor.read(self.method)})
        wrapped = self._wrapped()
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        with _ahead(self.sampler, self.places, self.done, self.config.steps) as batches:
            while self.done < self.config.steps:
                rate = learning_rate(self.config.learning_rate, self.done, self.config.steps, warm=10)
                for group in self.optimiser.param_groups:
                    group["lr"] = rate
                loss = self._backward(wrapped, *next(batches))
                nn.utils.clip_grad_norm_(parameters, 1.0)
                self.optimiser.step()
                self.optimiser.zero_grad()
                self.method.after_step()
                self.done += 1
                row = {"step": self.done, "loss": mean_of_all(loss), "rate": rate, **self.method.metrics}
                if monitor and (self.done % every == 0 or self.done == self.config.steps):
                    row |= monitor.read(self.method)
                self.rows.append(row)
                yield Step("pretrain", self.done, self.config.steps, row["loss"], row)

    def state(self) -> dict[str, Tensor]:
        """All that decides how the run goes on, the same in every process."""
        own = {f"method.{k}": v for k, v in self.method.state_dict().items() if not k.endswith(STATE)}
        alone = {k: v for k, v in self.method.state_dict().items() if k.endswith(STATE)}
        return own | optimiser_tensors(self.optimiser) | gather_states(alone)

    def restore(self, state: dict[str, Tensor], done: int, rows: list[dict[str, float]]) -> None:
        """Bring a fresh run to where `state` was called after `done` steps."""
        alone = part(state, f"{self.processes.rank}.")
        self.method.load_state_dict(part(state, "method.") | alone)
        restore_optimiser(self.optimiser, state)
        self.done, self.rows = done, list(rows)

    def _backward(self, wrapped: nn.Module, images: Tensor, numbers: Tensor) -> Tensor:
        """Gradients of a batch, part by part; gives back the mean loss."""
        total = torch.zeros((), device=self.device)
        self.voxels = 0
        images = images.to(self.device, non_blocking=True)
        images = images.contiguous(memory_format=memory_format(self.plan.architecture.dims))
        parts = self.config.accumulate
        pairs = zip(images.chunk(parts), numbers.to(self.device).chunk(parts), strict=True)
        for index, (some, of_whom) in enumerate(pairs, 1):
            with _apart(wrapped) if index < parts else nullcontext():
                with precision(self.device):
                    loss = wrapped(some, of_whom) / parts
                loss.backward()
            total += loss.detach().float()
        return total

    def _wrapped(self) -> nn.Module:
        if self.processes.count == 1:
            return self.method
        return DistributedDataParallel(self.method, broadcast_buffers=False)

    def _count(self, encoder: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if encoder.training:
            self.voxels += inputs[0][:, 0].numel()


def _apart(wrapped: nn.Module) -> AbstractContextManager:
    """Gradients of all but the last part stay in their process."""
    return wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) else nullcontext()


def _optimiser(method: nn.Module, config: PretrainConfig) -> torch.optim.AdamW:
    trained = [p for p in method.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.learning_rate, fused=True)


@contextmanager
def _ahead(
    sampler: CropSampler, places: range, start: int, stop: int
) -> Iterator[Iterator[tuple[Tensor, Tensor]]]:
    """Batches start…stop−1, each cut out of the scans while the one before is being computed."""
    with ThreadPoolExecutor(1, thread_name_prefix="crops") as cutter:

        def batches() -> Iterator[tuple[Tensor, Tensor]]:
            coming: Future[tuple[np.ndarray, np.ndarray]] = cutter.submit(sampler.draw, start, places)
            for index in range(start, stop):
                images, numbers = coming.result()
                if index + 1 < stop:
                    coming = cutter.submit(sampler.draw, index + 1, places)
                yield torch.from_numpy(images), torch.from_numpy(numbers)

        yield batches()
