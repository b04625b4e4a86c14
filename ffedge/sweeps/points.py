"""Trials that differ in their seeds alone are one point; points are compared by their mean held-out accuracy."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ffedge.sweeps.log import Record

RESULTS = {"trial", "status", "reason", "note", "rung", "seed", "accuracy", "test_accuracy", "seconds", "peak_bytes"}
OF_DATA = ("label", "leave_out", "data_dir", "reading")  # how the data are read: one value
RESULTS |= {"planned_bytes", "data_sha256", "version"}  # the other names of a record are what was asked


@dataclass(frozen=True)
class Point:
    """What was asked, and the records of its seeds that ended, the best first: done, or diverged."""

    asked: dict[str, Any]
    records: list[Record]

    @property
    def rung(self) -> int:
        """The rung of successive halving, from 0."""
        return int(self.records[0].get("rung", 0))

    @property
    def accuracy(self) -> float:
        """Mean held-out accuracy of the seeds, 0 to 1; one that diverged counts as 0."""
        return sum(map(accuracy_of, self.records)) / len(self.records)

    @property
    def done(self) -> list[Record]:
        """The records that hold a result."""
        return [record for record in self.records if record["status"] == "done"]

    def mean(self, name: str) -> float | None:
        """Return the mean of a result over the seeds that are done; None where there is none."""
        values = [record[name] for record in self.done if isinstance(record.get(name), int | float)]
        return sum(values) / len(values) if values else None


def ranked(records: Iterable[Record]) -> list[Point]:
    """Return the points of some records, the best of the last rung first."""
    groups = dict[str, list[Record]]()
    for record in records:
        if record["status"] in ("done", "diverged"):
            groups.setdefault(json.dumps([_asked(record), record.get("rung", 0)], sort_keys=True), []).append(record)
    points = [Point(_asked(each[0]), sorted(each, key=accuracy_of, reverse=True)) for each in groups.values()]
    return sorted(points, key=lambda point: (-point.rung, -point.accuracy))


def changed(records: Iterable[Record]) -> list[str]:
    """Return the data sets whose content was not the same in all trials that are done, so that these cannot compare."""
    contents = dict[str, set[str]]()
    for record in records:
        if record["status"] == "done" and record.get("data_sha256"):
            source = json.dumps([record.get(name) for name in ("data", *OF_DATA)], sort_keys=True)
            contents.setdefault(source, set()).add(record["data_sha256"])
    return [text_of(json.loads(source)[0]) for source, found in contents.items() if len(found) > 1]


def varied(points: Sequence[Point]) -> list[str]:
    """Return the names of what is not the same in all points."""
    names = dict.fromkeys(name for point in points for name in point.asked)
    return [name for name in names if any(point.asked.get(name) != points[0].asked.get(name) for point in points)]


def text_of(value: Any) -> str:
    """Return a value as the command line writes it: ``500,500``."""
    return ",".join(map(text_of, value)) if isinstance(value, list) else "-" if value is None else str(value)


def _asked(record: Record) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in RESULTS}


def accuracy_of(record: Record) -> float:
    """Return a trial's held-out accuracy, 0 to 1; 0 of one that diverged."""
    accuracy = record.get("accuracy")
    return float(accuracy) if isinstance(accuracy, int | float) else 0.0
