"""Accuracy of a spiking network by the number of timesteps, and of decisions as soon as they hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ffedge.data import Dataset
from ffedge.data.matched import matched
from ffedge.data.rows import places
from ffedge.model.readings import Readings
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
        The data set has a class that the network does not know (they are matched by name), or another input shape.
    """
    split = dataset.train if on_train or dataset.test is None else dataset.test
    split = matched(dataset, split, predictor.classes)
    rows, margin = len(split.labels), predictor.margin
    hits, layer_hits = np.zeros(len(timesteps), np.int64), np.zeros(predictor.layers, np.int64)
    early_hits = early_timesteps = 0
    readings = Readings(predictor.facts)
    for part in places(rows, ROWS):
        raw, true = readings.read(split.inputs.take(part))[0], split.labels[part]
        each = predictor.goodness_after(raw, timesteps)
        hits += [(predictor.scores(goodness).argmax(axis=1) == true).sum() for goodness in each]
        layer_hits += (each[-1].argmax(axis=2) == true[:, None]).sum(axis=0)
        if margin is not None:
            early_hits += int((predictor.predict(raw).place == true).sum())
            early_timesteps += int(predictor.taken.sum())
    return SpikingEvaluation(
        rows=rows,
        timesteps=list(timesteps),
        accuracy=(hits / rows).tolist(),
        layer_accuracy=(layer_hits / rows).tolist(),
        margin=margin,
        early_accuracy=None if margin is None else early_hits / rows,
        early_timesteps=None if margin is None else early_timesteps / rows,
    )
