"""Turns stored arrays into inputs and labels that can be trained on, and refuses what cannot."""

import math
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffedge.data.cache_folder import filling, writable_folder
from ffedge.data.rows import Float32Rows, Labels, Rows, RowSource
from ffedge.errors import DataError, one_line
from ffedge.files import nameless_file

MAX_CLASSES = 1000
BLOCK_BYTES = 1 << 20
LABEL_ROWS = 1 << 14  # checked together
MOST_LABEL_BYTES = 1 << 20  # kept in memory


class LabelColumn(NamedTuple):
    """Labels, checked.

    Attributes
    ----------
    labels : [N], from 0, in the smallest unsigned dtype; strings by their place among the sorted names.
    names : of the classes, if the labels are strings.
    low, high : the least and the greatest label (of strings: that there may be).
    """

    labels: Labels
    names: tuple[str, ...] | None
    low: int
    high: int


def as_inputs(rows: RowSource, name: str, *, finite: bool = True) -> RowSource:
    """Return `rows` as they are if uint8, else as float32; all floats are read once and checked.

    Parameters
    ----------
    rows : ``[N, *row_shape]``, any real dtype.
    name : what errors call it.
    finite : whether to check that they are; else they are not read.

    Raises
    ------
    DataError
        If the values are no numbers, or one is not finite in float32.
    """
    if rows.dtype.kind not in "biuf":
        raise DataError(f"{name}: must hold numbers, got {rows.dtype}. Convert it first.")
    if rows.dtype == np.uint8:
        return rows
    floats: RowSource = rows if rows.dtype == np.float32 else Float32Rows(rows)  # big-endian floats differ, too
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
                f"{name}: row {row} (from 0) holds a value that is not a finite float32. "
                "Remove the row or fill in the value."
            )
        start += len(block)


def as_labels(rows: RowSource, name: str, classes: tuple[str, ...] | None = None) -> LabelColumn:
    """Read all labels, in bounded memory: more than 1 MiB of them go to a temporary file and are read there.

    Parameters
    ----------
    rows : ``[N]`` or ``[N, 1]``: integers, bools, floats with whole values, or strings.
    name : what errors call it.
    classes : the class names of strings, if already known (those of the train split); sorted.

    Raises
    ------
    DataError
        If the shape is another, or a label is negative, not whole, too large or no known name.
    """
    if math.prod(rows.row_shape) != 1:
        raise DataError(f"{name}: labels must be one number a row, got shape {list(rows.shape)}. Convert them.")
    if rows.dtype.kind == "U":
        classes = classes or _names(rows, name)
        low, high = 0, len(classes) - 1
    elif classes is not None:
        raise DataError(f"{name}: must hold strings, as the train labels do, got {rows.dtype}. Convert them.")
    elif rows.dtype.kind not in "biuf":
        raise DataError(f"{name}: labels must be integers or strings, got {rows.dtype}. Convert them.")
    else:
        low, high = MAX_CLASSES, 0
        for block in _blocks(rows, name, None):
            low, high = min(low, int(block.min())), max(high, int(block.max()))
    return LabelColumn(_stored(rows, name, classes, np.min_scalar_type(high)), classes, low, high)


def _names(rows: RowSource, name: str) -> tuple[str, ...]:
    names: set[str] = set()
    for block in rows.blocks(min(LABEL_ROWS, block_rows(rows))):
        names.update(_texts(block.reshape(-1), name))
        if len(names) > MAX_CLASSES:
            raise DataError(f"{name}: has more than {MAX_CLASSES} different labels. Are these the labels?")
    if strange := [label for label in names if one_line(label) != label]:
        raise DataError(f"{name}: has a label {min(strange)!r}, which is no line of plain text. Rename it.")
    return tuple(sorted(names))


def _texts(block: NDArray[Any], name: str) -> list[str]:
    """Return strings [N] as a list; numpy would make broken ones of what is no Unicode."""
    codes = block.view(np.dtype(np.uint32).newbyteorder(block.dtype.byteorder))
    if codes.max() > sys.maxunicode:
        raise DataError(f"{name}: holds text that is no Unicode. Save it again.")
    labels: list[str] = block.tolist()
    return labels


def _stored(rows: RowSource, name: str, classes: tuple[str, ...] | None, dtype: np.dtype[Any]) -> Labels:
    blocks = _blocks(rows, name, classes)
    if len(rows) * dtype.itemsize <= MOST_LABEL_BYTES:
        labels, start = np.empty(len(rows), dtype), 0
        for block in blocks:
            labels[start : start + len(block)] = block
            start += len(block)
        return labels
    folder = writable_folder("temporary")
    with filling(folder), nameless_file(folder) as (file, path):
        for block in blocks:
            file.write(block.astype(dtype).data)
        file.flush()
        return Rows(path, 0, (len(rows),), dtype)


def _blocks(rows: RowSource, name: str, classes: tuple[str, ...] | None) -> Iterator[NDArray[np.int64]]:
    """Yield the labels, checked, some at a time."""
    start = 0
    for block in rows.blocks(min(LABEL_ROWS, block_rows(rows))):
        flat = block.reshape(-1)
        yield _checked(flat, start, name) if classes is None else _places(flat, start, name, classes)
        start += len(flat)


def _checked(block: NDArray[Any], start: int, name: str) -> NDArray[np.int64]:
    with np.errstate(invalid="ignore"):
        good = (block >= 0) & (block < MAX_CLASSES) & (block == np.floor(block))
    if not good.all():
        row = int(np.argmin(good))
        raise DataError(
            f"{name}: row {start + row} (from 0) has label {block[row]}. "
            f"Labels must be whole numbers from 0 to {MAX_CLASSES - 1}."
        )
    return block.astype(np.int64)


def _places(block: NDArray[Any], start: int, name: str, classes: tuple[str, ...]) -> NDArray[np.int64]:
    place = {label: number for number, label in enumerate(classes)}
    numbers = [place.get(label, -1) for label in _texts(block, name)]
    if -1 in numbers:
        row = numbers.index(-1)
        raise DataError(
            f"{name}: row {start + row} (from 0) has label {block[row]!s}, which no train row has. "
            "Remove it or add such rows to the train split."
        )
    return np.asarray(numbers, np.int64)


def block_rows(rows: RowSource) -> int:
    """Return how many rows make a block of about 1 MiB."""
    return max(1, BLOCK_BYTES // (math.prod(rows.row_shape) * rows.dtype.itemsize))
