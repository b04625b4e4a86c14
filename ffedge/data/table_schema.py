"""Which columns of a table are taken, of what kind, and the numbers that their cells become.

Kinds are told from the first rows, or given by a model. Shape letters: n rows of a chunk, I columns taken.
"""

import difflib
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ffedge.columns import (
    MAX_CATEGORIES,
    NO_TEXT,
    UNKNOWN,
    Column,
    Kind,
    Table,
    is_plain,
    number,
    one_text,
    spelt_as,
    whole_text,
)
from ffedge.data.label_column import MAX_CLASSES
from ffedge.data.table_text import ALIKE, Cells, TableChunk, column_names, kind_of
from ffedge.errors import DataError, one_line

WHOLE = re.compile(r"([-+]?\d+)\.0*")  # a whole number that a program has written as a fraction
QUANTITY = re.compile(r"[-+]?\d*[.,]\d+([eE][-+]?\d+)?")
MOST_NAMED, MOST_SHOWN = 10, 4
MEASURE = re.compile(r"\D{0,3}[-+]?[\d.,' \u00a0]*\d\s*\D{0,8}")  # 45 %, 21.5 °C, 1 234
UNIT = re.compile(r"([^\w\s.,#+-]?)\s*[-+]?(\d+(?:[., \u00a0]\d+)*)\s*([^\d\s.,:/-].{0,7})?")
RISING_ROWS = 20  # fewer are in order too often
FEW_TEXTS, FEWEST_TEXTS = 20, 3


class TableSource(Protocol):
    """A table that is open: of text, or of typed columns."""

    name: str
    names: tuple[str, ...] | None
    width: int
    comma: bool
    sample: Sequence[Cells | str]

    def chunks(self, most_rows: int = ...) -> Iterable[TableChunk]: ...  # noqa: D102


class _Column:
    """A column as it is read: a category gets a code when it first comes."""

    def __init__(self, name: str, kind: Kind, known: Column | None = None) -> None:
        self.name, self.kind, self.known = name, kind, known
        self.codes = {} if known is None else dict(known.codes)
        self.gaps = False
        self.rises, self._last = known is None and kind == "number", -math.inf

    def follow(self, values: NDArray[np.float64]) -> None:
        """Take notice of the next cells [n] as numbers."""
        self.gaps = self.gaps or bool(np.isnan(values).any())
        if self.rises:
            self.rises = bool(values[0] > self._last and (values[1:] > values[:-1]).all())
            self._last = values[-1]

    def column(self) -> Column:
        """Return what it has become."""
        return Column(self.name, self.kind, tuple(self.codes), gaps=self.gaps)


class Places(NamedTuple):
    """Where the columns of a schema stand in one file."""

    columns: list[int]
    label: int | None


