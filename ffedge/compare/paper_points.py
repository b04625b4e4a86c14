"""What the paper leaves open (DESIGN.md section 6): each reading trained in minibatches, with the shuffled control.

One point is changed at a time, from the preset `paper` in minibatches. So that a reading takes seconds and not hours, a
layer takes 1000 steps of 125 rows, not 1000 of 50,000. Readings of what layers tell each other are also trained with
all layers learning at the same time, where what is told is information.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from ffedge.compare.paper_trials import CONTROL, Choice, Trial

BATCH_SIZE = 125
ROWS = 25_000
EPOCHS = 5
SEEDS = 3
BASE = ("base", "preset paper")
EVERY_ARM = ("ff", "fcff", f"fcff{CONTROL}", "acff", f"acff{CONTROL}")
COLLABORATING = EVERY_ARM[1:]
DEEP = (500,) * 4
SCHEDULES = ("greedy", "interleaved")


@dataclass(frozen=True)
class Reading:
    """One value of an open point.

    Attributes
    ----------
    arms : that can tell it from the base; the others would only repeat it.
    schedules : in which it is trained; the first is the paper's.
    """

    point: str
    value: str
    changes: dict[str, Any]
    arms: tuple[str, ...] = EVERY_ARM
    schedules: tuple[str, ...] = SCHEDULES[:1]

    @property
    def name(self) -> str:
        """The reading as a table names it."""
        return f"{self.point}: {self.value}"


READINGS = (
    Reading(*BASE, {}, schedules=SCHEDULES),
    Reading("theta", "once", {"theta_placement": "once"}, COLLABORATING, SCHEDULES),
    Reading("gamma", "0.3", {"gamma": 0.3}, COLLABORATING, SCHEDULES),
    Reading("gamma", "0.3, theta once", {"gamma": 0.3, "theta_placement": "once"}, COLLABORATING, SCHEDULES),
    Reading("scope", "previous", {"scope": "previous"}, COLLABORATING, SCHEDULES),
    Reading("scope", "next", {"scope": "next"}, COLLABORATING, SCHEDULES),
    Reading("negatives", "fresh", {"negatives": "fresh"}),
    Reading("norm", "rms", {"norm": "rms"}),
    Reading("label layers", "all", {"label_layers": "all"}),
    Reading("gamma's optimiser", "adam", {"gamma_optimizer": "adam"}, EVERY_ARM[3:]),
    Reading("negatives", "hard", {"negatives": "hard"}),
    Reading("label value", "10", {"label_scale": 10.0}),
    Reading("norm", "layer", {"norm": "layer"}),
    Reading("goodness", "sum", {"goodness": "sum"}),
    Reading("4 layers, alpha", "ones", {"widths": DEEP}, schedules=SCHEDULES),
    Reading("4 layers, alpha", "mean", {"widths": DEEP, "alpha": "mean"}, COLLABORATING, SCHEDULES),
)


def base_of(point: str) -> tuple[str, str]:
    """Return the point and value whose arm `ff` a reading of a point is compared with, where it has none itself."""
    return ("4 layers, alpha", "ones") if point.startswith("4 layers") else BASE


def check(choice: Choice) -> None:
    """Raise ValueError for a reading that there is not."""
    known = [reading.name for reading in READINGS]
    if unknown := [name for name in choice.readings if name not in known]:
        raise ValueError(f"--reading must be of {'; '.join(known)}, got {unknown[0]!r}")


def trials(choice: Choice) -> list[Trial]:
    """Return the trials of every reading that is chosen, those that decide most first."""
    return [
        Trial(
            name,
            arm,
            seed,
            choice.epochs,
            choice.rows,
            reading.point,
            f"{reading.value}, {schedule}",
            tuple(sorted({**dict(choice.changes), **reading.changes, "schedule": schedule}.items())),
        )
        for reading in _chosen(choice)
        for schedule in reading.schedules
        for name in choice.data
        for seed in choice.seeds
        for arm in reading.arms
        if arm.removesuffix(CONTROL) in choice.arms
    ]


def _chosen(choice: Choice) -> list[Reading]:
    """Return the readings to train; of one that is there for its FF alone, only that arm."""
    if not choice.readings:
        return list(READINGS)
    own = [reading for reading in READINGS if reading.name in choice.readings]
    beside = {base_of(reading.point) for reading in own if "ff" not in reading.arms}
    return [
        reading if reading in own else dataclasses.replace(reading, arms=("ff",))
        for reading in READINGS
        if reading in own or (reading.point, reading.value) in beside
    ]
