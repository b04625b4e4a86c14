"""When an answer counts as known: bounds on the best score and on the margin, chosen on rows that nobody learnt from.

A sample is known if its best score lies between two bounds and its margin is not below a third. Of the rows that are
not, one part falls to each end of the scores and eight to the margin: among the statistics that were tried, this rule
told strange inputs best from digits (docs/measurements.md says how).

Shape letters: N samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ffedge.fields import is_finite

Floats = NDArray[np.floating[Any]]
MARGIN_PARTS = 8  # of the rows that are not known, for one part at each end of the scores
REASONS = ("low goodness", "high goodness", "low margin")
NO_BOUND = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Moments:
    """Mean, deviation and skewness of a statistic over the rows."""

    mean: float
    deviation: float
    skewness: float

    @classmethod
    def of(cls, values: Floats) -> Self:
        """Measure values [N]."""
        exact = np.asarray(values, np.float64)
        mean, deviation = float(exact.mean()), float(exact.std())
        skewness = float((((exact - mean) / deviation) ** 3).mean()) if deviation else 0.0
        return cls(mean, deviation, skewness)


@dataclass(frozen=True)
class Calibration:
    """The bounds of what is known, and what the rows gave that they were chosen on.

    Attributes
    ----------
    coverage : least share of the rows that had to be known.
    rows : how many there were.
    known : share of them that is known, 0 to 1.
    least_score, most_score, least_margin : the bounds; a value on a bound is known.
    score, margin : moments over all the rows.
    temperature : that scores are divided by before a softmax makes probabilities of them (`ffedge.model.temperature`);
        None in older models.
    """

    coverage: float
    rows: int
    known: float
    least_score: float
    most_score: float
    least_margin: float
    score: Moments
    margin: Moments
    temperature: float | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for what no calibration can have found."""
        moments = (*asdict(self.score).values(), *asdict(self.margin).values())
        numbers = (self.coverage, self.known, self.least_score, self.most_score, self.least_margin, *moments)
        if not all(map(is_finite, numbers)):
            raise ValueError(f"known must hold finite numbers, got {self!r}")
        if type(self.rows) is not int or not 1 <= self.rows < 1 << 63:
            raise ValueError(f"rows must be a whole number from 1, got {self.rows!r}")
        if not 0 < self.coverage <= 1 or not 0 <= self.known <= 1 or min(moments[1], moments[4]) < 0:
            raise ValueError(f"shares must lie from 0 to 1 and deviations not below 0, got {self!r}")
        if self.temperature is not None and not (is_finite(self.temperature) and 1e-6 < self.temperature < 1e6):
            raise ValueError(f"temperature must lie between 1e-6 and 1e6, got {self.temperature!r}")

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Return what the graph reads: ``known.bias`` [3] and, with a temperature, ``proba.scale`` [] = 1 / T.

        The bias is added to (score, -score, margin); who is known has no negative sum.
        """
        bias = np.array([-self.least_score, self.most_score, -self.least_margin], np.float32)
        scale = {} if self.temperature is None else {"proba.scale": np.array(1 / self.temperature, np.float32)}
        return {"known.bias": bias, **scale}

    def why_not(self, score: float, margin: float) -> tuple[str, ...]:
        """Return why a sample that is not known is not: some of ``low goodness``, ``high goodness``, ``low margin``."""
        room = (score - self.least_score, self.most_score - score, margin - self.least_margin)
        return tuple(name for name, left in zip(REASONS, room, strict=True) if left < 0 or left == min(room) >= 0)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers: ``known`` and, with a temperature, ``proba``, which older readers pass over."""
        known = asdict(self)
        temperature = known.pop("temperature")
        return {"known": known} | ({} if temperature is None else {"proba": {"temperature": temperature}})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self | None:
        """Read what `to_dict` wrote, or None; ValueError or TypeError where ffedge cannot have written it."""
        known, proba = data.get("known"), data.get("proba", {})
        if known is None:
            return None
        if not isinstance(known, Mapping) or "temperature" in known or not set(proba) <= {"temperature"}:
            raise ValueError(f"known must be an object, got {known!r} and {proba!r}")
        moments = {name: Moments(**known.get(name, {})) for name in ("score", "margin")}
        return cls(**{**known, **moments, **proba})


def no_bias() -> NDArray[np.float32]:
    """Return the bias of a graph whose every answer counts as known."""
    return np.full(3, NO_BOUND, np.float32)


