"""What a model is given, as samples; which of them are odd, so that no answer to them counts as known.

Shape letters: N samples, I inputs of a sample.
"""

from collections.abc import Container, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ffedge.columns import UNKNOWN
from ffedge.errors import DataError
from ffedge.network import InputFacts

Array = NDArray[Any]
FAR = 20  # times as far from the mean as training rows reached
DEVIATIONS = 60.0  # that are never far: in some data a rare row lies beyond what the largest input tells
MISSING = ("None", "<NA>", "NaT")
UNSCALED = 1e6  # what is never far where inputs are not scaled, so that the model does not know their spread


class Readings:
    """Makes samples of inputs, and says which are odd: a sensor failed, or something quite else was measured.

    A sample of floats is odd if an input is NaN, infinite (as 32-bit float), or far outside the training rows: 20 times
    as far from their mean as the farthest of them, and 60 deviations at least. Of a model without scaling: beyond a
    million, and 20 times the largest input. To be answered at all, such an input is taken to the limit, and NaN to the
    mean. Bytes are never odd.

    Attributes
    ----------
    facts : of the model's input.
    """

    def __init__(self, facts: InputFacts) -> None:
        self.facts = facts
        kind = np.float64 if facts.dtype == "float64" else np.float32
        plain = not any(facts.offset) and set(facts.scale) == {1.0}
        offset, scale = np.array(facts.offset), np.abs(facts.scale)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            room = max(FAR * abs(facts.largest), UNSCALED if plain else DEVIATIONS) / scale
            largest = float(np.finfo(kind).max)
            ends = [np.clip(end, -largest, largest) for end in (offset - room, offset, offset + room)]
        self._least, self._mean, self._most = (end.astype(kind) for end in ends)
        self._may_lack, self._codes = np.zeros(1, np.bool_), list[int]()
        if facts.table:
            columns = facts.table.columns
            self._codes = codes = [at for at, column in enumerate(columns) if column.categories]
            self._least[codes], self._most[codes] = -np.inf, np.inf  # of an unknown category there is nothing to cut
            self._mean[codes] = UNKNOWN
            self._may_lack = np.array([column.gaps for column in columns])

    def read(self, inputs: ArrayLike) -> tuple[Array, dict[int, str]]:
        """Return one sample or N of them as [N, ...] in the shape and type of the training data; and of the odd ones
        their row and why.

        A table's columns are found by their names: in a table in memory, a dict of columns, a row that is a dict, or
        several of these. Others are ignored.

        Raises
        ------
        DataError
            They have another shape or type.
        """
        try:
            array = np.asarray(inputs) if self.facts.table is None else self._of_names(inputs)
        except (ValueError, TypeError, OverflowError) as error:
            raise DataError("inputs must be numbers in rows of one length. Pass an array") from error
        samples = samples_of(array, self.facts)
        if samples.dtype == np.uint8:
            return samples, {}
        rows = samples.reshape(len(samples), self.facts.size)
        within = (rows >= self._least) & (rows <= self._most)
        if self._may_lack.any():
            within |= self._may_lack & np.isnan(rows)  # the graph fills it in
        if within.all():
            return samples, {}
        odd = np.flatnonzero(~within.all(axis=1))
        why = {int(row): self._why(rows[row], int(within[row].argmin())) for row in odd}
        rows = rows.copy()  # they may be the caller's
        near = np.clip(rows[odd], self._least, self._most)
        rows[odd] = np.where(np.isnan(near) & ~self._may_lack, self._mean, near)
        return rows.reshape(samples.shape), why

    def unknown(self, samples: Array, odd: Container[int]) -> dict[int, str]:
        """Return which of N samples beside the odd ones have a category that the model does not know, and where."""
        if not self.facts.table:
            return {}
        names, strange = self.facts.table.names, samples[:, self._codes] == UNKNOWN
        rows = [int(row) for row in np.flatnonzero(strange.any(axis=1)) if row not in odd]
        first = {row: names[self._codes[strange[row].argmax()]] for row in rows}
        return {row: f"column {name!r} has a category that the model does not know" for row, name in first.items()}

    def _of_names(self, inputs: Any) -> Array:
        """Return inputs to a table's model as an array; where they have names, as rows [N, I] by these."""
        assert self.facts.table is not None
        if (names := _columns_of(inputs)) is not None:
            return self._of_columns(inputs, names, len(inputs))
        one = self._named(inputs)
        if one is not None and one and all(np.ndim(value) == 1 for value in one.values()):
            return self._of_columns(one, {name: name for name in one}, len(next(iter(one.values()))))
        rows = inputs if one is None else [one]
        if not isinstance(rows, list | tuple) or not rows or self._named(rows[0]) is None:
            return np.asarray(inputs)
        out = np.empty((len(rows), self.facts.size))
        for number, row in enumerate(rows):
            values = {name: _or_none(value) for name, value in (self._named(row) or {}).items()}
            try:
                out[number] = self.facts.table.row(values)
            except ValueError as error:
                raise DataError(f"inputs: row {number} (from 0) {error}") from error
        return out

    def _named(self, row: Any) -> Mapping[str, Any] | None:
        """Return values by name, of a dict or of a row of pandas; None where there are none.

        Names that are no texts, as 0 and 1, are names if they are those of the table; else a row has only places.
        """
        assert self.facts.table is not None
        if not isinstance(row, Mapping) and hasattr(row, "to_dict") and hasattr(row, "index"):
            row = row.to_dict()
        if not isinstance(row, Mapping):
            return None
        named = {str(name): value for name, value in row.items()}
        texts = all(isinstance(name, str) for name in row)
        return named if texts or named.keys() >= {column.name for column in self.facts.table.columns} else None

    def _of_columns(self, frame: Any, names: Mapping[str, Any], count: int) -> Array:
        """Return a table in memory as rows [N, I], by its columns' names, which are given by their texts."""
        assert self.facts.table is not None
        out = np.empty((count, self.facts.size))
        for at, column in enumerate(self.facts.table.columns):
            try:
                values = np.asarray(frame[names[column.name]])
            except Exception as error:  # each library raises a class of its own
                raise DataError(f"inputs lack the column {column.name!r}") from error
            try:
                plain = values.dtype.kind in "iuf" and column.kind == "number"
                out[:, at] = values if plain else [column.code(_or_none(value)) for value in values.tolist()]
            except ValueError as error:
                raise DataError(f"inputs: {error}") from error
        return out

    def _why(self, row: Array, place: int) -> str:
        found, shape, table = row[place], self.facts.shape, self.facts.table
        if table:
            name = f"column {table.columns[place].name!r}"
        else:
            name = (
                f"input {place}" if len(shape) == 1 else f"input {[int(at) for at in np.unravel_index(place, shape)]}"
            )
        if np.isnan(found):
            return f"{name} is missing, as in no training row" if table else f"{name} is not a number"
        if np.isinf(found):
            return f"{name} is infinite, or beyond {8 * row.itemsize} bits"
        least, most = (float(end[place if len(end) > 1 else 0]) for end in (self._least, self._most))
        return f"{name} is {found:g}, far from the training rows: not within {least:.3g} to {most:.3g}"


