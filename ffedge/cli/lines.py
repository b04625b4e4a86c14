"""Samples as JSON lines on standard input: one sample a line, read and answered at once, in flat memory.

A line is a list of numbers, nested as the model's input or flat, or ``{"input": [...], "id": ...}``. Of a model of a
table it may be an object of the columns by name, with an ``id`` if no column is named so, or a line of CSV: in the
order of the model's columns, or of a header line that came before.
"""

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffedge import json_text
from ffedge.cli.stop import Stop
from ffedge.columns import NO_TEXT
from ffedge.columns import number as as_number
from ffedge.errors import DataError, one_line
from ffedge.network import InputFacts

if TYPE_CHECKING:
    from ffedge.columns import Table

LINE_BYTES, NUMBER_BYTES = 2**16, 32
MARK = b"\xef\xbb\xbf"  # of byte order
MOST_LINE_BYTES, MOST_BRACKETS = 2**23, 2**17  # beyond them a line would take more than 200 MB


class Line(NamedTuple):
    """A line that was read: its number from 1, its sample or what is wrong with it, and its ``id``, if it has one."""

    number: int
    sample: NDArray[Any] | None
    error: str
    about: dict[str, Any]


def read_lines(source: IO[bytes], facts: InputFacts, stop: Stop) -> Iterator[Line]:
    """Yield each line that is not blank, as soon as it is there.

    Raises
    ------
    DataError
        A line of CSV looks like a header, and lacks a column of the model or has it twice.
    """
    names = facts.table.names if facts.table else ()
    number, first, most = 0, True, min(LINE_BYTES + NUMBER_BYTES * facts.size, MOST_LINE_BYTES)
    while not stop():
        stop.busy = False
        text = source.readline(most)
        stop.busy = True
        if not text:
            return
        number += 1
        text = text.removeprefix(MARK) if number == 1 else text
        if len(text) == most and not text.endswith(b"\n"):
            while (rest := source.readline(most)) and not rest.endswith(b"\n"):
                pass
            yield Line(number, None, f"longer than {most} bytes", {})
        elif facts.table and text.strip() and text.lstrip()[:1] not in b"[{":
            cells = _cells(text)
            if _is_header(cells, facts.table, first=first):
                names = _header(number, cells, facts.table)
            else:
                yield _csv_line(number, cells, names, facts.table)
        elif text.strip():
            yield _line(number, text, facts)
        first = first and not text.strip()


def answer(result: dict[str, Any]) -> None:
    """Print one answer, at once."""
    sys.stdout.write(json_text.text(result) + "\n")
    sys.stdout.flush()


def complain(line: Line, *, strict: bool) -> None:
    """Say on standard error what is wrong with a line; DataError where that must end all."""
    message = f"stdin, line {line.number}: {line.error}"
    if strict:
        raise DataError(f"{message}. Leave out --strict to go on after such lines")
    print(f"ffedge: {one_line(message)}", file=sys.stderr, flush=True)


def refused(line: Line, *, strict: bool) -> None:
    """Answer a line that cannot be used with its error, and complain."""
    complain(line, strict=strict)
    answer(line.about | {"line": line.number, "error": one_line(line.error)})


def _line(number: int, text: bytes, facts: InputFacts) -> Line:
    about: dict[str, Any] = {}
    try:
        if text.count(b"[") + text.count(b"{") > MOST_BRACKETS:
            raise ValueError("holds too many lists and objects")
        value = json.loads(text, object_pairs_hook=json_text.once)
        if isinstance(value, dict):
            about = {} if facts.table and "id" in facts.table.names else _id(value)
            if facts.table and "input" not in value:
                return Line(number, np.array([facts.table.row(value)], np.float64), "", about)
            if set(value) - {"id"} != {"input"}:
                raise ValueError(f"must have input, and beside it only id, got {', '.join(sorted(value)) or 'nothing'}")
            value = value["input"]
        if facts.table and isinstance(value, list) and len(value) == facts.size:
            row = facts.table.row(dict(zip(facts.table.names, value, strict=True)))
            return Line(number, np.array([row], np.float64), "", about)
        if (b"true" in text or b"false" in text) and _has_truth(value):
            raise ValueError("must be numbers")  # numpy would take them for 1 and 0
        return Line(number, _sample(value, facts), "", about)
    except RecursionError:
        return Line(number, None, "is nested too deeply", about)
    except json.JSONDecodeError as error:
        return Line(number, None, f"is no JSON ({error.msg} at character {error.pos})", about)
    except (ValueError, OverflowError) as error:
        return Line(number, None, str(error), about)


