"""Runs a piece of work once for each of its file-system calls, and lets that call fail or kill the process.

Calls that open for writing, write, sync, rename, link, make or remove count, if they are in the folder of the work. A
write that fails has written half.
"""

import builtins
import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHANGES = {"os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.chown"}
FULL, KILL = "full", "kill"
DONE = "done"


@dataclass(frozen=True)
class Trial:
    """What became of the work with a fault at its call number `call` (`name`).

    Attributes
    ----------
    said : what an error that a user can mend said, DONE where there was none; empty where the process was killed.
    """

    call: int
    name: str
    said: str
    folder: Path


def trials(kind: str, prepare: Callable[[Path], object], work: Callable[[Path], object], root: Path) -> Iterator[Trial]:
    """Yield a trial for each call of the work, in a folder that is prepared anew.

    The work runs in a fork; whatever it raises beside what a user can mend fails the test.
    """
    call = 0
    while True:
        folder = root / f"{kind}-{call}"
        folder.mkdir(parents=True)
        prepare(folder)
        name, said = _in_child(kind, call, work, folder)
        if not name:
            return
        yield Trial(call, name, said, folder)
        call += 1


def _in_child(kind: str, call: int, work: Callable[[Path], object], folder: Path) -> tuple[str, str]:
    """Return the name of the call that met the fault, and what was said."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reader)
            said = _said(_Fault(kind, call, folder, writer), work, folder)
            os.write(writer, said.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        name, _, said = told.read().partition("\n")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert not said.startswith("Traceback"), f"{name}, call {call}: {said}"
    assert status == (-signal.SIGKILL if name and kind == KILL else 0), status
    return name, said


def _said(fault: "_Fault", work: Callable[[Path], object], folder: Path) -> str:
    from ffedge.errors import FfedgeError

    try:
        with fault:
            work(folder)
        said = DONE
    except FfedgeError as error:
        said = str(error)
    except BaseException:  # shown by the parent
        said = traceback.format_exc()
    return said if fault.met else "\n" + said


class _Fault:
    def __init__(self, kind: str, call: int, folder: Path, writer: int) -> None:
        self._kind, self._left, self._folder, self._writer = kind, call, str(folder), writer
        self._on = self.met = False

    def __enter__(self) -> None:
        sys.addaudithook(self._hook)
        opened = io.open
        builtins.open = io.open = lambda *args, **kwargs: _File(opened(*args, **kwargs), self)  # type: ignore
        for name in ("fsync", "pwrite", "posix_fallocate"):
            setattr(os, name, self._counted(name, getattr(os, name)))
        self._on = True

    def __exit__(self, *_: object) -> None:
        self._on = False

    def hit(self, name: str, half: Callable[[], object] = lambda: None) -> None:
        """Count a call, and let it fail where it is its turn."""
        if not self._on or self.met:
            return
        if self._left:
            self._left -= 1
            return
        self.met = True
        os.write(self._writer, f"{name}\n".encode())
        half()
        if self._kind == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._on or event not in (*CHANGES, "open"):
            return
        inside = str(args[0]).startswith(self._folder) or isinstance(args[0], int) or not os.path.isabs(args[0])
        writes = event != "open" or (isinstance(args[0], str) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if inside and writes:
            self.hit(f"{event} {args[0]}")

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            self.hit(name)
            return function(*args)

        return counted


class _File:
    """A file whose writes count."""

    def __init__(self, file: Any, fault: _Fault) -> None:
        self._file, self._fault = file, fault

    def write(self, content: Any) -> Any:
        def half() -> None:
            self._file.write(content[: len(content) // 2])
            self._file.flush()

        self._fault.hit("write", half)
        return self._file.write(content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_File":
        self._file.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        return self._file.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self._file)
