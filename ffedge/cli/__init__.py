"""The command line: parse, one library call, print. Results go to stdout, progress to stderr.

Exit codes: 0 done; 1 an error of the user's file, data or environment; 2 wrong usage; 130 and 143 stopped by Ctrl-C
and SIGTERM at a checkpoint.
"""

import os
import sys
from typing import NoReturn

import typer

from ffedge import __version__
from ffedge.cli import bench, data, evaluate, export, info, predict, report, train
from ffedge.errors import FfedgeError, StoppedError, one_line
from ffedge.spec import Spec

app = typer.Typer(
    name="ffedge",
    help="Train small networks layer by layer, without backpropagation, on the device that uses them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("train")(train.command)
app.command("eval")(evaluate.command)
app.command("predict")(predict.command)
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


def main() -> NoReturn:
    """Run a command and exit with its code; what a user can mend becomes one line."""
    try:
        code = app(standalone_mode=False, prog_name="ffedge") or 0
    except StoppedError as error:
        code = _fail(str(error), 128 + train.stopped_by())
    except FfedgeError as error:
        code = _fail(str(error), 1)
    except ValueError as error:
        code = _fail(_as_flag(str(error)), 2)
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        if not hasattr(error, "exit_code") or not hasattr(error, "format_message"):
            raise
        message = error.format_message()  # empty where the help was printed because no command was given
        code = _fail(f"{message} Try `ffedge --help`", 2) if message else 2
    sys.exit(code)


def _fail(message: str, code: int) -> int:
    print(f"ffedge: {one_line(message)}", file=sys.stderr)
    return code


def _as_flag(message: str) -> str:
    """Name a spec's field by its flag."""
    name, _, rest = message.partition(" ")
    return f"--{name.replace('_', '-')} {rest}" if name in {*Spec.field_names(), "preset"} else message
