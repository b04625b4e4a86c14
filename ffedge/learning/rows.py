"""What a model goes on learning from: new rows with the model's own class numbers, then the kept examples."""

from typing import Any

from ffedge.data import Dataset, RowSource, Split
from ffedge.data.matched import Numbered, numbers_in, refuse_unknown
from ffedge.data.rows import Joined
from ffedge.data.weights import Extended
from ffedge.errors import DataError
from ffedge.network import InputFacts
from ffedge.training.replay import Examples


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
    numbers = numbers_in(dataset, facts.classes)
    refuse_unknown(dataset, split, numbers, facts.classes, adds=True)
    rows: RowSource = split.inputs if kept.rows is None else Joined(split.inputs, kept.rows)
    labels: Any = Numbered(split.labels, numbers, kept.labels)
    weights = None if split.weights is None else Extended(split.weights, len(kept.labels))
    return Dataset(dataset.name, Split(rows, labels, weights), None, facts.classes, dataset.sha256)
