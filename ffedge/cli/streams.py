"""Standard streams as services have them: closed, on a full disk, without a reader, or with few letters."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from ffedge.errors import plain

OWN = re.compile(r"(\n|\x1b\[(?:0|1|3|36)m)")  # lines, and the colours of `ffedge.cli.tables`
OWN_WORDS = re.compile(r"(\n|\r|\x1b\[K)")  # lines, and those that change in their place


class OutputLost(Exception):
    """Standard output takes no more."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.reader_gone = isinstance(error, BrokenPipeError)


class _Stream:
    """Writes with escapes in the place of letters that the encoding lacks, and of controls other than our own."""

    def __init__(self, stream: Any, own: re.Pattern[str]) -> None:
        self._stream, self._own = stream, own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text: a file's name or content commands no terminal."""
        shown = "".join(part if at % 2 else plain(part) for at, part in enumerate(self._own.split(text)))
        try:
            self._stream.write(shown)
        except UnicodeEncodeError:
            encoding = self._stream.encoding
            self._stream.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)


class Output(_Stream):
    """Standard output: raises OutputLost where what is written does not arrive."""

    def write(self, text: str) -> int:  # noqa: D102
        with _output():
            return super().write(text)

    def flush(self) -> None:  # noqa: D102
        with _output():
            self._stream.flush()


class Words(_Stream):
    """Standard error: what it does not take is dropped, since work must not end for want of somebody who listens."""

    def write(self, text: str) -> int:  # noqa: D102
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:  # noqa: D102
        with contextlib.suppress(OSError):
            self._stream.flush()


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Let a command have three streams, whatever it was started with."""
    _open_closed()
    before = sys.stdin, sys.stdout, sys.stderr
    names = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
    read, written, told = (
        stream or os.fdopen(number, mode) for number, (stream, (_, mode)) in enumerate(zip(before, names, strict=True))
    )
    sys.stdin, sys.stdout, sys.stderr = read, Output(written, OWN), Words(told, OWN_WORDS)
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


@contextlib.contextmanager
def _output() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputLost(error) from error


def _open_closed() -> None:
    """Open the null device for each closed stream, so that no file of ours, nor a library's words, gets its number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
