"""Rows that no training should learn from: a sensor failed, or something quite else was measured.

Shape letters: P rows, I inputs of a sample.
"""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from ffedge.data import Dataset
from ffedge.data.checks import block_rows
from ffedge.data.dataset import chosen
from ffedge.data.stream import OtherRows, split_rows
from ffedge.errors import DataError
from ffedge.model.readings import DEVIATIONS, Readings, left_out
from ffedge.network import InputFacts
from ffedge.recipe import Recipe
from ffedge.training.table_facts import middle_and_spread, refuse_huge, sample

NONE = np.zeros(0, np.int64)
FEW = 0.05  # of the rows
OTHERS = 0.1  # of an input's values are others than the middle one, where it has a deviation
TAILS = (0.01, 0.99)
BETWEEN_TAILS = 4.653  # deviations of a normal distribution


def without_absurd(dataset: Dataset) -> tuple[Dataset, int, str | None]:
    """Return a data set without training rows that lie absurdly far from the others; how many, in words too.

    What is far goes by the median and the tails of a sample, which a few absurd values do not move: as of a model
    (`ffedge.model.readings`), 20 times as far as the sample reaches, and 60 deviations at least. An input that is
    nearly always the same has no such deviation, and where more than a few rows lie so far out, they are no faults.
    """
    return _without(dataset, *_absurd_rows(dataset))


def _absurd_rows(dataset: Dataset) -> tuple[NDArray[np.int64], str]:
    """Return the training rows that `without_absurd` leaves out, in ascending order, and why the first one is."""
    if dataset.input_dtype == "uint8":  # bytes are never absurd
        return NONE, ""
    odd, why = _odd_rows(dataset, _rough_facts(dataset))
    return (odd, why) if len(odd) <= max(1, FEW * len(dataset.train.labels)) else (NONE, "")


@np.errstate(over="ignore", invalid="ignore")  # what comes of numbers such as 1e308 is refused
def _rough_facts(dataset: Dataset) -> InputFacts:
    """Return facts by a sample's quantiles."""
    inputs, table = dataset.train.inputs, dataset.table
    size, at, reach = math.prod(inputs.row_shape), 0, 0.0
    middle, scale, codes = np.empty(size), np.empty(size), np.zeros(size, np.bool_)
    if table:  # whose categories are never far, and whose gaps are no fault
        codes[:] = [bool(column.categories) for column in table.columns]
        table = dataclasses.replace(table, columns=tuple(dataclasses.replace(c, gaps=True) for c in table.columns))
    for rows in sample(inputs):
        part = slice(at, at + rows.shape[1])
        middle[part], spread = middle_and_spread(rows, TAILS, BETWEEN_TAILS)
        refuse_huge(dataset, middle[part] + spread, at)
        filled = np.where(np.isnan(rows), middle[part], rows) if table else rows
        spread[(filled != middle[part]).mean(axis=0) < OTHERS] = 0.0
        scale[part] = np.where(spread > 0, 1.0 / np.where(spread > 0, spread, 1.0), np.finfo(np.float32).tiny)
        far = np.where(codes[part], 0.0, np.abs(filled - middle[part]) * scale[part])
        reach = max(reach, float(np.max(np.where(far <= DEVIATIONS, far, 0.0))))
        at = part.stop
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
    return _without(dataset, *_odd_rows(dataset, facts))


def _without(dataset: Dataset, odd: NDArray[np.int64], why: str) -> tuple[Dataset, int, str | None]:
    if not len(odd):
        return dataset, 0, None
    split, rows = dataset.train, len(dataset.train.labels)
    said = left_out(len(odd), rows, int(odd[0]), why)
    if len(odd) == rows:
        raise DataError(f"{dataset.name}: {said}. Check the sensor or the units, or train anew")
    left = chosen(split, OtherRows(rows, odd))
    return dataclasses.replace(dataset, train=left), len(odd), f"{dataset.name}: {said}"


def split_as_trained(dataset: Dataset, recipe: Recipe) -> tuple[NDArray[np.int64], OtherRows]:
    """Return the training rows that a run held out, in ascending order, and those that it learnt from.

    The data set is what it was trained on. Rows that `without_absurd` leaves out are in neither.
    """
    (odd, _), rows = _absurd_rows(dataset), len(dataset.train.labels)
    left = OtherRows(rows, odd)
    held = left[split_rows(len(left), recipe)[0]]
    return held, OtherRows(rows, np.sort(np.concatenate([odd, held])))


def _odd_rows(dataset: Dataset, facts: InputFacts) -> tuple[NDArray[np.int64], str]:
    """Return the training rows that are odd for a model, in ascending order, and why the first one is."""
    inputs, readings, odd, start, why = dataset.train.inputs, Readings(facts), list[int](), 0, ""
    if facts.dtype == "uint8" or dataset.input_dtype != facts.dtype or math.prod(dataset.input_shape) != facts.size:
        return NONE, ""  # bytes, or data of another model, which `joined` refuses
    for block in inputs.blocks(block_rows(inputs)):
        found = readings.read(block)[1]
        why = why or next(iter(found.values()), "")
        odd += [start + row for row in found]
        start += len(block)
    return np.array(odd, np.int64), why
