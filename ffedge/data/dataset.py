"""A data set: its splits, opened and checked, and the hash that names its content."""

import hashlib
from dataclasses import dataclass

import numpy as np

from ffedge.data.cache_folder import sha256_of
from ffedge.data.checks import LABEL_ROWS, LabelColumn, as_inputs, as_labels
from ffedge.data.known import KnownDataset
from ffedge.data.merged import Sample, sample_of
from ffedge.data.rows import Labels, Rows, RowSource, places
from ffedge.errors import DataError

_TOGETHER = "Pass files that belong together."


@dataclass(frozen=True)
class Split:
    """Inputs ``[N, *input_shape]`` and their labels ``[N]``, from 0; both are indexed by arrays of rows."""

    inputs: RowSource
    labels: Labels


@dataclass(frozen=True)
class Dataset:
    """A data set, checked and open.

    Attributes
    ----------
    name : the known name, or the path's last part.
    train, test : `test` is None where there is no test split.
    classes : names; label c is ``classes[c]``.
    sha256 : of the sha256 digests (hexadecimal, a line each) of its unpacked files: train inputs, train labels, test
        inputs, test labels. The same whether the files are gzipped or not.
    sample : some train inputs as they came, where their type is one that float32 may not hold.
    """

    name: str
    train: Split
    test: Split | None
    classes: tuple[str, ...]
    sha256: str
    sample: Sample | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self.train.inputs.row_shape

    @property
    def input_dtype(self) -> str:
        """``uint8`` or ``float32``."""
        return self.train.inputs.dtype.name

    @property
    def n_classes(self) -> int:
        """Count of classes, C."""
        return len(self.classes)


def assemble(
    name: str, parts: tuple[Rows, ...], known: KnownDataset | None, *, one_class: bool = False, finite: bool = True
) -> Dataset:
    """Check the parts against each other and make a data set of them.

    Parameters
    ----------
    parts : train inputs, train labels and, if there is a test split, test inputs, test labels.
    known : what the parts are expected to be.
    one_class : whether rows of one class will do.
    finite : whether to refuse inputs that are not.

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
    column = as_labels(pairs[0][1], pairs[0][1].name)
    classes = _classes(column, pairs[0][1].name, known.classes if known else column.names, one_class)
    train = Split(as_inputs(pairs[0][0], pairs[0][0].name, finite=finite), column.labels)
    test = _test_split(*pairs[1], classes, column.names, finite) if len(pairs) > 1 else None
    sha256 = hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()
    return Dataset(name, train, test, classes, sha256, sample_of(pairs[0][0]))


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


def _classes(column: LabelColumn, name: str, names: tuple[str, ...] | None, one_class: bool) -> tuple[str, ...]:
    if column.low == column.high and not one_class:
        label = column.names[0] if column.names else column.low
        raise DataError(f"{name}: all labels are {label}, but training needs 2 classes or more. Add rows.")
    return names or tuple(str(number) for number in range(column.high + 1))


def _test_split(
    inputs: Rows, labels: Rows, classes: tuple[str, ...], names: tuple[str, ...] | None, finite: bool
) -> Split:
    column = as_labels(labels, labels.name, names)
    if column.high >= len(classes):
        row, label = _first_beyond(column.labels, len(classes) - 1)
        raise DataError(
            f"{labels.name}: row {row} (from 0) has label {label}, but the train labels end at "
            f"{len(classes) - 1}. {_TOGETHER}"
        )
    return Split(as_inputs(inputs, inputs.name, finite=finite), column.labels)


def _first_beyond(labels: Labels, last: int) -> tuple[int, int]:
    """Return the first row whose label is greater than `last`, and that label."""
    parts = places(len(labels), LABEL_ROWS)
    return next((int(row), int(labels[part][row - part[0]])) for part in parts for row in part[labels[part] > last])
