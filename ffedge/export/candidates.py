"""How many labels the deeper layers must try: chosen on the held-out rows.

Shape letters: N samples, L layers, C classes, k labels tried.
"""

import numpy as np
from numpy.typing import NDArray

from ffedge.export.source import HeldOut, Trained
from ffedge.predict.evaluation import predicted

MOST_LOST = 0.0005  # of the held-out rows: 0.05 points


def fewest_candidates(trained: Trained, rows: HeldOut) -> int:
    """Return the smallest k, from 2 to C, that costs at most 0.05 points of accuracy on the held-out rows.

    From 2 on, so that the margin is that between two labels that were tried.
    """
    classes, hits = trained.facts.n_classes, np.zeros(trained.facts.n_classes + 1, np.int64)
    weights = np.array(trained.recipe.score_weights(trained.layers), np.float32)
    for true, answers in predicted(trained.predictor, rows.split, rows.held_out, layers=True):
        hits[1:] += hits_by_candidates(answers.goodness * weights[:, None], true)
    return next(k for k in range(2, classes + 1) if hits[classes] - hits[k] <= MOST_LOST * len(rows.held_out))


def hits_by_candidates(shares: NDArray[np.float32], true: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count the rows that get their true label when 1, 2, … C labels are tried [C].

    Parameters
    ----------
    shares : [N, L, C] of the score, by layer.
    """
    order = np.argsort(-shares[:, 0], axis=1, kind="stable")
    scores = np.take_along_axis(shares.sum(axis=1), order, axis=1)
    label, best, hits = order[:, 0], scores[:, 0], np.empty(scores.shape[1], np.int64)
    for k in range(scores.shape[1]):
        better = scores[:, k] > best
        label, best = np.where(better, order[:, k], label), np.maximum(best, scores[:, k])
        hits[k] = (label == true).sum()
    return hits
