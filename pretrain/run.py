"""From folders of scans to an encoder folder: the run with its checkpoints, its curve and its report."""

import hashlib
import json
import math
import platform
import time
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from pretrain.crops import CropSampler
from pretrain.methods import METHODS
from pretrain.monitor import Collapsed, judge
from pretrain.parallel import Processes
from pretrain.plan import Plan
from pretrain.report import write_report
from pretrain.scans import Scan
from pretrain.train import PretrainConfig, Pretrainer
from wsseg.atomic import write_beside
from wsseg.encoder import SavedEncoder
from wsseg.errors import InputError
from wsseg.normalise import Normalisation
from wsseg.steps import Step
from wsseg.weights import read_folder, write_folder

CHECKPOINT_SECONDS = 60.0
CHECKPOINT, METRICS, REPORT = "checkpoint", "metrics.jsonl", "report.html"


@dataclass(frozen=True, eq=False)
class Source:
    """What is learned from.

    Attributes:
        scans: Looked through.
        bad: Those left out, path to sentence.
        guessed: The modality was guessed.
        command: What the user typed.
    """

    scans: list[Scan]
    bad: Mapping[str, str] = field(default_factory=dict)
    guessed: bool = False
    command: str = ""


@dataclass(frozen=True, eq=False)
class Pretrained:
    """What a run leaves.

    Attributes:
        saved: The encoder.
        rows: What was measured.
        warnings: What should be said of the run.
    """

    saved: SavedEncoder
    rows: list[dict[str, float]]
    warnings: list[str]


def pretrain_steps(
    source: Source,
    plan: Plan,
    config: PretrainConfig,
    processes: Processes,
    *,
    out: Path | None = None,
    resume: bool = False,
) -> Generator[Step, None, Pretrained]:
    """Train an encoder and write its folder.

    Args:
        source: What to learn from.
        plan: What to build.
        config: How to train.
        processes: Which of several this is; only the first writes.
        out: Encoder folder to write; while the run lasts it holds `checkpoint/` and `metrics.jsonl`. None =
            write nothing.
        resume: Go on from `out`/checkpoint where there is one; the result is that of an unbroken run.

    Raises:
        Collapsed: The encoder learns nothing; the sentence says what to change. `out` keeps the report.
        InputError: A checkpoint is of another run, or a scan has become unreadable.
    """
    sampler = sampler_of(source, plan, config.seed)
    trainer = Pretrainer(sampler, plan, config, processes)
    data = fingerprint(source.scans)
    key = _key(plan, config, processes, data)
    if resume and out is not None and (out / CHECKPOINT).is_dir():
        _load(out / CHECKPOINT, trainer, key)
    writer = _Writer(out if processes.first else None, trainer, key, source.command)
    warnings: list[str] = []
    run = trainer.steps()
    try:
        for step in run:
            row = trainer.rows[-1]
            writer.row(row)
            if "spread" in row or not math.isfinite(row["loss"]):
                warnings = judge(trainer.rows, config.steps, trainer.method.advice)
            yield replace(step, info={**row, "warnings": warnings})
            writer.now_and_then()
    except GeneratorExit:  # stopped between two steps: nothing that was learnt is lost
        if processes.count == 1:  # several stop at different steps; there the last checkpoint counts
            writer.checkpoint()
        raise
    except Collapsed as collapsed:
        record = _record(source, plan, config, trainer, data, [str(collapsed)])
        writer.report(record, failed=True)
        raise
    record = _record(source, plan, config, trainer, data, warnings)
    encoder, decoder = trainer.method.encoder.cpu(), trainer.method.decoder_state()
    saved = SavedEncoder(encoder, record, {name: tensor.cpu() for name, tensor in decoder.items()})
    writer.finish(saved)
    return Pretrained(saved, trainer.rows, warnings)


def sampler_of(source: Source, plan: Plan, seed: int) -> CropSampler:
    """The crops of a run."""
    method = METHODS[plan.method]
    return CropSampler(
        source.scans,
        plan.spacing,
        plan.crop,
        seed=seed,
        located=method.LOCATED,
        tagged=method.TAGGED,
        repeat=method.REPEAT,
    )


