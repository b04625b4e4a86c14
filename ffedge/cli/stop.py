"""SIGTERM and Ctrl-C end work in good order: at once where nothing is under way, else at the next good place."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Self


class Stopped(BaseException):
    """A signal came while nothing was under way."""


class Stop:
    """Takes the signals while it is entered; a second one does not wait for a good place.

    Attributes
    ----------
    number : the signal that came; 0 as long as none did.
    busy : whether work is under way that must not be broken off.
    """

    def __init__(self, *, busy: bool = False) -> None:
        self.number, self.busy = 0, busy

    def __call__(self) -> bool:
        """Tell whether work is to end."""
        return bool(self.number)

    def __enter__(self) -> Self:
        """Take the signals."""
        self._before = {number: signal.signal(number, self._come) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> bool:
        """Give the signals back; being stopped is no error."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        return kind is Stopped

    def _come(self, number: int, frame: FrameType | None) -> None:
        if self.number or (not self.busy and _importing(frame)):
            _end(number)
        self.number = number
        if not self.busy:
            raise Stopped


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, but end the process while it starts."""
    before = signal.getsignal(signal.SIGINT)
    with contextlib.suppress(ValueError):  # of a thread that gets no signals
        if before is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is _interrupt:
            signal.signal(signal.SIGINT, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _importing(frame):
        _end(number)
    raise KeyboardInterrupt


def _importing(frame: FrameType | None) -> bool:
    """Tell whether a module is being imported: some take what is raised meanwhile for an error of their own."""
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _end(number: int) -> None:
    """End the process as if the signal had not been taken."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
