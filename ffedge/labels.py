"""How labels are tried: the wrong ones that go beside the true one, and where a label can stand in an input.

And which names of classes look like numbers.

Shape letters: N samples, C classes, K wrong labels a sample, M = 1 + K.
"""

import math

import numpy as np
from numpy.typing import NDArray

from ffedge.seeds import Words, hashed

Labels = NDArray[np.int64]
FREE_BORDER_SHARE = 0.9


def wrong_labels(true: Labels, places: Labels, n_negatives: int, n_classes: int, key: Words) -> Labels:
    """Draw K different wrong labels [N, K] for each true label [N]: every set equally likely, the true one never.

    Parameters
    ----------
    places : [N] of the samples in the data set. With the key (two words) they say what is drawn, so that it does not
        depend on which samples are drawn for together.

    Notes
    -----
    Floyd's algorithm (Bentley and Floyd 1987) draws a set out of the C - 1 steps that lead from the true label to the
    others, going round.
    """
    steps = np.empty((len(true), n_negatives), np.int64)
    for k in range(n_negatives):
        last = n_classes - 1 - n_negatives + k
        drawn = (hashed(key, places, k) % np.uint64(last + 1)).astype(np.int64)
        taken = (steps[:, :k] == drawn[:, None]).any(axis=1)
        steps[:, k] = np.where(taken, last, drawn)
    return (steps + 1 + true[:, None]) % n_classes


def gumbel_noise(rng: "np.random.Generator", shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Draw noise that, added to logarithms of weights, makes the largest one a draw by these weights."""
    noise: NDArray[np.float64] = -np.log(-np.log(rng.random(shape).clip(1e-12, 1 - 1e-12)))
    return noise


def hard_labels(goodness: NDArray[np.float32], true: Labels, n_negatives: int, rng: "np.random.Generator") -> Labels:
    """Draw K different wrong labels [N, K] from the softmax of the class goodness [N, C], never the true one.

    Notes
    -----
    Adding Gumbel noise and taking the K largest draws without replacement (arXiv:1903.06059, section 2.3).
    """
    scores = goodness + gumbel_noise(rng, goodness.shape)
    scores[np.arange(len(true)), true] = -np.inf
    return np.argpartition(-scores, n_negatives - 1, axis=1)[:, :n_negatives].astype(np.int64)


def tried_labels(true: Labels, wrong: Labels) -> Labels:
    """Put the true label [N] before the wrong ones [N, K]: [N, M]."""
    return np.concatenate([true[:, None], wrong], axis=1)


def is_free(first_inputs: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Say for each row of the first C inputs [N, C] whether it is empty, so that a label may stand there."""
    free: NDArray[np.bool_] = (first_inputs == 0).all(axis=1)
    return free


def like_number(name: str) -> bool:
    """Say whether a class's name may be taken for a number, as 10, -1, 01 and 2.0 may."""
    try:
        return math.isfinite(float(name))
    except ValueError:
        return False
