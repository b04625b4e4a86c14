"""Probabilities of the classes: ``softmax(scores / T)``, with T chosen on rows that nobody learnt from.

T is the one that makes their true classes likeliest (Guo et al., arXiv:1706.04599), found on a grid of log T. As in
Platt's scaling, a row counts as if one of N + 2 were of any class: where all rows are right, T does not fall to 0.

Shape letters: N samples, C classes.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffedge.model.calibration import Calibration, Floats, best_and_margin, calibrate

GRID = np.arange(-16.0, 16.5, 0.5)  # of log2 T


def softened(scores: Floats, temperature: float) -> NDArray[np.float32]:
    """Return the probabilities [N, C] of the classes, each row's sum 1."""
    parts = np.exp((scores - scores.max(axis=1, keepdims=True)) * np.float32(1 / temperature))
    result: NDArray[np.float32] = (parts / parts.sum(axis=1, keepdims=True)).astype(np.float32)
    return result


class TemperatureFit:
    """Adds up, block by block, how unlikely each temperature of the grid makes the true classes."""

    def __init__(self) -> None:
        self._rows = 0
        self._true, self._any = np.zeros(len(GRID)), np.zeros(len(GRID))

    def add(self, scores: Floats, true: NDArray[np.integer[Any]]) -> None:
        """Add rows by their scores [N, C] and true classes [N]."""
        below = scores - scores.max(axis=1, keepdims=True)
        of_true, mean = below[np.arange(len(true)), true], below.mean(axis=1)
        parts = np.empty_like(below)
        for place, scale in enumerate(np.exp2(-GRID).astype(below.dtype)):
            with np.errstate(over="ignore", invalid="ignore"):  # of scores beyond all measure
                np.exp(np.multiply(below, scale, out=parts), out=parts)
            total = np.log(parts.sum(axis=1)).sum(dtype=np.float64)
            self._true[place] += total - scale * of_true.sum(dtype=np.float64)
            self._any[place] += total - scale * mean.sum(dtype=np.float64)
        self._rows += len(true)

    def temperature(self) -> float:
        """Return the best one: of a parabola through the grid's best and its neighbours."""
        loss = self._true + (self._any - self._true) / (self._rows + 2)
        best = int(np.argmin(loss))
        if not 0 < best < len(GRID) - 1:
            return float(2.0 ** GRID[best])
        before, here, after = loss[best - 1 : best + 2]
        bend = before - 2 * here + after
        return float(2.0 ** (GRID[best] + 0.25 * (before - after) / bend if bend > 0 else GRID[best]))


def calibrated(blocks: Iterable[tuple[NDArray[np.integer[Any]], Floats]], coverage: float) -> Calibration | None:
    """Choose bounds and temperature on blocks of rows: their true classes [N] and scores [N, C].

    Returns
    -------
    Calibration or None
        None where there are no rows.
    """
    fit, parts = TemperatureFit(), []
    for true, scores in blocks:
        if len(true):
            fit.add(scores, true)
            parts.append(best_and_margin(scores))
    if not parts:
        return None
    best, margins = map(np.concatenate, zip(*parts, strict=True))
    return calibrate(best, margins, coverage, fit.temperature())
