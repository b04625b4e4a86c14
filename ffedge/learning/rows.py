"""What a model goes on learning from: new rows with the model's own class numbers, then the kept examples."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.data import Dataset, RowSource, Split
from ffedge.data.rows import Joined, Labels, places
from ffedge.errors import DataError
from ffedge.network import InputFacts
from ffedge.training.replay import Examples

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


def joined(dataset: Dataset, facts: InputFacts, kept: Examples) -> Dataset:
    """Return a data set of the training rows of one and of kept examples, with a model's classes.

    Raises
    ------
    DataError
        The rows have another shape or type than the model's, or a class that it does not know.
    """
    split, shape = dataset.train, dataset.input_shape
    if shape not in (facts.shape, (facts.size,)):
        raise DataError(f"{dataset.name}: has rows of shape {list(shape)}, but the model takes {list(facts.shape)}")
    if dataset.input_dtype != facts.dtype:
        raise DataError(f"{dataset.name}: holds {dataset.input_dtype}, but the model takes {facts.dtype}")
    rows: RowSource = split.inputs if kept.rows is None else Joined(split.inputs, kept.rows)
    labels: Any = Numbered(split.labels, _numbers(dataset, facts), kept.labels)
    return Dataset(dataset.name, Split(rows, labels), None, facts.classes, dataset.sha256)


def _numbers(dataset: Dataset, facts: InputFacts) -> NDArray[np.int64]:
    """Return the number of each of a data set's classes in a model; -1 for those of which it has no row."""
    by_name = {name: number for number, name in enumerate(facts.classes)}
    numbers = np.array([by_name.get(name, -1) for name in dataset.classes], np.int64)
    if (numbers < 0).all() and dataset.classes == tuple(map(str, range(dataset.n_classes))):
        few = min(dataset.n_classes, facts.n_classes)  # numbers, where the model's classes have names
        numbers[:few] = np.arange(few)
    counts, labels = np.zeros(dataset.n_classes, np.int64), dataset.train.labels
    for part in places(len(labels), LABEL_BLOCK):
        counts += np.bincount(labels[part], minlength=dataset.n_classes)
    if unknown := [dataset.classes[place] for place in np.flatnonzero((numbers < 0) & (counts > 0))]:
        raise DataError(
            f"{dataset.name}: has the class {unknown[0]!r}, which the model does not know. "
            f"To add it, pass `add_classes={unknown[:10]}`"
        )
    return numbers
