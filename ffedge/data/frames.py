"""Tables that are in memory: of pandas, polars or pyarrow, or a data set of Hugging Face; none of them is imported.

A frame has names of columns, gives a column by its name, and some of its rows. Shape letters: n rows of a part.
"""

import contextlib
import datetime
import itertools
import numbers
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.columns import number
from ffedge.data.table_text import CHUNK_CELLS, CHUNK_ROWS, SAMPLE_ROWS, Cells, TableChunk
from ffedge.errors import DataError

LABELS = ("label", "labels", "target", "y")
NAME = "frame"
MISSING = ("nan", "<NA>", "NaT")


def is_frame(source: object) -> bool:
    """Tell whether something is a table in memory: it has columns by name, and parts."""
    return names_of(source) is not None and hasattr(source, "__getitem__") and hasattr(source, "__len__")


def names_of(frame: Any) -> list[Any] | None:
    """Return the names of a frame's columns; None where it has none."""
    names = getattr(frame, "column_names", None)
    names = getattr(frame, "columns", None) if names is None else names
    return None if names is None or callable(names) or isinstance(names, Mapping) else list(names)


class FrameTable:
    """A frame as a table; attributes as of `ffedge.data.table_text.TextTable`.

    Raises
    ------
    DataError
        It holds no rows, or a column that has no name.
    """

    comma = False

    def __init__(self, frame: Any) -> None:
        self.name, self._frame = NAME, frame
        names = names_of(frame) or []
        if not len(frame) or not names:
            raise DataError(f"{NAME}: holds no rows. Pass one that does")
        self._keys, self.width = names, len(names)
        self.names: tuple[str, ...] | None = tuple(map(str, names))
        self._words = [_class_names(frame, name) for name in names]
        columns = self._columns(0, min(SAMPLE_ROWS, len(frame)))
        self._kinds = ["category" if w else _kind(column) for column, w in zip(columns, self._words, strict=True)]
        parts = zip(columns, self._kinds, self._words, strict=True)
        self.sample: Sequence[Cells | str] = [
            _cells(column, kind, words) if kind == "text" else kind for column, kind, words in parts
        ]

    def chunks(self, most_rows: int = CHUNK_ROWS) -> Iterator[TableChunk]:
        """Yield all rows, some at a time."""
        count, total = max(1, min(most_rows, CHUNK_CELLS // self.width)), len(self._frame)
        for start in range(0, total, count):
            stop = min(start + count, total)
            parts = zip(self._columns(start, stop), self._kinds, self._words, strict=True)
            yield TableChunk([_cells(*part) for part in parts], range(start, stop), "row")

    def _columns(self, start: int, stop: int) -> list[NDArray[Any]]:
        part = rows_of(self._frame, start, stop)
        return [column_of(part, key) for key in self._keys]


def rows_of(frame: Any, start: int, stop: int) -> Any:
    """Return a part of a frame, whose columns are found by the same names."""
    if hasattr(frame, "iloc"):
        return frame.iloc[start:stop]
    if hasattr(frame, "slice"):
        return frame.slice(start, stop - start)
    return frame[start:stop]


def column_of(frame: Any, name: Any) -> NDArray[Any]:
    """Return a column [n]; DataError where it is no such thing, as of two columns of one name."""
    column = frame[name]
    try:
        values = np.asarray(column)
    except ValueError:  # lists of several lengths
        values = np.empty(len(column), object)
    if values.ndim == 2 and hasattr(column, "columns"):
        raise DataError(f"{NAME}: has two columns {str(name)!r}. Rename or remove one")
    return values if values.ndim == 1 else np.array([None, *values], object)[1:]


def plain(values: NDArray[Any], name: str) -> NDArray[Any]:
    """Return an array of Python objects as texts or numbers, if they are; another array as it is.

    Raises
    ------
    DataError
        One is neither, or there are both.
    """
    if values.dtype != object:
        return values
    flat = values.reshape(-1).tolist()
    if all(isinstance(value, str) for value in flat):
        return values.astype(str)
    for place, value in enumerate(flat):
        if not isinstance(value, numbers.Real | np.bool_):
            row = place // max(1, len(flat) // len(values))
            shown = "a text beside numbers" if isinstance(value, str) else f"{value!r}, no number and no text"[:60]
            raise DataError(f"{name}: row {row} (from 0) holds {shown}. Fill it in, or leave it out")
    whole = all(isinstance(value, numbers.Integral | np.bool_) for value in flat)
    try:
        return values.astype(np.int64 if whole else np.float64)
    except OverflowError as error:
        raise DataError(f"{name}: holds a number of more than 64 bits. Leave its row out") from error


def pairs_of(dataset: Any, label: str | None) -> Iterator[tuple[Any, Any]] | None:
    """Return minibatches (x, y) of a Hugging Face data set of pictures or arrays; None of anything else.

    It has one column beside its label, which holds no single values.

    Raises
    ------
    DataError
        It is several, or a table that comes as a stream.
    """
    names = names_of(dataset) or []
    if isinstance(dataset, Mapping):
        known = ", ".join(map(str, dataset))
        raise DataError(f"the data hold several sets by name ({known}). Pass one of them, or pairs [(x, y)]")
    if not hasattr(dataset, "iter"):
        return None
    label = label or next((name for name in LABELS if name in names), None)
    others = [name for name in names if name != label]
    first = next(iter(dataset), None) if label in names and len(others) == 1 else None
    if first is None or np.ndim(first[others[0]]) == 0:
        if names and not is_frame(dataset):
            raise DataError(f"{NAME}: is a table that comes as a stream. Save it as a parquet file first")
        return None
    words = _class_names(dataset, label)

    def batches() -> Iterator[tuple[Any, Any]]:
        for batch in dataset.iter(batch_size=256):
            inputs, labels = [np.asarray(one) for one in batch[others[0]]], np.asarray(batch[label])
            for _, alike in itertools.groupby(range(len(inputs)), key=lambda at: inputs[at].shape):
                which = list(alike)
                yield np.stack([inputs[at] for at in which]), np.array(words)[labels[which]] if words else labels[which]

    return batches()


def _class_names(frame: Any, name: Any) -> list[str] | None:
    """Return what the numbers of a column stand for, where the frame says so."""
    features = getattr(frame, "features", None)
    words = getattr(features.get(name), "names", None) if isinstance(features, Mapping) else None
    return list(words) if words else None


def _kind(column: NDArray[Any]) -> str:
    """Return ``number``, ``category`` (of bools), ``time``, ``nested``, ``empty`` or ``text``, whose cells tell."""
    if column.dtype.kind in "iuf":
        return "number"
    if column.dtype.kind in "bSUMm":
        return {"b": "category", "M": "time", "m": "time"}.get(column.dtype.kind, "text")
    present = [value for value in column.tolist() if not _lacks(value)]
    if not present:
        return "empty"
    for kind, types in (
        ("category", bool | np.bool_),
        ("number", numbers.Number),
        ("text", str),
        ("time", datetime.date | datetime.time | datetime.timedelta | np.datetime64),
    ):
        if all(isinstance(value, types) for value in present):
            return kind
    scalars = all(isinstance(value, str | numbers.Number) for value in present)
    return "text" if scalars else "nested"


def _lacks(value: Any) -> bool:
    """Tell whether a cell says that there is no value: None, NaN, and pandas' NA and NaT."""
    return value is None or (not isinstance(value, str | list | tuple | np.ndarray) and str(value) in MISSING)


def _cells(column: NDArray[Any], kind: str, words: list[str] | None) -> Cells:
    if words is not None:
        return ["" if _lacks(value) else words[int(value)] for value in column.tolist()]
    if kind == "number" and column.dtype != object:
        return column.astype(np.float64)
    if kind == "number":
        with contextlib.suppress(TypeError, ValueError):  # a text among them is named by who takes the cells
            return np.array([_float(value) for value in column.tolist()])
    if kind in ("time", "nested"):
        return [""] * len(column)
    return [_text(value) for value in column.tolist()]


def _float(value: Any) -> float:
    return np.nan if _lacks(value) else number(value) if isinstance(value, str) else float(value)


def _text(value: Any) -> str:
    if _lacks(value):
        return ""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value).strip()
