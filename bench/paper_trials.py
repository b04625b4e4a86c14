"""What `paper.py` trains: arms x data sets x seeds of the NetworkFF paper (arXiv:2512.17531), or readings of it.

A reading is one value of what the paper leaves open, changed alone from the preset `paper`, in minibatches: so that it
takes seconds and not hours, a layer takes 1000 steps of 125 rows, not 1000 of 50,000. Readings of what layers tell each
other are also trained with all layers learning at the same time, where what is told is information.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ffedge.spec import Spec

DATA = ("mnist", "fashion-mnist")
ARMS = ("ff", "fcff", "acff")
CONTROL = "-shuffled"
ROWS, EPOCHS, SEEDS = 50_000, 1000, 5  # the paper's, but for the seeds
READING_ROWS, READING_EPOCHS, READING_SEEDS = 25_000, 5, 3
WIDTHS = (500, 500)
CHUNK_ROWS = 1000
BATCH_SIZE = 125
BASE = ("base", "preset paper")
EVERY_ARM = ("ff", "fcff", f"fcff{CONTROL}", "acff", f"acff{CONTROL}")
COLLABORATING = EVERY_ARM[1:]
DEEP = (500,) * 4
SCHEDULES = ("greedy", "interleaved")


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes
    ----------
    arm : a variant, with ``-shuffled`` for the control: the other layers' goodness is another sample's.
    point, value : which reading of which open point; ``paper`` is the preset.
    rows : the first so many of the training split are trained on, none of them held out.
    changes : fields of the preset `paper` that are changed, sorted by name.
    """

    data: str
    arm: str
    seed: int
    epochs: int
    rows: int = ROWS
    point: str = "paper"
    value: str = ""
    changes: tuple[tuple[str, Any], ...] = ()

    @property
    def text(self) -> str:
        """The trial in a few words."""
        reading = f", {self.point} {self.value}".rstrip() if self.point != "paper" else ""
        return f"{self.data}, {self.arm}, seed {self.seed}, {self.epochs} epochs{reading}"

    @property
    def name(self) -> str:
        """A file's name that no other trial has."""
        parts = (self.point, self.value, self.data, self.arm, f"{self.epochs}x{self.rows}", f"seed{self.seed}")
        return "-".join("".join(c if c.isalnum() or c == "." else "-" for c in part) for part in parts if part)

    def spec(self, data_changes: dict[str, Any] | None = None) -> Spec:
        """Return the spec that the trial trains."""
        values: dict[str, Any] = {
            "variant": self.arm.removesuffix(CONTROL),
            "epochs": self.epochs,
            "seed": self.seed,
            "widths": WIDTHS,
            "holdout": 0.0,
            "chunk_size": CHUNK_ROWS,
            "tile_bytes": 2**23,  # the weights whole: a tile would copy its columns of the input
            "threads": 1,
        }
        values |= dict(self.changes) | (data_changes or {})
        keeps = values.get("schedule", "greedy") == "greedy" and values.get("negatives") != "hard-sum"
        return Spec.make("paper", cache="activations" if keeps else "none", **values)


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


def main_trials(options: argparse.Namespace) -> list[Trial]:
    """Return the trials of the preset, seed after seed, so that all arms have as many whenever it is stopped."""
    changes = changes_of(options)
    return [
        Trial(data, arm, seed, options.epochs, options.rows, changes=changes)
        for seed in options.seeds
        for data in options.data
        for arm in options.arms
    ]


def reading_trials(options: argparse.Namespace) -> list[Trial]:
    """Return the trials of every reading that is chosen, those that decide most first."""
    changes = dict(changes_of(options))
    return [
        Trial(
            name,
            arm,
            seed,
            options.epochs,
            options.rows,
            reading.point,
            f"{reading.value}, {schedule}",
            tuple(sorted({**changes, **reading.changes, "schedule": schedule}.items())),
        )
        for reading in chosen_readings(options.reading)
        for schedule in reading.schedules
        for name in options.data
        for seed in options.seeds
        for arm in reading.arms
        if arm.removesuffix(CONTROL) in options.arms
    ]


def changes_of(options: argparse.Namespace) -> tuple[tuple[str, Any], ...]:
    """Return the fields of the preset that the flags change."""
    asked = {"widths": options.widths, "batch_size": options.batch_size}
    return tuple(sorted((name, value) for name, value in asked.items() if value is not None))


def chosen_readings(names: Sequence[str]) -> list[Reading]:
    """Return the readings to train, all where none is named; of one that is there for its FF alone, only that arm."""
    own = [reading for reading in READINGS if reading.name in names or not names]
    beside = {base_of(reading.point) for reading in own if "ff" not in reading.arms}
    return [
        reading if reading in own else dataclasses.replace(reading, arms=("ff",))
        for reading in READINGS
        if reading in own or (reading.point, reading.value) in beside
    ]
