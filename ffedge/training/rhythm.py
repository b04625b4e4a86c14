"""How often a run writes a checkpoint."""

import re
import time

SHARE = 0.01
FIRST_SECONDS = 1.0


class Rhythm:
    """Says when a checkpoint is due: after some steps, some seconds, or as often as takes 1 % of the time.

    Parameters
    ----------
    every : ``500`` (steps), ``2s``, or ``auto``.

    Raises
    ------
    ValueError
        It is none of these.
    """

    def __init__(self, every: str = "auto") -> None:
        number = re.fullmatch(r"([0-9]*\.?[0-9]+)(s?)", every)
        count = float(number[1]) if number else 0.0
        if every != "auto" and (count <= 0 or (number and not number[2] and not number[1].isdecimal())):
            raise ValueError(f"`checkpoint_every` must be steps (500), seconds (2s) or auto, got {every!r}")
        self._steps = count if number and not number[2] else None
        self._seconds = count if number and number[2] else None
        self._cost: float | None = None
        self._taken, self._last = 0, time.perf_counter()

    def due(self, *, epoch_ends: bool = False) -> bool:
        """Say after a step whether to write a checkpoint; the first one does not wait longer than an epoch."""
        self._taken += 1
        passed = time.perf_counter() - self._last
        if self._steps is not None:
            return self._taken >= self._steps
        if self._seconds is not None:
            return passed >= self._seconds
        if self._cost is None:
            return epoch_ends or passed >= FIRST_SECONDS
        return passed * SHARE >= self._cost

    def written(self, seconds: float) -> None:
        """Hear that a checkpoint was written, and how long it took."""
        self._cost, self._taken, self._last = seconds, 0, time.perf_counter()
