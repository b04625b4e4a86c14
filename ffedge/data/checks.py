"""Turns stored arrays into inputs that can be trained on, and refuses what cannot."""

import math

import numpy as np

from ffedge.data.rows import FloatRows, RowSource
from ffedge.errors import DataError

BLOCK_BYTES = 1 << 20


def as_inputs(rows: RowSource, name: str, *, finite: bool = True, wide: bool = False) -> RowSource:
    """Return `rows` as they are if uint8, else as float32; all floats are read once and checked.

    Parameters
    ----------
    rows : ``[N, *row_shape]``, any real dtype.
    name : what errors call it.
    finite : whether to check that they are; else they are not read.
    wide : return float64 of anything.

    Raises
    ------
    DataError
        If the values are no numbers, or one is not finite in float32.
    """
    if rows.dtype.kind not in "biuf":
        raise DataError(f"{name}: must hold numbers, got {rows.dtype}. Convert it first.")
    if rows.dtype == np.uint8 and not wide:
        return rows
    kind = np.dtype(np.float64 if wide else np.float32)
    floats: RowSource = rows if rows.dtype == kind else FloatRows(rows, kind)  # big-endian floats differ, too
    if finite and rows.dtype.kind == "f":
        _refuse_not_finite(floats, name)
    return floats


def _refuse_not_finite(rows: RowSource, name: str) -> None:
    start = 0
    for block in rows.blocks(block_rows(rows)):
        finite = np.isfinite(block).reshape(len(block), -1).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite))
            raise DataError(
                f"{name}: row {row} (from 0) holds a value that is not a finite {rows.dtype}. "
                "Remove the row or fill in the value."
            )
        start += len(block)


def block_rows(rows: RowSource) -> int:
    """Return how many rows make a block of about 1 MiB."""
    return max(1, BLOCK_BYTES // (math.prod(rows.row_shape) * rows.dtype.itemsize))
