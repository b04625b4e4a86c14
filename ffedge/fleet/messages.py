"""Layers as Flower carries them: an array for each parameter, named as in a model file; and the words of a round."""

from collections.abc import Mapping

import numpy as np
from flwr.app import Array as Carried
from flwr.app import ArrayRecord

from ffedge.learning.average import Array

ARRAYS, CONFIG, METRICS = "arrays", "config", "metrics"  # of a message
ROWS = "num-examples"  # Flower's own word for them
MEASURES = ("accuracy", "goodness-true", "goodness-wrong")  # of held-out rows, each a mean over them
HELD_OUT = "rows-held-out"


def packed(layers: Mapping[int, Mapping[str, Array]]) -> ArrayRecord:
    """Return layers as a record."""
    return ArrayRecord(
        {
            f"layers.{index}.{name}": Carried(np.array(array, np.float32, order="C"))
            for index, arrays in layers.items()
            for name, array in arrays.items()
        }
    )


def unpacked(record: ArrayRecord) -> dict[int, dict[str, Array]]:
    """Return what `packed` made a record of.

    Raises
    ------
    ValueError
        It is none of its.
    """
    layers: dict[int, dict[str, Array]] = {}
    for key, carried in record.items():
        _, index, name = key.split(".")
        layers.setdefault(int(index), {})[name] = carried.numpy()
    return layers
