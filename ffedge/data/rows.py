"""Rows of an array in memory or in a file, of two sources or of a part of one, read at random in bounded memory.

A file is read by ``preadv`` into the result. A memory map would be faster per row, but the kernel maps 64 KiB
or more around each row it touches, and those pages count in the process's resident peak.

Shapes: N rows in the file, n rows asked for.
"""

import contextlib
import itertools
import math
import os
import stat
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.errors import DataError

MAX_AXES = 8
OPEN_FILES = Path("/dev/fd")


class RowSource(ABC):
    """Rows of an array, wherever it is: in memory, in a file, or made of other rows.

    Parameters
    ----------
    shape : ``[N, *row_shape]``.
    dtype : of what `take` and `blocks` return.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape = tuple(int(size) for size in shape)
        self.dtype = np.dtype(dtype)
        if not self.shape or min(self.shape) < 1:
            raise ValueError(f"shape must have at least one row and no empty axis, got {self.shape}")

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.shape[1:]

    def __len__(self) -> int:
        """Give N."""
        return self.shape[0]

    @abstractmethod
    def take(self, indices: NDArray[np.integer]) -> NDArray[Any]:
        """Return the rows at `indices` [n], in that order: ``[n, *row_shape]``.

        Raises
        ------
        ValueError
            If an index is no integer, negative or beyond the last row.
        """

    def blocks(self, rows_per_block: int) -> Iterator[NDArray[Any]]:
        """Yield all rows in order, each block in an array of its own; the last one may be shorter."""
        if rows_per_block < 1:
            raise ValueError(f"rows_per_block must be at least 1, got {rows_per_block}")
        for start in range(0, len(self), rows_per_block):
            yield self.between(start, min(start + rows_per_block, len(self)))

    def between(self, start: int, stop: int) -> NDArray[Any]:
        """Return rows that stand together, from `start` to before `stop`."""
        if not 0 <= start <= stop <= len(self):
            raise ValueError(f"rows must be 0 to {len(self)}, got {start} to {stop}")
        return self._between(start, stop)

    def _between(self, start: int, stop: int) -> NDArray[Any]:
        """Return rows that stand together; a source that needs no list of them says how."""
        return self.take(np.arange(start, stop))

    def _checked(self, indices: NDArray[np.integer]) -> NDArray[np.int64]:
        wanted = np.asarray(indices)
        if wanted.ndim != 1 or (wanted.size and wanted.dtype.kind not in "iu"):
            raise ValueError(f"indices must be integers [n], got {wanted.dtype} {list(wanted.shape)}")
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise ValueError(f"indices must be 0 to {len(self) - 1}, got {wanted.min()} to {wanted.max()}")
        return wanted.astype(np.int64, copy=False)


class Rows(RowSource):
    """Rows of a C-contiguous array in a file.

    Parameters
    ----------
    path : the file. It stays open as long as this object lives, so that a file replaced meanwhile does no harm.
    offset : where the array begins, in bytes.
    shape : ``[N, *row_shape]``.
    dtype : as stored, byte order included.
    name : what errors call the file, if not `path` (what was unpacked).
    sha256 : of the file, where it is known; else empty.

    Raises
    ------
    DataError
        If the file cannot be opened or is shorter than offset and shape ask for; from `take` and `blocks`, if
        it has shrunk since.
    """

    def __init__(
        self, path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], name: str = "", sha256: str = ""
    ) -> None:
        super().__init__(shape, dtype)
        self.path, self.offset, self.name, self.sha256 = Path(path), offset, name or str(path), sha256
        self._row_bytes = math.prod(self.row_shape) * self.dtype.itemsize
        self.n_bytes = math.prod(self.shape) * self.dtype.itemsize
        if self.n_bytes >> 63:
            raise DataError(f"{self.name}: asks for more bytes than a file can have. Check the file.")
        self._fd = open_to_read(self.path)
        weakref.finalize(self, os.close, self._fd)
        size, needed = os.fstat(self._fd).st_size, offset + self.n_bytes
        if size < needed:
            raise DataError(
                f"{self.name}: is truncated: its header asks for {needed} bytes, it has {size}. "
                "Copy or download it again."
            )

    def take(self, indices: NDArray[np.integer]) -> NDArray[Any]:  # noqa: D102
        wanted = self._checked(indices)
        out = np.empty((len(wanted), self._row_bytes), np.uint8)
        if len(wanted) == 0:
            return self._typed(out)
        runs = np.flatnonzero(np.diff(wanted) != 1) + 1
        if 2 * len(runs) >= len(wanted) - 1:  # nearly all stand apart
            self._fill_apart(out, wanted)
            return self._typed(out)
        starts = [0, *runs.tolist(), len(wanted)]
        view = out.reshape(-1).data
        firsts = wanted[starts[:-1]].tolist()
        for first, start, stop in zip(firsts, starts[:-1], starts[1:], strict=True):
            self._fill(view[start * self._row_bytes : stop * self._row_bytes], first)
        return self._typed(out)

    def __getitem__(self, indices: NDArray[np.integer]) -> NDArray[Any]:
        """Return what `take` does: labels in a file are indexed as those in memory are."""
        return self.take(indices)

    def _between(self, start: int, stop: int) -> NDArray[Any]:
        out = np.empty((stop - start, self._row_bytes), np.uint8)
        self._fill(out.reshape(-1).data, start)
        return self._typed(out)

    def _typed(self, out: NDArray[np.uint8]) -> NDArray[Any]:
        return out.reshape(-1).view(self.dtype).reshape(len(out), *self.row_shape)

    def _fill_apart(self, out: NDArray[np.uint8], wanted: NDArray[np.int64]) -> None:
        """Read rows one by one, in a loop that is not Python's; what fails or comes short is read once more."""
        at = (self.offset + wanted * self._row_bytes).tolist()
        with contextlib.suppress(OSError):
            counts = map(os.preadv, itertools.repeat(self._fd), zip(out, strict=True), at)
            if min(counts) == self._row_bytes:
                return
        for row, first in zip(out, wanted.tolist(), strict=True):
            self._fill(row.data, first)

    def _fill(self, view: memoryview, first: int) -> None:
        at = self.offset + first * self._row_bytes
        while view:
            try:
                count = os.preadv(self._fd, [view], at)
            except OSError as error:
                raise DataError(f"{self.name}: cannot be read ({error.strerror}). Check the disk.") from error
            if count == 0:
                raise DataError(f"{self.name}: has shrunk to {at} bytes while in use. Restore it and go on.")
            view, at = view[count:], at + count


