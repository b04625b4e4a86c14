"""What a model says of rows that it did not learn from, as the page shows it; read block by block.

Shape letters: N rows, C classes, L layers, B bins.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.data import Dataset, Split
from ffedge.data.matched import matched
from ffedge.data.stream import spread_evenly
from ffedge.predict.evaluation import predicted
from ffedge.predict.predictor import Predictor
from ffedge.training.odd import split_as_trained

SHOWN, SAMPLE, BINS, MOST_ROWS = 24, 2_000, 32, 200_000


@dataclass(frozen=True)
class Shown:
    """A row that the page shows: its number in the split, the input, the true and the given place, and the margin."""

    row: int
    input: NDArray[Any]
    true: int
    given: int
    margin: float


@dataclass(frozen=True)
class Answers:
    """What was said.

    Attributes
    ----------
    of : which rows these are, as in ``test rows``; `count` of them.
    confusion : [C, C] rows of true class i that were given label j.
    mistakes, unsure : the wrong rows with the largest margin, and the rows with the smallest, the first one first.
    rejection : share of the rows that are answered, and the accuracy among them, as the least margin falls.
    calibration : of rows of like probability the mean of it, and the share of them that is right; empty where the
        model has no probabilities.
    known : as `rejection`, for what counts as known; None where the model has no calibration, or knows none.
    goodness : of each layer the edges [B + 1], and counts [B] of the true label's goodness and of the best other's;
        empty where the model does not tell it.
    """

    of: str
    count: int
    confusion: NDArray[np.int64]
    mistakes: list[Shown]
    unsure: list[Shown]
    rejection: list[tuple[float, float]]
    calibration: list[tuple[float, float]]
    known: tuple[float, float] | None
    goodness: list[tuple[list[float], list[int], list[int]]]

    @property
    def accuracy(self) -> float:
        """Share of the rows that got their true label."""
        return float(self.confusion.trace()) / self.count


def answers(predictor: Predictor, dataset: Dataset) -> Answers:
    """Ask a model about the test rows of a data set; without them about those that were held out, or else learnt from.

    Raises
    ------
    DataError
        The data do not fit the model.
    """
    of, split, rows = _rows(predictor, dataset)
    split, count = matched(dataset, split, predictor.classes), len(predictor.classes)
    confusion = np.zeros((count, count), np.int64)
    margins, sure = np.empty((2, len(rows)), np.float32)
    right, known = np.empty((2, len(rows)), np.bool_)
    places, start = np.empty(len(rows), np.int64), 0
    for true, answer in predicted(predictor, split, rows):
        part = slice(start, start + len(true))
        np.add.at(confusion, (true, answer.place), 1)
        margins[part] = np.where(np.isfinite(answer.margin), answer.margin, 0)
        right[part], known[part], places[part] = answer.place == true, answer.known, answer.place
        if predictor.temperature is not None:
            sure[part] = answer.proba.max(axis=1)
        start += len(true)

    def shown(which: NDArray[np.intp]) -> list[Shown]:
        at = rows[which]
        inputs, true = split.inputs.take(at), np.asarray(split.labels[at], np.int64)
        return [
            Shown(int(at[i]), inputs[i], int(true[i]), int(places[w]), float(margins[w])) for i, w in enumerate(which)
        ]

    wrong = np.flatnonzero(~right)
    return Answers(
        of=of,
        count=len(rows),
        confusion=confusion,
        mistakes=shown(wrong[np.argsort(-margins[wrong], kind="stable")[:SHOWN]]),
        unsure=shown(np.argsort(margins, kind="stable")[:SHOWN]),
        rejection=_rejection(margins, right),
        calibration=[] if predictor.temperature is None else _calibration(sure, right),
        known=_known(known, right) if predictor.calibration else None,
        goodness=_goodness(predictor, split, rows) if predictor.has_layers else [],
    )


def _rows(predictor: Predictor, dataset: Dataset) -> tuple[str, Split, NDArray[np.int64]]:
    """Return which rows are asked about, their split and their numbers: at most `MOST_ROWS`, evenly spread."""
    if dataset.test is not None:
        count = len(dataset.test.labels)
        return "test rows", dataset.test, spread_evenly(count, MOST_ROWS)
    held, _ = split_as_trained(dataset, predictor.recipe)
    if len(held):
        return "rows held out of training", dataset.train, held[spread_evenly(len(held), MOST_ROWS)]
    return "rows it learnt from", dataset.train, spread_evenly(len(dataset.train.labels), 10_000)


def _rejection(margins: NDArray[np.float32], right: NDArray[np.bool_]) -> list[tuple[float, float]]:
    hits = np.cumsum(right[np.argsort(-margins, kind="stable")])
    counts = np.unique(np.linspace(1, len(right), 101).round().astype(np.int64))
    counts = counts[counts >= min(len(right), 5)]  # the share of fewer rows jumps about
    return [(int(n) / len(right), float(hits[n - 1] / n)) for n in counts]


def _calibration(sure: NDArray[np.float32], right: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Return the mean probability of the best class and the share that is right, in ten parts of the probability."""
    part = np.minimum((sure * 10).astype(np.int64), 9)
    bins = [part == i for i in range(10)]
    return [(float(sure[rows].mean(dtype=np.float64)), float(right[rows].mean())) for rows in bins if rows.any()]


def _known(known: NDArray[np.bool_], right: NDArray[np.bool_]) -> tuple[float, float] | None:
    return (float(known.mean()), float(right[known].mean())) if known.any() else None


def _goodness(
    predictor: Predictor, split: Split, rows: NDArray[np.int64]
) -> list[tuple[list[float], list[int], list[int]]]:
    """Count the goodness of true labels and of the best others, of at most `SAMPLE` rows, between 0.5 % and 99.5 %."""
    trues, others = [], []
    for true, answer in predicted(predictor, split, rows[spread_evenly(len(rows), SAMPLE)], layers=True):
        goodness, at = answer.goodness, true[:, None, None]
        trues.append(np.take_along_axis(goodness, np.broadcast_to(at, (*goodness.shape[:2], 1)), axis=2)[:, :, 0])
        rest = goodness.copy()
        np.put_along_axis(rest, np.broadcast_to(at, (*goodness.shape[:2], 1)), -np.inf, axis=2)
        others.append(rest.max(axis=2))
    result = []
    pairs = (np.concatenate(each).astype(np.float64).T for each in (trues, others))
    for mine, best in zip(*pairs, strict=True):
        both = np.concatenate([mine, best])
        both = both[np.isfinite(both)]
        if not len(both):
            continue
        low, high = np.quantile(both, [0.005, 0.995])
        bins = min(BINS, max(6, math.isqrt(len(mine))))
        edges = np.linspace(low, high if high > low else low + 1, bins + 1)
        inside = [np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0].tolist() for values in (mine, best)]
        result.append((edges.tolist(), *inside))
    return result