def _columns_of(inputs: Any) -> dict[str, Any] | None:
    """Return the names by their texts of a table in memory (pandas, polars, pyarrow, datasets); None of others."""
    names = getattr(inputs, "column_names", None)
    names = getattr(inputs, "columns", None) if names is None else names
    if names is None or callable(names) or not hasattr(inputs, "__getitem__"):
        return None
    return {str(name): name for name in names}


def _or_none(value: Any) -> Any:
    """Return a value as Python's, and None for what says that it is missing, as pandas' NA does."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if not isinstance(value, str | int | float) and str(value) in MISSING else value


def left_out(odd: int, rows: int, first: int, why: str) -> str:
    """Say that some rows are not learnt from."""
    return f"{odd} of {rows} rows are odd and not learnt from, the first of them row {first}: {why}"


def samples_of(array: Array, facts: InputFacts) -> Array:
    """Return inputs, one sample or N of them, as [N, ...] in the shape and type of the training data.

    Raises
    ------
    DataError
        They have another shape or type.
    """
    shape, size = facts.shape, facts.size
    if array.shape[1:] == shape or (array.ndim == 2 and array.shape[1] == size):
        samples = array.reshape(len(array), *shape)
    elif array.shape in (shape, (size,)):
        samples = array.reshape(1, *shape)
    else:
        raise DataError(f"inputs must have shape {dims(shape)} or [N, …], got {dims(array.shape)}")
    kind = np.dtype(facts.dtype)
    if kind == np.uint8 and array.dtype != np.uint8:
        if array.dtype.kind not in "biu":
            raise DataError(f"inputs must be whole numbers from 0 to 255 as in training, got {array.dtype}")
        if array.size and not 0 <= array.min() <= array.max() <= 255:
            raise DataError(f"inputs must be from 0 to 255 as in training, got {array.min()} to {array.max()}")
    if array.dtype == np.uint8 and kind != np.uint8 and facts.table is None:  # which train as bytes
        raise DataError(f"inputs are uint8, but the model takes {kind}. Convert them as the train data")
    if array.dtype.kind not in "biuf":
        raise DataError(f"inputs must be numbers, got {array.dtype}")
    if array.dtype == kind:
        return np.ascontiguousarray(samples)
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinity, which is odd
        return np.ascontiguousarray(samples, dtype=kind)


def dims(shape: tuple[int, ...]) -> str:
    """Return a shape as text."""
    return f"[{', '.join(map(str, shape))}]"
