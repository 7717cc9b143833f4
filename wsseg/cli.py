"""The command line: puts the commands together, and turns errors into one sentence and an exit code.

0 = done; 2 = bad input, told in one sentence; 130 = stopped with Ctrl-C; 1 = a fault of wsseg itself. Heavy
libraries are imported inside the commands, so that `wsseg --help` answers at once.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from wsseg.commands.check import check
from wsseg.commands.demo import demo
from wsseg.commands.evaluate import evaluate
from wsseg.commands.fit import fit
from wsseg.commands.measure import measure
from wsseg.commands.predict import predict
from wsseg.commands.pretrain import pretrain
from wsseg.commands.probe import probe
from wsseg.commands.refine import refine
from wsseg.commands.replay import replay
from wsseg.commands.robot import robot
from wsseg.commands.seeds import seeds
from wsseg.errors import InputError

BAD_INPUT, STOPPED, FAULT = 2, 130, 1


class _Commands(typer.core.TyperGroup):
    """The commands, in the order of work, with one place where errors end."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            _say(f"Error: {error}")
            raise typer.Exit(BAD_INPUT) from error
        except KeyboardInterrupt as stop:
            _say(f"Stopped. {str(stop) or 'What was finished is kept.'}")
            raise typer.Exit(STOPPED) from stop
        except Exception as error:
            if ctx.params.get("debug") or not _is_fault(error):
                raise
            _say(
                f"Error: wsseg failed in a way it should not ({type(error).__name__}: {_first_line(error)}); "
                "run it again as “wsseg --debug …” and report what it prints."
            )
            raise typer.Exit(FAULT) from error


def _is_fault(error: Exception) -> bool:
    """Whether this is neither typer's own way of ending nor a closed pipe, which typer handles."""
    own = isinstance(error, typer.Exit | typer.Abort) or type(error).__module__.startswith(("typer", "click"))
    return not own and not isinstance(error, BrokenPipeError)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:200]


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)


app = typer.Typer(
    cls=_Commands,
    name="wsseg",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: half the time to start, and no boxes to wrap
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version as installed

        typer.echo(f"wsseg {installed('wsseg')}")
        raise typer.Exit


@app.callback(epilog="Start with: wsseg demo. Each command has its own --help.")
def _root(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="WSSEG_DEBUG", help="Show the traceback of an unexpected error.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Segmentation from cheap hints: a few scribbles, slices or clicks become masks."""


def gui(
    images: Annotated[
        list[Path] | None,
        typer.Argument(help="Images or dataset folders to open.", metavar="IMAGE", show_default=False),
    ] = None,
) -> None:
    """Draw hints in napari and see the mask grow."""
    try:
        import napari
        import qtpy  # noqa: F401  napari alone brings no window
        from napari.layers import Layer
    except ImportError as error:
        raise InputError(
            f"The window needs napari, which is not installed ({error}); install wsseg[gui]."
        ) from error
    from napari_plugin.commands import open_widget
    from napari_plugin.reader import get_reader

    layers: list[Any] = []
    for path in images or []:
        if not path.exists():
            raise InputError(f"{path}: there is no such file; check the name.")
        reader = get_reader(str(path))
        if reader is None:
            raise InputError(f"{path}: is no image and no dataset folder; NIfTI, TIFF, PNG or a folder is.")
        layers += reader(str(path))
    viewer = napari.Viewer()
    for data, settings, kind in layers:
        viewer.add_layer(Layer.create(data, settings, kind))
    open_widget(viewer)
    napari.run()


app.command(epilog="Example: wsseg check DATA")(check)
app.command(epilog="Example: wsseg fit DATA --out MODEL")(fit)
app.command(epilog="Example: wsseg predict MODEL scans/ --out masks")(predict)
app.command(epilog="Example: wsseg refine DATA --out DIR")(refine)
app.command(epilog="Example: wsseg seeds DATA --out DIR")(seeds)
app.command(epilog="Example: wsseg pretrain scans/ --method mae --out ENC")(pretrain)
app.command(epilog="Example: wsseg probe ENC DATA --json probe.json")(probe)
app.command(epilog="Example: wsseg evaluate masks truth --json scores.json")(evaluate)
app.command(epilog="Example: wsseg measure masks --out measurements.csv")(measure)
app.command(epilog="Example: wsseg robot truth --images scans --out DATA --kind slices --every 8")(robot)
app.command(epilog="Example: wsseg replay SESSION")(replay)
app.command(epilog="Example: wsseg demo")(demo)
app.command(epilog="Example: wsseg gui scan.nii.gz")(gui)


def main() -> None:
    """The `wsseg` command."""
    try:
        app()
    except SystemExit as end:
        if end.code != STOPPED:
            raise
        # all is tidied up, but torch takes seconds to be unloaded, and who pressed Ctrl-C is waiting
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(STOPPED)
