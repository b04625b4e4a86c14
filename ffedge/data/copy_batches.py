"""Minibatches from anywhere, copied once to a pair of ``.npy`` files: from then on a data set like any other.

The alternative, to shuffle within blocks of a stream that is read anew each epoch, needs no disk. But then a minibatch
comes from one stretch of the stream, so that what is sorted by class or time trains badly, an epoch is as slow as the
source, and there are neither held-out rows that stay the same nor a checksum to resume by.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ffedge.data.arrays import read_npy
from ffedge.data.cache_folder import TO_MEND, writable_folder
from ffedge.data.checks import as_inputs, block_rows
from ffedge.data.files import ARRAYS
from ffedge.data.frames import LABELS, plain
from ffedge.data.label_column import MAX_CLASSES, as_labels, distinct
from ffedge.data.merged import Sample, StreamSample, needs_doubles, sample_of
from ffedge.data.rows import ArrayRows, Rows
from ffedge.data.weights import checked
from ffedge.errors import DataError
from ffedge.files import make_folder, nameless_file, quietly_closed, replacing, writing

Batches = Iterable[Any] | Callable[[], Iterable[Any]]
Guard = Callable[[], AbstractContextManager[None]]
NAME = "minibatches"
BUFFER_BYTES = 2048


@contextmanager
def copied(
    batches: Batches, folder: Path | None, wide: bool | None = False
) -> Iterator[tuple[tuple[Rows, Rows], Rows | None, Sample | None]]:
    """Copy minibatches to files; yield inputs and labels, the rows' weights, a sample of what came.

    See `ffedge.data.load`. Weights are None where none came.

    Parameters
    ----------
    wide : whether inputs are written as float64; None goes by the first minibatch (`ffedge.data.merged`).

    In a folder the files get their names when the block has succeeded. Without one they have none: they go when the
    rows do, however the process ends.

    Raises
    ------
    DataError
        A minibatch cannot be used or does not suit those before it, there are none, or the disk is full. No file stays.
    """
    place = folder or writable_folder("temporary")
    guard = partial(writing, place, "pass another folder" if folder else TO_MEND, DataError)
    with ExitStack() as stack:
        if folder is None:
            with guard():
                files = [stack.enter_context(nameless_file(place)) for _ in range(2)]
            names = [f"{NAME}, {which}" for which in "xy"]
        else:
            names = [str(folder / f"{array}.npy") for array in ARRAYS[:2]]
            with guard():
                make_folder(folder)
            if present := [name for name in names if Path(name).exists()]:
                raise DataError(f"{present[0]}: exists already. Load it by its path, or pass another folder.")
            paths = [stack.enter_context(replacing(Path(name), guard)) for name in names]
            with guard():
                files = [(stack.enter_context(quietly_closed(path.open("w+b"))), path) for path in paths]
        with guard():
            codes, _ = stack.enter_context(nameless_file(place))
            weights = stack.enter_context(nameless_file(place)) if folder is None else None
        copy = _Copy(files[0][0], codes, weights[0] if weights else None, guard, wide)
        for number, batch in enumerate(batches() if callable(batches) else batches):
            copy.add(f"minibatch {number} (from 0)", batch)
        copy.finish(files[1][0])
        inputs, labels = (read_npy(path, name) for name, (_, path) in zip(names, files, strict=True))
        own = read_npy(weights[1], f"{NAME}, w") if weights and copy.weighted else None
        yield (inputs, labels), own, copy.sample.rows()


class _Copy:
    """Writes inputs as they come, and a number for each label until all labels are known; weights where they come."""

    def __init__(
        self, inputs: IO[bytes], codes: IO[bytes], weights: IO[bytes] | None, guard: Guard, wide: bool | None
    ) -> None:
        self._inputs, self._codes, self._weights, self._guard, self._wide = inputs, codes, weights, guard, wide
        self.weighted = self._idle = False
        self._rows, self.sample = 0, StreamSample()
        self._names: dict[str, int] = {}  # as they came, in that order
        self._kind, self._named = "", False
        self._row_shape: tuple[int, ...] = ()
        self._dtype = np.dtype(np.uint8)

    def add(self, name: str, batch: Any) -> None:
        """Write a minibatch; `name` is what errors call it."""
        x, y, w = _arrays(name, batch)
        if w is not None and not w.all():  # a row that counts nothing is none: nothing is chosen by it, or kept
            x, y, w, self._idle = x[w > 0], y[w > 0], w[w > 0], True
        if len(x) == 0:
            return
        if self._wide is None:
            self._wide = x.ndim == 2 and x.dtype.kind in "iuf" and needs_doubles(sample_of(ArrayRows(x)))
        inputs = as_inputs(ArrayRows(x), name, wide=self._wide)
        as_labels(ArrayRows(y), name, quantities=True)  # refuses what can be no label
        named = "names" if y.dtype.kind in "US" else "numbers"
        kind = f"{inputs.dtype} inputs of shape {list(inputs.row_shape)} with {named} as labels"
        kind += "" if w is None else " and weights"
        if self._rows and kind != self._kind:
            raise DataError(f"{name}: holds {kind}, but those before it {self._kind}. Make them alike.")
        self._named, codes = named == "names", self._codes_of(name, y)
        self.sample.add(x)
        with self._guard():
            if not self._rows:
                self._kind, self._row_shape, self._dtype = kind, inputs.row_shape, inputs.dtype
                self._write_header(1)  # as long as it will be
            for block in inputs.blocks(block_rows(inputs)):
                self._inputs.write(np.ascontiguousarray(block).data)
            self._codes.write(codes.data)
            if w is not None:
                self._write_weights(name, w)
        self._rows += len(x)

    def finish(self, labels: IO[bytes]) -> None:
        """Write how many rows there are, and the labels."""
        if not self._rows and self._idle:
            raise DataError(f"{NAME}: all rows have weight 0. Give some a weight above it.")
        if not self._rows:
            raise DataError(f"{NAME}: there are none. Pass pairs (x, y), and not a generator that was used before.")
        names = list(self._names)
        values = np.array(names) if self._named else _in_smallest_type([int(name) for name in names])
        with self._guard():
            self._inputs.seek(0)
            self._write_header(self._rows)
            self._inputs.flush()
            if self._weights and self.weighted:
                self._weights.seek(0)
                _write_header(self._weights, (self._rows,), np.dtype(np.float32))
                self._weights.flush()
            _write_header(labels, (self._rows,), values.dtype)
            self._codes.seek(0)
            while part := self._codes.read(BUFFER_BYTES):
                labels.write(values[np.frombuffer(part, np.uint16)].tobytes())
            labels.flush()

    def _write_header(self, rows: int) -> None:
        _write_header(self._inputs, (rows, *self._row_shape), self._dtype)

    def _write_weights(self, name: str, weights: NDArray[np.float32]) -> None:
        if self._weights is None:
            raise DataError(f"{name}: holds weights of rows, which a `folder` does not keep. Leave `folder` out.")
        if not self.weighted:
            _write_header(self._weights, (1,), weights.dtype)
            self.weighted = True
        self._weights.write(weights.data)

    def _codes_of(self, name: str, y: NDArray[Any]) -> NDArray[np.uint16]:
        """Return the labels' numbers: names are numbered as they come."""
        names, which = distinct(y.reshape(-1), 0, name)
        codes = [self._names.setdefault(label, len(self._names)) for label in names]
        if len(self._names) > MAX_CLASSES:
            raise DataError(f"{name}: is where more than {MAX_CLASSES} labels differ. Are these the labels?")
        return np.array(codes, np.uint16)[which]


