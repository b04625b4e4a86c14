"""Tables of text, read once from their start in bounded memory: CSV in its spellings, and JSON objects a line.

What a logger or a spreadsheet writes is told from the first rows: separator, header, decimal commas.
"""

import csv
import gzip
import itertools
import json
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffedge import json_text
from ffedge.columns import BREAKS, NO_NUMBER, number
from ffedge.data.idx import GZIP_MAGIC
from ffedge.data.rows import open_to_read
from ffedge.errors import DataError, one_line

SEPARATORS = ";\t|,"
MOST_LINE_BYTES = 1 << 23
SAMPLE_ROWS, SAMPLE_LINES = 1000, 100
CHUNK_ROWS, CHUNK_CELLS = 4096, 1 << 17
ALIKE = 0.9  # share of a sample's cells that makes a kind certain
DATE = r"\d{4}[-/.]\d\d?[-/.]\d\d?|\d\d?[-/.]\d\d?[-/.]\d{4}|\d\d?[/.]\d\d?[/.]\d\d"
CLOCK = r"\d\d?:\d\d(:\d\d([.,]\d+)?)?( ?[AaPp][Mm])?"
TIME = re.compile(rf"(({DATE})([T ]+{CLOCK})?|{CLOCK})( ?(Z|UTC|GMT|[+-]\d\d:?\d\d))?")
POINT, COMMA = re.compile(r"[-+]?\d*\.\d+"), re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")
BEFORE_LINE = re.compile(r"(?<=\r)(?!\n)")  # lines may end in CR alone; within quotation marks csv joins them again
THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})+")
Cells = Sequence[str] | NDArray[np.float64]  # of a column


class TableChunk(NamedTuple):
    """Some rows: the cells of each column, and where they stand, for errors."""

    columns: list[Cells]
    lines: Sequence[int]
    unit: str  # "line 7" of a text, "row 7" of a file whose rows have no lines

    def where(self, row: int) -> str:
        """Name a row of the chunk."""
        return f"{self.unit} {self.lines[row]}"


