"""Recordings of events, as an event camera writes them, counted into frames of bytes; read in blocks.

An event says that a pixel became brighter or darker: x, y, t (time) and p (polarity). A recording is one of

- ``.bin``, as of N-MNIST and N-Caltech101: 5 bytes an event, x, y, then polarity (1 bit) and microseconds (23,
  big-endian). y = 240 is no event, but says that the clock of all that follows is 8192 microseconds late;
- ``.npy``: a structured array of the fields x, y, t (or timestamp), p (or polarity), as Tonic gives;
- ``.npz``: four arrays of these names.

Shapes: T time bins, a sensor of H x W pixels.
"""

import os
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffedge.data.arrays import BROKEN, npy_header, npz_members, open_zip
from ffedge.data.cache_folder import MAX_RATIO, SPARE_BYTES, reading
from ffedge.data.rows import open_to_read
from ffedge.errors import DataError

SUFFIXES = frozenset({".bin", ".npy", ".npz"})
FIELDS = {"x": ("x",), "y": ("y",), "t": ("t", "timestamp"), "p": ("p", "polarity")}
POLARITIES = 2
EVENT_BYTES, LATE, LATE_US = 5, 240, 1 << 13  # of a .bin
MOST_SIDE, MOST_COUNT, MOST_TIME = 2048, 255, 1 << 53
BLOCK_BYTES, MOST_EVENT_BYTES = 1 << 18, 1 << 10
PARTS, FEWEST, LONE = 20, 10, 1000  # of the time; events of which it is asked how many lie outside of one part
NOTHING: NDArray[Any] = np.empty(0)
SORT = "Sort the events by their time"


class Events(NamedTuple):
    """Some events of a recording: whole x, y from 0, time in the recording's own unit, p 0 or 1; each [n]."""

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    t: NDArray[Any]
    p: NDArray[np.int64]


def is_recording(path: Path) -> bool:
    """Tell whether a file holds events, and not rows of an array; a ``.bin`` is one by its name."""
    if path.suffix.lower() == ".npz":
        members = npz_members(path)
        return all(any(name in members for name in names) for names in FIELDS.values())
    if path.suffix.lower() == ".npy":
        with os.fdopen(open_to_read(path), "rb") as file:
            return npy_header(file, str(path))[2].names is not None
    return path.suffix.lower() == ".bin"


