"""Every random draw of a run, each from a generator of its own that depends on the seed and on where the draw stands.

So a run needs no saved generator state to go on where it stopped, both engines see the same draws, and a batch gets the
same draws however it is cut into chunks.
"""

from enum import IntEnum

import numpy as np


class Draw(IntEnum):
    """What is drawn."""

    WEIGHTS = 0
    HOLDOUT = 1
    ORDER = 2
    NEGATIVES = 3
    DROPOUT = 4
    SHIFT = 5


def generator(seed: int, draw: Draw, *where: int) -> np.random.Generator:
    """Return the generator for one draw; `where` is the layer, or stage, epoch and step."""
    return np.random.default_rng([seed, draw, *where])
