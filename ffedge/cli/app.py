"""The commands, and what becomes of their errors."""

import sys

import typer

from ffedge.cli import bench, data, evaluate, export, info, learn, monitor, predict, report, train
from ffedge.cli.words import for_typer
from ffedge.errors import FfedgeError
from ffedge.version import __version__

app = typer.Typer(
    name="ffedge",
    help="Train small networks layer by layer, without backpropagation, on the device that uses them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("train")(train.command)
app.command("learn")(learn.command)
app.command("eval")(evaluate.command)
app.command("predict")(for_typer(predict.command))
app.command("monitor")(for_typer(monitor.command))
app.command("info")(info.command)
app.command("export")(export.command)
app.command("report")(report.command)
app.command("bench")(bench.command)
app.add_typer(data.app, name="data")


@app.callback(invoke_without_command=True)
def _options(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def run() -> int:
    """Run the command that the process's words name; return its exit code."""
    try:
        return app(standalone_mode=False, prog_name="ffedge") or 0
    except (FfedgeError, ValueError, BrokenPipeError):
        raise
    except Exception as error:
        if not hasattr(error, "exit_code") or not hasattr(error, "format_message"):
            raise
        message = error.format_message()  # empty where the help was printed because no command was given
        if message:
            print(f"ffedge: {message} Try `ffedge --help`", file=sys.stderr)
        return 2