class _Writer:
    """What the first process leaves on disk; the others take part where states are gathered."""

    def __init__(self, out: Path | None, trainer: Pretrainer, key: str, command: str) -> None:
        self.out, self.trainer, self.key, self.command = out, trainer, key, command
        self.saved = time.monotonic()
        self.every = None if trainer.processes.count == 1 else max(1, trainer.config.steps // 20)
        if out is not None:
            with write_beside(out / METRICS) as fresh:
                fresh.write_text(_lines(trainer.rows), encoding="utf-8")

    def row(self, row: Mapping[str, float]) -> None:
        if self.out is None:
            return
        rows = self.trainer.rows[:2] if len(self.trainer.rows) == 2 else [row]  # the one before the first
        try:
            with open(self.out / METRICS, "a", encoding="utf-8") as handle:
                handle.write(_lines(rows))
        except OSError as error:
            raise InputError(f"{self.out / METRICS}: can't be written ({error.strerror}).") from error

    def now_and_then(self) -> None:
        """A checkpoint a minute; in several processes, whose clocks differ, after so many steps."""
        if self.every is None:
            due = time.monotonic() - self.saved > CHECKPOINT_SECONDS
        else:
            due = self.trainer.done % self.every == 0
        if due and self.trainer.done < self.trainer.config.steps:
            self.checkpoint()

    def checkpoint(self) -> None:
        state = self.trainer.state()  # all processes take part in this
        if self.out is not None and self.trainer.done:
            config = {"key": self.key, "done": self.trainer.done, "command": self.command}
            rows = {METRICS: _lines(self.trainer.rows)}
            write_folder(self.out / CHECKPOINT, "checkpoint", config, state, extra=rows)
        self.saved = time.monotonic()

    def report(self, record: Mapping[str, Any], *, failed: bool) -> None:
        if self.out is not None:
            page = write_report(record, self.trainer.rows, self.trainer.sampler, failed=failed)
            with write_beside(self.out / REPORT) as fresh:
                fresh.write_text(page, encoding="utf-8")

    def finish(self, saved: SavedEncoder) -> None:
        if self.out is not None:
            page = write_report(saved.record, self.trainer.rows, self.trainer.sampler)
            saved.save(self.out, extra={METRICS: _lines(self.trainer.rows), REPORT: page})


def _lines(rows: list[dict[str, float]] | list[Mapping[str, float]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _load(folder: Path, trainer: Pretrainer, key: str) -> None:
    values, tensors = read_folder(folder, "checkpoint")
    if values["key"] != key:
        raise InputError(
            f"{folder} belongs to a run with other scans or options; resume with the same ones, or start "
            "again with --overwrite."
        )
    rows = (folder / METRICS).read_text(encoding="utf-8").splitlines()
    trainer.restore(tensors, values["done"], [json.loads(row) for row in rows])


def fingerprint(scans: list[Scan]) -> str:
    """A short code for the scans: names, sizes and intensities; tags where they are learned from."""
    parts = [
        [s.path.name, s.subject, s.shape, s.spacing, [v.tolist() for v in vars(s.statistics).values()]]
        for s in scans
    ]
    parts += [s.tags.tolist() for s in scans if s.tags is not None]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _key(plan: Plan, config: PretrainConfig, processes: Processes, data: str) -> str:
    """A short code for everything that decides the result of a run on one machine."""
    parts = [asdict(plan), asdict(config), processes.count, data]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _record(
    source: Source,
    plan: Plan,
    config: PretrainConfig,
    trainer: Pretrainer,
    data: str,
    warnings: list[str],
) -> dict[str, Any]:
    """What should be known of the encoder wherever it goes."""
    last = next((row for row in reversed(trainer.rows) if "spread" in row), {})
    first = [row["loss"] for row in trainer.rows[1:]][: max(1, config.steps // 20)]
    latest = [row["loss"] for row in trainer.rows[1:]][-max(1, config.steps // 20) :]
    return {
        "method": plan.method,
        "modality": plan.modality,
        "modality_guessed": source.guessed,
        "rgb": plan.rgb,
        "spacing": list(plan.spacing),
        "crop": list(plan.crop),
        "normalisation": asdict(Normalisation()),
        "steps": config.steps,
        "batch": plan.batch,
        "crops_seen": trainer.done * plan.batch,
        "encoder_voxels": trainer.voxels * trainer.processes.count * config.steps,
        "scans": len(source.scans),
        "subjects": len({scan.subject for scan in source.scans}),
        "foreground": float(np.mean([scan.filled for scan in source.scans])),
        "names": [scan.path.name for scan in source.scans],
        "skipped": dict(source.bad),
        "data": data,
        "loss": {"first": float(np.mean(first or [0])), "last": float(np.mean(latest or [0]))},
        "monitors": {name: value for name, value in last.items() if name not in ("step", "loss", "rate")},
        "warnings": warnings,
        "seed": config.seed,
        "learning_rate": config.learning_rate,
        "accumulate": config.accumulate,
        "processes": trainer.processes.count,
        "device": str(trainer.device),
        "versions": {name: version(name) for name in ("wsseg", "torch", "monai", "numpy")},
        "python": platform.python_version(),
        "command": source.command,
    }
