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


def refuse_merged(sample: Sample, name: str) -> None:
    """Raise DataError where an input of a sample loses half of its different values or more, and few are left."""
    ordered = np.sort(sample, axis=0)
    came = 1 + (ordered[1:] != ordered[:-1]).sum(axis=0)
    as_float32 = ordered.astype(np.float32)
    left = 1 + (as_float32[1:] != as_float32[:-1]).sum(axis=0)
    lost = (2 * left <= came) & (left < ENOUGH)
    if sample.dtype.kind == "f":
        lost &= ordered[-1] - ordered[0] > ROUNDING * np.abs(ordered).max(axis=0)
    if lost.any():
        at = int(np.argmax(lost))
        raise DataError(
            f"{name}: input {at} (from 0) holds numbers that float32 cannot tell apart: of {came[at]} different ones "
            f"in {len(sample)} rows it leaves {left[at]}. Subtract a number or scale it first, here and to predict"
        )
