"""Labels of any kind as the places of their classes: a class is a value that occurs, and its name is the value's text.

Numbers are names like words: 10, 20 and 30 make three classes. Numbers from 0 to C - 1 that all occur stay as they are.
"""

import math
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffedge.data.cache_folder import filling, writable_folder
from ffedge.data.rows import Labels, Rows, RowSource
from ffedge.data.rows import places as blocks_of
from ffedge.errors import DataError, one_line
from ffedge.files import nameless_file

MAX_CLASSES = 1000
LABEL_ROWS = 1 << 14  # checked together
LABEL_BYTES = 1 << 18  # of a block
MOST_LABEL_BYTES = 1 << 20  # kept in memory
MANY_NUMBERS, FEW_ROWS = 20, 10  # so many different numbers, of so few rows each, are a quantity
MOST_NUMBERS = 50  # different ones with gaps between them, of however many rows
MOST_SHOWN = 6
WHOLE = re.compile(r"[-+]?[0-9]{1,300}")  # a label that is a whole number
BINS = "ffedge classifies: it learns classes, not quantities. Cut a quantity into bins, as np.digitize(y, edges) does"


class LabelColumn(NamedTuple):
    """Labels, checked.

    Attributes
    ----------
    labels : [N] places among the names, from 0, in the smallest unsigned dtype.
    names : of the classes: numbers in their order, strings in theirs.
    notes : a sentence for each thing about the names that the user may not know.
    """

    labels: Labels
    names: tuple[str, ...]
    notes: tuple[str, ...]


def as_labels(
    rows: RowSource, name: str, classes: Sequence[str] | None = None, *, quantities: bool = False
) -> LabelColumn:
    """Read all labels, in bounded memory: more than 1 MiB of them go to a temporary file and are read there.

    Parameters
    ----------
    rows : ``[N]`` or ``[N, 1]``: integers, bools, floats with whole values, strings or bytes.
    name : what errors call it.
    classes : the names of the classes, if already known (those of the train split).
    quantities : take numbers of any number of values, and say nothing of those that never occur: a model that knows
        the classes tells what they are.

    Raises
    ------
    DataError
        If the shape is another, or a label is blank, not whole or no known name; there are more than 1,000; or they
        are such numbers as a quantity has.
    """
    if math.prod(rows.row_shape) != 1:
        raise DataError(
            f"{name}: labels must be one a row, got shape {list(rows.shape)}. ffedge classifies: a row has one class. "
            "Train a model for each column, or pass y.argmax(axis=1) of rows that mark one class"
        )
    if rows.dtype.kind not in "biufUS":
        raise DataError(f"{name}: labels must be integers or strings, got {rows.dtype}. Convert them.")
    notes: tuple[str, ...] = ()
    tells = classes is None and not quantities
    if classes is None:
        classes, notes = _classes(rows, name, quantities=quantities)
    places = {label: place for place, label in enumerate(classes)}
    labels = _stored(rows, name, places, np.min_scalar_type(len(classes) - 1))
    return LabelColumn(labels, tuple(classes), notes + tuple(told_of_lone(labels, classes) if tells else ()))


def distinct(block: NDArray[Any], start: int, name: str) -> tuple[list[str], NDArray[np.intp]]:
    """Return the names in a block of labels [n], as they came, and which of them each row has [n].

    Parameters
    ----------
    start : the block's first row, for errors.
    """
    if block.dtype.kind == "U":
        _refuse_no_unicode(block, name)
    values, which = np.unique(block, return_inverse=True)
    texts, at = [], which.reshape(-1)
    for place, value in enumerate(values.tolist()):
        try:
            texts.append(_text(value))
        except ValueError as error:
            row = start + int(np.argmax(at == place))
            raise DataError(f"{name}: row {row} (from 0) {error}") from error
    return texts, at


def _text(value: str | bytes | float) -> str:
    """Return a label as text; ValueError where it is none."""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise ValueError("has a label that is no UTF-8. Save it again") from error
    if isinstance(value, str):
        if not value.strip():
            raise ValueError("has a blank label. Remove the row, or give it a name")
        return value
    if not abs(value) < 2**63:
        raise ValueError(f"has label {value}. Remove the row, or fill in its class")
    if value != int(value):
        raise ValueError(f"has label {value:g}, no whole number. {BINS}")
    return str(int(value))


def _refuse_no_unicode(block: NDArray[Any], name: str) -> None:
    """Numpy would make broken strings of what is no Unicode."""
    codes = block.view(np.dtype(np.uint32).newbyteorder(block.dtype.byteorder))
    if codes.max() > sys.maxunicode:
        raise DataError(f"{name}: holds text that is no Unicode. Save it again.")


