"""Rows that no training should learn from: a sensor failed, or something quite else was measured.

Shape letters: P rows, I inputs of a sample.
"""

import dataclasses
import math

import numpy as np

from ffedge.data import Dataset
from ffedge.data.checks import block_rows
from ffedge.data.dataset import chosen
from ffedge.data.stream import OtherRows
from ffedge.errors import DataError
from ffedge.model.readings import DEVIATIONS, Readings, left_out
from ffedge.network import InputFacts
from ffedge.training.table_facts import middle_and_spread, sample

SAMPLE_ROWS, SAMPLE_BYTES = 4096, 2**20
TAILS = (0.01, 0.99)
BETWEEN_TAILS = 4.653  # deviations of a normal distribution


def without_absurd(dataset: Dataset) -> tuple[Dataset, int, str | None]:
    """Return a data set without training rows that lie absurdly far from the others; how many, in words too.

    What is far goes by the median and the tails of a sample, which a few absurd values do not move: as of a model
    (`ffedge.model.readings`), 20 times as far as the sample reaches, and 60 deviations at least.
    """
    rough = _rough_facts(dataset)
    return (dataset, 0, None) if rough is None else without_odd(dataset, rough)


def _rough_facts(dataset: Dataset) -> InputFacts | None:
    """Return facts by a sample's quantiles; None for bytes, which are never absurd."""
    inputs = dataset.train.inputs
    if dataset.input_dtype == "uint8":
        return None
    size, table = math.prod(inputs.row_shape), dataset.table
    rows = sample(inputs, min(SAMPLE_ROWS, max(2, SAMPLE_BYTES // (8 * size))))
    middle, spread = middle_and_spread(rows, TAILS, BETWEEN_TAILS)
    filled = np.where(np.isnan(rows), middle, rows) if table else rows
    spread = np.where(spread > 0, spread, filled.std(axis=0))  # of an input that is nearly always the same
    scale = np.where(spread > 0, 1.0 / np.where(spread > 0, spread, 1.0), np.finfo(np.float32).tiny)
    far = np.abs(filled - middle) * scale
    if table:  # whose categories are never far, and whose gaps are no fault
        far[:, [at for at, column in enumerate(table.columns) if column.categories]] = 0.0
        table = dataclasses.replace(table, columns=tuple(dataclasses.replace(c, gaps=True) for c in table.columns))
    reach = float(np.max(np.where(far <= DEVIATIONS, far, 0.0)))
    return InputFacts(
        tuple(inputs.row_shape),
        "float64" if table else "float32",
        dataset.classes,
        tuple(middle),
        tuple(scale),
        free_border=not table,
        largest=reach,
        table=table,
    )


def without_odd(dataset: Dataset, facts: InputFacts) -> tuple[Dataset, int, str | None]:
    """Return a data set without the training rows that are odd for a model; how many these are, in words too.

    Raises
    ------
    DataError
        All of them are.
    """
    split, readings, odd, start, why = dataset.train, Readings(facts), list[int](), 0, ""
    if facts.dtype == "uint8" or dataset.input_dtype != facts.dtype or math.prod(dataset.input_shape) != facts.size:
        return dataset, 0, None  # bytes, or data of another model, which `joined` refuses
    for block in split.inputs.blocks(block_rows(split.inputs)):
        found = readings.read(block)[1]
        why = why or next(iter(found.values()), "")
        odd += [start + row for row in found]
        start += len(block)
    if not odd:
        return dataset, 0, None
    said = left_out(len(odd), start, odd[0], why)
    if len(odd) == start:
        raise DataError(f"{dataset.name}: {said}. Check the sensor or the units, or train anew")
    rows = OtherRows(start, np.array(odd, np.int64))
    left = chosen(split, rows)
    return dataclasses.replace(dataset, train=left), len(odd), f"{dataset.name}: {said}"
