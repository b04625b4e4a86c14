"""What a network must know of a table, measured in one pass over its rows, and in a sample of them.

Shape letters: n rows of a sample, I columns, J of them numbers.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.data import Dataset, RowSource
from ffedge.data.rows import places
from ffedge.data.stream import spread_evenly
from ffedge.errors import DataError
from ffedge.network import InputFacts

Floats = NDArray[np.float64]
BLOCK_BYTES = 2**20
SAMPLE_ROWS, SAMPLE_BYTES = 4096, 2**20
LEAST_ROWS, READINGS = 256, 16
QUARTERS = (0.25, 0.75)
BETWEEN_QUARTERS = 1.349  # deviations of a normal distribution
CLIP = 10.0  # deviations; beyond, a value says only that it is far out
STILL = 1e-15  # of the size of a number: differences that are rounding


@np.errstate(over="ignore", invalid="ignore")  # what comes of numbers such as 1e308 is refused
def measure_table(dataset: Dataset, scaling: str) -> InputFacts:
    """Return the facts of a table's rows: a fill for each column of numbers, offset and scale.

    Raises
    ------
    DataError
        A column has numbers whose spread is beyond doubles.
    """
    table, source = dataset.table, dataset.train.inputs
    assert table is not None
    size, numbers = len(table.columns), table.numbers
    middle, spread = quartiles(source)
    total, squares, low, high = (np.zeros(size) for _ in range(4))
    for block in source.blocks(max(1, BLOCK_BYTES // (8 * size))):
        apart = np.where(np.isnan(block), 0.0, block - middle)  # as filled in, and precise however large they are
        total += apart.sum(axis=0)
        squares += np.square(apart).sum(axis=0)
        low, high = np.minimum(low, apart.min(axis=0)), np.maximum(high, apart.max(axis=0))
    mean, square = total / len(source), squares / len(source)
    deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
    kind, ones = "robust" if scaling == "auto" else scaling, np.ones(size)
    if kind == "robust":
        offset, width = middle, np.where(spread > 0, spread, deviation)
    elif kind == "feature":
        offset, width = middle + mean, deviation
    elif kind in ("standard", "centred"):
        whole, at = middle + mean, numbers or [0]
        offset = whole if kind == "centred" else ones * whole[at].mean()
        width = ones * np.sqrt((deviation[at] ** 2 + (whole - offset)[at] ** 2).mean())
    else:
        most = np.abs(np.array([middle + low, middle + high]))[:, numbers or [0]].max()
        offset, width = 0 * ones, ones * (most if kind == "range" else 1.0)
    refuse_huge(dataset, offset + width)
    still = width <= STILL * np.maximum(np.abs(middle), np.finfo(np.float64).tiny)
    scale = np.where(still, 1.0, 1.0 / np.where(still, 1.0, width))
    codes = [at for at in range(size) if at not in set(numbers)]
    offset, scale = offset.copy(), scale.copy()
    offset[codes], scale[codes] = 0.0, 1.0
    reach = np.maximum(np.abs(middle + low - offset), np.abs(middle + high - offset))[numbers] * scale[numbers]
    columns = tuple(
        dataclasses.replace(column, fill=float(middle[at]) if column.kind == "number" else 0.0)
        for at, column in enumerate(table.columns)
    )
    return InputFacts(
        shape=(size,),
        dtype="float64",
        classes=dataset.classes,
        offset=tuple(map(float, offset)),
        scale=tuple(map(float, scale)),
        free_border=False,
        largest=float(max(1.0, *reach, 0.0)),
        clip=CLIP if kind == "robust" else None,
        table=dataclasses.replace(table, columns=columns),
    )


def refuse_huge(dataset: Dataset, spread: Floats, first: int = 0) -> None:
    """Raise DataError where what tells the spread [W] of columns, from the `first` one on, is not finite."""
    if dataset.table and not np.isfinite(spread).all():
        name = dataset.table.names[first + int(np.isfinite(spread).argmin())]
        raise DataError(
            f"{dataset.name}: column {name!r} has numbers too large to be scaled. Write it in another unit, or "
            f"leave it out: `leave_out=[{name!r}]`"
        )


def quartiles(source: RowSource) -> tuple[Floats, Floats]:
    """Return the median [I] of evenly spread rows, NaN left out, and the deviation [I] by their quartiles."""
    rows = sample(source, 4 * SAMPLE_ROWS, 4 * SAMPLE_BYTES)
    parts = [middle_and_spread(block, QUARTERS, BETWEEN_QUARTERS) for block in rows]
    middle, spread = (np.concatenate(each) for each in zip(*parts, strict=True))
    return middle, spread


def sample(source: RowSource, most_rows: int = SAMPLE_ROWS, most_bytes: int = SAMPLE_BYTES) -> Iterator[Floats]:
    """Yield evenly spread rows [n, W], the same ones each time, of some inputs after the other.

    These are so many rows that they take no more room than that, but 256 at least, by which quantiles can be told; of
    many inputs a part at a time, in at most 16 readings.
    """
    size = int(np.prod(source.row_shape))
    rows = spread_evenly(len(source), min(most_rows, max(LEAST_ROWS, most_bytes // (8 * size))))
    width = max(most_bytes // (8 * len(rows)), -(-size // READINGS))
    blocks = [rows[part] for part in places(len(rows), max(1, most_bytes // (8 * size)))]
    for start in range(0, size, width):
        parts = (source.take(block).reshape(-1, size)[:, start : start + width] for block in blocks)
        yield np.concatenate([part.astype(np.float64) for part in parts])


@np.errstate(over="ignore", invalid="ignore")  # what comes of numbers such as 1e308 is refused
def middle_and_spread(rows: Floats, ends: tuple[float, float], between: float) -> tuple[Floats, Floats]:
    """Return the median [I] of rows, NaN left out, and the deviation [I] by two quantiles; 0 where there are none."""
    gaps = np.isnan(rows)
    known: Any = np.where(gaps.all(axis=0), 0.0, rows)
    middle, low, high = (np.nanquantile if gaps.any() else np.quantile)(known, (0.5, *ends), axis=0)
    return middle, (high - low) / between
