"""Table files as data sets: read once in a stream, copied to rows of numbers on disk, never held whole."""

import contextlib
import glob
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ffedge.columns import Table
from ffedge.data.cache_folder import TO_MEND, writable_folder
from ffedge.data.dataset import Dataset, Split
from ffedge.data.files import JSON_TEXTS, STDIN, TYPED
from ffedge.data.frames import FrameTable, is_frame
from ffedge.data.label_column import MOST_LABEL_BYTES, WHOLE, told_of, told_of_lone
from ffedge.data.reading import Listener
from ffedge.data.rows import Labels, Rows, open_to_read
from ffedge.data.table_schema import Schema, TableSource
from ffedge.data.table_text import TextTable, open_bytes
from ffedge.errors import DataError, StoppedError
from ffedge.files import nameless_file, writing

CODE = np.dtype(np.uint16)


def files_of(source: str | Path | Sequence[str | Path]) -> list[str]:
    """Return the files that a path, a pattern such as ``logs/*.csv`` or a list of them stands for.

    Raises
    ------
    DataError
        There is none.
    """
    names = str(source).split("\n") if isinstance(source, str | Path) else [str(one) for one in source]
    found: list[str] = []
    for name in names:
        if name == STDIN or Path(name).exists():
            found.append(name)
        else:
            matches = sorted(glob.glob(name, recursive=True))
            if not matches:
                raise DataError(f"{name}: was not found. Check the path")
            found += matches
    if STDIN in found and len(found) > 1:
        raise DataError("- must stand alone: rows come from standard input or from files")
    return found


@contextlib.contextmanager
def opened(file: str, schema: Schema) -> Iterator[TableSource]:
    """Yield one table, open at its first row; what the schema looks for tells a header."""
    if file.lower().endswith(TYPED):
        from ffedge.data.arrow import TypedTable

        with os.fdopen(open_to_read(Path(file)), "rb") as packed:
            yield TypedTable(packed, file)
        return
    with open_bytes(file) as content:
        as_json = file.lower().removesuffix(".gz").endswith(JSON_TEXTS)
        name = "standard input" if file == STDIN else file
        yield TextTable(content, name, as_json=as_json, is_header=schema.is_header)


