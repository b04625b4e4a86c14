"""Tables of typed columns, parquet and feather, by pyarrow: read a part at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ffedge.data.table_text import CHUNK_CELLS, CHUNK_ROWS, Cells, TableChunk
from ffedge.errors import DataError, FfedgeError

if TYPE_CHECKING:
    import pyarrow


class TypedTable:
    """A parquet or feather file; attributes as of `ffedge.data.table_text.TextTable`.

    Raises
    ------
    DataError
        It cannot be read, or holds no rows.
    FfedgeError
        pyarrow is not installed.
    """

    comma = False

    def __init__(self, content: IO[bytes], file: str) -> None:
        try:
            import pyarrow
        except ImportError as error:
            raise FfedgeError(
                f"{file}: reading it needs pyarrow, which is not installed. Run: pip install 'ffedge[tables]'"
            ) from error
        self.name, self._arrow = file, pyarrow
        with self._reading():
            schema, self._batches = self._opened(content, file)
            self._first = next((batch for batch in self._batches if batch.num_rows), None)
        if self._first is None:
            raise DataError(f"{file}: holds no rows. Check the file")
        self.names: tuple[str, ...] | None = tuple(schema.names)
        self.width = len(schema.names)
        with self._reading():
            self.sample: Sequence[Cells | str] = [self._kind(column) for column in self._first.columns]

    def chunks(self, most_rows: int = CHUNK_ROWS) -> Iterator[TableChunk]:
        """Yield all rows, some at a time; once."""
        count, start = max(1, min(most_rows, CHUNK_CELLS // self.width)), 0
        for batch in self._all():
            for at in range(0, batch.num_rows, count):
                with self._reading():
                    part = batch.slice(at, count)
                    columns = [self._cells(column) for column in part.columns]
                yield TableChunk(columns, range(start, start + part.num_rows), "row")
                start += part.num_rows

    def _all(self) -> "Iterator[pyarrow.RecordBatch]":
        yield self._first
        while True:
            with self._reading():
                batch = next(self._batches, None)
            if batch is None:
                return
            yield batch

    def _opened(self, packed: IO[bytes], file: str) -> "tuple[pyarrow.Schema, Iterator[pyarrow.RecordBatch]]":
        content = self._arrow.PythonFile(packed, mode="r")
        if file.lower().endswith(".parquet"):
            from pyarrow import parquet

            table = parquet.ParquetFile(content)
            return table.schema_arrow, table.iter_batches(batch_size=CHUNK_ROWS)
        from pyarrow import ipc

        try:
            reader = ipc.open_file(content)
        except self._arrow.ArrowInvalid:
            content.seek(0)
            stream = ipc.open_stream(content)
            return stream.schema, iter(stream)
        return reader.schema, (reader.get_batch(i) for i in range(reader.num_record_batches))

    def _kind(self, column: "pyarrow.Array") -> Cells | str:
        """Return the kind of a column, or its first texts, which tell it."""
        kind, types = column.type, self._arrow.types
        if types.is_dictionary(kind):
            kind = kind.value_type
        if types.is_null(kind):
            return "empty"
        if types.is_temporal(kind):
            return "time"
        if types.is_boolean(kind):
            return "category"
        if _is_number(types, kind):
            return "number"
        return self._cells(column) if _is_text(types, kind) else "nested"

    def _cells(self, column: "pyarrow.Array") -> Cells:
        types = self._arrow.types
        if types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if _is_number(types, column.type):
            numbers: Any = column.cast(self._arrow.float64(), safe=False).to_numpy(zero_copy_only=False)
            return np.asarray(numbers, np.float64)
        if types.is_boolean(column.type):
            return [{None: "", True: "true", False: "false"}[value] for value in column.to_pylist()]
        if _is_text(types, column.type):
            return [(value or "").strip() for value in column.to_pylist()]
        return [""] * len(column)  # of times and lists, which are left out

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (self._arrow.ArrowException, OSError, ValueError) as error:
            first = str(error).partition("\n")[0]
            raise DataError(f"{self.name}: cannot be read ({first}). Copy or save it again") from error


def _is_number(types: Any, kind: Any) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _is_text(types: Any, kind: Any) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind))
