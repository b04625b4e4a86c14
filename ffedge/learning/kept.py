"""Kept examples: rows of what a model has learnt from, in a file beside it, against forgetting.

The file is a safetensors file of ``rows`` [n, I] (uint8 or float32, as the data came) and ``labels`` [n] (float32,
whole numbers); its metadata hold the names of the classes and how many rows of each have come by.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.data import Rows, RowSource
from ffedge.errors import DataError
from ffedge.json_text import parse
from ffedge.learning.chooser import Chooser
from ffedge.network import InputFacts
from ffedge.pages import on_disk, release
from ffedge.tensors import TensorFile, write_tensors
from ffedge.training.records import atomic_file

Array = NDArray[Any]
Labels = NDArray[np.int64]
BLOCK_BYTES = 2**20
KEPT_BYTES = 4 * 2**20
LABEL_BLOCK = 2**14


@dataclass(frozen=True)
class Kept:
    """Examples that are kept.

    Attributes
    ----------
    rows : [n, I].
    labels : [n] of the model's classes.
    seen : [C] rows of each class that have come by.
    """

    rows: RowSource | None
    labels: Labels
    seen: Labels

    def __len__(self) -> int:
        """Return n."""
        return len(self.labels)


def kept_file(model: Path) -> Path:
    """Return where a model's examples stand."""
    return model.with_name(f"{model.stem}.kept.safetensors")


def nothing_kept(facts: InputFacts) -> Kept:
    """Return no examples."""
    return Kept(None, np.zeros(0, np.int64), np.zeros(facts.n_classes, np.int64))


def read_kept(path: Path, facts: InputFacts) -> Kept:
    """Read the examples of a model; rows of classes that it does not know are left out.

    Raises
    ------
    DataError
        The file is damaged, or belongs to other data.
    """
    if not path.exists():
        return nothing_kept(facts)
    try:
        file = TensorFile(path)
        rows, labels = file.arrays["rows"], file.arrays["labels"]
        names, seen = parse(file.metadata["classes"]), parse(file.metadata["seen"])
        if not all(isinstance(n, int) and 0 <= n < 1 << 53 for n in seen) or len(seen) != len(names):
            raise ValueError("seen must be a count for each class")
        if rows.shape != (len(labels), facts.size) or rows.dtype != facts.dtype or labels.ndim != 1:
            raise ValueError(f"it holds rows of {rows.dtype} {list(rows.shape)}, not of this model's data")
        whole = labels.astype(np.int64)
        if not ((whole == labels) & (whole >= 0) & (whole < len(names))).all():
            raise ValueError("a label must be a class's number")
        number = np.array([facts.classes.index(n) if n in facts.classes else -1 for n in names] or [-1], np.int64)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be used ({error}). Remove it, or pass --replay-from DATA") from error
    counts = np.zeros(facts.n_classes, np.int64)
    for name, count in zip(names, seen, strict=True):
        if name in facts.classes:
            counts[facts.classes.index(name)] = count
    mine = number[whole]
    known = np.flatnonzero(mine >= 0)
    if not len(known):
        return Kept(None, np.zeros(0, np.int64), counts)
    source = Rows(path, file.offsets["rows"], rows.shape, np.dtype(facts.dtype))
    return Kept(_Some(source, known) if len(known) < len(mine) else source, mine[known], counts)


def keep(
    path: Path, facts: InputFacts, old: Kept, rows: RowSource, labels: Any, which: Any, most_bytes: int, seed: int
) -> int:
    """Write the examples of a model: some of the old ones, and of the rows that it has learnt from since.

    Parameters
    ----------
    rows, labels : of a data set.
    which : the rows of it that are offered; indexed by places.
    most_bytes : that the rows may take.

    Returns
    -------
    int
        How many are kept.
    """
    size = facts.size * np.dtype(facts.dtype).itemsize
    capacity = min(most_bytes // (size + 4), len(old) + len(which))
    rng = np.random.default_rng([seed, len(old)])
    first = rng.permutation(len(old))[:capacity]
    chooser = Chooser(capacity, old.labels[first], old.seen, rng)
    source = np.full(capacity, -1, np.int64)  # an old row, or beyond them a place among the new ones
    source[: len(first)] = first
    for start in range(0, len(which), LABEL_BLOCK):
        places = np.arange(start, min(start + LABEL_BLOCK, len(which)))
        taken = chooser.offer(np.asarray(labels[which[places]], np.int64))
        source[taken[taken >= 0]] = len(old) + places[taken >= 0]
    count = chooser.count
    if not count:
        return 0
    with atomic_file(path) as temporary:
        whole = on_disk((-(-count * size // 4),), path.parent).view(np.uint8)[: count * size]
        held = whole.view(facts.dtype).reshape(count, facts.size)  # in a file, as memory may be short
        for start in range(0, count, max(1, BLOCK_BYTES // size)):
            part = source[start : start + max(1, BLOCK_BYTES // size)]
            block = held[start : start + len(part)]
            before, after = np.flatnonzero(part < len(old)), np.flatnonzero(part >= len(old))
            if old.rows is not None and len(before):
                block[before] = old.rows.take(part[before]).reshape(len(before), -1)
            if len(after):
                block[after] = rows.take(which[part[after] - len(old)]).reshape(len(after), -1)
            release(held)
        write_tensors(
            temporary,
            {"rows": held, "labels": chooser.labels[:count].astype(np.float32)},
            {"classes": json.dumps(list(facts.classes)), "seen": json.dumps(chooser.seen.tolist())},
        )
    return count


class _Some:
    """Some rows of a source."""

    def __init__(self, source: RowSource, which: Labels) -> None:
        self._source, self._which = source, which
        self.shape, self.dtype, self.row_shape = (len(which), *source.row_shape), source.dtype, source.row_shape

    def __len__(self) -> int:
        return len(self._which)

    def take(self, indices: NDArray[np.integer]) -> Array:
        return self._source.take(self._which[indices])

    def blocks(self, rows_per_block: int) -> Iterator[Array]:
        for start in range(0, len(self), rows_per_block):
            yield self.take(np.arange(start, min(start + rows_per_block, len(self))))