def _blocks(rows: RowSource, name: str) -> Iterator[tuple[list[str], NDArray[np.intp], int]]:
    """Yield the names that some rows have, which of them each has, and the first row's number."""
    start, size = 0, max(1, min(LABEL_ROWS, LABEL_BYTES // rows.dtype.itemsize))
    for block in rows.blocks(size):
        flat = block.reshape(-1)
        yield *distinct(flat, start, name), start
        start += len(flat)


def _classes(rows: RowSource, name: str, *, quantities: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the classes that occur, and what is to be told of them."""
    seen: set[str] = set()
    numbers = rows.dtype.kind in "biuf"
    for texts, _, _ in _blocks(rows, name):
        seen.update(texts)
        if len(seen) > MAX_CLASSES:
            raise DataError(
                f"{name}: has more than {MAX_CLASSES} different labels. {BINS if numbers else 'Are these the labels?'}"
            )
    if numbers:
        values = sorted(map(int, seen))
        notes = [] if quantities else _told_of_numbers(values, len(rows), name)
        return tuple(map(str, values)), tuple(notes)
    names = {label.strip() for label in seen}
    if strange := [label for label in names if one_line(label) != label]:
        raise DataError(f"{name}: has a label {min(strange)!r}, which is no line of plain text. Rename it.")
    return tuple(sorted(names)), tuple(_told_of_words(seen, names))


def told_of(names: Sequence[str], rows: int, what: str) -> list[str]:
    """Return what is to be told of the classes' names in a table's column of texts.

    Raises
    ------
    DataError
        They are such numbers as a quantity has.
    """
    if all(map(WHOLE.fullmatch, names)):
        notes = _told_of_numbers(sorted(set(map(int, names))), rows, what, "write a letter before them")
        return notes + _told_of_alike(names)
    return _told_of_words(set(names), set(names))


def told_of_lone(labels: Labels, names: Sequence[str]) -> list[str]:
    """Name the classes of a single row among labels [N]: most are misspelt, or were cut off."""
    counts = np.zeros(len(names), np.int64)
    for part in blocks_of(len(labels), LABEL_ROWS):
        counts += np.bincount(labels[part], minlength=len(names))
    lone = [name for name, count in zip(names, counts, strict=True) if count == 1]
    what = "class" if len(lone) == 1 else "each of the classes"
    return [f"{what} {_shown(lone)} has a single row. Is it spelled as it should be?"] if lone else []


def _told_of_numbers(values: list[int], rows: int, name: str, remedy: str = "pass them as strings") -> list[str]:
    low, high, count = values[0], values[-1], len(values)
    gaps = low not in (0, 1) or high - low + 1 > count
    few = rows < count * (FEW_ROWS if gaps else 2)
    if count > MANY_NUMBERS and (few or (gaps and count > MOST_NUMBERS)):
        raise DataError(
            f"{name}: holds {count} different numbers from {low} to {high} in {rows} rows, which looks like a "
            f"quantity. {BINS}; or {remedy} where they are names of classes"
        )
    if values == list(range(count)) or count < 2:
        return []
    if not gaps or high - min(low, 0) + 1 == count:
        return [f"labels {low} to {high} are taken as the names of {count} classes"]
    shown = ", ".join(map(str, values[:MOST_SHOWN])) + (", …" if count > MOST_SHOWN else "")
    between = f"the other numbers from {min(low, 0)} to {high} never occur"
    return [f"labels {shown}: {between}; these are taken as the names of {count} classes"]


def _told_of_words(seen: set[str], names: set[str]) -> list[str]:
    notes = []
    if padded := sorted(label for label in seen if label not in names):
        notes.append(f"labels {_shown(padded)}: white space around them is left out")
    return notes + _told_of_alike(names)


def _told_of_alike(names: Iterable[str]) -> list[str]:
    folded: dict[str, list[str]] = {}
    for label in sorted(names):
        same = str(int(label)) if WHOLE.fullmatch(label) else " ".join(label.casefold().split())
        folded.setdefault(same, []).append(label)
    alike = [label for same in folded.values() if len(same) > 1 for label in same]
    how = "in how the number is written" if any(map(WHOLE.fullmatch, alike)) else "in case or white space"
    return [f"labels {_shown(alike)} differ {how} alone, and are classes of their own"] if alike else []


def _shown(labels: list[str]) -> str:
    return ", ".join(map(repr, labels[:MOST_SHOWN])) + (", …" if len(labels) > MOST_SHOWN else "")


def _stored(rows: RowSource, name: str, places: dict[str, int], dtype: np.dtype[Any]) -> Labels:
    blocks = _places(rows, name, places)
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


def _places(rows: RowSource, name: str, places: dict[str, int]) -> Iterator[NDArray[np.int64]]:
    """Yield the labels' places, some at a time."""
    for texts, which, start in _blocks(rows, name):
        numbers = np.array([places.get(text, places.get(text.strip(), -1)) for text in texts], np.int64)
        if (numbers < 0).any():
            row = int(np.argmax(numbers[which] < 0))
            raise DataError(
                f"{name}: row {start + row} (from 0) has label {texts[which[row]]}, which no train row has. "
                "Remove it or add such rows to the train split."
            )
        yield numbers[which]
