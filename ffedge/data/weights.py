"""What each row counts in the loss: by its class and by a weight of its own; 1 in the mean over the rows that learn.

Shape letters: N rows, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ffedge.class_weight import read
from ffedge.data.dataset import Split
from ffedge.data.rows import Labels, places
from ffedge.data.stream import OtherRows
from ffedge.errors import DataError

BLOCK = 2**14
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class RowWeights:
    """The weights of a source's rows, indexed by an array of rows; only what is asked for is in memory.

    Attributes
    ----------
    by_class : [C] of a row of each class.
    own : [N] of each row; None where all are alike.
    """

    labels: Labels
    by_class: NDArray[np.float64]
    own: Any

    def __getitem__(self, rows: NDArray[np.int64]) -> Floats:
        """Return the weights of the rows [n]."""
        weights = self.by_class[self.labels[rows]]
        return (weights if self.own is None else weights * self.own[rows]).astype(np.float32)


class Extended:
    """The weights of some rows, then 1 for each of some more, indexed by an array of rows."""

    def __init__(self, own: Any, more: int) -> None:
        self._own, self._more = own, more

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._own) + self._more

    def __getitem__(self, rows: NDArray[np.int64]) -> Floats:
        """Return the weights of the rows [n]."""
        result = np.ones(len(rows), np.float32)
        first = rows < len(self._own)
        result[first] = self._own[rows[first]]
        return result


class StreamWeights:
    """The weights of a stream's rows, by how many of each class came so far; a row's own weight stays as it is.

    Parameters
    ----------
    labels : [N] of rows that count as come before.
    """

    def __init__(self, class_weight: str, classes: Sequence[str], labels: NDArray[np.int64]) -> None:
        self._text, self._classes = class_weight, classes
        self._counts = np.bincount(labels, minlength=len(classes))

    def __call__(self, labels: NDArray[np.int64], own: Floats | None) -> Floats | None:
        """Return the weights of the next rows, from their labels [n] and their own weights; None where all are 1."""
        if self._text == "none":
            return own
        self._counts += np.bincount(labels, minlength=len(self._classes))
        by_class = _factors(self._text, self._classes, self._counts)
        by_class *= self._counts.sum() / (by_class @ self._counts)
        return (by_class[labels] if own is None else by_class[labels] * own).astype(np.float32)


def checked(given: ArrayLike, name: str, rows: int) -> Floats:
    """Return the weights [n] of so many rows; DataError, beginning with a name, where they are none."""
    try:
        values = np.atleast_1d(np.asarray(given))
    except ValueError as error:
        raise DataError(f"{name}: weights must be numbers, got lists of several lengths") from error
    if values.shape not in ((rows,), (rows, 1)):
        raise DataError(f"{name}: holds {rows} inputs, but weights of shape {list(values.shape)}. Give each row one.")
    if values.dtype.kind not in "biuf":
        raise DataError(f"{name}: weights must be numbers, got {values.dtype}. Convert them.")
    values = values.reshape(-1)
    with np.errstate(over="ignore"):
        weights = np.ascontiguousarray(values, np.float32)
    if len(bad := np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))):
        raise DataError(f"{name}: row {bad[0]} has weight {values[bad[0]]}, must be 0 or more. Mend it.")
    return weights


def row_weights(split: Split, rows: OtherRows, class_weight: str, classes: Sequence[str]) -> RowWeights | None:
    """Return the weights of the rows that learn; None where all count alike.

    Raises
    ------
    DataError
        All of them count nothing.
    """
    if class_weight == "none" and split.weights is None:
        return None
    counts, sums = np.zeros(len(classes), np.int64), np.zeros(len(classes))
    for part in places(len(rows), BLOCK):
        mine = rows[part]
        labels = np.asarray(split.labels[mine], np.int64)
        counts += np.bincount(labels, minlength=len(classes))
        own = None if split.weights is None else np.asarray(split.weights[mine], np.float64)
        sums += np.bincount(labels, own, minlength=len(classes))
    by_class = _factors(class_weight, classes, counts)
    total = float(by_class @ sums)
    if not total > 0:
        raise DataError("the weights of all rows that are learnt from are 0. Give some a weight above 0")
    return RowWeights(split.labels, by_class * (len(rows) / total), split.weights)


def _factors(text: str, classes: Sequence[str], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what a row of each class counts [C], from how many rows each has [C]; of any mean."""
    if text == "balanced":
        return np.where(counts > 0, 1.0 / np.maximum(counts, 1), 0.0)
    named = {} if text == "none" else read(text)
    return np.array([named.get(name, 1.0) for name in classes])
