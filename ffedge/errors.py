"""The errors that ffedge raises for what a user can mend.

A wrong argument is a ``ValueError``; a wrong file, configuration or environment is an `FfedgeError`. The command
line prints either as one line and exits with 2 or 1. Anything else is a bug and keeps its traceback.
"""

import re
from pathlib import Path

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")  # and what turns a line's order
LONGEST_LINE = 1000


class FfedgeError(Exception):
    """A file, a configuration or an environment is at fault; the message says what, where, and what to do.

    It is one line of at most 1000 characters, whatever names and values it quotes.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class DataError(FfedgeError):
    """A data set cannot be used: it is missing, truncated, corrupt, mismatched or empty."""


class ModelError(FfedgeError):
    """A model file or checkpoint cannot be used."""


class TrainingError(FfedgeError):
    """Training had to stop: a loss is not a number, or a run cannot go on."""


class StoppedError(TrainingError):
    """Training was asked to stop, and its checkpoint is written.

    Attributes
    ----------
    folder : the run that can go on; None where there is nothing to go on with.
    """

    def __init__(self, message: str, folder: Path | None = None) -> None:
        super().__init__(message)
        self.folder = folder


def plain(text: str) -> str:
    """Return a text with its control characters escaped, so that a terminal shows them and obeys none."""
    return CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Return a text as one line for a terminal: control characters escaped, the middle of a long one left out."""
    line = plain(text)
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 303]} … {line[-300:]}"


def refuse_text(given: object, name: str) -> None:
    """Raise ValueError for a text where a list of names is asked for: its letters would be taken as names."""
    if isinstance(given, str):
        raise ValueError(f"`{name}` must be a list of names, got {given!r}. Use [{given!r}]")