def _in_smallest_type(values: list[int]) -> NDArray[Any]:
    """Return whole numbers in the smallest type that holds them all."""
    return np.array(values, np.result_type(np.min_scalar_type(min(values)), np.min_scalar_type(max(values))))


def _arrays(name: str, batch: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float32] | None]:
    """Return inputs [n, *row_shape], labels [n] or [n, 1], and weights [n] where they came."""
    if isinstance(batch, Mapping) and len(batch) == 2 and (label := next((n for n in LABELS if n in batch), None)):
        batch = (*(part for name, part in batch.items() if name != label), batch[label])
    if isinstance(batch, str | Path):
        raise DataError(f"{batch}: stands in a list, which is for tables alone. Pass one folder or file of other data")
    if not (isinstance(batch, tuple | list) and len(batch) in (2, 3)):
        raise DataError(
            f"{name}: must be a pair (x, y), got {type(batch).__name__}. For arrays in memory pass [(x, y)]; with "
            "weights of the rows [(x, y, w)]."
        )
    try:
        x, y, *more = (plain(np.asarray(part), f"{name}, {which}") for part, which in zip(batch, "xyw", strict=False))
    except (TypeError, ValueError, RuntimeError) as error:  # uneven lists; tensors on a GPU or with gradients
        first_line = str(error).partition("\n")[0]
        raise DataError(
            f"{name}: cannot become arrays ({first_line}). Pass arrays, lists or tensors on the CPU."
        ) from error
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise DataError(f"{name}: x must be [n, …], got shape {list(x.shape)}. Reshape it.")
    if y.ndim < 1 or len(y) != len(x):
        raise DataError(f"{name}: holds {len(x)} inputs, but labels of shape {list(y.shape)}. Give each row one label.")
    return x, y, checked(more[0], name, len(x)) if more else None


def _write_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Write a header as `np.save` does, which leaves room for any number of rows."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
