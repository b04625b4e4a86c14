"""The command line: parse, one library call, print. Results go to stdout, progress to stderr.

Exit codes: 0 done; 1 an error of the user's file, data or environment; 2 wrong usage; 130 and 143 stopped by Ctrl-C
and SIGTERM at a checkpoint.
"""

import importlib
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from ffedge.errors import FfedgeError, one_line

LIGHT = ("monitor", "predict")  # commands of devices: described by `ffedge.cli.words`


def main() -> NoReturn:
    """Run a command and exit with its code."""
    leave(_run)


def _run() -> int:
    """Run the command without typer where it can do so and its words are plainly right."""
    words = sys.argv[1:]
    if words and words[0] in LIGHT:
        from ffedge.cli.words import read

        command = importlib.import_module(f"ffedge.cli.{words[0]}").command
        values = read(command, words[1:])
        if values is not None:
            command(**values)
            from ffedge.pages import release_libraries

            release_libraries()  # the end of the process touches other code than its work
            return 0
    from ffedge.cli.app import run

    return run()


def leave(call: Callable[[], int]) -> NoReturn:
    """Exit with the code that a call returns; what a user can mend becomes one line."""
    try:
        code = call()
    except FfedgeError as error:
        code = fail(str(error), 1)
    except ValueError as error:
        code = fail(_as_flag(str(error)), 2)
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def fail(message: str, code: int) -> int:
    """Print what is wrong; return the exit code."""
    print(f"ffedge: {one_line(message)}", file=sys.stderr)
    return code


def _as_flag(message: str) -> str:
    """Name a spec's field by its flag."""
    from ffedge.spec import Spec

    name, _, rest = message.partition(" ")
    flags = {*Spec.field_names(), "preset", "replay_share", "layers"}
    return f"--{name.replace('_', '-')} {rest}" if name in flags else message