def levels(scores: Floats, margins: Floats, rows: tuple[Floats, Floats]) -> NDArray[np.int64]:
    """Return how deep [N] samples lie inside the scores and margins of some rows; what lies outside has 0.

    Whatever the coverage, the known ones are those from some level on.
    """
    ranked_scores, ranked_margins = np.sort(rows[0]), np.sort(rows[1])
    below = np.searchsorted(ranked_scores, scores, "right")
    above = len(ranked_scores) - np.searchsorted(ranked_scores, scores, "left")
    deep = np.minimum(MARGIN_PARTS * np.minimum(below, above), np.searchsorted(ranked_margins, margins, "right"))
    result: NDArray[np.int64] = deep.astype(np.int64)
    return result


def calibrate(scores: Floats, margins: Floats, coverage: float, temperature: float | None = None) -> Calibration:
    """Choose the tightest bounds that leave the share `coverage` of the rows known, or a little more.

    Parameters
    ----------
    scores, margins : [N] best score and margin of rows that the model has not learnt from.
    coverage : above 0, up to 1; 1 sets the bounds at the ends of what the rows gave.
    temperature : chosen on the same rows.

    Raises
    ------
    ValueError
        There are no rows, they hold numbers that are not finite, or the coverage is outside its range.
    """
    if not 0 < coverage <= 1:
        raise ValueError(f"`coverage` must be above 0 and at most 1, got {coverage!r}")
    if not len(scores) or not (np.isfinite(scores).all() and np.isfinite(margins).all()):
        raise ValueError(f"scores and margins must be finite and of some rows, got {len(scores)} rows")
    deep = np.sort(levels(scores, margins, (scores, margins)))
    cut = int(deep[len(deep) - int(np.ceil(coverage * len(deep) - 1e-9))])  # that many rows lie as deep, or deeper
    ranked, tail = np.sort(scores), -(-cut // MARGIN_PARTS)
    least_score, most_score, least_margin = ranked[tail - 1], ranked[-tail], np.sort(margins)[cut - 1]
    return Calibration(
        coverage=float(coverage),
        rows=len(scores),
        known=float((deep >= cut).mean()),
        least_score=float(least_score),
        most_score=float(most_score),
        least_margin=float(least_margin),
        score=Moments.of(scores),
        margin=Moments.of(margins),
        temperature=temperature,
    )


def pooled(parts: Sequence[Calibration]) -> Calibration:
    """Return the calibration of several models' mean, each counted by its rows, until rows are at hand to choose it on.

    Moments are those of all rows together. Bounds, and the temperature's logarithm, are means: no rows chose them.
    """
    if all(part == parts[0] for part in parts):
        return parts[0]
    counts = np.array([part.rows for part in parts], np.float64)
    shares = counts / counts.sum()

    def mean(name: str) -> float:
        return float(shares @ [getattr(part, name) for part in parts])

    temperatures = [part.temperature for part in parts if part.temperature is not None]
    hot = len(temperatures) == len(parts)
    return Calibration(
        coverage=mean("coverage"),
        rows=sum(part.rows for part in parts),
        known=mean("known"),
        least_score=mean("least_score"),
        most_score=mean("most_score"),
        least_margin=mean("least_margin"),
        score=_pooled_moments([part.score for part in parts], shares),
        margin=_pooled_moments([part.margin for part in parts], shares),
        temperature=float(np.exp(shares @ np.log(temperatures))) if hot else None,
    )


def _pooled_moments(parts: Sequence[Moments], shares: Floats) -> Moments:
    """Return the moments of rows that are several parts, which have these shares of them."""
    means, deviations, skews = (np.array([getattr(part, f.name) for part in parts]) for f in fields(Moments))
    mean = float(shares @ means)
    away = means - mean
    deviation = float(np.sqrt(shares @ (deviations**2 + away**2)))
    third = float(shares @ (skews * deviations**3 + 3 * away * deviations**2 + away**3))
    return Moments(mean, deviation, third / deviation**3 if deviation else 0.0)


def best_and_margin(scores: Floats) -> tuple[Floats, Floats]:
    """Return the best score and the margin [N] of the scores [N, C]."""
    top = np.partition(scores, -2, axis=1)[:, -2:]
    return top[:, 1].copy(), top[:, 1] - top[:, 0]  # no view, which would keep all scores
