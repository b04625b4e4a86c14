"""Resident memory given back to the kernel: pages of mapped files, and of the libraries' code.

Nothing is lost by it: what a file backs is read again when it is touched, out of the page cache as long as that has
room. What is left resident is what the work at hand needs. Linux; elsewhere these functions do nothing.
"""

import contextlib
import ctypes
import functools
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.files import reserved_file

Array = NDArray[Any]
MAPS = Path("/proc/self/maps")
BLOCK_BYTES = 2**20
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # of glibc's malloc.h
DONTNEED = getattr(mmap, "MADV_DONTNEED", None)


def release(array: Array) -> None:
    """Give back the pages of the file that an array is a view of; does nothing for an array in plain memory."""
    base: Any = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    if isinstance(base, mmap.mmap) and DONTNEED is not None:
        base.madvise(DONTNEED)


def copy(source: Array, target: Array) -> None:
    """Copy an array into another of its shape a block at a time, and give back the pages of both on the way."""
    if not source.ndim:
        target[...] = source
        return
    rows = max(1, BLOCK_BYTES // max(1, source[:1].nbytes))
    for start in range(0, len(source), rows):
        target[start : start + rows] = source[start : start + rows]
        release(source)
        release(target)


def on_disk(shape: tuple[int, ...], folder: Path) -> Array:
    """Return zeros, float32, in a file that goes when the array goes; OSError as of `reserved_file`."""
    size = 4 * int(np.prod(shape))
    with reserved_file(size, folder) as file:
        return np.frombuffer(mmap.mmap(file.fileno(), size), np.float32).reshape(shape)


def release_libraries() -> None:
    """Give back the code of all libraries; what runs next comes back, what only their start needed does not.

    onnxruntime, numpy and Python touch about 30 MiB of code to start and 12 to train.
    """
    if DONTNEED is None:
        return
    with contextlib.suppress(OSError):
        for start, stop in _code():
            _madvise()(start, stop - start, DONTNEED)


def return_large_blocks() -> None:
    """Make freed memory of 1 MiB and more go back to the kernel at once (glibc would keep up to 32 MiB for later)."""
    _mallopt((M_MMAP_THRESHOLD, BLOCK_BYTES), (M_MMAP_MAX, 2**16), (M_TRIM_THRESHOLD, 2**17))


def keep_freed_blocks() -> None:
    """Make freed memory stay for the next step, at the price of a larger process.

    Else a step that allocates tens of MiB spends as much time in the kernel, which clears each page anew, as it learns.
    """
    _mallopt((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1))


def _mallopt(*settings: tuple[int, int]) -> None:
    with contextlib.suppress(AttributeError):
        for name, value in settings:
            ctypes.CDLL(None).mallopt(name, value)


def _code() -> list[tuple[int, int]]:
    """Return the mappings of executable files; nothing writes there, so that a page on disk is the page in memory."""
    fields = (line.split(maxsplit=5) for line in MAPS.read_text().splitlines())
    named = (field for field in fields if len(field) == 6 and field[5].startswith("/") and field[1] == "r-xp")
    bounds = (field[0].split("-") for field in named)
    return [(int(start, 16), int(stop, 16)) for start, stop in bounds]


@functools.cache
def _madvise() -> Callable[[int, int, int], int]:
    function = ctypes.CDLL(None).madvise
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return lambda start, length, advice: int(function(start, length, advice))
