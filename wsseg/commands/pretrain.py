"""`wsseg pretrain`: unlabelled scans become an encoder."""

import shlex
import sys
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsseg.commands import options
from wsseg.commands.running import run_to_end, stop_with_the_reader
from wsseg.errors import InputError
from wsseg.modelfolder import open_model_folder, state_of
from wsseg.steps import Result, Step

if TYPE_CHECKING:
    from pretrain.plan import Plan
    from pretrain.run import Pretrained, Source

LEFT = {"checkpoint", "metrics.jsonl", "report.html"}  # what a run that was stopped leaves


def pretrain(
    scans: Annotated[
        list[Path],
        typer.Argument(
            help="Files, or folders searched at any depth.", metavar="SCANS...", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="Encoder folder to write.", metavar="ENC", show_default=False)],
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="location (begin with it where scans show the same part of a body, else with mae), mae, "
            "denoising, inpainting, simclr, moco, byol, vicreg, "
            "barlow, simsiam, swav, sela, instance, pirl, supcon, dense, rotation, jigsaw or position.",
            show_default=False,
        ),
    ] = None,
    dims: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=3,
            metavar="2|3",
            help="2D or 3D encoder; 2 with volumes learns from slices. By default as the scans are.",
            show_default=False,
        ),
    ] = None,
    modality: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="ct, mr, em, fluorescence, histology, colour or other; guessed by default.",
            show_default=False,
        ),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Regular expression that finds the subject in a path; by default BIDS names, DICOM's "
            "patient, or each file is its own.",
            show_default=False,
        ),
    ] = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out scans that can't be used instead of stopping.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what was found and how long it would take.")
    ] = False,
    events: Annotated[
        bool,
        typer.Option(
            "--events",
            help="For a program: tell all as lines of JSON; closing standard input stops the run.",
        ),
    ] = False,
    batch: Annotated[
        int | None,
        typer.Option(min=2, metavar="N", help="Crops a step; by default the method's.", show_default=False),
    ] = None,
    accumulate: Annotated[
        int, typer.Option(min=1, metavar="N", help="Compute a batch in N parts, where memory is short.")
    ] = 1,
    learning_rate: Annotated[float, typer.Option(min=0, metavar="RATE", help="The largest.")] = 1e-3,
    steps: options.Steps = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
) -> None:
    """Learn an encoder from unlabelled scans.

    The encoder is what fit and refine can start from with --encoder. While it runs it watches whether it
    learns, and stops with what to change where it does not. Starts several processes with torchrun.
    """
    if events:
        stop_with_the_reader()
    options.exclude(resume=resume, overwrite=overwrite)
    if missing := [scan for scan in scans if not scan.exists()]:  # told before PyTorch is loaded
        raise InputError(f"{missing[0]}: there is no such file or folder; check the name.")
    from pretrain.pace import time_steps
    from pretrain.parallel import processes
    from pretrain.plan import check_method
    from pretrain.run import pretrain_steps
    from pretrain.train import PretrainConfig

    check_method(method)
    assert method is not None
    with processes(device) as these:
        opened = dry_run or not these.first
        if not opened and not open_model_folder(
            out, "encoder", scans, LEFT, resume=resume, overwrite=overwrite
        ):
            typer.echo(f"{out} holds a finished encoder; nothing is left to do (--overwrite trains it anew).")
            return
        show = _Show(quiet=not these.first, events=events)
        source, plan, default, doubt = _prepare(scans, method, dims, modality, subject, batch, skip_bad, show)
        config = PretrainConfig(steps or default, seed, accumulate, learning_rate)
        if show.words:
            _tell_plan(source, plan, config.steps, doubt)
        planned = Step("plan", 1, 1, info={**_planned(source, plan, config.steps), "doubt": doubt})
        to_end = partial(
            run_to_end,
            quiet=show.quiet,
            events=events,
            no_memory=f"Not enough memory for {plan.batch} crops a step on {device}; use a smaller --batch, "
            "or --accumulate 4 to compute it in parts.",
        )
        if dry_run:
            seconds = to_end(
                _after(planned, time_steps(source, plan, config, these)),
                stopped=lambda: "Nothing was written.",
            )
            if show.words:
                typer.echo(f"On {these.device} it would take about {options.duration(seconds)}.")
            return
        run = pretrain_steps(source, plan, config, these, out=out, resume=resume)
        done = to_end(_after(planned, run), stopped=partial(_how_to_go_on, out))
        if show.words:
            _tell(done, out)


@dataclass(frozen=True)
class _Show:
    """Who is told: nobody by a further process, a program by events, else a person in words."""

    quiet: bool
    events: bool

    @property
    def words(self) -> bool:
        return not (self.quiet or self.events)