def read_events(path: str | Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Count a recording's events into frames: the one way in which ffedge reads it as a row.

    The time from the first event to the last is cut into T parts of the same length, the last with its end. Channel
    ``2 * bin + polarity`` counts the events of each pixel; 255 stands for more, too.

    Parameters
    ----------
    path : a recording, as the module says.
    shape : ``[2 T, H, W]``.

    Returns
    -------
    uint8 [2 T, H, W]

    Raises
    ------
    DataError
        The file holds no events, is torn, has one outside of the sensor, its time runs backwards or is not finite; all
        but a few events lie in a twentieth of the time, as where a time stamp is wrong; or `shape` is none of frames.
    """
    path = Path(path)
    if len(shape) != 3 or shape[0] % POLARITIES:
        raise DataError(f"{path}: is a recording of events, but the model takes rows of shape {list(shape)}")
    span, (height, width) = _span(path), shape[1:]
    if span.height > height or span.width > width:
        where = f"up to x = {span.width - 1}, y = {span.height - 1}, outside of a sensor of {height}x{width}"
        raise DataError(f"{path}: has events {where}. Train with a larger `size`")
    counts, bins = np.zeros(int(np.prod(shape)), np.uint32), shape[0] // POLARITIES
    parts = np.zeros(PARTS, np.int64)
    for events in _checked(path):
        channel = POLARITIES * span.part(events.t, bins) + events.p
        np.add.at(counts, (channel * height + events.y) * width + events.x, 1)
        parts += np.bincount(span.part(events.t, PARTS), minlength=PARTS)
    lone = int(parts.sum() - parts.max())
    if span.n_events >= FEWEST and 0 < lone <= max(1, span.n_events // LONE):
        far = f"all but {lone} of {span.n_events:,} events lie in a twentieth of the time: is a time stamp wrong?"
        raise DataError(f"{path}: {far} Cut it from the recording")
    return np.minimum(counts, MOST_COUNT).astype(np.uint8).reshape(shape)


def sensor_of(path: Path) -> tuple[int, int]:
    """Return the least height and width that a recording's events need; DataError as `read_events`."""
    span = _span(path)
    return span.height, span.width


class _Span(NamedTuple):
    """Where a recording's events lie, and when."""

    n_events: int
    height: int
    width: int
    first: Any
    last: Any

    def part(self, t: NDArray[Any], parts: int) -> NDArray[np.int64]:
        """Return in which of as many parts of the time each event lies."""
        lasts = float(self.last - self.first)
        if lasts == 0:
            return np.zeros(len(t), np.int64)
        whole: NDArray[np.int64] = ((t - self.first) * parts / lasts).astype(np.int64)
        return np.minimum(whole, parts - 1)


def _span(path: Path) -> _Span:
    count, height, width, first, last = 0, 0, 0, None, None
    for events in _checked(path):
        count += len(events.t)
        first, last = events.t[0].item() if first is None else first, events.t[-1].item()
        height, width = max(height, int(events.y.max()) + 1), max(width, int(events.x.max()) + 1)
    if first is None or last is None:
        raise DataError(f"{path}: holds no events. Remove it, or record it again")
    if last - first >= MOST_TIME:
        raise DataError(f"{path}: its time runs from {first} to {last}. Is a time stamp wrong?")
    return _Span(count, height, width, first, last)


def _checked(path: Path) -> Iterator[Events]:
    """Yield a recording's events in blocks that are not empty."""
    at, before = 0, None
    for x, y, t, p in _blocks(path):
        if not len(t):
            continue
        place = f"{path}: events from {at:,}"
        for name, values in zip("xytp", (x, y, t, p), strict=True):
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise DataError(f"{place}: {name} must be a number, got {values[~np.isfinite(values)][0]}")
        time = t.astype(np.float64 if t.dtype.kind == "f" else np.int64)
        if t.dtype.kind == "u" and time.min() < 0:
            raise DataError(f"{place}: t must be below 2 ** 63, got {t.max()}")
        time = _in_order(time, before, place)
        yield Events(_whole(x, "x", place), _whole(y, "y", place), time, _polarity(p, place))
        at, before = at + len(t), time[-1]


def _whole(values: NDArray[Any], name: str, place: str) -> NDArray[np.int64]:
    wrong = (values < 0) | (values >= MOST_SIDE)
    if values.dtype.kind == "f":
        wrong |= values % 1 != 0
    if wrong.any():
        rule = f"{name} must be a whole number from 0 to {MOST_SIDE - 1}"
        raise DataError(f"{place}: {rule}, got {values[wrong][0]}. Check the recording")
    return values.astype(np.int64)


def _in_order(time: NDArray[Any], before: Any, place: str) -> NDArray[Any]:
    back = np.flatnonzero(np.diff(time) < 0)
    if before is not None and time[0] < before:
        raise DataError(f"{place}: time runs backwards, from {before} to {time[0]}. {SORT}")
    if len(back):
        raise DataError(f"{place}: time runs backwards, from {time[back[0]]} to {time[back[0] + 1]}. {SORT}")
    return time


def _polarity(p: NDArray[Any], place: str) -> NDArray[np.int64]:
    wrong = (p != 0) & (p != 1) & (p != -1)
    if wrong.any():
        raise DataError(f"{place}: p must be 0 or 1, or -1 or 1, got {p[wrong][0]}. Check the recording")
    return (p > 0).astype(np.int64)


def _blocks(path: Path) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yield x, y, t, p as they are stored, a block at a time."""
    if path.suffix.lower() == ".npz":
        yield from _of_arrays(path)
        return
    with os.fdopen(open_to_read(path), "rb") as file, reading(path):
        size = os.fstat(file.fileno()).st_size
        yield from _of_bytes(file, size, path) if path.suffix.lower() == ".bin" else _of_fields(file, path)


def _of_bytes(file: IO[bytes], size: int, path: Path) -> Iterator[tuple[NDArray[Any], ...]]:
    if size % EVENT_BYTES:
        raise DataError(f"{path}: has {size} bytes, no multiple of {EVENT_BYTES}, which an event takes. Copy it again")
    late = 0
    while block := file.read(BLOCK_BYTES // EVENT_BYTES * EVENT_BYTES):
        x, y, high, middle, low = np.frombuffer(block, np.uint8).reshape(-1, EVENT_BYTES).astype(np.int64).T
        over = y == LATE
        clock = late + LATE_US * np.cumsum(over)
        late = clock[-1]
        time = clock + ((high & 127) << 16 | middle << 8 | low)
        yield x[~over], y[~over], time[~over], (high >> 7)[~over]


def _of_fields(file: IO[bytes], path: Path) -> Iterator[tuple[NDArray[Any], ...]]:
    shape, _, dtype = npy_header(file, str(path))
    names = _named(dtype.names or (), path)
    if dtype.hasobject or any(dtype[name].shape or dtype[name].kind not in "biuf" for name in names):
        raise DataError(f"{path}: the fields {', '.join(names)} must be numbers, got {dtype}")
    for events in _pieces(file, shape, dtype, str(path)):
        yield tuple(events[name] for name in names)


def _of_arrays(path: Path) -> Iterator[tuple[NDArray[Any], ...]]:
    names = _named(npz_members(path), path)
    with open_zip(path) as archive, ExitStack() as stack:
        try:
            members = [_member(archive, name, path, stack) for name in names]
            for parts in zip_longest(*members, fillvalue=NOTHING):
                if len({len(part) for part in parts}) > 1:
                    raise DataError(f"{path}: {', '.join(names)} differ in length. Save it again")
                yield parts
        except BROKEN as error:
            raise DataError(f"{path}: is corrupt ({error}). Copy or save it again") from error


def _member(archive: zipfile.ZipFile, name: str, path: Path, stack: ExitStack) -> Iterator[NDArray[Any]]:
    about, place = archive.getinfo(f"{name}.npy"), f"{path}[{name}]"
    if about.file_size > max(SPARE_BYTES, MAX_RATIO * about.compress_size):
        raise DataError(f"{place}: unpacks to {about.file_size >> 20} MiB, as a bomb would. Save it with np.savez")
    file = stack.enter_context(archive.open(about))
    shape, _, dtype = npy_header(file, place)
    if dtype.kind not in "biuf":
        raise DataError(f"{place}: must be numbers, got {dtype}")
    return _pieces(file, shape, dtype, place, BLOCK_BYTES // 8)


def _pieces(
    file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], name: str, most: int = 0
) -> Iterator[NDArray[Any]]:
    """Yield the values of an array [N] in pieces: of `most`, or of as many as a block holds."""
    if len(shape) != 1 or dtype.itemsize > MOST_EVENT_BYTES:
        raise DataError(f"{name}: must be one event after the other, [N], got shape {list(shape)} of {dtype}")
    left, most = shape[0], most or BLOCK_BYTES // dtype.itemsize
    while left:
        count = min(left, most)
        data = file.read(count * dtype.itemsize)
        if len(data) < count * dtype.itemsize:
            raise DataError(f"{name}: is truncated: its header tells of {shape[0]:,} events. Copy it again")
        yield np.frombuffer(data, dtype)
        left -= count


def _named(given: tuple[str, ...], path: Path) -> list[str]:
    """Return the names of x, y, t, p in this file."""
    names = [next((name for name in known if name in given), None) for known in FIELDS.values()]
    if None in names:
        has = f"got {', '.join(given)}" if given else "has none"
        raise DataError(f"{path}: a recording of events must have the fields x, y, t, p, {has}")
    return [name for name in names if name]
