"""How well a model file does on a data set: read block by block, so that memory stays bounded."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ffedge.data import Dataset, Split
from ffedge.data.matched import matched
from ffedge.data.rows import places
from ffedge.predict.predictor import Prediction, Predictor

ROWS, BINS = 256, 15


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found; accuracies are fractions, 0 to 1.

    Attributes
    ----------
    balanced_accuracy : mean of the accuracies of the classes that have rows: a rare class counts like a frequent one.
    odd_rows : that are odd (`ffedge.model.readings`): not known, and right only by chance.
    known : share of the rows whose answers count as known.
    known_error : share of these that are wrong; None where there are none.
    calibration_error : expected, of the probabilities: how far the best one lies from the share that is right, in the
        mean over 15 bins of it (ECE, arXiv:1706.04599); None where the model has no probabilities.
    layer_accuracy : of each layer's goodness alone; empty where the model does not tell it (an exported form).
    class_accuracy : of the rows of each class; None where there are none.
    confusion : [C, C] rows of true class i that were given label j.
    """

    accuracy: float
    balanced_accuracy: float
    rows: int
    odd_rows: int
    known: float
    known_error: float | None
    calibration_error: float | None
    layer_accuracy: list[float]
    class_accuracy: list[float | None]
    confusion: list[list[int]]
    classes: list[str]

    def __repr__(self) -> str:
        """Say what was found, in a line."""
        of = f"of {self.rows:,} rows, balanced {self.balanced_accuracy:.2%}, known {self.known:.2%}"
        return f"<Evaluation: accuracy {self.accuracy:.2%} {of}, {len(self.classes)} classes>"


def predicted(
    predictor: Predictor, split: Split, rows: NDArray[np.int64] | None = None, *, layers: bool = False
) -> Iterator[tuple[NDArray[np.int64], Prediction]]:
    """Yield the true labels [n] of some rows (all, or the given ones), and a model's answers, a block at a time."""
    for at in places(len(split.labels) if rows is None else len(rows), ROWS):
        part = at if rows is None else rows[at]
        yield np.asarray(split.labels[part], np.int64), predictor.predict(split.inputs.take(part), layers=layers)


def accuracy(predictor: Predictor, split: Split, rows: NDArray[np.int64] | None = None) -> float:
    """Return the share of rows (all, or the given ones) that get their true label."""
    hits = sum(int((answers.place == true).sum()) for true, answers in predicted(predictor, split, rows))
    return hits / (len(split.labels) if rows is None else len(rows))


def evaluate(predictor: Predictor, dataset: Dataset, *, on_train: bool = False) -> Evaluation:
    """Measure a model on a data set's test split, or on its train split where there is no other or it is asked for.

    Raises
    ------
    DataError
        The data set has a class that the model does not know (they are matched by name), or another input shape.
    """
    split = dataset.train if on_train or dataset.test is None else dataset.test
    count, layers = predictor.facts.n_classes, len(predictor.recipe.network.widths) if predictor.has_layers else 0
    split = matched(dataset, split, predictor.classes)
    confusion, hits = np.zeros((count, count), np.int64), np.zeros(layers, np.int64)
    known = wrong = odd = 0
    bins = np.zeros((BINS, 2))  # of the best probability: rows that are right, and its sum
    for true, answers in predicted(predictor, split, layers=layers > 0):
        np.add.at(confusion, (true, answers.place), 1)
        odd += len(answers.odd)
        known += int(answers.known.sum())
        wrong += int((answers.known & (answers.place != true)).sum())
        if predictor.temperature is not None:
            sure = answers.proba.max(axis=1)
            place = np.minimum((sure * BINS).astype(int), BINS - 1)
            np.add.at(bins, place, np.stack([answers.place == true, sure], axis=1))
        if layers:
            hits += (answers.goodness.argmax(axis=2) == true[:, None]).sum(axis=0)
    rows, per_class = len(split.labels), confusion.sum(axis=1)
    some = per_class > 0
    return Evaluation(
        accuracy=float(confusion.trace()) / rows,
        balanced_accuracy=float((confusion.diagonal()[some] / per_class[some]).mean()),
        rows=rows,
        odd_rows=odd,
        known=known / rows,
        known_error=wrong / known if known else None,
        calibration_error=None if predictor.temperature is None else float(np.abs(bins @ [1, -1]).sum()) / rows,
        layer_accuracy=[float(hit) / rows for hit in hits],
        class_accuracy=[float(confusion[c, c]) / n if (n := int(per_class[c])) else None for c in range(count)],
        confusion=confusion.tolist(),
        classes=list(predictor.classes),
    )