def _cells(text: bytes) -> tuple[str, ...]:
    import csv

    rows = list(csv.reader([text.decode(errors="replace")], skipinitialspace=True))
    return tuple(cell.strip() for cell in rows[0]) if rows else ()


def _is_header(cells: tuple[str, ...], table: "Table", *, first: bool) -> bool:
    """Tell whether a line of CSV holds names: a column's, or such as no column can have as a value, and no number."""
    named = set(table.names) & set(cells)
    if len(named) == len(table.names) and (first or not all(_is_value(name, table) for name in named)):
        return True
    strange = first and table.numbers and 1 < len(set(cells)) == len(table.names)
    return bool(named or strange) and not any(_is_value(cell, table) for cell in cells)


def _is_value(cell: str, table: "Table") -> bool:
    """Tell whether a cell is a number, a gap, or a category that the model knows."""
    with contextlib.suppress(ValueError):
        as_number(cell)
        return True
    return cell in NO_TEXT or any(column.codes.get(cell) is not None for column in table.columns)


def _header(number: int, cells: tuple[str, ...], table: "Table") -> tuple[str, ...]:
    for name in table.names:
        if cells.count(name) != 1:
            fault = f"has two columns {name!r}" if name in cells else f"looks like a header, but lacks {name!r}"
            raise DataError(f"stdin, line {number}: {fault}. Mend it, as the order of what follows is not known")
    return cells


def _csv_line(number: int, cells: tuple[str, ...], names: tuple[str, ...], table: "Table") -> Line:
    if len(cells) != len(names):
        return Line(
            number, None, f"must have {len(names)} cells ({', '.join(names)}), or be JSON, got {len(cells)}", {}
        )
    try:
        return Line(number, np.array([table.row(dict(zip(names, cells, strict=True)))], np.float64), "", {})
    except ValueError as error:
        return Line(number, None, str(error), {})


def _id(value: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(value.get("id"), allow_nan=False)
    except ValueError:  # it could not be given back
        raise ValueError("its id holds a number that is not finite") from None
    return {"id": value["id"]} if "id" in value else {}


def _has_truth(value: Any) -> bool:
    return any(map(_has_truth, value)) if isinstance(value, list) else isinstance(value, bool)


def _sample(value: Any, facts: InputFacts) -> NDArray[Any]:
    """Return a sample [...] of the model's shape and type; ValueError where it is none."""
    if not isinstance(value, list):
        raise ValueError(f"must be a list of {facts.size} numbers, got {type(value).__name__}")
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError("its lists are not of one length") from None
    if array.dtype.kind not in "iuf":
        raise ValueError("must be numbers" if array.dtype.kind != "O" else "its numbers are beyond 64 bits, or missing")
    if array.shape not in (facts.shape, (facts.size,)):
        flat = "" if len(facts.shape) == 1 else f" or [{facts.size}]"
        raise ValueError(f"must have shape {list(facts.shape)}{flat}, got {list(array.shape)}")
    if facts.dtype == "uint8" and not ((array >= 0) & (array <= 255) & (array == np.floor(array))).all():
        raise ValueError("must be whole numbers from 0 to 255")
    with np.errstate(over="ignore"):  # what is not finite is odd, which the predictor tells
        return array.astype(facts.dtype).reshape(facts.shape)
