"""The command line: parse, one library call, print. Results go to stdout, progress to stderr.

Exit codes: 0 done; 1 an error of the user's file, data or environment; 2 wrong usage; 130 and 143 stopped by Ctrl-C
and SIGTERM at a checkpoint. A command is one file: `add_flags` describes its words, `run` does it, and the docstring
of `run` is its help. Only the file of the command that is run is imported.
"""

import errno
import os
import sys

from ffedge.errors import FfedgeError, one_line


def main(words: list[str] | None = None) -> int:
    """Run a command and return the exit code; what a user can mend becomes one line.

    Parameters
    ----------
    words : the command and its flags; None takes those of the process.
    """
    from ffedge.cli.commands import run

    words = sys.argv[1:] if words is None else words
    _open_closed_streams()
    try:
        code = run(words)
        sys.stdout.flush()
        return code
    except FfedgeError as error:
        return fail(str(error), 1, *words[:1])
    except ValueError as error:
        return fail(str(error), 2, *words[:1])
    except OSError as error:
        return _output_lost(error, *words[:1])
    except SystemExit as stop:  # help was asked for
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return 130


def _open_closed_streams() -> None:
    """Let output go nowhere whose stream was closed, so that no file of ours gets its number."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))


def _output_lost(error: OSError, *command: str) -> int:
    """Return the exit code where standard output takes no more; raise what is another error.

    What it did not take goes nowhere when the process ends.
    """
    gone = isinstance(error, BrokenPipeError)  # its reader, who need not be told
    if not gone and (error.filename is not None or error.errno != errno.ENOSPC):
        raise error
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    text = f"standard output: cannot be written ({error.strerror}). Free space there"
    return 1 if gone else fail(text, 1, *command)


def fail(message: str, code: int, command: str = "train") -> int:
    """Print what is wrong, with a command's flags in the place of the parameters named there; return the exit code."""
    from ffedge.cli.commands import with_flags

    print(f"ffedge: {one_line(with_flags(message, command))}", file=sys.stderr)
    return code