class TextTable:
    """A table of text.

    Parameters
    ----------
    is_header : tells a line that holds the names which are looked for.

    Attributes
    ----------
    name : what errors call it.
    names : of the columns; None where there is no header.
    width : count of the columns.
    comma : whether decimals come after a comma.
    separator : between cells; empty for JSON.
    sample : the first rows.

    Raises
    ------
    DataError
        There are no rows, or it is no table.
    """

    _above: tuple[str, ...] = ()  # cells of a comment that stands directly above the first row

    def __init__(
        self,
        file: IO[bytes],
        name: str,
        *,
        as_json: bool = False,
        is_header: Callable[[Sequence[str]], bool] = lambda _: False,
    ) -> None:
        self.name, self.separator = name, ""
        lines = _lines(file, name)
        first = list(itertools.islice(lines, SAMPLE_LINES))
        as_json = as_json or next((line.lstrip()[:1] == "{" for line in first if line.strip()), False)
        with reading_text(name):
            rows = self._json(itertools.chain(first, lines)) if as_json else self._csv(first, lines)
            head = list(itertools.islice(rows, SAMPLE_ROWS + 1))
        if not head:
            raise DataError(f"{name}: holds no rows. Check the file")
        columns = [list(cells) for cells in zip(*(row for _, row in head), strict=True)]
        self.comma = not as_json and has_decimal_commas(columns, self.separator)
        self.names: tuple[str, ...] | None = None
        alike = len(self._above) == len(columns)
        above = [[text, *cells] for text, cells in zip(self._above, columns, strict=True)] if alike else []
        if as_json or is_header(head[0][1]) or has_header(columns, comma=self.comma):
            self.names, head = head[0][1], head[1:]
            columns = [cells[1:] for cells in columns]
        elif above and (is_header(self._above) or has_header(above, comma=self.comma)):
            self.names = self._above
        if not head:
            raise DataError(f"{name}: holds no rows below its header. Check the file")
        self.width, self._rows = len(columns), itertools.chain(head, rows)
        self.sample: Sequence[Cells | str] = columns

    def chunks(self, most_rows: int = CHUNK_ROWS) -> Iterator[TableChunk]:
        """Yield all rows, some at a time; once.

        Raises
        ------
        DataError
            A line is broken, or has more or fewer cells than the others.
        """
        count = max(1, min(most_rows, CHUNK_CELLS // self.width))
        with reading_text(self.name):
            while part := list(itertools.islice(self._rows, count)):
                lines, rows = zip(*part, strict=True)
                yield TableChunk(list(zip(*rows, strict=True)), lines, "line")

    def _csv(self, first: list[str], lines: Iterator[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
        skipped, above = 0, ""
        while first and (not first[0].strip() or first[0].startswith(("#", "sep="))):  # what stands above a header
            skipped, above, first = skipped + 1, first[0], first[1:]
        self.separator = separator_of(first)
        reader = csv.reader(itertools.chain(first, lines), delimiter=self.separator, skipinitialspace=True)
        if above.startswith("#"):
            cells = csv.reader([above.strip("# \r\n")], delimiter=self.separator, skipinitialspace=True)
            self._above = tuple(map(str.strip, next(cells, ())))
        return self._whole_rows((skipped + reader.line_num, row) for row in reader)

    def _whole_rows(self, rows: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Yield rows of the first one's width; blank lines and empty cells beyond it are left out."""
        width = last = 0
        for line, row in rows:
            if line > last + 1 and self._swallows_rows(row, width or len(row)):
                raise DataError(
                    f"{self.name}, line {last + 1}: a cell in quotation marks goes on to line {line}, over lines that "
                    "are rows like others. Is a quotation mark too much?"
                )
            last = line
            if len(row) != width:
                if not any(map(str.strip, row)) and len(row) <= 1:
                    continue
                if not width:
                    width = len(row)
                elif len(row) < width or any(map(str.strip, row[width:])):
                    raise DataError(
                        f"{self.name}, line {line}: has {len(row)} cells, but those before it {width}. Mend the line"
                    )
                row = row[:width]  # noqa: PLW2901
            yield line, tuple(map(str.strip, row))

    def _swallows_rows(self, row: list[str], width: int) -> bool:
        """Tell whether a row that stands on several lines has as many cells on each of them as a row has."""
        lines = BREAKS.split("\0".join(row).rstrip())  # it marks where a cell ends
        ends = re.compile(rf"\0|{re.escape(self.separator)}(?! )")  # a comma within a sentence has a space behind it
        return len(lines) > 1 and all(len(ends.findall(line)) == width - 1 > 0 for line in lines)

    def _json(self, lines: Iterable[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
        names: tuple[str, ...] = ()
        for line, text in enumerate(lines, start=1):
            if not text.strip():
                continue
            try:
                values = json.loads(
                    text, parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=json_text.once
                )
            except (json.JSONDecodeError, RecursionError):
                values = None
            except ValueError as error:
                raise DataError(f"{self.name}, line {line}: {error}. Mend the line") from None
            if not isinstance(values, dict) or not values:
                raise DataError(f"{self.name}, line {line}: must be a JSON object of columns. Mend the line")
            if not names:
                names = tuple(values)
                yield line, names
            if unknown := [name for name in values if name not in names]:
                raise DataError(
                    f"{self.name}, line {line}: has the column {unknown[0]!r}, which its first line lacks. "
                    "Write it there as null"
                )
            yield line, tuple(self._text(values.get(name), name, line) for name in names)

    def _text(self, value: Any, name: str, line: int) -> str:
        if isinstance(value, list | dict):
            raise DataError(f"{self.name}, line {line}: column {name!r} must be a number or a text, got a list")
        if value is None or isinstance(value, bool):
            return {None: "", True: "true", False: "false"}[value]
        return str(value).strip()


@contextmanager
def open_bytes(path: Path | str) -> Iterator[IO[bytes]]:
    """Yield a file's bytes, or those of standard input (-), unpacked where they are packed by gzip.

    Raises
    ------
    DataError
        It is not there or no regular file.
    """
    if str(path) == "-":
        file: Any = sys.stdin.buffer
        yield gzip.GzipFile(fileobj=file) if file.peek(2)[:2] == GZIP_MAGIC else file  # type: ignore[misc]
        return
    with os.fdopen(open_to_read(Path(path)), "rb", buffering=1 << 17) as file:
        yield gzip.GzipFile(fileobj=file) if file.peek(2)[:2] == GZIP_MAGIC else file  # type: ignore[misc]


@contextmanager
def reading_text(name: str) -> Iterator[None]:
    """Turn what readers of text raise into a DataError of one line."""
    try:
        yield
    except csv.Error as error:
        raise DataError(f"{name}: is no table that can be read ({error}). Is a quotation mark not closed?") from error
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"{name}: cannot be read to its end ({error}). Copy or download it again") from error


def _lines(file: IO[bytes], name: str) -> Iterator[str]:
    """Yield the lines of a text in UTF-8 or, with its mark, UTF-16."""
    with reading_text(name):
        start = file.readline(MOST_LINE_BYTES)
        if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
            yield from _utf16(start, file, name)
            return
        number, line = 0, start.removeprefix(b"\xef\xbb\xbf")
        while line:
            number += 1
            if len(line) >= MOST_LINE_BYTES:
                raise DataError(f"{name}, line {number}: is longer than {MOST_LINE_BYTES} bytes. Is it a table?")
            try:
                yield from BEFORE_LINE.split(line.decode()) if b"\r" in line[:-2] else (line.decode(),)
            except UnicodeDecodeError:
                raise DataError(f"{name}, line {number}: is no UTF-8. Save it as text in UTF-8") from None
            line = file.readline(MOST_LINE_BYTES)


def _utf16(start: bytes, file: IO[bytes], name: str) -> Iterator[str]:
    import codecs

    decoder, text, part = codecs.getincrementaldecoder("utf-16")(), "", start
    try:
        while part:
            text += decoder.decode(part)
            *whole, text = text.split("\n")
            yield from (f"{line}\n" for line in whole)
            if len(text) > MOST_LINE_BYTES:
                raise DataError(f"{name}: has a line of more than {MOST_LINE_BYTES} letters. Is it a table?")
            part = file.read(1 << 16)
        yield text + decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: is no whole UTF-16. Save it as text in UTF-8") from error


def separator_of(lines: list[str]) -> str:
    """Return what separates the cells of some lines: what makes most of them alike, and then the most cells."""

    def rank(separator: str) -> tuple[float, int]:
        widths = [len(row) for row in csv.reader(lines, delimiter=separator, skipinitialspace=True) if any(row)]
        common = max(set(widths), key=widths.count) if widths else 0
        return (widths.count(common) / len(widths), common) if common > 1 else (0.0, 0)

    try:
        return max(SEPARATORS, key=rank)
    except csv.Error:
        return ","


def has_decimal_commas(columns: list[list[str]], separator: str) -> bool:
    """Tell whether the numbers of some rows have a comma before their decimals, and none a point."""
    cells = [cell for column in columns for cell in column]
    with_comma = [cell for cell in cells if COMMA.fullmatch(cell)]
    if not with_comma or any(map(POINT.fullmatch, cells)):
        return False
    return separator != "," or not all(map(THOUSANDS.fullmatch, with_comma))


def has_header(columns: list[list[str]], *, comma: bool) -> bool:
    """Tell whether the first of some rows holds names: texts above numbers or times, or else texts that never recur."""
    first = [column[0] for column in columns]
    kinds = [kind_of(column[1:], comma=comma) for column in columns]
    votes = [kind_of([cell], comma=comma) not in (kind, "empty") for cell, kind in zip(first, kinds, strict=True)]
    votes = [vote for vote, kind in zip(votes, kinds, strict=True) if kind in ("number", "time")]
    if votes:
        return 2 * sum(votes) > len(votes) or _has_numbered_names(columns)
    named = [cell for cell in first if cell]
    recur = any(column[0] in column[1:] for column in columns if column[0])
    numbers = any(kind_of([cell], comma=comma) != "category" for cell in named)
    return bool(named) and len(set(named)) == len(named) and not recur and not numbers


def _has_numbered_names(columns: list[list[str]]) -> bool:
    """Tell whether the first of some rows holds whole numbers that rise, as the names of a frame's columns or years do,
    and a label's name that no row has as its label; or 0, 1, 2, … above decimals.
    """
    named = [column for column in columns if column[0]]
    counts = [int(column[0]) for column in named if re.fullmatch(r"[0-9]{1,9}", column[0])]
    texts = [column for column in named if not _is_number(column[0], comma=False)]
    if len(counts) + len(texts) < len(named) or not all(a < b for a, b in itertools.pairwise(counts)):
        return False
    if not texts:
        decimals = any(POINT.fullmatch(cell) or COMMA.fullmatch(cell) for column in columns for cell in column[1:])
        return len(counts) > 3 and counts == list(range(len(counts))) and decimals
    label = named[-1]
    once = not any(column[0] in column[1:] for column in texts)
    return label is texts[-1] and once and 2 * len(set(label[1:])) < len(label)


def kind_of(cells: Cells, *, comma: bool) -> str:
    """Return ``number``, ``time``, ``category`` or ``empty``: what most of some cells are."""
    if isinstance(cells, np.ndarray):
        return "number"
    present = [cell for cell in cells if cell not in NO_NUMBER]
    if not present:
        return "empty"
    if sum(map(bool, map(TIME.fullmatch, present))) >= ALIKE * len(present):
        return "time"
    return "number" if 2 * sum(_is_number(cell, comma) for cell in present) >= len(present) else "category"


def _is_number(cell: str, comma: bool) -> bool:
    try:
        number(cell, comma=comma)
    except ValueError:
        return False
    return True


def column_names(names: Iterable[str], name: str) -> tuple[str, ...]:
    """Return the names of a header; DataError where one is no line of plain text."""
    given = tuple(names)
    if strange := [text for text in given if one_line(text) != text]:
        raise DataError(f"{name}: has a column {strange[0]!r}, whose name is no line of plain text. Rename it")
    return given
