"""A data set's labels as the places of a model's classes: they are matched by name, wherever each has its own order."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.columns import spelt_as
from ffedge.data.dataset import Dataset, Split
from ffedge.data.rows import Labels, places
from ffedge.errors import DataError
from ffedge.labels import like_number

LABEL_BLOCK = 2**14
MOST_NAMED = 10
NO_LABELS = np.zeros(0, np.int64)


class Numbered:
    """Labels of a source as places of a model's classes, then others, indexed by an array of rows."""

    def __init__(self, labels: Labels, numbers: NDArray[np.int64], more: NDArray[np.int64] = NO_LABELS) -> None:
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


def matched(dataset: Dataset, split: Split, classes: tuple[str, ...]) -> Split:
    """Return a split of a data set with a model's classes.

    Raises
    ------
    DataError
        A row has a class that the model does not know.
    """
    numbers = numbers_in(dataset, classes)
    refuse_unknown(dataset, split, numbers, classes)
    if np.array_equal(numbers, np.arange(len(classes))):
        return split
    labels: Any = Numbered(split.labels, numbers)
    return Split(split.inputs, labels, split.weights)


def numbers_in(dataset: Dataset, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the place of each of a data set's classes among a model's; -1 for one that the model does not know.

    Where the model's classes are words and the labels are numbers of an array, these are the places. Names of folders
    and texts of a table are names alone.
    """
    by_name = {name.strip(): place for place, name in enumerate(classes)}
    by_name |= {name: place for place, name in enumerate(classes)}
    numbers = np.array([by_name.get(spelt_as(name, by_name), -1) for name in dataset.classes], np.int64)
    are_places = dataset.by_number and not any(map(like_number, classes)) and (numbers < 0).all()
    if are_places and all(name.isdecimal() for name in dataset.classes):
        wanted = [int(name) for name in dataset.classes]
        numbers = np.array([place if place < len(classes) else -1 for place in wanted], np.int64)
    return numbers


def unknown_classes(dataset: Dataset, split: Split, numbers: NDArray[np.int64]) -> list[str]:
    """Return the names of the classes that a row of a split has and a model does not know.

    Parameters
    ----------
    numbers : as of `numbers_in`.
    """
    if (numbers >= 0).all():
        return []
    counts = np.zeros(dataset.n_classes, np.int64)
    for part in places(len(split.labels), LABEL_BLOCK):
        counts += np.bincount(split.labels[part], minlength=dataset.n_classes)
    return [dataset.classes[place] for place in np.flatnonzero((numbers < 0) & (counts > 0))]


def refuse_unknown(
    dataset: Dataset, split: Split, numbers: NDArray[np.int64], classes: tuple[str, ...], *, adds: bool = False
) -> None:
    """Raise DataError where a row has a class that the model does not know.

    Parameters
    ----------
    numbers : as of `numbers_in`.
    adds : whether the model may learn further classes from the rows.
    """
    unknown = unknown_classes(dataset, split, numbers)
    if not unknown:
        return
    shown = ", ".join(classes[:MOST_NAMED]) + (", …" if len(classes) > MOST_NAMED else "")
    remedy = "Leave its rows out, or rename it"
    if adds:
        several = f", or `add_new=True` for all {len(unknown)} such classes" if len(unknown) > 1 else ""
        remedy = f"To add it, pass `add_classes={unknown[:MOST_NAMED]}`{several}"
    raise DataError(
        f"{dataset.name}: has the class {unknown[0]!r}, which the model does not know (its classes: {shown}). {remedy}"
    )