def _after(first: Step, run: Generator[Step, None, Result]) -> Generator[Step, None, Result]:
    yield first
    return (yield from run)


def _planned(source: "Source", plan: "Plan", steps: int) -> dict[str, Any]:
    """What was found and will be done, for a program."""
    return {
        "scans": len(source.scans),
        "subjects": len({scan.subject for scan in source.scans}),
        "skipped": dict(source.bad),
        "modality": plan.modality,
        "guessed": source.guessed,
        "method": plan.method,
        "steps": steps,
        "batch": plan.batch,
        "crop": plan.crop,
        "spacing": plan.spacing,
    }


def _prepare(
    scans: list[Path],
    method: str,
    dims: int | None,
    modality: str | None,
    subject: str | None,
    batch: int | None,
    skip_bad: bool,
    show: _Show,
) -> tuple["Source", "Plan", int, str | None]:
    """Look through the scans and settle the run; the default number of steps; a doubt about the modality."""
    from pretrain.methods import METHODS
    from pretrain.plan import Plan, default_steps, plan_architecture, plan_size
    from pretrain.run import Source
    from pretrain.scans import find_scans, guess_modality, look, read_headers
    from pretrain.tags import with_tags
    from pretrain.views import MODALITIES
    from wsseg.progress import run_with_progress

    if modality is not None and modality not in MODALITIES:
        raise InputError(f"--modality {modality}: is unknown; {', '.join(MODALITIES)} are right.")
    headers = read_headers(find_scans(scans), dims=dims, skip_bad=skip_bad)
    architecture = plan_architecture(headers)
    crop = plan_size(headers, method, architecture)
    scanned = look(headers, crop, subject=subject, skip_bad=skip_bad)
    found, bad = run_with_progress(scanned, quiet=show.quiet, events=show.events)
    if METHODS[method].TAGGED:
        found = with_tags(found)
    guessed, doubt = guess_modality(found, rgb=headers.rgb)
    plan = Plan(
        method=method,
        architecture=architecture,
        spacing=headers.spacing,
        crop=crop,
        modality=modality or guessed,
        rgb=headers.rgb,
        batch=batch or METHODS[method].BATCH[headers.dims],
    )
    source = Source(found, bad, modality is None, shlex.join(["wsseg", *sys.argv[1:]]))
    return source, plan, default_steps(found, headers.spacing, crop), None if modality else doubt


def _tell_plan(source: "Source", plan: "Plan", steps: int, doubt: str | None) -> None:
    from wsseg.words import counted

    if doubt:
        typer.echo(f"Warning: {doubt}", err=True)
    for sentence in list(source.bad.values())[:5]:
        typer.echo(f"Warning: left out: {sentence}", err=True)
    if len(source.bad) > 5:
        typer.echo(f"Warning: left out: {len(source.bad) - 5} more.", err=True)
    scans = counted(len(source.scans), "scans")
    subjects = counted(len({scan.subject for scan in source.scans}), "subjects")
    guessed = " (guessed; --modality says otherwise)" if source.guessed else ""
    typer.echo(f"{scans} of {subjects}, {plan.modality}{guessed}", err=True)
    size = "×".join(map(str, plan.crop))
    spacing = " × ".join(f"{s:g}" for s in plan.spacing)
    typer.echo(
        f"{plan.method}: {steps} steps of {plan.batch} crops of {size} at a spacing of {spacing}", err=True
    )


def _how_to_go_on(out: Path) -> str:
    done = state_of(out)
    if done is None:
        return "There was no checkpoint yet (one is written every minute); nothing was changed."
    return f"The run up to step {done} is kept in {out}; the same command with --resume goes on from there."


def _tell(done: "Pretrained", out: Path) -> None:
    for sentence in done.warnings:
        typer.echo(f"Warning: {sentence}", err=True)
    record = done.saved.record
    loss, first, seen = record["loss"], done.rows[0], record["monitors"]
    typer.echo(
        f"In {record['steps']} steps: loss {loss['first']:.3f} → {loss['last']:.3f}, spread "
        f"{first['spread']:.2f} → {seen['spread']:.2f}, directions used {first['rank']:.1f} → "
        f"{seen['rank']:.1f} of {seen['full_rank']:.0f}."
    )
    typer.echo(f"The encoder is in {out}; {out / 'report.html'} shows how it learned.")
    typer.echo(
        f"{options.shell('fit', 'DATA', '--out', 'MODEL', '--encoder', out)} uses it, "
        f"{options.shell('probe', out, 'DATA')} measures it."
    )