class ArrayRows(RowSource):
    """Rows of an array in memory; what is taken are copies."""

    def __init__(self, array: NDArray[Any]) -> None:
        super().__init__(array.shape, array.dtype)
        self._array = array

    def take(self, indices: NDArray[np.integer]) -> NDArray[Any]:  # noqa: D102
        taken: NDArray[Any] = self._array[self._checked(indices)]
        return taken

    def _between(self, start: int, stop: int) -> NDArray[Any]:
        return self._array[start:stop].copy()


class Joined(RowSource):
    """The rows of two sources of the same row size and dtype, one after the other, in the first one's shape."""

    def __init__(self, first: RowSource, second: RowSource) -> None:
        super().__init__((len(first) + len(second), *first.row_shape), first.dtype)
        self._first, self._second = first, second

    def take(self, indices: NDArray[np.integer]) -> NDArray[Any]:  # noqa: D102
        wanted, count = self._checked(indices), len(self._first)
        out, first = np.empty((len(wanted), *self.row_shape), self.dtype), wanted < count
        for source, mine, start in ((self._first, first, 0), (self._second, ~first, count)):
            if mine.any():
                out[mine] = source.take(wanted[mine] - start).reshape(-1, *self.row_shape)
        return out


class Chosen(RowSource):
    """Some rows of a source: those at `which` [n], indexed like an array."""

    def __init__(self, source: RowSource, which: Any) -> None:
        super().__init__((len(which), *source.row_shape), source.dtype)
        self._source, self._which = source, which

    def take(self, indices: NDArray[np.integer]) -> NDArray[Any]:  # noqa: D102
        return self._source.take(self._which[self._checked(indices)])


class ChosenLabels:
    """Some labels of a source, by their rows: indexed by arrays of rows."""

    def __init__(self, labels: "Labels", which: Any) -> None:
        self._labels, self._which = labels, which

    def __len__(self) -> int:
        """Give how many there are."""
        return len(self._which)

    def __getitem__(self, rows: NDArray[np.integer]) -> NDArray[np.integer]:
        """Return the labels of the rows [n]."""
        return self._labels[self._which[rows]]


Labels = NDArray[np.integer] | Rows | ChosenLabels  # [N], indexed by arrays of rows


class FloatRows(RowSource):
    """Rows of another source, converted to float32 or float64 as they are taken."""

    def __init__(self, source: RowSource, kind: Any = np.float32) -> None:
        super().__init__(source.shape, np.dtype(kind))
        self._source = source

    def take(self, indices: NDArray[np.integer]) -> NDArray[Any]:  # noqa: D102
        return self._as_floats(self._source.take(indices))

    def _between(self, start: int, stop: int) -> NDArray[Any]:
        return self._as_floats(self._source._between(start, stop))

    def _as_floats(self, rows: NDArray[Any]) -> NDArray[Any]:
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinity, which the check at load refuses
            return rows.astype(self.dtype)


def places(count: int, size: int) -> Iterator[NDArray[np.int64]]:
    """Yield the numbers from 0 to `count` - 1 in order, `size` at a time; the last part may be shorter."""
    return (np.arange(start, min(start + size, count)) for start in range(0, count, size))


def open_to_read(path: Path) -> int:
    """Open a file and return its descriptor.

    Raises
    ------
    DataError
        If the file is not there, may not be read, or is none (a folder; a pipe, which might never say anything).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError as error:
        if path.parent != OPEN_FILES:
            raise DataError(f"{path}: was not found. Check the path.") from error
        descriptor = os.dup(int(path.name))  # an open file of ours, where /proc is hidden
        os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}). Check its permissions.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DataError(f"{path}: is no regular file. Pass a file, not a folder, a device or a pipe.")
    return descriptor
