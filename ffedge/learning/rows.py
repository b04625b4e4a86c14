"""What a model goes on learning from: new rows with the model's own class numbers, then the kept examples."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.data import Dataset, RowSource, Split
from ffedge.data.rows import Joined, Labels, places
from ffedge.errors import DataError
from ffedge.network import InputFacts
from ffedge.training.kept import Kept

LABEL_BLOCK = 2**14


class Numbered:
    """Labels of a source as numbers of a model's classes, then others, indexed by an array of rows."""

    def __init__(self, labels: Labels, numbers: NDArray[np.int64], more: NDArray[np.int64]) -> None:
        self._labels, self._numbers, self._more = labels, numbers, more

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._labels) + len(self._more)

    def __getitem__(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the labels of the rows [n]."""
        count, out = len(self._labels), np.empty(len(rows), np.int64)
        first = rows < count
        out[first] = self._numbers[self._labels[rows[first]]]
        out[~first] = self._more[rows[~first] - count]
        return out


def joined(dataset: Dataset, split: Split, facts: InputFacts, kept: Kept) -> Dataset:
    """Return a data set of a split's rows and of kept examples, with a model's classes.

    Raises
    ------
    DataError
        The rows have another shape or type than the model's, or a class that it does not know.
    """
    inputs = split.inputs
    if tuple(inputs.row_shape) != facts.shape and inputs.row_shape != (facts.size,):
        raise DataError(
            f"{dataset.name}: has rows of shape {list(inputs.row_shape)}, but the model takes {list(facts.shape)}"
        )
    if dataset.input_dtype != facts.dtype:
        raise DataError(f"{dataset.name}: holds {dataset.input_dtype}, but the model takes {facts.dtype}")
    numbers = numbers_of(dataset, split, facts)
    rows: RowSource = inputs if kept.rows is None else Joined(inputs, kept.rows)
    labels: Any = Numbered(split.labels, numbers, kept.labels)
    return Dataset(dataset.name, Split(rows, labels), None, facts.classes, dataset.sha256)


def numbers_of(dataset: Dataset, split: Split, facts: InputFacts) -> NDArray[np.int64]:
    """Return the number of each of a data set's classes in a model; -1 for those of which it has no row."""
    by_name = {name: number for number, name in enumerate(facts.classes)}
    named = any(name in by_name for name in dataset.classes)
    counts = np.zeros(dataset.n_classes, np.int64)
    for part in places(len(split.labels), LABEL_BLOCK):
        counts += np.bincount(split.labels[part], minlength=dataset.n_classes)
    plain = dataset.classes == tuple(str(number) for number in range(dataset.n_classes))
    numbers = np.full(dataset.n_classes, -1, np.int64)
    for place, name in enumerate(dataset.classes):
        if name in by_name:
            numbers[place] = by_name[name]
        elif plain and not named and place < facts.n_classes:  # numbers, where the model's classes have names
            numbers[place] = place
    unknown = [dataset.classes[place] for place in np.flatnonzero((numbers < 0) & (counts > 0))]
    if unknown:
        raise DataError(
            f"{dataset.name}: has the class {unknown[0]!r}, which the model does not know. "
            f"To add it, pass `add_classes={unknown[:10]}`"
        )
    return numbers