class Schema:
    """The columns that are taken from a table, in order, and its label.

    Parameters
    ----------
    table : of a model, whose columns are taken by their names; None lets the first file tell.
    label : name of the label's column; None takes the model's, or the last one.
    leave_out : names of columns that are not taken.
    wants_label : whether labels are read.

    Attributes
    ----------
    notes : what a user should know, a sentence each.
    labels : code of each label, in the order in which they came.
    unknown : for each column, how many cells had a category that the model does not know, and the first of them.
    """

    def __init__(
        self,
        table: Table | None = None,
        label: str | None = None,
        leave_out: Sequence[str] = (),
        *,
        wants_label: bool = True,
    ) -> None:
        self._table, self._label, self._leave_out, self._wants_label = table, label, tuple(leave_out), wants_label
        self._columns: list[_Column] = []
        self.label, self.labels, self.notes = "", dict[str, int](), list[str]()
        self.unknown: dict[str, tuple[int, str]] = {}
        self._texts: dict[str, int] = {}  # a label as it stands, and its code
        if table is not None:
            self._columns = [_Column(c.name, c.kind, c) for c in table.columns]
            self.label = label or table.label

    def unknown_notes(self) -> list[str]:
        """Say which categories the model does not know."""
        return [
            f"{count} values of column {name!r} are none that the model knows, the first {first}"
            for name, (count, first) in self.unknown.items()
        ]

    def category_notes(self, rows: int) -> list[str]:
        """Name columns that are learnt as texts, but look like numbers with a sign, or like names of the rows."""
        notes = []
        for column in self._columns:
            texts = list(column.codes)
            if column.known is None and _are_measures(texts, rows):
                what = f"column {column.name!r} is learnt as {len(texts)} different texts, such as {texts[0]!r}"
                notes.append(f"{what}. Write numbers without signs, and leave out what names the rows")
        return notes

    def is_header(self, cells: Sequence[str]) -> bool:
        """Tell whether a line holds the names that are looked for: of the model's columns, or those a user gave."""
        if self._columns:
            return {column.name for column in self._columns} <= set(cells)
        given = {name for name in (self._label, *self._leave_out) if name is not None}
        return kind_of(sorted(given), comma=False) not in ("number", "empty") and given <= set(cells)

    def rising_notes(self, rows: int) -> list[str]:
        """Name columns of numbers that only rise: of later rows, a model has learnt no such numbers."""
        names = [column.name for column in self._columns if column.rises]
        if not names or rows < RISING_ROWS:
            return []
        what = f"column {names[0]!r} rises" if len(names) == 1 else f"columns {', '.join(names[:MOST_NAMED])} rise"
        return [f"{what} from row to row, as clocks and row numbers do. Leave out what does not tell the classes"]

    @property
    def gaps(self) -> list[str]:
        """Names of the columns in which values were missing."""
        return [column.name for column in self._columns if column.gaps]

    @property
    def table(self) -> Table:
        """The columns as they have been read so far."""
        return self._table or Table(tuple(column.column() for column in self._columns), self.label)

    def places(self, source: TableSource) -> Places:
        """Return where the columns stand in a file; the first one decides which are taken.

        Raises
        ------
        DataError
            It lacks a column, or has one twice.
        """
        names = column_names(source.names or (f"column {n}" for n in range(1, source.width + 1)), source.name)
        if not self._columns:
            self._decide(names, source)
        wanted = [column.name for column in self._columns]
        count, at = Counter(names), {name: place for place, name in reversed(list(enumerate(names)))}
        missing = [name for name in [*wanted, *([self.label] if self._wants_label else [])] if name not in at]
        if missing and source.names is None:
            raise DataError(
                f"{source.name}: has no header that names its columns. Write {', '.join(wanted)} above them"
            )
        if missing:
            raise DataError(f"{source.name}: lacks the column {missing[0]!r}. {_near(missing[0], names)}")
        if twice := [name for name in wanted if count[name] > 1]:
            raise DataError(f"{source.name}: has two columns {twice[0]!r}. Rename or remove one")
        return Places([at[name] for name in wanted], at[self.label] if self._wants_label else None)

    def _decide(self, names: tuple[str, ...], source: TableSource) -> None:
        if strange := [name for name in self._leave_out if name not in names]:
            raise DataError(f"{source.name}: has no column {strange[0]!r} to leave out. {_near(strange[0], names)}")
        if source.names is None:
            shown = ", ".join(str(cells[0]) for cells in source.sample[:MOST_SHOWN] if len(cells))
            self.notes.append(
                f"no header was found: the first line is taken as a row ({shown}, …). Write names above the columns, "
                "or name the label's column if the line is one of names"
            )
        kinds = [kind_of(cells, comma=source.comma) if not isinstance(cells, str) else cells for cells in source.sample]
        usable = [i for i, name in enumerate(names) if name not in self._leave_out]
        self.label = label = self._label_of(names, kinds, source)
        at = names.index(label)
        left: dict[str, list[str]] = {"time": [], "empty": [], "nested": []}
        for i in usable:
            if i == at:
                continue
            if not names[i]:
                if kinds[i] != "empty":
                    self.notes.append(f"column {i + 1}, which has no name, is left out")
            elif kinds[i] in left:
                left[kinds[i]].append(names[i])
            else:
                self._columns.append(_Column(names[i], "number" if kinds[i] == "number" else "category"))
        words = {"time": "of times", "empty": "without a value in the first rows", "nested": "of lists"}
        self.notes += [f"left out the columns {words[k]}: {', '.join(v)}" for k, v in left.items() if v]
        if not self._columns:
            raise DataError(f"{source.name}: holds no column to learn from beside the label {label!r}. Check the file")

    def _label_of(self, names: tuple[str, ...], kinds: list[str], source: TableSource) -> str:
        named = [name for name, kind in zip(names, kinds, strict=True) if name or kind != "empty"]
        last = next((name for name in reversed(named) if name not in self._leave_out), None)
        if last is None:
            raise DataError(f"{source.name}: has no columns left. Check the file")
        label = self._label if self._label is not None else last
        if label in self._leave_out:
            raise DataError(f"{source.name}: column {label!r} is named as the label and to be left out. Choose one")
        if label not in names:
            raise DataError(f"{source.name}: has no column {label!r} for the label. {_near(label, names)}")
        if kinds[names.index(label)] == "time" or not label:
            what = f"{label!r} holds times" if label else "has no name"
            raise DataError(f"{source.name}: its last column {what}. Name the label's column: `label={names[0]!r}`")
        return label

    def inputs(self, source: TableSource, places: Places, chunk: TableChunk) -> NDArray[np.float64]:
        """Return a chunk's cells as numbers [n, I].

        Raises
        ------
        DataError
            A cell is no number where the column holds numbers, or the column has too many categories.
        """
        out = np.empty((len(chunk.lines), len(self._columns)), np.float64)
        for at, (column, place) in enumerate(zip(self._columns, places.columns, strict=True)):
            cells = chunk.columns[place]
            if column.kind == "number":
                out[:, at] = _numbers(cells, source, chunk, column)
            else:
                out[:, at] = self._codes(column, cells, source, chunk)
            column.follow(out[:, at])
        return out

    def _codes(self, column: _Column, cells: Cells, source: TableSource, chunk: TableChunk) -> list[float]:
        texts = cells if not isinstance(cells, np.ndarray) else [whole_text(cell) for cell in cells.tolist()]
        codes, result = column.codes, []
        for row, text in enumerate(texts):
            code: float | None = codes.get(text)
            if code is None:
                code = math.nan if text in NO_TEXT else self._new_code(column, text, source, chunk, row)
            result.append(code)
        return result

    def _new_code(self, column: _Column, text: str, source: TableSource, chunk: TableChunk, row: int) -> float:
        where = f"{source.name}, {chunk.where(row)}: column {column.name!r}"
        if (text := spelt_as(one_text(text), column.codes)) in column.codes:
            return column.codes[text]
        if column.known is not None:
            count, first = self.unknown.get(column.name, (0, f"{text!r} on {chunk.where(row)}"))
            self.unknown[column.name] = (count + 1, first)
            return UNKNOWN
        if one_line(text) != text:
            raise DataError(f"{where} holds {text!r}, which is no line of plain text{_leave_out(column)}")
        if len(column.codes) == MAX_CATEGORIES:
            raise DataError(f"{where} is where more than {MAX_CATEGORIES} texts differ{_leave_out(column)}")
        return column.codes.setdefault(text, len(column.codes))

    def label_codes(self, source: TableSource, places: Places, chunk: TableChunk) -> NDArray[np.int32]:
        """Return the code of each row's label [n]; -1 where it has none.

        Raises
        ------
        DataError
            A label is a quantity or no line of text, or there are too many.
        """
        assert places.label is not None
        cells, result = chunk.columns[places.label], []
        for row, text in enumerate(cells if not isinstance(cells, np.ndarray) else map(whole_text, cells.tolist())):
            code = self._texts.get(text)
            result.append(self._new_label(text, source, chunk, row) if code is None else code)
        return np.array(result, np.int32)

    def _new_label(self, text: str, source: TableSource, chunk: TableChunk, row: int) -> int:
        if text in NO_TEXT:
            return -1
        where = f"{source.name}, {chunk.where(row)}: the label's column {self.label!r}"
        name = spelt_as(_as_whole(text), self.labels)
        if QUANTITY.fullmatch(name):
            raise DataError(f"{where} holds {text}, a quantity, and ffedge classifies. Name another: `label='NAME'`")
        if one_line(text) != text:
            raise DataError(f"{where} holds {text!r}, which is no line of plain text. Rename it")
        if name not in self.labels and len(self.labels) == MAX_CLASSES:
            raise DataError(f"{where} is where more than {MAX_CLASSES} labels differ. Name another: `label='NAME'`")
        self._texts[text] = code = self.labels.setdefault(name, len(self.labels))
        return code


