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

TAILS = (0.01, 0.99)
BETWEEN_TAILS = 4.653  # deviations of a normal distribution


def without_absurd(dataset: Dataset) -> tuple[Dataset, int, str | None]:
    """Return a data set without training rows that lie absurdly far from the others; how many, in words too.

    What is far goes by the median and the tails of a sample, which a few absurd values do not move: as of a model
    (`ffedge.model.readings`), 20 times as far as the sample reaches, and 60 deviations at least.
    """
    rough = _rough_facts(dataset)
    return (dataset, 0, None) if rough is None else without_odd(dataset, rough)


@np.errstate(over="ignore", invalid="ignore")  # what comes of numbers such as 1e308 is refused
def _rough_facts(dataset: Dataset) -> InputFacts | None:
    """Return facts by a sample's quantiles; None for bytes, which are never absurd."""
    inputs = dataset.train.inputs
    if dataset.input_dtype == "uint8":
        return None
    table, rows = dataset.table, sample(inputs)
    middle, spread = middle_and_spread(rows, TAILS, BETWEEN_TAILS)
    filled = np.where(np.isnan(rows), middle, rows) if table else rows
    spread = np.where(spread > 0, spread, filled.std(axis=0))  # of an input that is nearly always the same
    refuse_huge(dataset, middle + spread)
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
    odd, why = _odd_rows(dataset, facts)
    if not len(odd):
        return dataset, 0, None
    split = dataset.train
    rows = len(split.labels)
    said = left_out(len(odd), rows, int(odd[0]), why)
    if len(odd) == rows:
        raise DataError(f"{dataset.name}: {said}. Check the sensor or the units, or train anew")
    left = chosen(split, OtherRows(rows, odd))
    return dataclasses.replace(dataset, train=left), len(odd), f"{dataset.name}: {said}"


def split_as_trained(dataset: Dataset, recipe: Recipe) -> tuple[NDArray[np.int64], OtherRows]:
    """Return the training rows that a run held out, in ascending order, and those that it learnt from.

    The data set is what it was trained on. Rows that `without_absurd` leaves out are in neither.
    """
    rough, rows = _rough_facts(dataset), len(dataset.train.labels)
    odd = np.zeros(0, np.int64) if rough is None else _odd_rows(dataset, rough)[0]
    left = OtherRows(rows, odd)
    held = left[split_rows(len(left), recipe)[0]]
    return held, OtherRows(rows, np.sort(np.concatenate([odd, held])))


def _odd_rows(dataset: Dataset, facts: InputFacts) -> tuple[NDArray[np.int64], str]:
    """Return the training rows that are odd for a model, in ascending order, and why the first one is."""
    inputs, readings, odd, start, why = dataset.train.inputs, Readings(facts), list[int](), 0, ""
    if facts.dtype == "uint8" or dataset.input_dtype != facts.dtype or math.prod(dataset.input_shape) != facts.size:
        return np.zeros(0, np.int64), ""  # bytes, or data of another model, which `joined` refuses
    for block in inputs.blocks(block_rows(inputs)):
        found = readings.read(block)[1]
        why = why or next(iter(found.values()), "")
        odd += [start + row for row in found]
        start += len(block)
    return np.array(odd, np.int64), why
