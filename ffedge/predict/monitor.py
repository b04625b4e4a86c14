"""Tells when what a model is asked departs from what it was calibrated on: exponential averages against their limits.

An EWMA control chart (Roberts 1959) on each of three statistics: best score, margin, and whether an answer is known.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ffedge.model.calibration import Calibration, Moments
from ffedge.model.file import Model
from ffedge.predict.predictor import Prediction, Predictor
from ffedge.turns import Turns, not_pickled

SIDES = 5  # of limits: score and margin have two, the share of known answers has one
MOST_DEVIATIONS = 10.0  # that a sample counts for; more where the limits lie further out
TINY = 1e-3  # of the mean: what counts where all held-out rows gave the same


@dataclass(frozen=True)
class Drift:
    """A change between staying and departing.

    Attributes
    ----------
    sample : the number of the sample, from 1, at which it was seen.
    began : whether drift began; else it ended.
    reasons : of a beginning, a sentence for each average that is beyond its limit.
    """

    sample: int
    began: bool
    reasons: tuple[str, ...]


class Chart:
    """The average of one statistic, and its limits."""

    def __init__(self, name: str, held_out: Moments, rows: int, share: float, level: float, *, both: bool) -> None:
        """Set the limits.

        Parameters
        ----------
        held_out, rows : what the statistic gave on the rows that the model was calibrated on, and how many they were.
        share : weight of a new sample in the average.
        level : the limit, in deviations of the average of a normal statistic.
        both : whether there is a limit above as well as below.
        """
        self.name, self.mean, self.average, self._share = name, held_out.mean, held_out.mean, share
        variance = share / (2 - share) + 1 / rows  # of the average and of the mean that it is compared with
        skewness = held_out.skewness * share**3 / (1 - (1 - share) ** 3) / variance**1.5
        deviation = held_out.deviation * math.sqrt(variance)
        longer = abs(skewness) * (level**2 - 1) / 6  # Cornish and Fisher (1938), on the side of the long tail
        self.least = self.mean - deviation * (level + (longer if skewness < 0 else 0))
        self.most = self.mean + deviation * (level + (longer if skewness > 0 else 0)) if both else math.inf
        self._reach = max(MOST_DEVIATIONS * held_out.deviation, 2 * deviation * (level + longer), TINY * abs(self.mean))

    def add(self, value: float) -> None:
        """Take a sample into the average, cut to ten deviations, so that one that is far off does not stay for long."""
        value = min(max(value, self.mean - self._reach), self.mean + self._reach)
        self.average += self._share * (value - self.average)

    @property
    def beyond(self) -> bool:
        """Whether the average is beyond a limit."""
        return not self.least <= self.average <= self.most

    @property
    def near(self) -> bool:
        """Whether the average is nearer to the mean than to its limits."""
        return (self.least + self.mean) / 2 <= self.average <= (self.most + self.mean) / 2

    def says(self) -> str:
        """Say where the average stands."""
        word = "below" if self.average < self.least else "above"
        limit = self.least if self.average < self.least else self.most
        return f"{self.name} {self.average:.3g}, {word} {limit:.3g}; held-out rows gave {self.mean:.3g}"


class Monitor:
    """Watches a stream of predictions; memory does not grow with it.

    Parameters
    ----------
    model : the model file's path or bytes, a `Predictor`, or a calibration (`Predictor.calibration`).
    window : samples that an average reaches back, in effect: the newest has the weight ``2 / (window + 1)``. A longer
        one sees smaller shifts, a shorter one sees large shifts sooner.
    false_alarm_every : mean number of samples to a false alarm while the samples are independent and such as the model
        was calibrated on; samples that resemble their neighbours, as of a camera, give more.

    Raises
    ------
    ModelError
        The file cannot be used.
    ValueError
        The model holds no calibration, or a number is outside its range.

    Notes
    -----
    The limits follow from the mean time that an Ornstein-Uhlenbeck process, which an exponential average resembles,
    takes to a level; they are widened for skewness, and for what a few held-out rows leave open about their mean.

    A sample counts for ten deviations at most, or twice as far as the limits. An odd row counts as not known, and not
    in the other two averages, as is an answer whose score is not finite.

    Threads may share a monitor: an `update` is taken in whole, before or after another. It is not pickled.
    """

    def __init__(
        self,
        model: str | Path | bytes | Predictor | Calibration | None,
        *,
        window: int = 500,
        false_alarm_every: int = 1_000_000,
    ) -> None:
        calibration = _calibration(model)
        if calibration is None:
            raise ValueError(
                "calibration is missing, as no rows were held out. Train with `holdout`, or use ffedge.recalibrate"
            )
        if window < 1:
            raise ValueError(f"`window` must be 1 or more, got {window}")
        if false_alarm_every < window:
            raise ValueError(f"`false_alarm_every` must be the window or more, got {false_alarm_every}")
        share = 2 / (window + 1)
        level = _level(SIDES * false_alarm_every * -math.log1p(-share) if share < 1 else SIDES * false_alarm_every)
        rows, is_known = calibration.rows, (calibration.known * calibration.rows + 1) / (calibration.rows + 2)
        deviation = math.sqrt(is_known * (1 - is_known))
        known = Moments(is_known, deviation, (1 - 2 * is_known) / deviation)
        self._charts = (
            Chart("goodness", calibration.score, rows, share, level, both=True),
            Chart("margin", calibration.margin, rows, share, level, both=True),
            Chart("share of known answers", known, rows, share, level, both=False),
        )
        self.samples = self.odd = 0
        self.drifting = False
        self._turns = Turns()

    def __repr__(self) -> str:
        """Say how it stands, in a line."""
        found = "; ".join(("drift", *self.reasons)) if self.drifting else "no drift"
        return f"<Monitor: {self.samples:,} samples, {self.odd:,} odd, {found}>"

    def update(self, predictions: Prediction) -> list[Drift]:
        """Take predictions into the averages.

        Parameters
        ----------
        predictions : of N samples, in their order (`Predictor.predict`).

        Returns
        -------
        list of Drift
            Where drift began or ended among them; samples count from 1.
        """
        with self._turns:
            return self._update(predictions)

    def _update(self, predictions: Prediction) -> list[Drift]:
        events = []
        *measured, is_known = self._charts
        statistics = (predictions.scores.max(axis=1), predictions.margin, predictions.known)
        for row, (*values, known) in enumerate(zip(*(each.tolist() for each in statistics), strict=True)):
            self.samples += 1
            odd = row in predictions.odd or not all(map(math.isfinite, values))
            self.odd += odd
            is_known.add(known and not odd)
            for chart, value in zip(measured, values, strict=True):
                if not odd:
                    chart.add(value)
            if self.drifting and all(chart.near for chart in self._charts):
                self.drifting = False
                events.append(Drift(self.samples, False, ()))
            elif not self.drifting and any(chart.beyond for chart in self._charts):
                self.drifting = True
                events.append(Drift(self.samples, True, self.reasons))
        return events

    @property
    def reasons(self) -> tuple[str, ...]:
        """A sentence for each average that is beyond its limit now."""
        with self._turns:
            return tuple(chart.says() for chart in self._charts if chart.beyond)

    def summary(self) -> dict[str, Any]:
        """Return how many samples came, how many were odd, and the averages beside those held out and the limits."""
        with self._turns:
            charts = {
                chart.name: {
                    "average": chart.average,
                    "held_out": chart.mean,
                    "least": chart.least,
                    "most": None if math.isinf(chart.most) else chart.most,
                }
                for chart in self._charts
            }
            return {"samples": self.samples, "odd": self.odd, "drifting": self.drifting} | charts

    def __reduce__(self) -> NoReturn:
        """Refuse."""
        not_pickled(self, "Make one there of the model's calibration")


def _calibration(model: str | Path | bytes | Predictor | Calibration | None) -> Calibration | None:
    if isinstance(model, str | Path | bytes):
        return Model(model).calibration
    return model.calibration if isinstance(model, Predictor) else model


def _level(time: float) -> float:
    """Return the level that a standard Ornstein-Uhlenbeck process takes so long to reach, in its relaxation times.

    Its mean time from 0 to a is ``sqrt(2 pi) * integral from 0 to a of exp(x**2 / 2) * Phi(x)`` (Siegert 1951).
    """
    total, at, step = 0.0, 0.0, 0.02
    while total < time:
        middle = at + step / 2
        total += step * math.sqrt(2 * math.pi) * math.exp(middle**2 / 2) * (1 + math.erf(middle / math.sqrt(2))) / 2
        at += step
    return at
