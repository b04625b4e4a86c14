"""The open points' readings in rows: what collaboration adds, and what of it is information (`paper_points`)."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ffedge.compare.paper_found import Found
from ffedge.compare.paper_points import SCHEDULES, base_of
from ffedge.compare.paper_tables import NAMES, Group, points_text
from ffedge.compare.paper_trials import CONTROL
from ffedge.compare.statistics import Paired, paired

HEAD = ["reading", "FF %", "F-CFF less FF", "F-CFF less shuffled", "A-CFF less FF", "A-CFF less shuffled", "last gamma"]


@dataclass(frozen=True)
class Tested:
    """A comparison within a reading; `other` is an arm of the same reading, or FF of its base."""

    group: Group
    arm: str
    other: str
    result: Paired

    @property
    def label(self) -> str:
        """Name it."""
        return f"{self.group.point} {self.group.value}: {NAMES[self.arm]} less {NAMES[self.other]}"


def tested(found: Sequence[Group]) -> list[Tested]:
    """Compare the collaborating arms of every reading with FF and with their control."""
    made = []
    for group in (group for group in found if group.point != "paper"):
        for arm in ("fcff", "acff"):
            for other in ("ff", f"{arm}{CONTROL}"):
                one, two = group.found.get(arm, {}), _arm(found, group, other)
                if common := sorted(set(one) & set(two)):
                    values = [[100 * side[seed].test_accuracy for seed in common] for side in (one, two)]
                    made.append(Tested(group, arm, other, paired(*values)))
    return made


def rows(found: Sequence[Group], data: str, schedule: str) -> list[list[str]]:
    """Return a row a reading of a data set in a schedule, under `HEAD`."""
    results = {(id(t.group), t.arm, t.other): t.result for t in tested(found)}
    made = []
    for group in found:
        if group.data != data or group.point == "paper" or schedule_of(group) != schedule:
            continue
        own = _arm(found, group, "ff")
        alone = f"{statistics.mean(100 * each.test_accuracy for each in own.values()):.2f}" if own else "-"
        cells = [
            points_text(results[key]) if (key := (id(group), arm, other)) in results else "-"
            for arm in ("fcff", "acff")
            for other in ("ff", f"{arm}{CONTROL}")
        ]
        made.append([reading_of(group), alone, *cells, _gamma(group)])
    return made


def reading_of(group: Group) -> str:
    """Name a reading without its schedule."""
    return f"{group.point}: {group.value.removesuffix(f', {schedule_of(group)}')}"


def schedule_of(group: Group) -> str:
    """Return a reading's schedule."""
    return next(schedule for schedule in SCHEDULES if group.value.endswith(f", {schedule}"))


def _arm(found: Sequence[Group], group: Group, arm: str) -> dict[int, Found]:
    """Return an arm's trials by seed; FF's, which no reading of collaboration changes, may be the base's."""
    if arm in group.found or arm != "ff":
        return dict(group.found.get(arm, {}))
    point, value = base_of(group.point)
    wanted = (group.data, point, f"{value}, {schedule_of(group)}", group.epochs, group.rows)
    for other in found:
        if (other.data, other.point, other.value, other.epochs, other.rows) == wanted:
            return dict(other.found.get("ff", {}))
    return {}


def _gamma(group: Group) -> str:
    """Write the least and the greatest last gamma of A-CFF's seeds, layer by layer."""
    ends = [each.gamma for each in group.found.get("acff", {}).values()]
    if not ends:
        return "-"
    texts = []
    for values in zip(*ends, strict=True):
        numbers = [value for value in values if value is not None]
        low, high = f"{min(numbers):.2f}", f"{max(numbers):.2f}"
        texts.append(low if low == high else f"{low} to {high}")
    return "; ".join(texts)