def load_table(
    source: Any,
    *,
    label: str | None = None,
    leave_out: Sequence[str] = (),
    table: Table | None = None,
    one_class: bool = False,
    hear: Listener | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Dataset:
    """Copy table files to rows on disk, which go with the process.

    Parameters
    ----------
    source : a path, a pattern, a list of them; or a frame (`ffedge.data.frames`).
    label : name of the label's column; None takes the model's, or the last one.
    leave_out : names of columns that are not taken.
    table : of a model: the columns that it takes, by their names.
    one_class : whether rows of one class will do.
    hear : is told how many rows have been read.
    stop : asked after each chunk.

    Raises
    ------
    DataError
        A file cannot be used, or the disk is full.
    StoppedError
        `stop` said so.
    """
    schema, place, hear = Schema(table, label, leave_out), writable_folder("temporary"), hear or Listener()
    files = [] if is_frame(source) else files_of(source)
    with contextlib.ExitStack() as stack:
        with writing(place, TO_MEND, DataError):
            inputs, codes = (stack.enter_context(nameless_file(place)) for _ in range(2))
        copy = _Copy(schema, inputs[0], codes[0], place, hear, stop)
        tables = (opened(file, schema) for file in files)
        for each in tables if files else [contextlib.nullcontext(FrameTable(source))]:
            with each as one:
                copy.add(one)
        hear.read(copy.rows, copy.rows)
        name = _name(files) if files else one.name
        if not copy.rows:
            raise DataError(f"{name}: holds no rows with a label. Check the column {schema.label!r}")
        try:
            width = len(schema.table.columns)
        except ValueError as error:
            raise DataError(f"{name}: {error}. Leave columns out: `leave_out=['NAME']`") from error
        rows = Rows(inputs[1], 0, (copy.rows, width), np.dtype(np.float64), name)
        names, numbers = _classes(schema)
        if len(names) < 2 and not one_class:
            raise DataError(f"{name}: all labels are {names[0]}, but training needs 2 classes or more. Add rows")
        told = [] if one_class else told_of(names, copy.rows, f"{name}: the label's column {schema.label!r}")
        labels = _labels(codes[0], place, copy.rows, numbers)
        told += [] if one_class else told_of_lone(labels, names)
    dataset = Dataset(name, Split(rows, labels), None, names, copy.sha256())
    return replace(dataset, table=schema.table, notes=tuple(schema.notes + copy.notes() + told))


def table_blocks(file: str | Path, table: Table, most_rows: int) -> Iterator[tuple[int, NDArray[np.float64], Schema]]:
    """Yield the rows of a file as a model's table takes them: the first one's number, the rows [n, I], the schema."""
    schema, start = Schema(table, wants_label=False), 0
    with opened(str(file), schema) as source:
        places = schema.places(source)
        for chunk in source.chunks(most_rows):
            inputs = schema.inputs(source, places, chunk)
            yield start, inputs, schema
            start += len(inputs)


class _Copy:
    """Writes rows and the codes of their labels, and what they hash to."""

    def __init__(
        self,
        schema: Schema,
        inputs: IO[bytes],
        codes: IO[bytes],
        place: Path,
        hear: Listener,
        stop: Callable[[], bool],
    ) -> None:
        self._schema, self._inputs, self._codes, self._place = schema, inputs, codes, place
        self._hear, self._stop = hear, stop
        self.rows, self._digests = 0, (hashlib.sha256(), hashlib.sha256())
        self._unlabelled, self._first = 0, ""

    def add(self, source: TableSource) -> None:
        """Copy one file."""
        places = self._schema.places(source)
        for chunk in source.chunks():
            if self._stop():
                raise StoppedError(f"{source.name}: stopped while it was read")
            codes = self._schema.label_codes(source, places, chunk)
            inputs = self._schema.inputs(source, places, chunk)
            if (codes < 0).any():
                self._first = self._first or f"{source.name}, {chunk.where(int((codes < 0).argmax()))}"
                self._unlabelled += int((codes < 0).sum())
                inputs, codes = inputs[codes >= 0], codes[codes >= 0]
            small = codes.astype(CODE)
            with writing(self._place, TO_MEND, DataError):
                self._inputs.write(np.ascontiguousarray(inputs).data)
                self._codes.write(small.data)
            for digest, part in zip(self._digests, (np.ascontiguousarray(inputs).data, small.data), strict=True):
                digest.update(part)  # however the rows are cut
            self.rows += len(inputs)
            self._hear.read(self.rows, None)
        with writing(self._place, TO_MEND, DataError):
            self._inputs.flush()
            self._codes.flush()

    def sha256(self) -> str:
        """Return what names the rows, their columns and their labels."""
        names = [*self._schema.table.names, self._schema.label, *self._schema.labels]
        parts = [digest.hexdigest() for digest in self._digests]
        return hashlib.sha256("\n".join([*parts, *names]).encode()).hexdigest()

    def notes(self) -> list[str]:
        """Say what a user should know of the rows."""
        schema = self._schema
        notes = schema.unknown_notes() + schema.category_notes(self.rows) + schema.rising_notes(self.rows)
        if self._unlabelled:
            notes.append(f"left out {self._unlabelled} rows without a label, the first at {self._first}")
        return [
            *notes,
            *([f"missing values are filled in: {', '.join(self._schema.gaps)}"] if self._schema.gaps else []),
        ]


def _name(files: list[str]) -> str:
    first = "stdin" if files[0] == STDIN else Path(files[0]).name.partition(".")[0] or Path(files[0]).name
    return first if len(files) == 1 else f"{first}-and-{len(files) - 1}-more"


def _classes(schema: Schema) -> tuple[tuple[str, ...], NDArray[np.uint16]]:
    """Return the classes' names in order, and the number of each label code."""
    names = list(schema.labels)
    whole = all(map(WHOLE.fullmatch, names))
    ordered = sorted(names, key=lambda n: (int(n), n)) if whole else sorted(names)
    return tuple(ordered), np.array([ordered.index(name) for name in names], CODE)


def _labels(codes: IO[bytes], place: Path, rows: int, numbers: NDArray[np.uint16]) -> Labels:
    """Return labels [N] by their codes: in memory, or in a file where there are many."""
    dtype = np.min_scalar_type(len(numbers) - 1)
    codes.seek(0)
    parts = (numbers[np.frombuffer(part, CODE)].astype(dtype) for part in iter(lambda: codes.read(1 << 16), b""))
    if rows * dtype.itemsize <= MOST_LABEL_BYTES:
        return np.concatenate(list(parts))
    with writing(place, TO_MEND, DataError), nameless_file(place) as (file, path):
        for part in parts:
            file.write(part.data)
        file.flush()
        return Rows(path, 0, (rows,), dtype)
