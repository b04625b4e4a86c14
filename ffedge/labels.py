"""How labels are tried: the wrong ones that go beside the true one, and where a label can stand in an input.

Shape letters: N samples, C classes, K wrong labels a sample, M = 1 + K.
"""

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
FREE_BORDER_SHARE = 0.9


def wrong_labels(true: Labels, n_negatives: int, n_classes: int, rng: np.random.Generator) -> Labels:
    """Draw K different wrong labels [N, K] for each true label [N], all equally likely, never the true one."""
    if n_negatives == 1:
        return (true[:, None] + rng.integers(1, n_classes, (len(true), 1))) % n_classes
    return _top(rng.random((len(true), n_classes)), true, n_negatives)


def hard_labels(goodness: NDArray[np.float32], true: Labels, n_negatives: int, rng: np.random.Generator) -> Labels:
    """Draw K different wrong labels [N, K] from the softmax of the class goodness [N, C], never the true one.

    Notes
    -----
    Adding Gumbel noise and taking the K largest draws without replacement (arXiv:1903.06059, section 2.3).
    """
    noise = -np.log(-np.log(rng.random(goodness.shape).clip(1e-12, 1 - 1e-12)))
    return _top(goodness + noise, true, n_negatives)


def tried_labels(true: Labels, wrong: Labels) -> Labels:
    """Put the true label [N] before the wrong ones [N, K]: [N, M]."""
    return np.concatenate([true[:, None], wrong], axis=1)


def is_free(first_inputs: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Say for each row of the first C inputs [N, C] whether it is empty, so that a label may stand there."""
    free: NDArray[np.bool_] = (first_inputs == 0).all(axis=1)
    return free


def _top(scores: NDArray[np.float64], true: Labels, count: int) -> Labels:
    scores[np.arange(len(true)), true] = -np.inf
    return np.argpartition(-scores, count - 1, axis=1)[:, :count].astype(np.int64)
