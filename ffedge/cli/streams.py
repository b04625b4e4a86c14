"""Standard streams as services have them: closed, on a full disk, or without a reader."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any


class OutputLost(Exception):
    """Standard output takes no more."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.reader_gone = isinstance(error, BrokenPipeError)


class _Stream:
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Output(_Stream):
    """Standard output: raises OutputLost where what is written does not arrive."""

    def write(self, text: str) -> int:  # noqa: D102
        with _output():
            return int(self._stream.write(text))

    def flush(self) -> None:  # noqa: D102
        with _output():
            self._stream.flush()


class Words(_Stream):
    """Standard error: what it does not take is dropped, since work must not end for want of somebody who listens."""

    def write(self, text: str) -> int:  # noqa: D102
        with contextlib.suppress(OSError):
            self._stream.write(text)
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
    sys.stdin, sys.stdout, sys.stderr = read, Output(written), Words(told)
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
