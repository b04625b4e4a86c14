"""Accuracy of a spiking network by the number of timesteps, and of decisions as soon as they hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ffedge.data import Dataset
from ffedge.data.rows import places
from ffedge.errors import DataError
from ffedge.predict.predictor import samples_of
from ffedge.spikes.predictor import SpikingPredictor

ROWS = 256


@dataclass(frozen=True)
class SpikingEvaluation:
    """What `evaluate_spikes` found; accuracies are fractions, 0 to 1.

    Attributes
    ----------
    timesteps, accuracy : of each number of timesteps.
    layer_accuracy : of each layer's goodness alone, after the most timesteps.
    margin : of early decisions, as a share of the score; None without them.
    early_accuracy, early_timesteps : of early decisions, and the mean of the timesteps that they took.
    """

    rows: int
    timesteps: list[int]
    accuracy: list[float]
    layer_accuracy: list[float]
    margin: float | None = None
    early_accuracy: float | None = None
    early_timesteps: float | None = None


def evaluate_spikes(
    predictor: SpikingPredictor, dataset: Dataset, timesteps: Sequence[int], *, on_train: bool = False
) -> SpikingEvaluation:
    """Measure a spiking network after each of some numbers of timesteps, ascending, in one run of each row.

    Where the predictor has a margin, decisions taken early are measured too.

    Raises
    ------
    DataError
        The data set has other classes or another input shape than the network.
    """
    split = dataset.train if on_train or dataset.test is None else dataset.test
    if dataset.n_classes > predictor.facts.n_classes:
        known = predictor.facts.n_classes
        raise DataError(f"{dataset.name}: has {dataset.n_classes} classes, but the network knows {known}")
    rows, hits, layer_hits, early = len(split.labels), list[Any](), list[Any](), list[Any]()
    for part in places(rows, ROWS):
        raw, true = samples_of(split.inputs.take(part), predictor.facts), split.labels[part]
        each = predictor.goodness_after(raw, timesteps)
        hits.append([(predictor.scores(goodness).argmax(axis=1) == true).sum() for goodness in each])
        layer_hits.append((each[-1].argmax(axis=2) == true[:, None]).sum(axis=0))
        if predictor.margin is not None:
            early.append([(predictor.predict(raw).label == true).sum(), predictor.taken.sum()])
    accuracy, alone, decided = (np.sum(counts, axis=0) / rows for counts in (hits, layer_hits, early or [[0, 0]]))
    at_once = (float(decided[0]), float(decided[1])) if early else (None, None)
    return SpikingEvaluation(rows, list(timesteps), accuracy.tolist(), alone.tolist(), predictor.margin, *at_once)
