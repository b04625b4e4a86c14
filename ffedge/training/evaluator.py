"""How well a network does while it is on its engine: read block by block, so that memory stays bounded."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ffedge.data import Split
from ffedge.model.calibration import Calibration
from ffedge.model.temperature import calibrated
from ffedge.training.step import BatchLearner, Floats, evaluated_samples

Places = NDArray[np.int64]


class Evaluator:
    """Measures accuracy by what the layers of an engine have learnt so far."""

    def __init__(self, learner: BatchLearner) -> None:
        self._learner, self._recipe = learner, learner.recipe
        self._layers = len(learner.recipe.network.widths)

    def accuracy(self, split: Split, rows: Places) -> float:
        """Return the share of some rows of a split that all layers together give their true label."""
        return float(self.hits(split, rows, self._layers)[0][-1]) / len(rows)

    def accuracies(self, split: Split, rows: Places) -> tuple[float, float]:
        """Return that share, and the mean of the shares of the classes that have rows: balanced accuracy.

        No row is of a class that the network does not know.
        """
        right, count = np.zeros((2, self._learner.n_classes), np.int64)
        for part, _, scores in self._scored(split, rows, self._layers):
            true = np.asarray(split.labels[part], np.int64)
            count += np.bincount(true, minlength=len(count))
            right += np.bincount(true[scores.argmax(axis=1) == true], minlength=len(count))
        return float(right.sum()) / len(rows), float((right[count > 0] / count[count > 0]).mean())

    def hits(self, split: Split, rows: Places, layers: int) -> tuple[Places, NDArray[np.bool_]]:
        """Count the rows that each of the first layers, and last their sum, gets right.

        Returns
        -------
        tuple of ndarray
            The counts [layers + 1], and whether all of a layer's goodness is finite [layers].
        """
        hits, finite = np.zeros(layers + 1, np.int64), np.ones(layers, np.bool_)
        for part, goodness, scores in self._scored(split, rows, layers):
            true = np.asarray(split.labels[part])
            finite &= np.isfinite(goodness).all(axis=(0, 2))
            hits[:-1] += (goodness.argmax(axis=2) == true[:, None]).sum(axis=0)
            hits[-1] += (scores.argmax(axis=1) == true).sum()
        return hits, finite

    def calibration(self, parts: Sequence[tuple[Split, Places]]) -> Calibration | None:
        """Choose on rows that were held out what counts as known, and a temperature; None where there are none."""
        blocks = (
            (np.asarray(split.labels[part]), scores)
            for split, rows in parts
            for part, _, scores in self._scored(split, rows, self._layers)
        )
        return calibrated(blocks, self._recipe.train.coverage)

    def _scored(self, split: Split, rows: Places, layers: int) -> Iterator[tuple[Places, Floats, Floats]]:
        """Yield some rows at a time, with the goodness [N, L, C] of the first layers and its weighted sum [N, C]."""
        size = evaluated_samples(self._recipe.train, self._learner.n_classes, layers)
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            yield part, *self._learner.scored(split.inputs.take(part).reshape(len(part), -1), layers)
