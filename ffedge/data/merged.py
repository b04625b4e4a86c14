"""Inputs that differ as they came and are one number as float32: a clock's seconds, a counter that has run for long.

They are looked for in a sample of rows, taken before these become float32.
"""

import numpy as np
from numpy.typing import NDArray

from ffedge.data.rows import RowSource
from ffedge.errors import DataError

Sample = NDArray[np.generic]  # [n, I], as it came
SAMPLE_BYTES, SAMPLE_ROWS = 1 << 18, 4096
ENOUGH = 256  # values of an input that are left: as many as a byte has
KEPT_DOUBLE = "float32 cannot tell some numbers apart, which are scaled in double precision; the model takes float64"
ROUNDING = 1e-11  # a difference of floats, relative to them, that their own arithmetic may have made


def sample_of(source: RowSource) -> Sample | None:
    """Return evenly spread rows of a source, or None where float32 holds its type."""
    if np.can_cast(source.dtype, np.float32):
        return None
    count = min(len(source), _most_rows(int(np.prod(source.row_shape)) * source.dtype.itemsize))
    return source.take(np.arange(count) * len(source) // count).reshape(count, -1)


class StreamSample:
    """Evenly spread rows of a stream whose end is not known, in bounded memory."""

    def __init__(self) -> None:
        self._parts: list[Sample] = []
        self._step, self._seen, self._count = 1, 0, 0

    def add(self, rows: Sample) -> None:
        """Take rows [n, ...] of a stream into account."""
        part = rows[-self._seen % self._step :: self._step].reshape(-1, rows[0].size)
        self._seen += len(rows)
        if np.can_cast(rows.dtype, np.float32) or not len(part):
            return
        self._parts.append(part.copy())
        self._count += len(part)
        while self._count > _most_rows(rows[0].nbytes):
            self._parts, self._step = [np.concatenate(self._parts)[::2].copy()], 2 * self._step
            self._count = len(self._parts[0])

    def rows(self) -> Sample | None:
        """Return them, or None where float32 holds the type of all."""
        return np.concatenate(self._parts) if self._parts else None


def _most_rows(row_bytes: int) -> int:
    return min(SAMPLE_ROWS, max(2, SAMPLE_BYTES // row_bytes))


def merged(sample: Sample, kind: type = np.float32) -> tuple[int, str] | None:
    """Return an input of a sample [n, I] that loses half of its different values or more, of which few are left.

    Returns
    -------
    tuple
        Its place, and what it loses, in words; None where there is none.
    """
    ordered = np.sort(sample, axis=0)
    came = 1 + (ordered[1:] != ordered[:-1]).sum(axis=0)
    with np.errstate(over="ignore"):
        as_floats: Sample = ordered.astype(kind)
    left = 1 + (as_floats[1:] != as_floats[:-1]).sum(axis=0)
    lost = (2 * left <= came) & (left < ENOUGH)
    if sample.dtype.kind == "f":
        lost &= ordered[-1] - ordered[0] > ROUNDING * np.abs(ordered).max(axis=0)
    at = int(np.argmax(lost))
    words = f"of {came[at]} different ones in {len(sample)} rows it leaves {left[at]}"
    return (at, words) if lost[at] else None


def refuse_merged(sample: Sample, name: str) -> None:
    """Raise DataError where an input of a sample is lost as float32 (`merged`)."""
    if lost := merged(sample):
        raise DataError(
            f"{name}: input {lost[0]} (from 0) holds numbers that float32 cannot tell apart: {lost[1]}. Pass a frame "
            "or a CSV, whose numbers are scaled in double precision, or subtract a number first, here and to predict"
        )


def needs_doubles(sample: Sample | None) -> bool:
    """Say whether rows of a table, by a sample, are lost as float32 and not as float64."""
    return sample is not None and merged(sample) is not None and merged(sample, np.float64) is None
