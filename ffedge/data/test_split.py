"""Rows to test on that a user chooses: another data set, or a share of the rows, the same of each class.

Shape letters: N rows, n rows asked for, C classes.
"""

import dataclasses
import hashlib

import numpy as np
from numpy.typing import NDArray

from ffedge.data.dataset import Dataset, Split, chosen
from ffedge.data.label_column import LABEL_ROWS
from ffedge.data.matched import matched
from ffedge.data.rows import Labels, places
from ffedge.data.stream import OtherRows
from ffedge.errors import DataError
from ffedge.seeds import Draw, Permutation

SEED = 0  # the same rows whatever a training's seed is, so that trainings can be compared


def with_share(dataset: Dataset, share: float) -> Dataset:
    """Take a share of each class aside to test on; of a class of two rows or more at least one, and never all."""
    labels = dataset.train.labels
    taken = _stratified(labels, dataset.n_classes, share)
    if not len(taken):
        raise DataError(f"{dataset.name}: has no class of two rows or more, so that none can be taken for `test`")
    splits = [chosen(dataset.train, rows) for rows in (OtherRows(len(labels), taken), taken)]
    return _named(dataset, splits, f"{share}")


def with_other(dataset: Dataset, other: Dataset) -> Dataset:
    """Take the train rows of another data set to test on; its classes are found by name.

    Raises
    ------
    DataError
        Its rows are of another shape or type, or of a class that the data set does not have.
    """
    if (other.input_shape, other.input_dtype) != (dataset.input_shape, dataset.input_dtype):
        mine, theirs = (f"{d.input_dtype} {list(d.input_shape)}" for d in (dataset, other))
        raise DataError(f"{other.name}: has rows of {theirs}, but {dataset.name} of {mine}. Make them alike")
    test = matched(other, other.train, dataset.classes)
    named = _named(dataset, [dataset.train, test], other.sha256)
    told = (f"to test on, {other.name}: {note}" for note in other.notes)
    return dataclasses.replace(named, notes=(*dataset.notes, *told))


def _named(dataset: Dataset, splits: list[Split], what: str) -> Dataset:
    sha256 = hashlib.sha256(f"{dataset.sha256}\n{what}\n".encode()).hexdigest()
    return dataclasses.replace(dataset, train=splits[0], test=splits[1], sha256=sha256)


def _stratified(labels: Labels, n_classes: int, share: float) -> NDArray[np.int64]:
    """Return the rows that are taken, in ascending order: of each class so many places in a random order of its rows.

    Only what is taken is in memory.
    """
    counts = np.zeros(n_classes, np.int64)
    for part in places(len(labels), LABEL_ROWS):
        counts += np.bincount(labels[part], minlength=n_classes)
    wanted = np.minimum(np.maximum(np.round(counts * share), 1), counts - 1)
    ranks = [
        np.sort(Permutation(int(n), SEED, Draw.TEST, c).at(np.arange(int(k)))) if k > 0 else np.zeros(0, np.int64)
        for c, (n, k) in enumerate(zip(counts, wanted, strict=True))
    ]
    before, found = np.zeros(n_classes, np.int64), []
    for part in places(len(labels), LABEL_ROWS):
        block = np.asarray(labels[part])
        for c in np.unique(block):
            mine = part[block == c]
            taken = ranks[c][(ranks[c] >= before[c]) & (ranks[c] < before[c] + len(mine))]
            found.append(mine[taken - before[c]])
            before[c] += len(mine)
    return np.sort(np.concatenate(found))
