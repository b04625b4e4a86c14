"""The command line: parse, one library call, print. Results go to stdout, progress to stderr.

Exit codes: 0 done; 1 an error of the user's file, data or environment; 2 wrong usage; 130 and 143 stopped by Ctrl-C
and SIGTERM at a checkpoint. A command is one file: `add_flags` describes its words, `run` does it, and the docstring
of `run` is its help. Only the file of the command that is run is imported.
"""

import os
import sys

from ffedge.cli.stop import interruptible
from ffedge.cli.streams import OutputLost, guarded
from ffedge.errors import FfedgeError, one_line


def main(words: list[str] | None = None) -> int:
    """Run a command and return the exit code; what a user can mend becomes one line.

    Parameters
    ----------
    words : the command and its flags; None takes those of the process.
    """
    words = sys.argv[1:] if words is None else words
    with interruptible(), guarded():
        try:
            code = _run(words)
            sys.stdout.flush()
            return code
        except OutputLost as lost:  # what it did not take goes nowhere when the process ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if lost.reader_gone:  # who need not be told
                return 1
            return fail(f"standard output: cannot be written ({lost}). Free space there", 1, *words[:1])
        except KeyboardInterrupt:
            return 130


def _run(words: list[str]) -> int:
    from ffedge.cli.commands import run

    try:
        return run(words)
    except FfedgeError as error:
        return fail(str(error), 1, *words[:1])
    except ValueError as error:
        return fail(str(error), 2, *words[:1])
    except SystemExit as stop:  # help was asked for
        return int(stop.code or 0)


def fail(message: str, code: int, command: str = "train") -> int:
    """Print what is wrong, with a command's flags in the place of the parameters named there; return the exit code."""
    from ffedge.cli.commands import with_flags

    print(f"ffedge: {one_line(with_flags(message, command))}", file=sys.stderr)
    return code
