"""A data set: its splits, opened and checked, and the hash that names its content."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from ffedge.columns import Table, numbered
from ffedge.data.cache_folder import sha256_of
from ffedge.data.checks import as_inputs
from ffedge.data.known import KnownDataset
from ffedge.data.label_column import as_labels
from ffedge.data.merged import KEPT_DOUBLE, Sample, needs_doubles, sample_of
from ffedge.data.rows import Chosen, ChosenLabels, Labels, Rows, RowSource
from ffedge.errors import DataError

_TOGETHER = "Pass files that belong together."


@dataclass(frozen=True)
class Split:
    """Inputs ``[N, *input_shape]`` and their labels ``[N]``, from 0; both are indexed by arrays of rows.

    `weights` [N] are what the rows count in the loss, beside their class's weight; None where all are alike.
    """

    inputs: RowSource
    labels: Labels
    weights: Any = None


def chosen(split: Split, rows: Any) -> Split:
    """Return some rows of a split, by their numbers."""
    weights = None if split.weights is None else ChosenLabels(split.weights, rows)
    return Split(Chosen(split.inputs, rows), ChosenLabels(split.labels, rows), weights)


@dataclass(frozen=True)
class Dataset:
    """A data set, checked and open.

    Attributes
    ----------
    name : the known name, or the path's last part.
    train, test : `test` is None where there is no test split.
    classes : names of those that occur in the train split; a split's label c is ``classes[c]``.
    sha256 : of the sha256 digests (hexadecimal, a line each) of its unpacked files: train inputs, train labels, test
        inputs, test labels. The same whether the files are gzipped or not.
    sample : some train inputs as they came, where their type is one that float32 may not hold.
    notes : a sentence for each thing about the labels, or how a table was read, that the user may not know.
    table : the columns of a table file, or of numbers that float32 would spoil; the inputs are float64 [N, I], NaN
        where a value is missing.
    by_number : whether the labels of the files are numbers of an array, which may be places of a model's classes.
    """

    name: str
    train: Split
    test: Split | None
    classes: tuple[str, ...]
    sha256: str
    sample: Sample | None = None
    notes: tuple[str, ...] = ()
    table: Table | None = None
    by_number: bool = False

    def __repr__(self) -> str:
        """Say what it is, in a line."""
        rows = f"{len(self.train.labels):,} rows" + (f" and {len(self.test.labels):,} to test" if self.test else "")
        inputs = f"{self.input_dtype} {list(self.input_shape)}"
        return f"<Dataset {self.name}: {rows} of {inputs}, {self.n_classes} classes, sha256 {self.sha256[:8]}>"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self.train.inputs.row_shape

    @property
    def input_dtype(self) -> str:
        """``uint8``, ``float32``, or ``float64`` of a table."""
        return self.train.inputs.dtype.name

    @property
    def n_classes(self) -> int:
        """Count of classes, C."""
        return len(self.classes)


def assemble(
    name: str,
    parts: tuple[Rows, ...],
    known: KnownDataset | None,
    *,
    one_class: bool = False,
    finite: bool = True,
    table: Table | None = None,
) -> Dataset:
    """Check the parts against each other and make a data set of them.

    Parameters
    ----------
    parts : train inputs, train labels and, if there is a test split, test inputs, test labels.
    known : what the parts are expected to be.
    one_class : whether rows of one class, and numbers of any kind as labels, will do, as a model knows the classes.
    finite : whether to refuse inputs that are not.
    table : the columns of a model, or of inputs that came as doubles: rows of as many inputs are float64. Without one,
        so are those that float32 would spoil, but not to a model.

    Raises
    ------
    DataError
        If the parts do not fit each other or what is known, or cannot be trained on.
    """
    pairs = list(zip(parts[::2], parts[1::2], strict=True))
    for inputs, labels in pairs:
        _check_pair(inputs, labels, parts[0])
    digests = [part.sha256 or sha256_of(part.path) for part in parts]
    if known is not None:
        _check_known(known, parts, digests)
    column = as_labels(pairs[0][1], pairs[0][1].name, quantities=one_class)
    if len(column.names) == 1 and not one_class:
        same = f"all labels are {column.names[0]}, but training needs 2 classes or more"
        raise DataError(f"{pairs[0][1].name}: {same}. Add rows.")
    first, sample, notes = pairs[0][0], sample_of(pairs[0][0]), column.notes
    if table is None and not one_class and len(first.row_shape) == 1 and needs_doubles(sample):
        table, notes = numbered(first.row_shape[0]), (*notes, KEPT_DOUBLE)
    elif table is not None and first.row_shape != (len(table.columns),):
        table = None
    how: Any = {"finite": finite, "wide": table is not None}
    train, test = Split(as_inputs(first, first.name, **how), column.labels), None
    if len(pairs) > 1:
        inputs, labels = pairs[1]
        test = Split(as_inputs(inputs, inputs.name, **how), as_labels(labels, labels.name, column.names).labels)
    sha256 = hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()
    classes = known.classes if known else column.names
    by_number = pairs[0][1].dtype.kind in "biuf"
    return Dataset(name, train, test, classes, sha256, None if table else sample, notes, table, by_number)


def _check_pair(inputs: Rows, labels: Rows, first: Rows) -> None:
    if len(inputs) != len(labels):
        raise DataError(
            f"{labels.name}: holds {len(labels)} labels, but {inputs.name} {len(inputs)} inputs. {_TOGETHER}"
        )
    if not inputs.row_shape:
        raise DataError(f"{inputs.name}: must be [N, …], got shape {list(inputs.shape)}. Reshape it.")
    if inputs.row_shape != first.row_shape:
        raise DataError(
            f"{inputs.name}: has rows of shape {list(inputs.row_shape)}, "
            f"but {first.name} of {list(first.row_shape)}. {_TOGETHER}"
        )
    if (inputs.dtype == np.uint8) != (first.dtype == np.uint8):
        raise DataError(f"{inputs.name}: holds {inputs.dtype}, but {first.name} {first.dtype}. {_TOGETHER}")


def _check_known(known: KnownDataset, parts: tuple[Rows, ...], digests: list[str]) -> None:
    for part, got, expected in zip(parts, digests, known.sha256.values(), strict=True):
        if got != expected:
            raise DataError(
                f"{part.name}: is not {known.name}'s (its unpacked sha256 is {got}, not {expected}). "
                "Replace it, or pass its folder as `data` to use it as it is."
            )
