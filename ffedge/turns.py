"""Lets threads share what changes, and a process fork: one at a time in turns, or many together until one forks."""

import os
import threading
import time
import weakref
from typing import NoReturn, Self

from ffedge.errors import FfedgeError

PAUSE_S = 1e-4


class Turns:
    """A lock for `with`, which may be nested; a thread that comes again at once stands behind those that wait.

    A fork waits for its turn, so that a child gets what the lock guards as it was between two turns. Who holds one may
    wait for another that was made later, never the other way round: a fork takes them in that order.
    """

    def __init__(self) -> None:
        self._next, self._lock = threading.Lock(), threading.Lock()
        self._owner, self._depth = 0, 0
        with _forks:
            _all_turns[self] = None

    def __enter__(self) -> Self:
        """Wait for a turn."""
        if self._owner != threading.get_ident():  # which no other thread can change from or to this one
            with self._next:
                self._lock.acquire()
            self._owner = threading.get_ident()
        self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        """End the turn."""
        self._depth -= 1
        if not self._depth:
            self._owner = 0
            self._lock.release()

    def close(self) -> None:
        """Wait for a turn, and keep others from asking for theirs."""
        self._next.acquire()
        self._lock.acquire()

    def open(self) -> None:
        """End what `close` began."""
        self._lock.release()
        self._next.release()


class Together:
    """For `with`: any number of threads at once; a fork waits until none is inside, and keeps others out meanwhile."""

    def __init__(self) -> None:
        self._door, self._lock, self._inside = threading.Lock(), threading.Lock(), 0

    def __enter__(self) -> None:
        """Come in."""
        with self._door, self._lock:
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        """Leave."""
        with self._lock:
            self._inside -= 1

    def close(self) -> None:
        """Let nobody come in, and wait until all have left."""
        self._door.acquire()
        self._lock.acquire()
        while self._inside:
            self._lock.release()
            time.sleep(PAUSE_S)
            self._lock.acquire()

    def open(self) -> None:
        """Let others come in again."""
        self._lock.release()
        self._door.release()


def not_pickled(thing: object, remedy: str) -> NoReturn:
    """Refuse that an object is pickled or copied, and say what to do instead."""
    raise FfedgeError(f"a {type(thing).__name__} cannot be pickled or copied. {remedy}")


RUNS = Together()  # of onnxruntime: a lock of its memory that a thread holds at a fork stays locked in the child
_forks = threading.Lock()
_all_turns: "weakref.WeakKeyDictionary[Turns, None]" = weakref.WeakKeyDictionary()  # in the order of their making
_closed: list[Turns] = []  # by the thread that forks


def _before_fork() -> None:
    _forks.acquire()
    for turns in list(_all_turns):
        turns.close()
        _closed.append(turns)
    RUNS.close()


def _after_fork() -> None:
    RUNS.open()
    while _closed:
        _closed.pop().open()
    _forks.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