def _as_whole(text: str) -> str:
    """Return a whole number that is written as a fraction as one; other texts as they are."""
    if whole := WHOLE.fullmatch(text):
        return whole[1]
    is_whole = "," not in text and QUANTITY.fullmatch(text) and float(text).is_integer()
    return whole_text(float(text)) if is_whole else text


def _are_measures(texts: list[str], rows: int) -> bool:
    """Tell whether the categories of a column look like numbers with a sign, or like names of the rows.

    Few of them do only if they have one sign or unit, or decimal commas: `A1`, `1b` and `2` are names.
    """
    if len(texts) > FEW_TEXTS:
        return 2 * len(texts) > rows or sum(map(bool, map(MEASURE.fullmatch, texts))) >= ALIKE * len(texts)
    found = [unit.groups("") for unit in map(UNIT.fullmatch, texts) if unit]
    units = Counter((sign, name) for sign, _, name in found)
    if not any("," in value for _, value, _ in found):
        del units["", ""]
    return len(texts) >= FEWEST_TEXTS and max(units.values(), default=0) >= ALIKE * len(texts)


def _numbers(cells: Cells, source: TableSource, chunk: TableChunk, column: _Column) -> NDArray[np.float64]:
    if isinstance(cells, np.ndarray):
        values = cells
    else:
        try:
            if source.comma or not is_plain("".join(cells)):
                raise ValueError("each cell is looked at")
            values = np.array(list(map(float, cells)), np.float64)
        except ValueError:
            return np.array([_number(cell, source, chunk, column, row) for row, cell in enumerate(cells)], np.float64)
    if np.isinf(values).any():
        row = int(np.isinf(values).argmax())
        raise DataError(
            f"{source.name}, {chunk.where(row)}: column {column.name!r} must be a finite number, got {cells[row]}. "
            f"Mend the {chunk.unit}{_leave_out(column)}"
        )
    return values


def _number(cell: str, source: TableSource, chunk: TableChunk, column: _Column, row: int) -> float:
    try:
        return number(cell, comma=source.comma)
    except ValueError as error:
        where = f"{source.name}, {chunk.where(row)}: column {column.name!r}"
        raise DataError(f"{where} {error}. Mend the line{_leave_out(column)}") from None


def _leave_out(column: _Column) -> str:
    return "" if column.known is not None else f". To leave the column out: `leave_out={[column.name]}`"


def _near(name: str, names: Iterable[str]) -> str:
    names = [n for n in names if n]
    if near := difflib.get_close_matches(name, names, n=1):
        return f"Did you mean {near[0]!r}?"
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"It has {', '.join(map(repr, names[:MOST_NAMED]))}{more}"
