"""What a form says of readings as of a failed sensor: beyond what training saw, but not so far that they are odd.

Shape letters: n rows, I inputs of a sample.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.export.source import HeldOut
from ffedge.network import InputFacts
from ffedge.predict.predictor import Predictor

FAILED_ROWS = 1000
TIMES_AS_FAR = 3  # from the mean as the farthest input of a training row; from 20 on a reading is odd


def failed_readings(rows: HeldOut, facts: InputFacts) -> NDArray[Any] | None:
    """Return held-out rows [n, ...], one number of each far out: the next one in each row, to either side in turn.

    None where no number can lie far out: of bytes, and of a table of categories.
    """
    table, scale = facts.table, np.broadcast_to(np.abs(facts.scale), facts.size)
    numbers = np.flatnonzero(scale) if facts.dtype != "uint8" else np.zeros(0, np.int64)
    if table is not None:
        numbers = np.intersect1d(numbers, table.numbers)
    if not len(numbers):
        return None
    raw = rows.split.inputs.take(rows.held_out[:FAILED_ROWS])
    flat, count = raw.reshape(len(raw), facts.size), np.arange(len(raw))
    places, sides = numbers[count % len(numbers)], 1 - 2 * (count // len(numbers) % 2)
    far = sides * TIMES_AS_FAR * facts.largest / scale[places]
    flat[count, places] = np.broadcast_to(facts.offset, facts.size)[places] + far
    return raw


def known_share(model: Predictor, readings: NDArray[Any] | None) -> float | None:
    """Return the share of readings whose answers count as known; None where there are none, or any answer does."""
    if readings is None or model.calibration is None:
        return None
    return float(model.predict(readings).known.mean())
